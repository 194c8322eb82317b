"""A sample of a column's rows, which is the same however many rows come at once: a row's number alone decides on it."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from pipeline.data.tables.codes.fitting import MOST_ROWS, Floats

ODD = np.uint64(0x9E3779B97F4A7C15)
MIXING = ((np.uint64(30), np.uint64(0xBF58476D1CE4E5B9)), (np.uint64(27), np.uint64(0x94D049BB133111EB)))
"""Of the generator splitmix64, which gives each number another one that looks drawn at random."""


@dataclass(frozen=True, eq=False)
class Rows:
    """The rows of a batch.

    Attributes:
        numbers: their places in the table, from 0.
        train: which are trained on.
        keys: numbers that look drawn at random, of each row its own; rows with the smallest are the sample.
        weights: None: all count alike.
    """

    numbers: np.ndarray
    train: np.ndarray
    keys: np.ndarray
    weights: Floats | None = None

    @classmethod
    def of(cls, count: int, first: int = 0, train: np.ndarray | None = None, weights: Floats | None = None) -> "Rows":
        """Describe rows that begin with one of a number, by which alone a row gets its key."""
        numbers = np.arange(first, first + count)
        with np.errstate(over="ignore"):
            keys = (numbers.astype(np.uint64) + np.uint64(1)) * ODD
            for shift, factor in MIXING:
                keys = (keys ^ (keys >> shift)) * factor
        return cls(numbers, np.ones(count, bool) if train is None else train, keys ^ (keys >> np.uint64(31)), weights)

    def only(self, mask: np.ndarray) -> "Rows":
        """Take the rows that a mask marks."""
        weights = None if self.weights is None else self.weights[mask]
        return Rows(self.numbers[mask], self.train[mask], self.keys[mask], weights)


class Sampled:
    """Values of a column in the rows with the smallest keys, at most `MOST_ROWS` of them, in their order."""

    def __init__(self, of: pa.DataType) -> None:
        self.limit, self._type = 2**64 - 1, of
        self._parts: list[tuple[pa.ChunkedArray, Rows]] = []
        self._count = 0

    def add(self, present: pa.ChunkedArray, rows: Rows) -> None:
        """Take further values of the column, and the rows that they are in."""
        self._parts.append(self._below(present, rows))
        self._count += len(self._parts[-1][0])
        while self._count > MOST_ROWS:
            self.limit //= 2
            self._parts = [self._below(*part) for part in self._parts]
            self._count = sum(len(values) for values, _ in self._parts)

    def _below(self, values: pa.ChunkedArray, rows: Rows) -> tuple[pa.ChunkedArray, Rows]:
        mask = rows.keys <= np.uint64(self.limit)
        return (values, rows) if mask.all() else (values.filter(pa.array(mask)), rows.only(mask))

    @property
    def values(self) -> pa.ChunkedArray:
        """Give all values of the sample."""
        chunks = [chunk for values, _ in self._parts for chunk in values.chunks]
        return pa.chunked_array(chunks, self._type)

    def split(self) -> tuple[pa.ChunkedArray, Floats | None, pa.ChunkedArray]:
        """Give those of the rows that are trained on, their weights, and those of other rows."""
        train = np.concatenate([np.empty(0, bool), *(rows.train for _, rows in self._parts)])
        weights = [rows.weights[rows.train] for _, rows in self._parts if rows.weights is not None]
        values = self.values
        of_train = np.concatenate(weights) if weights else None
        return values.filter(pa.array(train)), of_train, values.filter(pa.array(~train))
