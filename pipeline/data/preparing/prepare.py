"""Writing a set of images as Parquet shards at any fsspec URL, so that a killed run goes on.

A shard is a pure function of a fixed part of the originals, and its footer says which and carries a digest of its rows: a run
that is started again keeps every shard that is whole and of the same originals. The manifest is written last.
"""

import contextlib
import hashlib
import io
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from filelock import FileLock, Timeout
from jaxtyping import UInt64

from pipeline import files as places
from pipeline.data.images.pixels import Encoding, Pixels, Remarks, decode, hash_rows, reason, stored
from pipeline.data.images.prepared import (
    BAD_IMAGES,
    FORMAT,
    MANIFEST,
    MOMENTS,
    SPLITS,
    manifest_sum,
    read_manifest,
)
from pipeline.data.preparing.originals import Original, Originals
from pipeline.errors import Corrupt, FlowError, Unusable
from pipeline.provenance import redacted

SHARD_BYTES = 32 * 2**20
"""Most bytes of pixels in one shard: what one thread decodes at a time."""
MOST_ROWS = 8192
LOCK = ".prepare.lock"
FOOTER = b"sjko"
"""Key of a shard's metadata in its Parquet footer."""


@dataclass(frozen=True)
class Plan:
    """What is prepared.

    Attributes:
        uri: folder of this set, any URL that fsspec knows.
        size: side of the square images in pixels.
        num_originals: per shard, usable or not.
    """

    name: str
    originals: Originals
    uri: str
    size: int
    channels: int
    encoding: Encoding
    num_originals: int

    @property
    def identity(self) -> str:
        """Hash of all that the shards' bytes depend on."""
        values = [FORMAT, self.name, self.originals.identity, self.size, self.channels, self.encoding, self.num_originals]
        return hashlib.sha256(json.dumps([*values, version("pillow")]).encode()).hexdigest()

    def parts(self) -> Iterator[tuple[str, int, Sequence[Original]]]:
        """(split, number of the shard, its originals), in order."""
        for split in SPLITS:
            originals = self.originals.splits[split]
            for number, begin in enumerate(range(0, len(originals), self.num_originals)):
                yield split, number, originals[begin : begin + self.num_originals]


def plan_of(
    name: str, originals: Originals, uri: str, *, size: int, channels: int, encoding: Encoding, num_originals: int | None = None
) -> Plan:
    """A plan whose shards have a size that suits reading."""
    fitting = max(1, min(MOST_ROWS, SHARD_BYTES // (channels * size * size)))
    return Plan(name, originals, uri, size, channels, encoding, num_originals or fitting)


@dataclass
class Tally:
    """What has gone into the rows so far, in order.

    Attributes:
        sums: of each pixel, and of its square, over the training images; exact, in any order.
    """

    digest: Any = field(default_factory=hashlib.sha256)
    shards: dict[str, list[dict[str, Any]]] = field(default_factory=lambda: {split: [] for split in SPLITS})
    bad: list[dict[str, str]] = field(default_factory=list)
    remarks: list[tuple[str, str]] = field(default_factory=list)
    sums: UInt64[np.ndarray, "2 c s s"] = field(default_factory=lambda: np.zeros((2, 1, 1, 1), dtype=np.uint64))
    num_new: int = 0
    num_kept_shards: int = 0

    def add(self, split: str, file: str, content: bytes, table: pa.Table) -> None:
        """One more shard."""
        if not self.shards[split]:
            self.digest.update(split.encode())
        images, labels = rows_of(table)
        hash_rows(self.digest, images, labels)
        sha256 = hashlib.sha256(content).hexdigest()
        self.shards[split].append({"file": file, "rows": len(images), "bytes": len(content), "sha256": sha256})
        footer = footer_of(table)
        self.bad += [{"path": path, "reason": reason} for path, reason in footer["bad"]]
        self.remarks += [(path, remark) for path, remark in footer.get("remarks", [])]

    def add_pixels(self, pixels: Pixels) -> None:
        """Pixels of training images."""
        squares = pixels.astype(np.uint16) ** 2  # 255^2 fits
        self.sums = self.sums + np.stack([pixels.sum(0, dtype=np.uint64), squares.sum(0, dtype=np.uint64)])

    def num_rows(self, split: str) -> int:
        """Images of a split."""
        return sum(shard["rows"] for shard in self.shards[split])

    def num_bytes(self) -> int:
        """Bytes of all shards."""
        return sum(shard["bytes"] for shards in self.shards.values() for shard in shards)


@dataclass(frozen=True)
class Prepared:
    """What a run has written.

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


def prepare(plan: Plan, show: Callable[[int, int], None] = lambda done, total: None) -> Prepared:
    """Write the shards that are missing, and the manifest.

    Args:
        show: told (originals done, originals in all) as it goes on.

    Raises:
        Unusable: the folder holds another set or cannot be written, or there is no usable image.
    """
    began = time.monotonic()
    with _alone(plan):
        there = _shards_there(plan)
        if not there:
            _write(plan, BAD_IMAGES, b"[]")  # before the work: a folder that cannot be written is refused now
        tally, done, total = Tally(), 0, sum(len(originals) for originals in plan.originals.splits.values())
        with ThreadPoolExecutor(places.NUM_THREADS) as pool, Remarks() as heard:
            for split, number, originals in plan.parts():
                file = f"{split}-{number:05d}.parquet"
                content = _kept(plan, file, split, number, there)
                if content is None:
                    content = _shard(plan, (split, number, originals), pool, heard)
                    _write(plan, file, content)
                    tally.num_new += len(originals)
                else:
                    tally.num_kept_shards += 1
                table = pq.read_table(io.BytesIO(content))
                tally.add(split, file, content, table)
                if split == "train":
                    tally.add_pixels(decode(table["image"].combine_chunks(), (plan.channels, plan.size, plan.size)))
                done += len(originals)
                show(done, total)
        return _finish(plan, tally, began)


@contextlib.contextmanager
def _alone(plan: Plan) -> Iterator[None]:
    """While this process writes a folder of a disk, no other does; the lock ends with the process, however that ends.

    In an object store each file comes whole, and two processes write equal ones.
    """
    files, folder = places.at(plan.uri)
    if not places.is_local(files):
        yield
        return
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
        lock = FileLock(f"{folder}/{LOCK}").acquire(blocking=False)
    except Timeout:
        raise Unusable(f"{plan.uri}: another prepare is at work there. Wait until it has ended, or choose another --to") from None
    except OSError as error:
        raise Unusable(f"--to cannot be used: {plan.uri}: {error.strerror}") from error
    with lock:
        for left in Path(folder).glob("*.partial"):  # of a process that was killed
            left.unlink()
        yield


def _shards_there(plan: Plan) -> dict[str, str]:
    """The sha256 of each file of a finished set of this plan; empty where there is none."""
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
            "another encoding or another version of Pillow or of this program: choose another --to, or delete it"
        )
    return {shard["file"]: shard["sha256"] for split in SPLITS for shard in manifest["splits"][split]["shards"]}


def _finish(plan: Plan, tally: Tally, began: float) -> Prepared:
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
        "moments": hashlib.sha256(moments.getvalue()).hexdigest(),
        "plan": plan.identity,
        "versions": {name: version(name) for name in ("numpy", "pillow", "pyarrow")},
    }
    manifest["sha256"] = manifest_sum(manifest)
    _write(plan, MANIFEST, json.dumps(manifest, indent=1).encode())
    seconds = time.monotonic() - began
    return Prepared(manifest, tally.bad, tally.remarks, tally.num_bytes(), tally.num_new, tally.num_kept_shards, seconds)


def _write(plan: Plan, file: str, content: bytes) -> None:
    files, folder = places.at(plan.uri)
    try:
        places.put(files, f"{folder}/{file}", content)
    except Exception as error:  # each file system has its own
        raise Unusable(f"--to cannot be written: {redacted(plan.uri)}/{file}: {places.said(error)}") from error


def _shard(plan: Plan, part: tuple[str, int, Sequence[Original]], pool: ThreadPoolExecutor, heard: Remarks) -> bytes:
    """The Parquet file of one part: rows in the order of the originals, without the bad ones, which its footer lists."""

    def attempt(original: Original) -> tuple[bytes | str, list[str]]:
        remarks = heard.of_this_thread()
        try:
            return stored(original, plan.size, plan.channels, plan.encoding, remarks), remarks
        except Exception as error:  # Pillow raises whatever a damaged file makes its decoders do
            return reason(error), remarks

    split, number, originals = part
    results = list(zip(originals, pool.map(attempt, originals), strict=True))
    rows = [(result, original.label) for original, (result, _) in results if isinstance(result, bytes)]
    bad = [(original.name, result) for original, (result, _) in results if isinstance(result, str)]
    remarks = [(original.name, remark) for original, (_, remarks) in results for remark in dict.fromkeys(remarks)]
    said = {"bad": bad, "remarks": remarks}
    sha256 = _sum([image for image, _ in rows], [label for _, label in rows], said)
    raw = plan.encoding == "raw"
    schema = pa.schema(
        [("image", pa.binary(plan.channels * plan.size**2 if raw else -1)), ("label", pa.int32())],
        metadata={FOOTER: json.dumps(_part(plan, split, number) | said | {"sha256": sha256}).encode()},
    )
    table = pa.table([[image for image, _ in rows], [label for _, label in rows]], schema=schema)
    content = io.BytesIO()
    pq.write_table(table, content, compression="zstd" if raw else "none", use_dictionary=False)
    return content.getvalue()


def _part(plan: Plan, split: str, number: int) -> dict[str, Any]:
    layout = "uint8 channels x side x side" if plan.encoding == "raw" else "PNG or JPEG"
    image = {"channels": plan.channels, "side": plan.size, "image": layout}
    return {"plan": plan.identity, "name": plan.name, "split": split, "number": number, **image}


def footer_of(table: pa.Table) -> dict[str, Any]:
    """What a shard says about itself."""
    return dict(json.loads(table.schema.metadata[FOOTER]))


def rows_of(table: pa.Table) -> tuple[list[bytes], list[int]]:
    """Stored images and labels of a shard."""
    return table["image"].to_pylist(), table["label"].to_pylist()


def _sum(images: Sequence[bytes], labels: Sequence[int], said: Mapping[str, Any]) -> str:
    """sha256 over the rows of a shard and what its footer says of the originals."""
    digest = hashlib.sha256(json.dumps([said["bad"], said["remarks"]]).encode())
    hash_rows(digest, images, labels)
    return digest.hexdigest()


def _kept(plan: Plan, file: str, split: str, number: int, there: Mapping[str, str]) -> bytes | None:
    """The shard of an earlier run, if it is whole and of the same originals.

    Args:
        there: the sha256 of each file where the set is finished.
    """
    files, folder = places.at(plan.uri)
    try:
        content: bytes = files.cat_file(f"{folder}/{file}")
        if there:
            return content if hashlib.sha256(content).hexdigest() == there.get(file) else None
        table = pq.read_table(io.BytesIO(content))
        footer = footer_of(table)
        wanted = _part(plan, split, number) | {"sha256": _sum(*rows_of(table), footer)}
    except Exception:  # it is not there, or it was cut short anywhere: it is written again
        return None
    return content if {name: footer.get(name) for name in wanted} == wanted else None
