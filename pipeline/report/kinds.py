"""The kinds of columns that a report knows, and how the values of each are read as numbers."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.errors import Unusable

Values = Mapping[str, pa.ChunkedArray]
"""One column of every file, by the file's flag."""


@dataclass(frozen=True)
class Feature:
    """A column as it is judged: every value is a number, and NaN where it is missing.

    Attributes:
        ordered: whether values have an order and a distance; otherwise each is the place of its category in `labels`.
        labels: the categories, the most frequent one first.
        is_date: whether numbers are seconds since 1970.
        step: the real values are whole multiples of it; 0 where they have no such grid.
    """

    name: str
    ordered: bool
    labels: tuple[str, ...] = ()
    is_date: bool = False
    step: float = 0.0


class Kind(Protocol):
    """How columns of some Arrow types are read."""

    @property
    def word(self) -> str:
        """What such columns hold, in words."""
        ...

    def read(self, name: str, values: Values, most: int) -> tuple[Feature, dict[str, np.ndarray]]:
        """Read one column of every file.

        Args:
            values: the real ones come first.
            most: more categories than this are text, and no categories.

        Raises:
            Unusable: it cannot be judged; the sentence says what to do.
        """
        ...


def leave_out(name: str) -> str:
    """Say how a column is left out."""
    return f"leave it out with --drop {name}"


@dataclass(frozen=True)
class Numbers:
    """Whole numbers, floats, decimals."""

    word: str = "numbers"
    is_date: bool = False

    def read(self, name: str, values: Values, most: int) -> tuple[Feature, dict[str, np.ndarray]]:
        """Read numbers as float64; infinite ones are refused."""
        arrays = {flag: self._floats(column) for flag, column in values.items()}
        for flag, array in arrays.items():
            if np.isinf(array).any():
                raise Unusable(f"column {name!r} of {flag} has infinite values; replace them, or {leave_out(name)}")
        step = 0.0 if self.is_date else grid_of(next(iter(arrays.values())))
        return Feature(name, True, is_date=self.is_date, step=step), arrays

    def _floats(self, column: pa.ChunkedArray) -> np.ndarray:
        return np.asarray(pc.cast(column, pa.float64(), safe=False).to_numpy(), dtype=np.float64)


@dataclass(frozen=True)
class Dates(Numbers):
    """Dates and times, as seconds since 1970."""

    word: str = "dates or times"
    is_date: bool = True

    def _floats(self, column: pa.ChunkedArray) -> np.ndarray:
        if pa.types.is_time(column.type):
            unit = {"s": 1.0, "ms": 1e3, "us": 1e6, "ns": 1e9}[column.type.unit]
            return np.asarray(pc.cast(pc.cast(column, _integers(column.type)), pa.float64()).to_numpy() / unit)
        seconds = pc.cast(pc.cast(column, pa.timestamp("us")), pa.int64())
        return np.asarray(pc.cast(seconds, pa.float64(), safe=False).to_numpy() / 1e6)


@dataclass(frozen=True)
class Categories:
    """Text and booleans."""

    word: str = "categories"

    def read(self, name: str, values: Values, most: int) -> tuple[Feature, dict[str, np.ndarray]]:
        """Read categories as their places in the order of how often the real rows have them."""
        texts = {flag: pc.cast(_plain(column), pa.string()) for flag, column in values.items()}
        real = next(iter(texts.values()))
        counts = {row["values"]: row["counts"] for row in real.value_counts().to_pylist() if row["values"] is not None}
        if len(counts) > most:
            many = f"{len(counts):,} different texts in {len(real):,} rows"
            raise Unusable(f"column {name!r} is an identifier or free text ({many}), not categories; {leave_out(name)}")
        others = {each for column in texts.values() for each in pc.unique(column).to_pylist() if each is not None} - counts.keys()
        labels = [*sorted(counts, key=lambda each: (-counts[each], each)), *sorted(others)]
        places = pa.array(labels, pa.string())
        arrays = {
            flag: pc.cast(pc.index_in(column, value_set=places, skip_nulls=True), pa.float64()).to_numpy().astype(np.float64)
            for flag, column in texts.items()
        }
        return Feature(name, False, tuple(labels)), arrays


def kind_of(kind: pa.DataType) -> Kind | None:
    """Find the kind of a column by its Arrow type; None where it is none that can be judged.

    >>> kind_of(pa.int8()).word
    'numbers'
    """
    return next((each for holds, each in KINDS if any(test(kind) for test in holds)), None)


def grid_of(values: np.ndarray) -> float:
    """Find the coarsest step among 1, 0.1, ... 1e-6 that all values are whole multiples of; 0 where there is none.

    >>> grid_of(np.array([1.25, 3.5, np.nan]))
    0.01
    """
    present = values[np.isfinite(values)]
    for digits in range(7):
        step = 10.0**-digits
        if present.size and not off_grid(present, step).any():
            return step
    return 0.0


def off_grid(values: np.ndarray, step: float) -> np.ndarray:
    """Mark values that are no whole multiple of a step, beyond what rounding to float32 leaves."""
    scaled = values / step
    rounding = 1e-6 + 1.2e-7 * np.abs(scaled)
    return (np.abs(scaled - np.round(scaled)) > rounding) | (rounding > 0.05)


def _integers(kind: pa.DataType) -> pa.DataType:
    return pa.int32() if pa.types.is_time32(kind) else pa.int64()


def _is_text(kind: pa.DataType) -> bool:
    inner = kind.value_type if pa.types.is_dictionary(kind) else kind
    return bool(pa.types.is_string(inner) or pa.types.is_large_string(inner) or pa.types.is_string_view(inner))


def _plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    return column.cast(column.type.value_type) if pa.types.is_dictionary(column.type) else column


Test = Callable[[pa.DataType], bool]
KINDS: tuple[tuple[tuple[Test, ...], Numbers | Categories], ...] = (
    ((pa.types.is_integer, pa.types.is_floating, pa.types.is_decimal), Numbers()),
    ((pa.types.is_timestamp, pa.types.is_date, pa.types.is_time), Dates()),
    ((pa.types.is_boolean, _is_text), Categories()),
)
"""Tests of an Arrow type, and the kind of the columns that pass one."""
