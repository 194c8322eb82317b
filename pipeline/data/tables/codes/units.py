"""Arrays of Arrow as numbers of 64 bits, and back: what is counted from where, in which unit."""

from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Protocol

import numpy as np
import pyarrow as pa

from pipeline.data.tables.codes import dates

Floats = np.ndarray[Any, np.dtype[np.float64]]
LARGEST = 2.0**64 - 2.0**12
"""That a double can be, and 64 bits can hold."""


class Unit(Protocol):
    """One way of counting the values of a column."""

    @property
    def ends(self) -> tuple[float, float]:
        """Give the bounds of the column as numbers."""

    def numbers(self, values: pa.ChunkedArray) -> Floats:
        """Give values without missing ones as numbers."""

    def values(self, numbers: Floats) -> pa.Array:
        """Give numbers within the bounds as values of the column's type."""


@dataclass(frozen=True)
class Real:
    """Floating point and decimal numbers, as they are; decimals are exact to 15 digits."""

    type: pa.DataType
    ends: tuple[float, float]

    def numbers(self, values: pa.ChunkedArray) -> Floats:
        """Give values without missing ones as numbers."""
        return np.asarray(values.cast(pa.float64(), safe=False))

    def values(self, numbers: Floats) -> pa.Array:
        """Give numbers as values of the column's type, decimals rounded to their places."""
        if not pa.types.is_decimal(self.type):
            return pa.array(numbers, pa.float64()).cast(self.type, safe=False)
        largest = 10.0 ** (self.type.precision - self.type.scale) * (1 - 1e-15)
        return pa.array(np.clip(numbers, -largest, largest)).cast(self.type, safe=False)


@dataclass(frozen=True)
class Whole:
    """Whole numbers, and dates and times as whole numbers of their unit, counted from the smallest: exact up to 2^53 above it.

    Attributes:
        low, high: bounds, as Arrow stores them.
    """

    type: pa.DataType
    low: int
    high: int

    @property
    def ends(self) -> tuple[float, float]:
        """Give the bounds of the column, counted from the lower one."""
        return 0.0, float(self.high - self.low)

    def numbers(self, values: pa.ChunkedArray) -> Floats:
        """Give values without missing ones as numbers above the lower bound."""
        stored = np.asarray(values.cast(stored_as(self.type)))
        wide = stored.astype(np.uint64 if stored.dtype.kind == "u" else np.int64)
        from_low = wide.view(np.uint64) - np.array([self.low % 2**64], np.uint64)  # wraps round: none is too large
        below = wide < self.low
        return np.where(below, -(~from_low + np.uint64(1)).astype(np.float64), from_low.astype(np.float64))

    def values(self, numbers: Floats) -> pa.Array:
        """Give numbers as values of the column's type, rounded to whole ones."""
        above = np.clip(np.rint(numbers), 0, LARGEST).astype(np.uint64)
        stored = np.minimum(above, np.uint64(self.high - self.low)) + np.array([self.low % 2**64], np.uint64)
        of = stored_as(self.type)
        return pa.array(stored if pa.types.is_unsigned_integer(of) else stored.view(np.int64)).cast(of).cast(self.type)


@dataclass(frozen=True)
class Written:
    """Dates and times that are written as text, as whole seconds."""

    type: pa.DataType
    format: str
    seconds: Whole

    @property
    def ends(self) -> tuple[float, float]:
        """Give the bounds of the column, in seconds from the lower one."""
        return self.seconds.ends

    def numbers(self, values: pa.ChunkedArray) -> Floats:
        """Read values without missing ones as seconds above the lower bound."""
        return self.seconds.numbers(dates.read(values, self.format))

    def values(self, numbers: Floats) -> pa.Array:
        """Write numbers as text of the column's form."""
        return dates.write(self.seconds.values(numbers), self.format).cast(self.type)


def unit_of(of: pa.DataType, low: Any, high: Any, form: str | None = None) -> Unit:
    """Choose how values of a type are counted.

    Args:
        low, high: bounds, of dates and times as text, in the form if there is one.
        form: of dates that are written as text.
    """
    if form is not None:
        low, high = dates.read(pa.array([low, high]), form).cast(pa.int64()).to_pylist()
        return Written(of, form, Whole(SECONDS, low, high))
    if pa.types.is_floating(of) or pa.types.is_decimal(of):
        return Real(of, (float(low), float(high)))
    return Whole(of, stored(low, of), stored(high, of))


SECONDS = pa.timestamp("s")


def stored_as(of: pa.DataType) -> pa.DataType:
    """Give the type of the whole numbers that Arrow stores a type as."""
    return of if pa.types.is_integer(of) else pa.int32() if of.bit_width == 32 else pa.int64()


def stored(value: Any, of: pa.DataType) -> int:
    """Give a value of a type, or its text, as the whole number that Arrow stores.

    >>> stored("1970-01-02", SECONDS)
    86400

    Raises:
        ValueError: it is no such value.
    """
    if isinstance(value, int):
        return value
    if pa.types.is_time(of):  # Arrow reads no text as one
        return stored(f"1970-01-01 {value}", pa.timestamp(of.unit))
    plain = _without_zone(of)
    return int(pa.scalar(value).cast(plain).cast(stored_as(plain)).as_py())


def written(number: int, of: pa.DataType) -> str | int:
    """Write the whole number that Arrow stores as text, of times with a zone in UTC; durations and whole numbers stay numbers.

    >>> written(86400, SECONDS)
    '1970-01-02 00:00:00'
    """
    plain = _without_zone(of)
    if pa.types.is_integer(plain) or pa.types.is_duration(plain):
        return number
    return str(pa.scalar(number, stored_as(plain)).cast(plain).cast(pa.string()).as_py())


def _without_zone(of: pa.DataType) -> pa.DataType:
    return pa.timestamp(of.unit) if pa.types.is_timestamp(of) else of


def cell(value: pa.Scalar) -> Any:
    """Give a value as what YAML and JSON can hold, from which `scalar` makes it again."""
    if pa.types.is_temporal(value.type):
        return written(value.cast(stored_as(value.type)).as_py(), value.type)
    plain = value.as_py()
    return str(plain) if isinstance(plain, Decimal) else plain


def scalar(value: Any, of: pa.DataType) -> pa.Scalar:
    """Make a value of a type of what `cell` gave."""
    if pa.types.is_temporal(of):
        return pa.scalar(stored(value, of), stored_as(of)).cast(of)
    return pa.scalar(Decimal(value) if pa.types.is_decimal(of) else value).cast(of)
