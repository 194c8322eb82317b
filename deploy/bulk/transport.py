"""Given points, transported by a map, as Parquet: part number p holds the same rows of the input, whoever makes it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from deploy.bulk.inputs import Inputs, Shard, pieces_of
from deploy.bulk.parts import Rows
from deploy.bulk.travelling import Travelling
from pipeline.data.endpoints import law_at
from pipeline.data.given.coordinates import require_mapped
from pipeline.data.given.ways import Way, Where, way_of
from pipeline.generator import Generator, push_in_blocks, rows_per_part


@dataclass(frozen=True)
class Transport:
    """One transport of many points, as a `Plan`: a generator, from which seed z is drawn, the files of points, where to.

    Attributes:
        shards: files of the points.
        schema: that their rows are read with.
        points: hash of what the file systems say of the files' contents.
        way: of rows to points, and back.
        condition: that all points are given, as a person writes it; None: drawn for each.
    """

    generator: Travelling
    seed: int
    url: str
    shards: tuple[Shard, ...]
    schema: pa.Schema
    points: str
    way: Way
    condition: str | None = None
    others: str = "map, seed, condition or input, or of an input that has changed since"

    @property
    def num_samples(self) -> int:
        """Count all points."""
        return sum(shard.num_rows for shard in self.shards)

    @property
    def num_parts(self) -> int:
        """Count the parts, the last of which may be shorter."""
        return -(-self.num_samples // rows_per_part(self.generator.shape))

    def span(self, part: int) -> tuple[int, int]:
        """Give the numbers of a part's first row and of the one after its last."""
        size = rows_per_part(self.generator.shape)
        return part * size, min(self.num_samples, (part + 1) * size)

    def identity(self, part: int) -> dict[str, Any]:
        """Say what part number `part` holds: of which map, from which seed, of which points."""
        start, stop = self.span(part)
        given = {} if self.condition is None else {"condition": self.condition}
        of_points = {"points": self.points, "coordinates": list(self.way.columns)}
        return {
            "fingerprint": self.generator.fingerprint,
            "seed": self.seed,
            "part": part,
            "num_samples": stop - start,
            **of_points,
            **given,
        }

    def rows(self, generator: Generator, part: int, item: Mapping[str, Any]) -> Rows:
        """Transport the rows of a part; row i gets the same z wherever it is transported."""
        table, points = self.read(part, item["rows"])
        (noise,) = generator.given_noise(points, self.seed, self.condition, part, self.way.conditions(table))
        samples = push_in_blocks(generator, noise)
        require_mapped(samples, self.span(part)[0])
        moved, made = self.way.back(table, samples, None if self.condition is not None else noise.condition)
        return Rows(moved, made, {"far": generator.num_far(points)})

    def read(self, part: int, held: bytes) -> tuple[pa.Table, np.ndarray]:
        """Read the rows of a part and its points.

        Args:
            held: rows that were read already, as an Arrow stream.
        """
        pieces, (row, _) = list(pieces_of(self.shards, *self.span(part))), self.span(part)
        if held:
            table = pa.ipc.open_stream(held).read_all()
            return table, self.way.samples(table, Where(pieces[0].shard.name, pieces[0].start, self.seed, row))
        tables = [piece.shard.rows(piece.start, piece.stop).cast(self.schema) for piece in pieces]
        table = pa.concat_tables(tables)
        return table, self.way.samples(table, Where(pieces[0].shard.name, pieces[0].start, self.seed, row))

    def summary(self, facts: Mapping[int, Mapping[str, Any]]) -> dict[str, Any]:
        """Say how many points there are, and how many lie far outside the source."""
        return {"num_samples": self.num_samples, "far": sum(facts[part]["far"] for part in range(self.num_parts))}


def transport_of(
    generator: Generator, inputs: Inputs, *, seed: int, url: str, condition: str | None = None, asked: Sequence[str] = ()
) -> Transport:
    """Plan a transport: which points, by which map, from which seed, given what, and where they are written.

    Args:
        asked: names of the columns with the coordinates, in their order.

    Raises:
        Unusable: the files do not have such columns, or one of them is called as the condition is written.
        ValueError: there is no such condition, or the map is given none.
    """
    if condition is not None:
        law_at(generator.endpoints.law, condition)
    drawn = "--condition" if condition is None and generator.endpoints.law is not None else None
    way = way_of(generator.endpoints, inputs.schema, inputs.shards[0].name, asked, condition=drawn)
    return Transport(Travelling.of(generator), seed, url, inputs.shards, inputs.schema, inputs.digest, way, condition)


def require_points(plan: Transport, inputs: Inputs, parts: Sequence[int]) -> None:
    """Read all points of parts once, before the first part is made: a bad one leaves nothing half-written.

    Raises:
        Unusable: a point is missing or not finite; names the file, the row and the column.
    """
    for part in parts:
        for piece, table in inputs.tables_of(*plan.span(part), plan.way.columns):
            plan.way.samples(table, Where(piece.shard.name, piece.start))
            plan.way.conditions(table)
