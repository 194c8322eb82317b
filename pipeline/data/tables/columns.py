"""How one column becomes coordinates and comes back: a code for each kind of column and each of its transforms."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.data.tables.codes.categories import Categories
from pipeline.data.tables.codes.cells import Cells
from pipeline.data.tables.codes.grids import Grid
from pipeline.data.tables.codes.marginals import MARGINALS, Marginal
from pipeline.data.tables.codes.units import Real, Unit, scalar, unit_of
from pipeline.data.tables.schema import Column
from pipeline.errors import Unusable

Arrays = Mapping[str, np.ndarray]
MOST_ROWS = 200_000
"""Rows that the transform of a column of numbers is fitted to, evenly spaced over all; shares of categories are of all rows."""
NOISE = 0.1
"""Standard deviation of the noise about 0 and 1 of categories that have a coordinate each."""


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
        return cls(unit, grid, MARGINALS[column.transform or "quantile"].fit(unit.numbers(evenly(values)), grid.step))

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
class OneHot:
    """The code of a few categories: a coordinate for each, of noise about 0 and 1, brought to mean 0 and variance 1."""

    column: Column
    shares: np.ndarray

    @property
    def suffixes(self) -> tuple[str, ...]:
        """The categories."""
        return tuple(f"={category}" for category in self.column.categories)

    @classmethod
    def fit(cls, column: Column, values: pa.ChunkedArray) -> "OneHot":
        """Fit to values, none of them missing."""
        return cls(column, shares_of(column, values))

    @classmethod
    def restored(cls, column: Column, arrays: Arrays) -> "OneHot":
        """Make a code of what `arrays` gave."""
        return cls(column, **arrays)

    @property
    def _deviations(self) -> np.ndarray:
        return np.asarray(np.sqrt(self.shares * (1 - self.shares) + NOISE**2))

    def encode(self, values: pa.ChunkedArray, rng: np.random.Generator) -> np.ndarray:
        """Give n values as coordinates (n, categories)."""
        coordinates = NOISE * rng.standard_normal((len(values), len(self.shares))) - self.shares
        coordinates[np.arange(len(values)), chosen(self.column).places(values)] += 1
        return np.asarray(coordinates / self._deviations)

    def decode(self, coordinates: np.ndarray) -> pa.Array:
        """Give coordinates (n, categories) as the category of the largest, before they were brought to variance 1."""
        return chosen(self.column).values(np.argmax(coordinates * self._deviations + self.shares, axis=1))

    def arrays(self) -> dict[str, np.ndarray]:
        """Give what was fitted."""
        return {"shares": self.shares}


@dataclass(frozen=True, eq=False)
class Ranked:
    """The code of categories as intervals of one coordinate: text by falling frequency, whatever has an order in that order."""

    column: Column
    order: np.ndarray
    cells: Cells
    suffixes: tuple[str, ...] = ("",)

    @classmethod
    def fit(cls, column: Column, values: pa.ChunkedArray) -> "Ranked":
        """Fit to values, none of them missing."""
        shares = shares_of(column, values)
        of = column.arrow_type
        has_order = of.ordered if pa.types.is_dictionary(of) else isinstance(column.categories[0], int | float)
        order = np.arange(len(shares)) if has_order else np.argsort(-shares, kind="stable")
        return cls(column, order, Cells.of(shares[order]))

    @classmethod
    def restored(cls, column: Column, arrays: Arrays) -> "Ranked":
        """Make a code of what `arrays` gave."""
        return cls(column, arrays["order"], Cells(arrays["edges"]))

    def encode(self, values: pa.ChunkedArray, rng: np.random.Generator) -> np.ndarray:
        """Give n values as coordinates (n, 1)."""
        return self.cells.to_normal(np.argsort(self.order)[chosen(self.column).places(values)], rng)[:, None]

    def decode(self, coordinates: np.ndarray) -> pa.Array:
        """Give coordinates (n, 1) as the categories whose intervals they lie in."""
        return chosen(self.column).values(self.order[self.cells.from_normal(coordinates[:, 0].astype(np.float64))])

    def arrays(self) -> dict[str, np.ndarray]:
        """Give what was fitted."""
        return {"order": self.order, "edges": self.cells.edges}


def chosen(column: Column) -> Categories:
    """Give the categories of a column."""
    return Categories(column.name, column.categories, column.arrow_type)


def shares_of(column: Column, values: pa.ChunkedArray) -> np.ndarray:
    """Give the share of each category of a column."""
    counts = np.bincount(chosen(column).places(values), minlength=len(column.categories))
    return np.asarray(counts / counts.sum())


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
        return pc.if_else(pa.array(missing), pa.scalar(None, values.type), values)

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
