"""How one column becomes coordinates and comes back: a code for each kind of column and each of its transforms."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.data.tables.codes import arrow_types
from pipeline.data.tables.codes.cells import Cells
from pipeline.data.tables.codes.choices import OneHot, Ranked
from pipeline.data.tables.codes.conform import COMPUTED
from pipeline.data.tables.codes.fitting import Fitting, evenly
from pipeline.data.tables.codes.grids import Grid
from pipeline.data.tables.codes.marginals import CLOSE, MARGINALS, Floats, Marginal
from pipeline.data.tables.codes.quantiles import MANY
from pipeline.data.tables.codes.units import Real, Unit, scalar, unit_of
from pipeline.data.tables.schema import Column
from pipeline.errors import Unusable
from pipeline.recipes.values import shown

Arrays = Mapping[str, np.ndarray]


class Code(Protocol):
    """A fitted code of one column."""

    @property
    def suffixes(self) -> tuple[str, ...]:
        """Say what the names of the coordinates end with, after the column's name."""

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
    def fit(cls, column: Column, given: Fitting) -> "Numeric":
        """Fit to values, none of them missing; those of other rows that would come back as another one are fitted to as well."""
        unit, grid = described(column)
        some = given.evenly()
        numbers, weights = unit.numbers(some.values), some.weights
        known = given.distinct
        if known is not None and grid.step and unit.ends[1] - unit.ends[0] < MANY * grid.step:
            rare = np.setdiff1d(unit.numbers(known), numbers)  # it is not to be forgotten
            numbers, weights = np.concatenate([numbers, rare]), more_weights(weights, len(rare))
        others = np.empty(0) if given.others is None else unit.numbers(evenly(given.others).unique())

        def with_more(more: Floats) -> "Numeric":
            marginal = MARGINALS[column.transform or "quantile"]
            return cls(unit, grid, marginal.fit(np.append(numbers, more), grid.step, more_weights(weights, len(more))))

        code = with_more(others[: 0 if len(numbers) else None])
        if not len(lost := code.lost(others)):
            return code
        code = with_more(lost)
        return code if not len(code.lost(others)) else with_more(np.setdiff1d(others, numbers))

    def lost(self, numbers: Floats) -> Floats:
        """Give the numbers within the bounds that do not come back: from a grid another one, else farther than `CLOSE`."""
        low, high = self.unit.ends
        numbers = np.unique(numbers[(numbers >= low) & (numbers <= high)])
        if not len(numbers):  # which scikit-learn refuses to transform
            return numbers
        back = self._numbers(self.marginal.to_normal(numbers, np.random.default_rng(0)).astype(np.float32))
        return numbers[np.abs(back - numbers) > max((self.grid.step or 0.0) / 2, CLOSE * (high - low))]

    @classmethod
    def restored(cls, column: Column, arrays: Arrays) -> "Numeric":
        """Make a code of what `arrays` gave."""
        return cls(*described(column), MARGINALS[column.transform or "quantile"](**arrays))

    def encode(self, values: pa.ChunkedArray, rng: np.random.Generator) -> np.ndarray:
        """Give n values as coordinates (n, 1)."""
        return self.marginal.to_normal(self.unit.numbers(values), rng)[:, None]

    def decode(self, coordinates: np.ndarray) -> pa.Array:
        """Give coordinates (n, 1) as values of the grid and within the bounds."""
        return self.unit.values(self._numbers(coordinates[:, 0]))

    def _numbers(self, coordinates: np.ndarray) -> Floats:
        numbers = self.marginal.from_normal(coordinates.astype(np.float64))
        return np.clip(self.grid.nearest(np.clip(numbers, *self.unit.ends)), *self.unit.ends)

    def arrays(self) -> dict[str, np.ndarray]:
        """Give the arrays that the code is made of again, by name."""
        return self.marginal.arrays()


def described(column: Column) -> tuple[Unit, Grid]:
    """Give the unit and the grid that a column's description says."""
    unit = unit_of(column.arrow_type, column.low, column.high, column.format)
    return unit, Grid(column.grid, column.digits, unit.ends[0] if isinstance(unit, Real) else 0.0)


def more_weights(weights: Floats | None, count: int) -> Floats | None:
    """Give so many more numbers the weight of a row each."""
    return weights if weights is None else np.append(weights, np.full(count, weights.mean() if len(weights) else 1.0))


@dataclass(frozen=True, eq=False)
class Constant:
    """The code of a column that has one value: no coordinate."""

    column: Column
    suffixes: tuple[str, ...] = ()

    @classmethod
    def fit(cls, column: Column, given: Fitting) -> "Constant":
        """Make the code of a column whose one value its description says: nothing is fitted."""
        return cls(column)

    @classmethod
    def restored(cls, column: Column, arrays: Arrays) -> "Constant":
        """Make the code of the column's description alone: nothing was fitted."""
        return cls(column)

    def encode(self, values: pa.ChunkedArray, rng: np.random.Generator) -> np.ndarray:
        """Give n values as coordinates (n, 0)."""
        return np.empty((len(values), 0))

    def decode(self, coordinates: np.ndarray) -> pa.Array:
        """Repeat the one value for each of n rows."""
        of = self.column.arrow_type
        plain = of.value_type if pa.types.is_dictionary(of) else of
        return arrow_types.cast(pa.repeat(scalar(self.column.value, plain), len(coordinates)), of)

    def arrays(self) -> dict[str, np.ndarray]:
        """Give no array: nothing was fitted."""
        return {}


@dataclass(frozen=True, eq=False)
class Missing:
    """The code of a column with missing values: whether one is missing is the first coordinate."""

    name: str
    inner: Code
    cells: Cells

    @property
    def suffixes(self) -> tuple[str, ...]:
        """Name the indicator, and the coordinates of the values that are there."""
        return ("?", *self.inner.suffixes)

    def encode(self, values: pa.ChunkedArray, rng: np.random.Generator) -> np.ndarray:
        """Give n values as coordinates (n, 1 + width); those of a missing value are noise."""
        is_present = np.asarray(pc.is_valid(values))
        if self.cells.edges[1] == 1 and not is_present.all():
            row = int(np.argmin(is_present)) + 1
            raise Unusable(
                f"the column {shown(self.name)} has a missing value in row {row}, and no row that its code was fitted to has one"
            )
        coordinates = rng.standard_normal((len(values), 1 + len(self.inner.suffixes)))
        coordinates[:, 0] = self.cells.to_normal((~is_present).astype(np.int64), rng)
        coordinates[is_present, 1:] = self.inner.encode(values.drop_null(), rng)
        return coordinates

    def decode(self, coordinates: np.ndarray) -> pa.Array:
        """Give coordinates (n, 1 + width) as values, some of them missing."""
        missing = self.cells.from_normal(coordinates[:, 0].astype(np.float64)) == 1
        values = self.inner.decode(coordinates[:, 1:])
        plain = values.cast(COMPUTED.get(values.type, values.type))
        return pc.if_else(pa.array(missing), pa.scalar(None, plain.type), plain).cast(values.type)

    def arrays(self) -> dict[str, np.ndarray]:
        """Give the arrays that the code is made of again, by name."""
        return {MISSING: self.cells.edges, **self.inner.arrays()}


MISSING = "missing"
CODES: dict[str, Any] = {**dict.fromkeys(MARGINALS, Numeric), "one_hot": OneHot, "rank": Ranked, "constant": Constant}
"""By the name of a transform; a constant column has none."""


def fitted(column: Column, given: Fitting) -> Code:
    """Fit the code of a column to its values.

    Raises:
        Unusable: none is there, or one is missing that may not be.
    """
    present = given.present
    if column.value is None and not len(present.values) and not (present.others is not None and len(present.others)):
        raise Unusable(f"all values of the column {column.name} are missing")
    inner: Code = CODES[column.transform or "constant"].fit(column, present)
    return Missing(column.name, inner, Cells.of(given.masses_of_missing())) if column.nullable else inner


def restored(column: Column, arrays: Arrays) -> Code:
    """Make the code of a column of what `arrays` gave."""
    of_inner = {name: array for name, array in arrays.items() if name != MISSING}
    inner: Code = CODES[column.transform or "constant"].restored(column, of_inner)
    return Missing(column.name, inner, Cells(arrays[MISSING])) if column.nullable else inner
