"""The way of every long job of rows: a plan of parts, workers that write them, a folder that holds them, a manifest.

Parts are written whole or not at all, wherever they are; a command that is started again goes on with the missing ones. The
number of workers changes nothing but the time.
"""

import hashlib
import json
import logging
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import ray.data
import torch

from deploy.bulk.travelling import Travelling
from pipeline.data.images.streaming import quieten_ray_data
from pipeline.data.parts import Damaged, Foreign, packed, unpacked
from pipeline.data.tables.passes.split import hashes
from pipeline.errors import FlowError, FolderTaken, Unusable
from pipeline.files import at, listed, put
from pipeline.generator import Generator

logger = logging.getLogger(__name__)
MANIFEST = "_samples.json"


@dataclass(frozen=True)
class Rows:
    """The rows of one part.

    Attributes:
        table: with all its columns.
        made: names of the columns that the part is there for: their numbers make its sha256.
        facts: what its footer says beside what identifies it.
    """

    table: pa.Table
    made: tuple[str, ...]
    facts: Mapping[str, Any]


class Plan(Protocol):
    """One long job, as plain values that workers get.

    Attributes:
        generator: that makes the rows.
        url: folder that they are written to, any URL that fsspec knows.
        others: what the parts of another job in the folder may be of, for the error.
    """

    @property
    def generator(self) -> Travelling: ...

    @property
    def url(self) -> str: ...

    @property
    def others(self) -> str: ...

    @property
    def num_parts(self) -> int:
        """Count the parts."""

    def identity(self, part: int) -> dict[str, Any]:
        """Say what a part holds, ready for JSON."""

    def rows(self, generator: Generator, part: int, item: Mapping[str, Any]) -> Rows:
        """Make the rows of a part, in a worker."""

    def summary(self, facts: Mapping[int, Mapping[str, Any]]) -> dict[str, Any]:
        """Say what the manifest holds of the job, beside its parts."""


def path_of(root: str, part: int) -> str:
    """Name the file of a part, so that names in alphabetical order are parts in order.

    >>> path_of("bucket/out", 7)
    'bucket/out/part-000007.parquet'
    """
    return f"{root}/part-{part:06d}.parquet"


class PartWriter:
    """The actor of Ray Data that holds its own copy of the generator, and writes one part at a time."""

    def __init__(self, plan: Plan) -> None:
        torch.set_num_threads(1)
        self.plan, self.generator = plan, plan.generator.generator()
        self.files, self.root = at(plan.url)

    def __call__(self, batch: dict[str, np.ndarray]) -> dict[str, list[Any]]:
        """Write the parts of a batch, and give the facts of each as JSON."""
        items = [{name: column[row] for name, column in batch.items()} for row in range(len(batch["id"]))]
        return {"id": [int(item["id"]) for item in items], "facts": [json.dumps(self.write(item)) for item in items]}

    def write(self, item: Mapping[str, Any]) -> dict[str, Any]:
        """Make and write one part, and return its facts with the sha256 of its numbers."""
        part = int(item["id"])
        rows = self.plan.rows(self.generator, part, item)
        facts = {**self.plan.identity(part), **rows.facts, "made": list(rows.made)}
        digest = sha256_of(rows.table, facts)
        put(self.files, path_of(self.root, part), packed(rows.table, facts, digest))
        return {**facts, "sha256": digest}


def sha256_of(table: pa.Table, facts: Mapping[str, Any]) -> str:
    """Compute the sha256 of the cells that a part is there for; Parquet's own sums guard its other columns."""
    digest = hashlib.sha256()
    for name in facts.get("made", table.column_names):
        column = table[name].combine_chunks()
        values = column.flatten() if pa.types.is_fixed_size_list(column.type) else column
        is_plain = not values.null_count and (pa.types.is_integer(values.type) or pa.types.is_floating(values.type))
        digest.update(values.to_numpy().tobytes() if is_plain else hashes(table.select([name])).tobytes())
    return digest.hexdigest()


def finished(plan: Plan) -> dict[int, Mapping[str, Any]]:
    """Read the facts of each part that the folder already holds whole; damaged ones are left out, to be written again.

    Raises:
        FolderTaken: the folder holds parts of something else.
    """
    files, root = at(plan.url)
    facts: dict[int, Mapping[str, Any]] = {}
    for path in listed(files, root):
        if not re.fullmatch(r".*/part-\d+\.parquet", path):
            continue
        try:
            part = unpacked(files.cat_file(path), sha256_of)
        except Damaged:
            logger.warning("%s is damaged: it is written again", path)
            continue
        except Foreign as error:
            raise _of_something_else(plan, path) from error
        number = part.facts.get("part", -1)
        if number not in range(plan.num_parts) or not part.holds(plan.identity(number)):
            raise _of_something_else(plan, path)
        facts[number] = part.facts
    return facts


def _of_something_else(plan: Plan, path: str) -> FolderTaken:
    return FolderTaken(f"{plan.url} already holds {path.rpartition('/')[2]} of another {plan.others}: choose another folder")


def no_item(part: int) -> dict[str, Any]:
    """Give the worker that makes a part nothing beside the plan."""
    return {}


def carry_out(
    plan: Plan,
    num_workers: int,
    item: Callable[[int], dict[str, Any]] = no_item,
    facts: Mapping[int, Mapping[str, Any]] | None = None,
) -> Iterator[tuple[int, int]]:
    """Write the parts that the folder lacks, then the manifest; yield (parts done, parts in all) as it goes on.

    Args:
        item: gives what the worker that makes a part gets beside the plan.
        facts: of the parts that the folder holds, where `finished` has been asked already.

    Raises:
        FlowError: the folder cannot be written, or what the parts are made of cannot be used.
    """
    facts = dict(finished(plan) if facts is None else facts)
    yield len(facts), plan.num_parts
    missing = [part for part in range(plan.num_parts) if part not in facts]
    if missing:
        quieten_ray_data()
        ray.data.DataContext.get_current().enable_progress_bars = False
        workers = ray.data.ActorPoolStrategy(size=min(num_workers, len(missing)))
        items = [{"id": part, **item(part)} for part in missing]
        written = ray.data.from_items(items, override_num_blocks=len(missing)).map_batches(
            PartWriter, fn_constructor_args=(plan,), batch_size=1, compute=workers, num_cpus=1
        )
        try:
            for row in written.iter_rows():
                facts[int(row["id"])] = json.loads(row["facts"])
                yield len(facts), plan.num_parts
        except ray.exceptions.RayError as error:
            reason = cause(error)
            if reason.startswith(f"{Unusable.__module__}.{Unusable.__name__}: "):
                raise Unusable(reason.partition(": ")[2]) from error
            raise FlowError(f"{plan.url} could not be written: {reason}. The same command goes on.") from error
    files, root = at(plan.url)
    put(files, f"{root}/{MANIFEST}", json.dumps(manifest_of(plan, facts), indent=1).encode())


def manifest_in(plan: Plan) -> dict[str, Any]:
    """Read the manifest of a job that has been carried out."""
    files, root = at(plan.url)
    manifest: dict[str, Any] = json.loads(files.cat_file(f"{root}/{MANIFEST}"))
    return manifest


def cause(error: Exception) -> str:
    """Find in Ray Data's long text the line that a worker's own code raised; else its first line.

    >>> cause(Exception("ray.exceptions.RayTaskError: ...\\n  OSError: no space left\\n"))
    'OSError: no space left'
    """
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    raised = [line for line in lines if re.match(r"(?!ray\.)[\w.]*(Error|Exception|Unusable): ", line)]
    return [*lines[:1], *raised][-1]


def manifest_of(plan: Plan, facts: Mapping[int, Mapping[str, Any]]) -> dict[str, Any]:
    """Write down whose rows a folder holds, how many, and one sha256 over the digests of all parts in order."""
    in_order = "".join(facts[part]["sha256"] for part in range(plan.num_parts))
    identity = {key: value for key, value in plan.identity(0).items() if key not in ("part", "num_samples")}
    digest = hashlib.sha256(in_order.encode()).hexdigest()
    return {**identity, **plan.summary(facts), "num_parts": plan.num_parts, "sha256": digest}
