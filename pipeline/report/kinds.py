"""The kinds of columns that a report knows, and how the values of each are read as numbers."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.data.tables.codes import dates
from pipeline.data.tables.codes.arrow_types import is_choice, is_text
from pipeline.data.tables.schema import Column
from pipeline.errors import Unusable

LARGEST = 1e150
"""The squares of larger numbers are infinite."""
Values = Mapping[str, pa.ChunkedArray]
"""One column of every file, by the file's flag."""


@dataclass(frozen=True)
class Feature:
    """A column as it is judged: every value is a number, and NaN where it is missing.

    Attributes:
        ordered: whether values have an order and a distance; otherwise each is the place of its category in `labels`.
        labels: the categories, the most frequent one first.
        is_date: whether numbers are seconds since 1970.
        step: the real values are whole multiples of it above `origin`; 0 where they have no such grid.
    """

    name: str
    ordered: bool
    labels: tuple[str, ...] = ()
    is_date: bool = False
    step: float = 0.0
    origin: float = 0.0

    def is_off_grid(self, values: np.ndarray) -> np.ndarray:
        """Mark values between the steps, beyond what rounding to float32 leaves, up to a twentieth of a step.

        Values without steps never are; of large ones in float32 real values are too.
        """
        if self.step == 0:
            return np.zeros(len(values), dtype=bool)
        scaled = (values - self.origin) / self.step
        rounding = np.minimum(1e-6 + 1.2e-7 * (np.abs(values) / self.step), 0.05)
        return np.asarray(np.abs(scaled - np.round(scaled)) > rounding)

    def on_grid(self, values: np.ndarray) -> np.ndarray:
        """Give values of the steps the same digits, wherever they come from: a classifier sees what rounding has left."""
        if self.step == 0:
            return values
        nearest = self.origin + self.step * np.round((values - self.origin) / self.step)
        return np.where(self.is_off_grid(values), values, nearest)


class Kind(Protocol):
    """How columns of some Arrow types are read."""

    @property
    def word(self) -> str:
        """Say in a word what such columns hold."""
        ...

    def read(self, column: Column, values: Values) -> tuple[Feature, dict[str, np.ndarray]]:
        """Read one column of every file.

        Args:
            column: what the schema says of it.
            values: the real ones come first.

        Raises:
            Unusable: it cannot be judged; the sentence says what to do.
        """
        ...


def leave_out(name: str) -> str:
    """Say how a column is left out."""
    return f"leave it out with --drop {name}"


@dataclass(frozen=True)
class Numbers:
    """Whole numbers, floats, decimals, durations."""

    word: str = "numbers"

    def read(self, column: Column, values: Values) -> tuple[Feature, dict[str, np.ndarray]]:
        """Read numbers as float64; infinite ones are refused."""
        name = column.name
        arrays = {flag: self._floats(each) for flag, each in values.items()}
        for flag, array in arrays.items():
            if (np.abs(array) > LARGEST).any():
                raise Unusable(f"column {name!r} of {flag} has infinite values or numbers beyond {LARGEST:g}; {leave_out(name)}")
        if column.grid is None:
            return Feature(name, True), arrays
        feature = Feature(name, True, step=float(column.grid), origin=float(column.low or 0))
        return feature, {flag: feature.on_grid(array) for flag, array in arrays.items()}

    def _floats(self, column: pa.ChunkedArray) -> np.ndarray:
        whole = column.cast(pa.int64()) if pa.types.is_duration(column.type) else column
        return np.asarray(pc.cast(whole, pa.float64(), safe=False), dtype=np.float64)


@dataclass(frozen=True)
class Dates:
    """Dates and times, also those written as text, as seconds since 1970."""

    word: str = "dates or times"

    def read(self, column: Column, values: Values) -> tuple[Feature, dict[str, np.ndarray]]:
        """Read seconds as float64; text that is no date in the column's form is missing."""
        arrays = {flag: self._seconds(each, column.format) for flag, each in values.items()}
        return Feature(column.name, True, is_date=True), arrays

    def _seconds(self, column: pa.ChunkedArray, form: str | None) -> np.ndarray:
        if form is not None and not pa.types.is_null(column.type):
            column = dates.read(_texts(column), form, or_missing=True)
        if pa.types.is_time(column.type):
            unit = {"s": 1.0, "ms": 1e3, "us": 1e6, "ns": 1e9}[column.type.unit]
            integers = pa.int32() if pa.types.is_time32(column.type) else pa.int64()
            return np.asarray(pc.cast(pc.cast(column, integers), pa.float64())) / unit
        seconds = pc.cast(pc.cast(column, pa.timestamp("us")), pa.int64())
        return np.asarray(pc.cast(seconds, pa.float64(), safe=False)) / 1e6


@dataclass(frozen=True)
class Categories:
    """Text, booleans, dictionaries, and what a schema says to be categories."""

    word: str = "categories"

    def read(self, column: Column, values: Values) -> tuple[Feature, dict[str, np.ndarray]]:
        """Read categories as their places in the order of how often the real rows have them."""
        texts = {flag: _texts(each) for flag, each in values.items()}
        real = next(iter(texts.values()))
        counts = {row["values"]: row["counts"] for row in real.value_counts().to_pylist() if row["values"] is not None}
        others = {each for text in texts.values() for each in pc.unique(text).to_pylist() if each is not None} - counts.keys()
        labels = [*sorted(counts, key=lambda each: (-counts[each], each)), *sorted(others)]
        places = pa.array(labels, pa.string())
        indices = {flag: pc.index_in(text, value_set=places, skip_nulls=True) for flag, text in texts.items()}
        arrays = {flag: np.asarray(pc.cast(each, pa.float64()), dtype=np.float64) for flag, each in indices.items()}
        return Feature(column.name, False, tuple(labels)), arrays


def kind_of_column(column: Column) -> Kind:
    """Choose how a column is read, by its schema: text may hold dates, numbers be categories; all else goes by its type."""
    if column.format is not None:
        return Dates()
    if column.kind == "category":
        return Categories()
    kind = kind_of(column.arrow_type)
    assert kind is not None  # the schema refuses others
    return kind


def kind_of(kind: pa.DataType) -> Kind | None:
    """Find the kind of a column by its Arrow type; None where it is none that can be judged.

    >>> kind_of(pa.int8()).word
    'numbers'
    """
    return next((each for holds, each in KINDS if any(test(kind) for test in holds)), None)


def _is_choice(kind: pa.DataType) -> bool:
    return is_choice(kind.value_type) if pa.types.is_dictionary(kind) else is_text(kind)


def _texts(column: pa.ChunkedArray) -> pa.ChunkedArray:
    plain = column.cast(column.type.value_type) if pa.types.is_dictionary(column.type) else column
    return pc.cast(plain, pa.string())


Test = Callable[[pa.DataType], bool]
KINDS: tuple[tuple[tuple[Test, ...], Kind], ...] = (
    ((pa.types.is_integer, pa.types.is_floating, pa.types.is_decimal, pa.types.is_duration), Numbers()),
    ((pa.types.is_timestamp, pa.types.is_date, pa.types.is_time), Dates()),
    ((pa.types.is_boolean, _is_choice), Categories()),
)
"""Tests of an Arrow type, and the kind of the columns that pass one."""
