"""The grid that the values of a column lie on: 0.01, 0.5, whole hundreds, an even lattice, a number of significant digits."""

from dataclasses import dataclass
from typing import Any

import numpy as np

Floats = np.ndarray[Any, np.dtype[np.float64]]
SINGLE = 2.0**-23
MOST_PLACES = 12
MOST_DIGITS = 7
MOST_STEPS = 100_000
"""Of a lattice that is no multiple of a power of ten: differences of few values, or of close ones, may be even by chance."""
LEAST_ON_LATTICE = 8
EVEN = 1e-6
"""How far from a whole number of steps the values of a lattice may lie, in steps."""


@dataclass(frozen=True)
class Grid:
    """The values that a column can have: whole steps above an origin, or numbers of few significant digits, or both.

    >>> Grid(0.1, origin=32.1).nearest(np.array([33.149, 33.151]))
    array([33.1, 33.2])
    >>> Grid(digits=2).nearest(np.array([0.01234, 1234.0]))
    array([1.2e-02, 1.2e+03])

    Attributes:
        step: None: no steps.
        digits: None: any number of digits.
    """

    step: float | None = None
    digits: int | None = None
    origin: float = 0.0

    def nearest(self, numbers: Floats) -> Floats:
        """Round numbers to the nearest that the column can have; decimal ones are the doubles that their text is read as."""
        if self.step is not None:
            numbers = self.origin + self.step * np.rint((numbers - self.origin) / self.step)
            places = next((places for places in range(MOST_PLACES + 1) if self._is_decimal(places)), None)
            numbers = numbers if places is None else np.round(numbers, places)
        return numbers if self.digits is None else significant(numbers, self.digits)

    def _is_decimal(self, places: int) -> bool:
        return all(round(value, places) == value for value in (self.step, self.origin) if value is not None)


def grid_of(distinct: Floats, eps: float) -> tuple[float | None, int | None]:
    """Find the step and the number of significant digits of a column.

    >>> grid_of(np.array([0.5, 2.0, 3.5]), 2**-52)
    (1.5, None)

    Args:
        distinct: the values that it has, rising.
        eps: relative precision of its type.

    Returns:
        Step and digits, None where there are none.
    """
    largest = float(np.abs(distinct).max())
    step = decimal_step(distinct, 4 * eps)
    coarse = decimal_step(distinct, 4 * SINGLE)  # what went through single precision once: 9.899999 among 9.8 and 9.9
    if coarse is not None and (step is None or coarse >= 100 * step):
        step = coarse
    step = step or lattice_step(distinct, eps * largest)
    most = min(MOST_DIGITS, int(-np.log10(64 * eps)))
    digits = next((digits for digits in range(1, most + 1) if has_digits(distinct, digits, 4 * eps)), None)
    if digits is None or len(distinct) < LEAST_ON_LATTICE or (step is not None and largest < step * 10**digits):
        return step, None
    return step, digits


def has_digits(distinct: Floats, digits: int, relative: float) -> bool:
    """Say whether all values have at most a number of significant digits."""
    return bool(np.all(np.abs(significant(distinct, digits) - distinct) <= relative * np.abs(distinct)))


def decimal_step(distinct: Floats, relative: float) -> float | None:
    """Find the largest step, a whole multiple of a power of ten, whose multiples all differences are.

    Args:
        relative: how far from it values may lie, over their size.
    """
    tolerance = relative * np.abs(distinct)
    for places in range(MOST_PLACES + 1):
        unit = 10.0**-places
        if unit < 16 * tolerance.max() or np.abs(distinct).max() / unit > 2**52:
            return None
        if np.all(np.abs(np.round(distinct, places) - distinct) <= tolerance):
            steps = np.rint(np.diff(distinct) * 10.0**places).astype(np.int64)
            return round(int(np.gcd.reduce(steps)) * unit, places) or None if len(steps) else None
    return None


def whole_step(numbers: Floats) -> float:
    """Find the largest step whose multiples all of some whole numbers are; 1 where doubles have no more than that of them.

    >>> whole_step(np.array([0.0, 86_400e6, 3 * 86_400e6]))
    86400000000.0
    """
    largest = float(np.abs(numbers).max())
    if largest >= 2**62:
        return 1.0
    step = float(np.gcd.reduce(np.rint(numbers).astype(np.int64)))
    return step if step > np.spacing(largest) else 1.0


def lattice_step(distinct: Floats, error: float) -> float | None:
    """Find a step, of any size, that all differences are whole multiples of: as of whole numbers that were standardised."""
    gaps = np.diff(distinct)
    if len(distinct) < LEAST_ON_LATTICE or gaps.min() < 100 * error:
        return None
    total = float(gaps.sum())
    for parts in (1, 2, 3):
        step = float(gaps.min()) / parts
        close = gaps[gaps < 50 * step]
        step = float(close.sum() / np.maximum(np.rint(close / step), 1).sum())
        if total / step > MOST_STEPS:
            return None
        step = total / round(total / step)
        whole = (distinct - distinct[0]) / step
        if np.all(np.abs(whole - np.rint(whole)) <= EVEN + 8 * error / step):
            return step
    return None


def significant(numbers: Floats, digits: int) -> Floats:
    """Round numbers to a number of significant digits."""
    size = np.abs(numbers)
    exponents = np.floor(np.log10(np.where(size > 0, size, 1.0))).astype(np.int64) - digits + 1
    with np.errstate(over="ignore", invalid="ignore"):  # of numbers below 1e-308, which have no digits
        up, down = 10.0 ** np.maximum(exponents, 0), 10.0 ** np.maximum(-exponents, 0)
        return np.asarray(np.rint(numbers / up * down) / down * up)


def tidy(value: float, of: type[np.floating[Any]] = np.float64) -> float:
    """Give the number of the fewest decimal places that a type holds as a value.

    >>> tidy(float(np.float32(0.1)), np.float32)
    0.1
    """
    places = (round(value, places) for places in range(MOST_PLACES + 1))
    return next((each for each in places if of(each) == value), value)
