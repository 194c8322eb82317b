"""Writing a set of images as Parquet shards at any fsspec URL, so that a killed run goes on.

A shard is a pure function of a fixed part of the originals: a run that is started again keeps every shard that is whole and of
the same originals. The manifest is written last.
"""

import contextlib
import hashlib
import io
import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from filelock import Timeout

from components.parts.loading import describe_error
from pipeline import files as places
from pipeline.data.images.pixels import Remarks, decode
from pipeline.data.images.prepared import BAD_IMAGES, FORMAT, MANIFEST, MOMENTS, SPLITS, manifest_sum, read_manifest
from pipeline.data.preparing.plan import Plan
from pipeline.data.preparing.shards import convert, kept
from pipeline.data.preparing.tally import Tally
from pipeline.errors import Corrupt, FlowError, Unusable
from pipeline.provenance import redacted
from pipeline.words import counted

LOCK = ".prepare.lock"


@dataclass(frozen=True)
class Written:
    """The set that a run of `prepare` has finished, and what it did for that.

    Attributes:
        remarks: (image, what of it was not kept, or what Pillow warns of).
        num_new: images that this run has converted; the others were there.
        seconds: of this run.
    """

    manifest: dict[str, Any]
    bad: list[dict[str, str]]
    remarks: list[tuple[str, str]]
    num_bytes: int
    num_new: int
    num_kept_shards: int
    seconds: float

    @property
    def rows(self) -> dict[str, int]:
        """Count the images of each split."""
        return {split: self.manifest["splits"][split]["rows"] for split in SPLITS}


def write_set(plan: Plan, show: Callable[[int, int], None] = lambda done, total: None) -> Written:
    """Prepare a set: write the shards that are missing, and the manifest.

    Args:
        show: told (originals done, originals in all) as it goes on.

    Raises:
        Unusable: the folder holds another set or cannot be written, or there is no usable image.
    """
    began = time.monotonic()
    with _alone(plan):
        finished = _finished(plan)
        if not finished:
            _write(plan, BAD_IMAGES, b"[]")  # before the work: a folder that cannot be written is refused now
        tally, done, total = Tally(), 0, sum(len(originals) for originals in plan.originals.splits.values())
        with ThreadPoolExecutor(places.NUM_THREADS) as pool, Remarks() as heard:
            for shard in plan.shards():
                content = kept(plan, shard, finished)
                if content is None:
                    content = convert(plan, shard, pool, heard)
                    _write(plan, shard.file, content)
                    tally.num_new += len(shard.originals)
                else:
                    tally.num_kept_shards += 1
                table = pq.read_table(io.BytesIO(content))
                tally.add(shard.split, shard.file, content, table)
                if shard.split == "train":
                    tally.add_pixels(decode(table["image"].combine_chunks(), (plan.channels, plan.size, plan.size)))
                done += len(shard.originals)
                show(done, total)
        return _finish(plan, tally, began)


@contextlib.contextmanager
def _alone(plan: Plan) -> Iterator[None]:
    """Let no other process write a folder of a disk while this one does; the lock ends with the process, however that ends.

    In an object store each file comes whole, and two processes write equal ones.
    """
    files, folder = places.at(plan.uri)
    if not places.is_local(files):
        yield
        return
    try:
        lock = places.lock_at(f"{folder}/{LOCK}").acquire(blocking=False)
    except Timeout:
        raise Unusable(f"{plan.uri}: another prepare is at work there. Wait until it has ended, or choose another --to") from None
    except (Unusable, OSError) as error:
        raise Unusable(f"--to cannot be used: {error}") from error
    with lock:
        for left in Path(folder).glob("*.partial"):  # of a process that was killed
            left.unlink()
        yield


def _finished(plan: Plan) -> dict[str, str]:
    """Read the sha256 of each file of a finished set of this plan; empty where there is none."""
    try:
        manifest = read_manifest(plan.uri)
    except Corrupt:  # no manifest, no set
        return {}
    except FlowError as error:
        raise Unusable(f"--to cannot be used: {error}") from error
    if manifest is None:
        return {}
    if manifest["plan"] != plan.identity:
        raise Unusable(
            f"{redacted(plan.uri)} already holds {manifest['name']}, digest {manifest['digest']}, made from other files, with "
            f"another encoding, other than {counted(manifest['channels'], 'channel')}, or another version of Pillow or of this "
            "program: choose another --to, or delete it"
        )
    return {shard["file"]: shard["sha256"] for split in SPLITS for shard in manifest["splits"][split]["shards"]}


def _finish(plan: Plan, tally: Tally, began: float) -> Written:
    for split in SPLITS:
        if not tally.num_rows(split):
            first = f"; the first one, {tally.bad[0]['path']}: {tally.bad[0]['reason']}" if tally.bad else ""
            raise Unusable(f"--from has no usable {split} image{first}")
    mean, mean_square = tally.sums / np.float64(tally.num_rows("train"))
    moments = io.BytesIO()
    np.save(moments, np.stack([mean, np.maximum(mean_square - mean**2, 0)]))
    _write(plan, MOMENTS, moments.getvalue())
    _write(plan, BAD_IMAGES, json.dumps(tally.bad, indent=1).encode())
    manifest = {
        "format": FORMAT,
        "name": plan.name,
        "size": plan.size,
        "channels": plan.channels,
        "encoding": plan.encoding,
        "classes": list(plan.originals.classes),
        "digest": tally.digest.hexdigest(),
        "splits": {split: {"rows": tally.num_rows(split), "shards": tally.shards[split]} for split in SPLITS},
        "bad": len(tally.bad),
        "mirrored": tally.mirrored,
        "extremes": tally.extremes,
        "moments": hashlib.sha256(moments.getvalue()).hexdigest(),
        "plan": plan.identity,
        "versions": {name: version(name) for name in ("numpy", "pillow", "pyarrow")},
    }
    manifest["sha256"] = manifest_sum(manifest)
    _write(plan, MANIFEST, json.dumps(manifest, indent=1).encode())
    seconds = time.monotonic() - began
    return Written(manifest, tally.bad, tally.remarks, tally.num_bytes(), tally.num_new, tally.num_kept_shards, seconds)


def _write(plan: Plan, file: str, content: bytes) -> None:
    files, folder = places.at(plan.uri)
    try:
        places.put(files, f"{folder}/{file}", content)
    except Exception as error:  # each file system has its own
        raise Unusable(f"--to cannot be written: {redacted(plan.uri)}/{file}: {describe_error(error)}") from error
