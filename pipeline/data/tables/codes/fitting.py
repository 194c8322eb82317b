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
class Fitting:
    """Values that a code is fitted to.

    >>> fitting = Fitting(pa.chunked_array([["a", None]]), others=pa.chunked_array([["b"]]))
    >>> fitting.there.values.to_pylist(), fitting.masses(lambda values: np.asarray(values.is_null(), np.int64), 2)
    (['a'], array([1., 1.]))

    Attributes:
        values: of the rows that are trained on.
        weights: of each of them, above 0; None: all count alike.
        others: values of other rows that will be coded, such as those that are held out; None: there are none.
    """

    values: pa.ChunkedArray
    weights: Floats | None = None
    others: pa.ChunkedArray | None = None

    @property
    def there(self) -> "Fitting":
        """The same without missing values."""
        weights = None if self.weights is None else self.weights[np.asarray(pc.is_valid(self.values))]
        return Fitting(self.values.drop_null(), weights, None if self.others is None else self.others.drop_null())

    @property
    def rare(self) -> float:
        """The weight of a value that only other rows have: that of half a row."""
        return 0.5 if self.weights is None or not len(self.weights) else float(self.weights.mean()) / 2

    def masses(self, places: Callable[[pa.ChunkedArray], np.ndarray], count: int) -> Floats:
        """Give the weight of all rows at each of a number of places; of a place that only other rows have, `rare`.

        Args:
            places: gives the place of each of some values.
        """
        of_rows = np.bincount(places(self.values), self.weights, minlength=count).astype(np.float64)
        if self.others is None:
            return of_rows
        of_others = np.bincount(places(self.others), minlength=count)
        return np.where((of_rows == 0) & (of_others > 0), self.rare, of_rows)

    def evenly(self) -> "Fitting":
        """Take at most `MOST_ROWS` rows, evenly spaced."""
        return Fitting(evenly(self.values), None if self.weights is None else self.weights[spaced(len(self.values))], self.others)


def evenly(values: pa.ChunkedArray) -> pa.ChunkedArray:
    """Take at most `MOST_ROWS` values, evenly spaced."""
    return values if len(values) <= MOST_ROWS else values.take(pa.array(spaced(len(values))))


def spaced(count: int) -> np.ndarray:
    """Give the numbers of at most `MOST_ROWS` of some rows, evenly spaced."""
    return np.arange(min(count, MOST_ROWS)) * count // min(count, MOST_ROWS) if count else np.arange(0)
