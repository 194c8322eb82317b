"""Many samples as Parquet, through Ray Data: in parts that are pure functions of (map, seed, part number).

Parts are written whole or not at all, wherever they are; a command that is started again goes on with the missing ones. The
number of workers changes nothing but the time.
"""

import hashlib
import json
import logging
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import ray.data
import torch

from components.conditions import Conditions, Law
from deploy.models import noise_at, push_in_blocks
from deploy.versions.code import needed
from pipeline.data.endpoints import law_at, load_source
from pipeline.data.images.streaming import quieten_ray_data
from pipeline.data.parts import Damaged, Foreign, packed, unpacked
from pipeline.data.source import Samples
from pipeline.errors import FlowError, FolderTaken
from pipeline.files import at, listed, put
from pipeline.generator import Generator, generator_of
from pipeline.parts import travel
from pipeline.phase import Phase

if TYPE_CHECKING:
    from pipeline.data.tables.coding import Coding

logger = logging.getLogger(__name__)
MANIFEST = "_samples.json"
PART_BYTES = 32 * 2**20
"""Most bytes of samples in one part: what a worker holds at a time."""
MOST_PER_PART = 65_536


@dataclass(frozen=True)
class Generation:
    """One bulk generation, as plain values that workers get: a generator, how many samples, from which seed, where to.

    Attributes:
        phase: JSON of the phase.
        maps: weights of the phase's map, or of all increments, as numpy arrays.
        shape: of one sample.
        shift, scale: take samples from the space of the flow to the data's own units.
        url: folder, any URL that fsspec knows.
        data_uri: folder or URL of prepared image sets, which only a source of images needs.
        law: of the condition that the map is given; None where it is given none.
        condition: that all samples are given, as a person writes it; None: drawn for each.
        coding: the way from samples to the rows of a table, where they are some.
    """

    phase: str
    maps: tuple[Mapping[str, np.ndarray], ...]
    shape: tuple[int, ...]
    shift: np.ndarray
    scale: float
    seed: int
    num_samples: int
    url: str
    data_uri: str | None = None
    law: Law | None = None
    condition: str | None = None
    coding: "Coding | None" = None

    @property
    def per_part(self) -> int:
        """Number of samples in a part: a function of their size alone, so that parts never depend on the machine."""
        return max(1, min(MOST_PER_PART, PART_BYTES // (4 * int(np.prod(self.shape)))))

    @property
    def num_parts(self) -> int:
        """Number of parts, the last of which may be shorter."""
        return -(-self.num_samples // self.per_part)

    def identity(self, part: int) -> dict[str, Any]:
        """Say what part number `part` holds: of which map, from which seed, how many samples."""
        fingerprint = Phase.from_json(self.phase).fingerprint
        count = min(self.per_part, self.num_samples - part * self.per_part)
        given = {} if self.condition is None else {"condition": self.condition}
        return {"fingerprint": fingerprint, "seed": self.seed, "part": part, "num_samples": count, **given}


def generation_of(generator: Generator, *, seed: int, num_samples: int, url: str, condition: str | None = None) -> Generation:
    """Plan a generation: what is drawn from a generator, from which seed, given what, and where it is written.

    Raises:
        ValueError: there is no such condition, or the map is given none.
    """
    if condition is not None:
        law_at(generator.endpoints.law, condition)
    maps = tuple({key: value.numpy() for key, value in transport_map.state_dict().items()} for transport_map in generator.maps)
    ends = generator.endpoints
    return Generation(
        generator.phase.to_json(),
        maps,
        ends.shape,
        np.asarray(ends.shift),
        ends.scale,
        seed,
        num_samples,
        url,
        ends.data_uri,
        ends.law,
        condition,
        ends.coding,
    )


def generator_in(generation: Generation) -> Generator:
    """Build the generator of a generation, in the worker that draws from it."""
    phase = Phase.from_json(generation.phase)
    travel.require(needed(phase).items())
    where = (generation.shape, generation.shift, generation.scale, generation.data_uri)
    endpoints = load_source(
        phase.data, *where, picture="none", law=generation.law, coding=generation.coding
    )  # of samples that nobody draws
    weights = ({key: torch.from_numpy(np.array(value)) for key, value in arrays.items()} for arrays in generation.maps)
    return generator_of(phase, endpoints, weights)


def draw(generator: Generator, seed: int, part: int, n: int, condition: str | None = None) -> tuple[Samples, Conditions | None]:
    """Draw the n samples of a part, in the data's own units, from noise that the seed and the part's number alone decide.

    Returns:
        The samples, and the condition that each was given, where the map is given any.
    """
    noise = noise_at(generator, n, seed, part, condition)
    return push_in_blocks(generator, noise), noise.condition


def path_of(root: str, part: int) -> str:
    """Name the file of a part, so that names in alphabetical order are parts in order.

    >>> path_of("bucket/out", 7)
    'bucket/out/part-000007.parquet'
    """
    return f"{root}/part-{part:06d}.parquet"


class PartWriter:
    """The actor of Ray Data that holds its own copy of the generator, and writes one part at a time."""

    def __init__(self, generation: Generation) -> None:
        torch.set_num_threads(1)
        self.generation, self.generator = generation, generator_in(generation)
        self.files, self.root = at(generation.url)

    def __call__(self, batch: dict[str, np.ndarray]) -> dict[str, list[Any]]:
        parts = [int(part) for part in batch["id"]]
        return {"part": parts, "digest": [self.write(part) for part in parts]}

    def write(self, part: int) -> str:
        """Draw and write one part, and return the sha256 of its float32 numbers."""
        identity = self.generation.identity(part)
        generation = self.generation
        drawn, given = draw(self.generator, generation.seed, part, identity["num_samples"], generation.condition)
        samples = np.ascontiguousarray(drawn, dtype="<f4")
        table = arrays_of(samples, given) if generation.coding is None else generation.coding.table(samples, given)
        digest = _sha256(table, {})
        put(self.files, path_of(self.root, part), packed(table, identity | {"shape": samples.shape[1:]}, digest))
        return digest


def arrays_of(samples: Samples, given: Conditions | None) -> pa.Table:
    """Make a table of samples, and of the condition that each was given: an array in each cell."""
    columns = {"sample": column_of(samples)}
    if given is not None:
        columns["condition"] = column_of(given) if given.ndim > 1 else pa.array(given)
    return pa.table(columns)


def column_of(rows: np.ndarray) -> pa.FixedSizeListArray:
    """Make a column whose cells are rows of numbers, each flattened."""
    flat = np.ascontiguousarray(rows.reshape(len(rows), -1))
    return pa.FixedSizeListArray.from_arrays(pa.array(flat.ravel()), flat.shape[1])


def finished(generation: Generation) -> dict[int, str]:
    """Read the sha256 of each part that the folder already holds whole; damaged ones are left out, to be written again.

    Raises:
        FolderTaken: the folder holds samples of something else.
    """
    files, root = at(generation.url)
    digests: dict[int, str] = {}
    for path in listed(files, root):
        if not re.fullmatch(r".*/part-\d+\.parquet", path):
            continue
        try:
            part = unpacked(files.cat_file(path), _sha256)
        except Damaged:
            logger.warning("%s is damaged: it is written again", path)
            continue
        except Foreign as error:
            raise _of_something_else(generation, path) from error
        number = part.facts.get("part", -1)
        if number not in range(generation.num_parts) or not part.holds(generation.identity(number)):
            raise _of_something_else(generation, path)
        digests[number] = part.facts["sha256"]
    return digests


def _of_something_else(generation: Generation, path: str) -> FolderTaken:
    file = path.rpartition("/")[2]
    return FolderTaken(f"{generation.url} already holds {file} of another map, seed, condition or number: choose another folder")


def _sha256(table: pa.Table, _: Mapping[str, Any]) -> str:
    """Compute the sha256 of the numbers of a part: of its samples, then of their conditions; of a table, of its rows."""
    if "sample" not in table.column_names or not pa.types.is_fixed_size_list(table.schema.field("sample").type):
        from pipeline.data.tables.preparing import hashes

        return hashlib.sha256(hashes(table).tobytes()).hexdigest()
    digest = hashlib.sha256()
    for name in table.column_names:
        column = table[name].combine_chunks()
        values = column.values if pa.types.is_fixed_size_list(column.type) else column
        digest.update(values.to_numpy().tobytes())
    return digest.hexdigest()


def generate(generation: Generation, num_workers: int) -> Iterator[tuple[int, int]]:
    """Write the parts that the folder lacks, then the manifest; yield (parts done, parts in all) as it goes on.

    Raises:
        FlowError: the folder cannot be written.
    """
    digests = finished(generation)
    yield len(digests), generation.num_parts
    missing = [{"id": part} for part in range(generation.num_parts) if part not in digests]
    if missing:
        quieten_ray_data()
        ray.data.DataContext.get_current().enable_progress_bars = False
        workers = ray.data.ActorPoolStrategy(size=min(num_workers, len(missing)))
        written = ray.data.from_items(missing, override_num_blocks=len(missing)).map_batches(
            PartWriter, fn_constructor_args=(generation,), batch_size=1, compute=workers, num_cpus=1
        )
        try:
            for row in written.iter_rows():
                digests[int(row["part"])] = str(row["digest"])
                yield len(digests), generation.num_parts
        except ray.exceptions.RayError as error:
            raise FlowError(f"{generation.url} could not be written: {cause(error)}. The same command goes on.") from error
    files, root = at(generation.url)
    put(files, f"{root}/{MANIFEST}", json.dumps(manifest_of(generation, digests), indent=1).encode())


def cause(error: Exception) -> str:
    """Find in Ray Data's long text the line that a worker's own code raised; else its first line.

    >>> cause(Exception("ray.exceptions.RayTaskError: ...\\n  OSError: no space left\\n"))
    'OSError: no space left'
    """
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    raised = [line for line in lines if re.match(r"(?!ray\.)[\w.]*(Error|Exception): ", line)]
    return [*lines[:1], *raised][-1]


def manifest_of(generation: Generation, digests: Mapping[int, str]) -> dict[str, Any]:
    """Write down whose samples a folder holds, how many, and one sha256 over the digests of all parts in order."""
    in_order = "".join(digests[part] for part in range(generation.num_parts))
    identity = {key: value for key, value in generation.identity(0).items() if key in ("fingerprint", "seed", "condition")}
    digest = hashlib.sha256(in_order.encode()).hexdigest()
    return {**identity, "num_samples": generation.num_samples, "num_parts": generation.num_parts, "sha256": digest}
