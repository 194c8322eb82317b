"""How one column becomes coordinates and comes back: a code for each kind of column and each of its transforms."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.data.tables.codes.cells import Cells
from pipeline.data.tables.codes.choices import OneHot, Ranked
from pipeline.data.tables.codes.conform import COMPUTED
from pipeline.data.tables.codes.grids import Grid
from pipeline.data.tables.codes.marginals import MARGINALS, Marginal
from pipeline.data.tables.codes.quantiles import MANY
from pipeline.data.tables.codes.units import Real, Unit, scalar, unit_of
from pipeline.data.tables.schema import Column
from pipeline.errors import Unusable

Arrays = Mapping[str, np.ndarray]
MOST_ROWS = 200_000
"""Rows that the transform of a column of numbers is fitted to, evenly spaced over all; shares of categories are of all rows."""


class Code(Protocol):
    """A fitted code of one column."""

    @property
    def suffixes(self) -> tuple[str, ...]:
        """What the names of the coordinates end with, after the column's name."""

    def encode(self, values: pa.ChunkedArray, rng: np.random.Generator) -> np.ndarray:
        """Give n values as coordinates (n, width)."""

    def decode(self, coordinates: np.ndarray) -> pa.Array:
        """Give coordinates (n, width) as values of the column's type."""

    def arrays(self) -> dict[str, np.ndarray]:
        """Give what was fitted, for `restored`."""


@dataclass(frozen=True, eq=False)
class Numeric:
    """The code of numbers, whole numbers, dates and times: one coordinate."""

    unit: Unit
    grid: Grid
    marginal: Marginal
    suffixes: tuple[str, ...] = ("",)

    @classmethod
    def fit(cls, column: Column, values: pa.ChunkedArray) -> "Numeric":
        """Fit to values, none of them missing."""
        unit, grid = described(column)
        numbers, some = unit.numbers(evenly(values)), len(values) > MOST_ROWS
        if some and grid.step and unit.ends[1] - unit.ends[0] < MANY * grid.step:  # a rare value is not to be forgotten
            numbers = np.concatenate([numbers, np.setdiff1d(unit.numbers(values.unique()), numbers)])
        return cls(unit, grid, MARGINALS[column.transform or "quantile"].fit(numbers, grid.step))

    @classmethod
    def restored(cls, column: Column, arrays: Arrays) -> "Numeric":
        """Make a code of what `arrays` gave."""
        return cls(*described(column), MARGINALS[column.transform or "quantile"](**arrays))

    def encode(self, values: pa.ChunkedArray, rng: np.random.Generator) -> np.ndarray:
        """Give n values as coordinates (n, 1)."""
        return self.marginal.to_normal(self.unit.numbers(values), rng)[:, None]

    def decode(self, coordinates: np.ndarray) -> pa.Array:
        """Give coordinates (n, 1) as values of the grid and within the bounds."""
        numbers = self.marginal.from_normal(coordinates[:, 0].astype(np.float64))
        return self.unit.values(np.clip(self.grid.nearest(np.clip(numbers, *self.unit.ends)), *self.unit.ends))

    def arrays(self) -> dict[str, np.ndarray]:
        """Give what was fitted."""
        return self.marginal.arrays()


def described(column: Column) -> tuple[Unit, Grid]:
    """Give the unit and the grid that a column's description says."""
    unit = unit_of(column.arrow_type, column.low, column.high, column.format)
    return unit, Grid(column.grid, column.digits, unit.ends[0] if isinstance(unit, Real) else 0.0)


def evenly(values: pa.ChunkedArray) -> pa.ChunkedArray:
    """Take at most `MOST_ROWS` values, evenly spaced."""
    if len(values) <= MOST_ROWS:
        return values
    return values.take(pa.array(np.arange(MOST_ROWS) * len(values) // MOST_ROWS))


@dataclass(frozen=True, eq=False)
class Constant:
    """The code of a column that has one value: no coordinate."""

    column: Column
    suffixes: tuple[str, ...] = ()

    @classmethod
    def fit(cls, column: Column, values: pa.ChunkedArray) -> "Constant":
        """Fit to nothing."""
        return cls(column)

    @classmethod
    def restored(cls, column: Column, arrays: Arrays) -> "Constant":
        """Make a code of nothing."""
        return cls(column)

    def encode(self, values: pa.ChunkedArray, rng: np.random.Generator) -> np.ndarray:
        """Give n values as coordinates (n, 0)."""
        return np.empty((len(values), 0))

    def decode(self, coordinates: np.ndarray) -> pa.Array:
        """Put the value back, n times."""
        of = self.column.arrow_type
        plain = of.value_type if pa.types.is_dictionary(of) else of
        return pa.repeat(scalar(self.column.value, plain), len(coordinates)).cast(of)

    def arrays(self) -> dict[str, np.ndarray]:
        """Give nothing."""
        return {}


@dataclass(frozen=True, eq=False)
class Missing:
    """The code of a column with missing values: whether one is missing is the first coordinate."""

    inner: Code
    cells: Cells

    @property
    def suffixes(self) -> tuple[str, ...]:
        """The indicator, and the coordinates of the values that are there."""
        return ("?", *self.inner.suffixes)

    def encode(self, values: pa.ChunkedArray, rng: np.random.Generator) -> np.ndarray:
        """Give n values as coordinates (n, 1 + width); those of a missing value are noise."""
        there = np.asarray(pc.is_valid(values))
        coordinates = rng.standard_normal((len(values), 1 + len(self.inner.suffixes)))
        coordinates[:, 0] = self.cells.to_normal((~there).astype(np.int64), rng)
        coordinates[there, 1:] = self.inner.encode(values.drop_null(), rng)
        return coordinates

    def decode(self, coordinates: np.ndarray) -> pa.Array:
        """Give coordinates (n, 1 + width) as values, some of them missing."""
        missing = self.cells.from_normal(coordinates[:, 0].astype(np.float64)) == 1
        values = self.inner.decode(coordinates[:, 1:])
        plain = values.cast(COMPUTED.get(values.type, values.type))
        return pc.if_else(pa.array(missing), pa.scalar(None, plain.type), plain).cast(values.type)

    def arrays(self) -> dict[str, np.ndarray]:
        """Give what was fitted."""
        return {MISSING: self.cells.edges, **self.inner.arrays()}


MISSING = "missing"
CODES: dict[str, Any] = {**dict.fromkeys(MARGINALS, Numeric), "one_hot": OneHot, "rank": Ranked, "constant": Constant}
"""By the name of a transform; a constant column has none."""


def fitted(column: Column, values: pa.ChunkedArray) -> Code:
    """Fit the code of a column to its values.

    Raises:
        Unusable: none is there, or one is missing that may not be.
    """
    there = values.drop_null()
    if column.value is None and not len(there):
        raise Unusable(f"all values of the column {column.name} are missing")
    inner: Code = CODES[column.transform or "constant"].fit(column, there)
    return Missing(inner, Cells.of(np.array([len(there), values.null_count]))) if column.nullable else inner


def restored(column: Column, arrays: Arrays) -> Code:
    """Make the code of a column of what `arrays` gave."""
    own = {name: array for name, array in arrays.items() if name != MISSING}
    inner: Code = CODES[column.transform or "constant"].restored(column, own)
    return Missing(inner, Cells(arrays[MISSING])) if column.nullable else inner
