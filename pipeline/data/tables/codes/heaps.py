"""Values of a grid that come in heaps, as masses that were read to 50 g on a grid of 25 g: cells as wide as digits are frequent.

A generator's error is larger than a step of the grid, and would put as many values between the heaps as on them. In the even
numbers here each value has a cell as wide as values with its last digit are frequent, so that the heaps come back of themselves.
"""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np

Floats = np.ndarray[Any, np.dtype[np.float64]]
EVEN = np.array([0.0, 1.0])
"""Heaps as an array, where there are none: an origin, and one weight."""
PERIODS = (2, 4, 5, 10)
"""Steps after which heaps come again."""
LEAST_PERIODS = 10
"""That the values must reach over: the shape of a distribution is no heap."""
AROUND, CAP, LEAST_CAP = 3, 3.0, 6.0
"""A spike is no heap: a value counts at most so many times what values some periods from it do on average, or so many rows."""
LEAST_GAIN = 5.0
"""Nats per pattern of heaps, beyond what the number of its weights costs by the Bayesian information criterion."""
LEAST_WEIGHT = 0.02
"""Of a cell, in steps: one that no value has must still be found again from coordinates of 32 bits."""


@dataclass(frozen=True, eq=False)
class Heaps:
    """The cells of a grid's values in even numbers.

    >>> values = np.repeat(np.arange(0.0, 1000, 25), [9, 1] * 20)
    >>> heaps = Heaps.of(values, 25.0)
    >>> heaps.weights.round(1), heaps.values(np.array([heaps.cells(values)[1][9]])).round(1)
    (array([1.8, 0.2]), array([37.5]))

    Attributes:
        step: of the grid; 0: values are not spread over cells.
        origin: a value of the grid.
        weights: of the values origin, origin + step, ..., until they come again; 1 on average.
    """

    step: float
    origin: float
    weights: Floats

    @classmethod
    def of(cls, numbers: Floats, step: float, masses: Floats | None = None) -> Self:
        """Find the heaps of numbers of a grid, if there are any; numbers count alike or by their weights, the masses."""
        low = float(numbers.min())
        if not step:
            return cls(0.0, *cls.read(EVEN))
        places = np.rint((numbers - low) / step).astype(np.int64)
        best, weights = LEAST_GAIN, np.ones(1)
        for period in PERIODS:
            if places.max() < LEAST_PERIODS * period:
                continue
            counts = without_spikes(places, period, masses)
            shares = counts / counts.sum()
            gain = (counts * np.log(np.maximum(shares * period, 1e-300))).sum() - (period - 1) / 2 * np.log(len(numbers))
            if gain > best:
                bounded = np.maximum(shares * period, LEAST_WEIGHT)
                best, weights = float(gain), bounded * period / bounded.sum()
        return cls(step, low if len(weights) > 1 else 0.0, weights)

    @staticmethod
    def read(array: Floats) -> tuple[float, Floats]:
        """Read origin and weights from the array that `array` has written."""
        return float(array[0]), array[1:]

    def arrays(self) -> dict[str, Floats]:
        """Give origin and weights as an array by its name; none where there are no heaps."""
        return {"heaps": np.append(self.origin, self.weights)} if len(self.weights) > 1 else {}

    def of_each(self, numbers: Floats) -> Floats:
        """Give the weight of each of some values of the grid."""
        if len(self.weights) == 1:
            return np.ones(len(numbers))
        return np.asarray(self.weights[np.rint((numbers - self.origin) / self.step).astype(np.int64) % len(self.weights)])

    def cells(self, numbers: Floats) -> tuple[Floats, Floats]:
        """Give the lower and the upper ends, in even numbers, of the cells of values."""
        if len(self.weights) == 1:
            return numbers - self.step / 2, numbers + self.step / 2
        blocks, places = np.divmod(np.rint((numbers - self.origin) / self.step).astype(np.int64), len(self.weights))
        edges = self._edges
        ends = (blocks * len(self.weights) + edges[places + above] - 0.5 for above in (0, 1))
        low, high = (self.origin + self.step * end for end in ends)
        return low, high

    def values(self, even: Floats) -> Floats:
        """Give even numbers in the units of the values, which are still to be rounded to the grid."""
        period = len(self.weights)
        if period == 1:
            return even
        blocks, within = np.divmod((even - self.origin) / self.step + 0.5, period)
        places = np.clip(np.searchsorted(self._edges, within, side="right") - 1, 0, period - 1)
        inside = (within - self._edges[places]) / self.weights[places]
        return np.asarray(self.origin + self.step * (blocks * period + places + inside - 0.5))

    @property
    def _edges(self) -> Floats:
        return np.concatenate([[0.0], np.cumsum(self.weights)])


def without_spikes(places: np.ndarray, period: int, masses: Floats | None = None) -> Floats:
    """Count the values at each place of a period, spikes as what their neighbours let expect.

    >>> without_spikes(np.repeat(np.arange(40), [90] + [10] * 39), 2)
    array([220., 200.])
    """
    num = int(places.max()) // period + 1
    rows_of_each = None if masses is None else masses * (len(masses) / masses.sum())
    counts = np.bincount(places, rows_of_each, minlength=num * period).reshape(num, period).astype(np.float64)
    windows = np.cumsum(np.pad(counts, ((AROUND + 1, AROUND), (0, 0))), axis=0)
    sums = windows[2 * AROUND + 1 :] - windows[: -2 * AROUND - 1]
    rows = np.arange(num)
    neighbours = np.minimum(rows + AROUND, num - 1) - np.maximum(rows - AROUND, 0)
    around = (sums - counts) / np.maximum(neighbours, 1)[:, None]
    return np.asarray(np.minimum(counts, np.maximum(CAP * around, LEAST_CAP)).sum(axis=0))
