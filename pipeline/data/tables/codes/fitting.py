"""What the code of a column is fitted to: values of the rows that are trained on, their weights, what must come back besides."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

Floats = np.ndarray[Any, np.dtype[np.float64]]
MOST_ROWS = 200_000
"""Rows that the transform of a column of numbers is fitted to, evenly spaced over all; shares of categories are of all rows."""


@dataclass(frozen=True, eq=False)
class Counted:
    """How often all rows of a large table have the values of a column, where a code is fitted to a sample of them.

    Attributes:
        distinct: the values, where they are few; None: they are many.
        masses: weight of the rows that are trained on with each of them.
        in_others: whether other rows have it.
        missing: weight of the rows that are trained on in which one is there, and missing.
        missing_in_others: whether one is missing in other rows.
        row: mean weight of a row.
        is_sample: whether a code is fitted to some of the rows alone.
    """

    distinct: pa.ChunkedArray | None
    masses: Floats
    in_others: np.ndarray
    missing: np.ndarray
    missing_in_others: bool
    row: float = 1.0
    is_sample: bool = True


@dataclass(frozen=True, eq=False)
class Fitting:
    """Values that a code is fitted to.

    >>> fitting = Fitting(pa.chunked_array([["a", None]]), others=pa.chunked_array([["b"]]))
    >>> fitting.present.values.to_pylist(), fitting.masses(lambda values: np.asarray(values.is_null(), np.int64), 2)
    (['a'], array([1., 1.]))

    Attributes:
        values: of the rows that are trained on.
        weights: of each of them, above 0; None: all count alike.
        others: values of other rows that will be coded, such as those that are held out; None: there are none.
        counted: what is known of all rows, of which these are some; None: these are all.
    """

    values: pa.ChunkedArray
    weights: Floats | None = None
    others: pa.ChunkedArray | None = None
    counted: Counted | None = None

    @property
    def present(self) -> "Fitting":
        """Leave out the missing values, and their weights."""
        weights = None if self.weights is None else self.weights[np.asarray(pc.is_valid(self.values))]
        return Fitting(self.values.drop_null(), weights, None if self.others is None else self.others.drop_null(), self.counted)

    @property
    def distinct(self) -> pa.ChunkedArray | None:
        """Give the values of rows beside those that a code is fitted to; None where it is fitted to all, or they are many."""
        if self.counted is not None:
            return self.counted.distinct if self.counted.is_sample else None
        return pa.chunked_array([self.values.unique()]) if len(self.values) > MOST_ROWS else None

    @property
    def rare(self) -> float:
        """Give the weight of a value that only other rows have: that of half a row."""
        if self.counted is not None:
            return self.counted.row / 2
        return 0.5 if self.weights is None or not len(self.weights) else float(self.weights.mean()) / 2

    def masses(self, places: Callable[[pa.ChunkedArray], np.ndarray], count: int) -> Floats:
        """Give the weight of all rows at each of a number of places; of a place that only other rows have, `rare`.

        Args:
            places: gives the place of each of some values.
        """
        if self.counted is not None and self.counted.distinct is not None:
            at = places(self.counted.distinct)
            of_rows: Floats = np.bincount(at, self.counted.masses, minlength=count).astype(np.float64)
            return self._with_rare(of_rows, np.bincount(at, self.counted.in_others, minlength=count))
        of_rows = np.bincount(places(self.values), self.weights, minlength=count).astype(np.float64)
        return of_rows if self.others is None else self._with_rare(of_rows, np.bincount(places(self.others), minlength=count))

    def masses_of_missing(self) -> Floats:
        """Give the weight of all rows in which a value is there, and of those in which it is missing."""
        if self.counted is None:
            return self.masses(lambda values: np.asarray(pc.is_null(values)).astype(np.int64), 2)
        return self._with_rare(self.counted.missing, np.array([False, self.counted.missing_in_others]))

    def _with_rare(self, of_rows: Floats, of_others: np.ndarray) -> Floats:
        return np.where((of_rows == 0) & (of_others > 0), self.rare, of_rows)

    def evenly(self) -> "Fitting":
        """Take at most `MOST_ROWS` rows, evenly spaced."""
        weights = None if self.weights is None else self.weights[spaced(len(self.values))]
        return Fitting(evenly(self.values), weights, self.others, self.counted)


def evenly(values: pa.ChunkedArray) -> pa.ChunkedArray:
    """Take at most `MOST_ROWS` values, evenly spaced."""
    return values if len(values) <= MOST_ROWS else values.take(pa.array(spaced(len(values))))


def spaced(count: int) -> np.ndarray:
    """Give the numbers of at most `MOST_ROWS` of some rows, evenly spaced."""
    return np.arange(min(count, MOST_ROWS)) * count // min(count, MOST_ROWS) if count else np.arange(0)
