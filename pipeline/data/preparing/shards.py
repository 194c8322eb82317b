"""The shards of a set of images: each a part whose rows are those of its originals that are usable, in their order."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pyarrow as pa

from pipeline import files as places
from pipeline.data.images.pixels import Remarks, hash_rows, reason, stored
from pipeline.data.parts import packed, unpacked
from pipeline.data.preparing.originals import Original
from pipeline.data.preparing.plan import Plan, ShardPlan


def convert(plan: Plan, shard: ShardPlan, pool: ThreadPoolExecutor, heard: Remarks) -> bytes:
    """Convert the originals of a shard, and make its file; the bad ones are left out and listed in its footer."""

    def attempt(original: Original) -> tuple[bytes | str, list[str]]:
        remarks = heard.of_this_thread()
        try:
            return stored(original, plan.size, plan.channels, plan.encoding, remarks), remarks
        except Exception as error:  # Pillow raises whatever a damaged file makes its decoders do
            return reason(error), remarks

    results = list(zip(shard.originals, pool.map(attempt, shard.originals), strict=True))
    images = [result for _, (result, _) in results if isinstance(result, bytes)]
    labels = [original.label for original, (result, _) in results if isinstance(result, bytes)]
    bad = [(original.name, result) for original, (result, _) in results if isinstance(result, str)]
    remarks = [(original.name, remark) for original, (_, remarks) in results for remark in dict.fromkeys(remarks)]
    remarked = {"bad": bad, "remarks": remarks}
    raw = plan.encoding == "raw"
    schema = pa.schema([("image", pa.binary(plan.channels * plan.size**2 if raw else -1)), ("label", pa.int32())])
    table, facts = pa.table([images, labels], schema=schema), identity_of(plan, shard) | remarked
    sha256 = _sum(images, labels, remarked)
    return packed(table, facts, sha256, compression="zstd" if raw else "none", use_dictionary=False)


def kept(plan: Plan, shard: ShardPlan, finished: Mapping[str, str]) -> bytes | None:
    """Read the shard that an earlier run has written, where it is whole and of the same originals; None otherwise.

    Args:
        finished: the sha256 of each file where the set is finished.
    """
    files, folder = places.at(plan.uri)
    try:
        content: bytes = files.cat_file(f"{folder}/{shard.file}")
        if finished:
            return content if hashlib.sha256(content).hexdigest() == finished.get(shard.file) else None
        part = unpacked(content, sha256_of)
    except Exception:  # it is not there, or it was cut short anywhere: it is written again
        return None
    return part.content if part.holds(identity_of(plan, shard)) else None


def identity_of(plan: Plan, shard: ShardPlan) -> dict[str, Any]:
    """Say what a shard holds, for its footer."""
    layout = "uint8 channels x side x side" if plan.encoding == "raw" else "PNG or JPEG"
    image = {"channels": plan.channels, "side": plan.size, "image": layout}
    return {"plan": plan.identity, "name": plan.name, "split": shard.split, "number": shard.number, **image}


def images_and_labels(table: pa.Table) -> tuple[list[bytes], list[int]]:
    """Take images, as they are stored, and labels from the rows of a shard."""
    return table["image"].to_pylist(), table["label"].to_pylist()


def sha256_of(table: pa.Table, facts: Mapping[str, Any]) -> str:
    """Compute the sha256 of a shard from its rows and its footer."""
    return _sum(*images_and_labels(table), facts)


def _sum(images: Sequence[bytes], labels: Sequence[int], remarked: Mapping[str, Any]) -> str:
    """Compute the sha256 of rows, and of what their footer says of the originals."""
    digest = hashlib.sha256(json.dumps([remarked["bad"], remarked["remarks"]]).encode())
    hash_rows(digest, images, labels)
    return digest.hexdigest()
