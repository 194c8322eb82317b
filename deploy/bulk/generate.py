"""Many samples as Parquet: in parts that are pure functions of (map, seed, part number)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from deploy.bulk.parts import Rows
from deploy.bulk.travelling import Travelling
from pipeline.data.endpoints import law_at
from pipeline.data.given.coordinates import CONDITION, POINT, condition_column, vectors
from pipeline.generator import Generator, push_in_blocks, rows_per_part


@dataclass(frozen=True)
class Generation:
    """One bulk generation, as a `Plan`: a generator, how many samples, from which seed, where to.

    Attributes:
        condition: that all samples are given, as a person writes it; None: drawn for each.
    """

    generator: Travelling
    seed: int
    num_samples: int
    url: str
    condition: str | None = None
    others: str = "map, seed, condition or number"

    @property
    def per_part(self) -> int:
        """Count the samples in a part."""
        return rows_per_part(self.generator.shape)

    @property
    def num_parts(self) -> int:
        """Count the parts, the last of which may be shorter."""
        return -(-self.num_samples // self.per_part)

    def identity(self, part: int) -> dict[str, Any]:
        """Say what part number `part` holds: of which map, from which seed, how many samples."""
        count = min(self.per_part, self.num_samples - part * self.per_part)
        given = {} if self.condition is None else {"condition": self.condition}
        return {"fingerprint": self.generator.fingerprint, "seed": self.seed, "part": part, "num_samples": count, **given}

    def rows(self, generator: Generator, part: int, item: Mapping[str, Any]) -> Rows:
        """Draw the samples of a part, in the data's own units, from noise that the seed and the part's number alone decide."""
        noise = generator.noise_at(self.identity(part)["num_samples"], self.seed, part, self.condition)
        samples = push_in_blocks(generator, noise).astype("<f4")
        facts = {"shape": samples.shape[1:]}
        if generator.endpoints.coding is not None:
            table = generator.table(samples, noise.condition)
            return Rows(table, tuple(table.column_names), facts)
        columns = {POINT: vectors(samples.reshape(len(samples), -1))}
        if noise.condition is not None and generator.endpoints.condition is not None:
            columns[CONDITION] = condition_column(generator.endpoints.condition.in_units(noise.condition))
        return Rows(pa.table(columns), tuple(columns), facts)

    def summary(self, facts: Mapping[int, Mapping[str, Any]]) -> dict[str, Any]:
        """Say how many samples there are."""
        return {"num_samples": self.num_samples}


def generation_of(generator: Generator, *, seed: int, num_samples: int, url: str, condition: str | None = None) -> Generation:
    """Plan a generation: what is drawn from a generator, from which seed, given what, and where it is written.

    Raises:
        ValueError: there is no such condition, or the map is given none.
    """
    if condition is not None:
        law_at(generator.endpoints.law, condition)
    return Generation(Travelling.of(generator), seed, num_samples, url, condition)
