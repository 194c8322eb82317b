"""A table as ForestFlow takes it: numbers, categories by number, whole numbers; and back."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.data.tables.codes.choices import chosen
from pipeline.data.tables.columns import described
from pipeline.data.tables.schema import NUMERIC, Column, Schema

MISSING = "missing"


@dataclass(frozen=True)
class Columns:
    """The columns of a schema as columns of one array of numbers.

    A category's missing value is one more category. Missing numbers stay missing, and none are generated.
    """

    schema: Schema

    def of(self, *kinds: str) -> list[int]:
        """List the places of the columns of some kinds."""
        return [i for i, column in enumerate(self.schema.kept) if column.kind in kinds]

    def numbers(self, table: pa.Table) -> np.ndarray:
        """Give the n rows of a table as numbers (n, columns)."""
        return np.column_stack([self._numbers(column, table[column.name]) for column in self.schema.kept])

    def _numbers(self, column: Column, values: pa.ChunkedArray) -> np.ndarray:
        missing = np.asarray(pc.is_null(values, nan_is_null=True))
        found = np.full(len(values), np.nan)
        there = values.filter(pa.array(~missing))
        if column.transform in NUMERIC:
            found[~missing] = described(column)[0].numbers(there)
        else:
            found[~missing] = chosen(column).places(there)
            found[missing] = len(column.categories)
        return found

    def bounds(self) -> list[np.ndarray]:
        """Give the smallest and the largest number of each column, (1, columns) each."""
        ends = [self._ends(column) for column in self.schema.kept]
        return [np.array([[end[side] for end in ends]]) for side in (0, 1)]

    def _ends(self, column: Column) -> tuple[float, float]:
        if column.transform in NUMERIC:
            return described(column)[0].ends
        return 0.0, float(len(column.categories) - 1 + column.nullable)

    def table(self, numbers: np.ndarray) -> pa.Table:
        """Give numbers (n, columns) as a table, those of columns with a grid rounded to it."""
        named = zip(self.schema.kept, numbers.T, strict=True)
        return pa.table({column.name: self._values(column, values) for column, values in named})

    def _values(self, column: Column, numbers: np.ndarray) -> pa.Array:
        if column.transform in NUMERIC:
            unit, grid = described(column)
            return unit.values(np.clip(grid.nearest(np.clip(numbers, *unit.ends)), *unit.ends))
        places = np.rint(numbers).astype(np.int64)
        known = chosen(column).values(np.minimum(places, len(column.categories) - 1))
        return pc.if_else(pa.array(places < len(column.categories)), known, pa.scalar(None, known.type))
