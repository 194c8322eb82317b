"""Ranks of a column as normal quantiles, in which values that many rows have keep their share exactly."""

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from scipy.special import ndtr, pdtrc
from sklearn.preprocessing import QuantileTransformer

from pipeline.data.tables.codes.cells import between, normal, within
from pipeline.data.tables.codes.heaps import EVEN, Heaps

Floats = np.ndarray[Any, np.dtype[np.float64]]
SPIKE = 0.01
"""A value that at least this share of the rows has can be a spike."""
LEAST_IN_SPIKE = 3
LEAST_ON_GRID = 6
"""Rows of a spike on a grid, where a value can come twice by chance."""
TIMES = 3.0
"""A spike has so many times the rows that its neighbours on the grid have on average, and its last digit lets expect."""
NEIGHBOURS = 5
RARE = 0.01
"""A spike on a grid would come by chance, somewhere in the column, less often than this."""
FEW = 20
"""Values that are all spikes, as the faces of a die are."""
MANY = 2000
"""Values that can all be spikes in a column without a grid, where a value that comes twice is no chance."""
FINE = 10_000
"""A grid of more steps than this is not spread: coordinates of 32 bits have room for little more than its steps."""
MOST_QUANTILES = 1000
"""Knots between spikes, at even distances in rank, beside the values of the tails."""
TAIL = 32
"""Values at either end that are knots as well."""


@dataclass(frozen=True, eq=False)
class Quantile:
    """The quantile function of a column as a broken line: flat at a spike, upright where there is nothing between two values.

    A spike becomes all of the interval of ranks that its rows have, drawn evenly, so that what is generated in that interval is
    the spike again, with its share. Other values of a grid are spread over their cells before.

    >>> fitted = Quantile.fit(np.array([0.0, 0.0, 0.0, 0.0, 7.1, 8.2, 9.9, 12.5]), None)
    >>> fitted.from_normal(np.array([-3.0, -0.1, 3.0]))
    array([ 0. ,  0. , 12.5])

    Attributes:
        levels: ranks from 0 to 1 that do not fall.
        knots: the even numbers of the values there, which do not fall either.
        step: of the grid whose values are spread; 0: they are not.
        heaps: the heaps of these.
    """

    levels: Floats
    knots: Floats
    step: Floats
    heaps: Floats = field(default_factory=EVEN.copy)

    @classmethod
    def fit(cls, numbers: Floats, step: float | None, weights: Floats | None = None) -> "Quantile":
        """Fit to numbers of a grid of a step, or of none, which count alike or by their weights."""
        distinct, counts = np.unique(numbers, return_counts=True)
        masses = counts if weights is None else masses_of(distinct, numbers, weights)
        heaps = Heaps.of(numbers, width_of(distinct, step), weights)
        often = spikes_of(distinct, counts, step, heaps)
        spikes, shares = middles(heaps, distinct[often]), masses[often] / masses.sum()
        before = np.concatenate([[0.0], np.cumsum(shares)])
        others, each = evenly_spread(distinct[~often], counts[~often], heaps), (masses / counts)[~often]
        of_each = None if weights is None else np.repeat(each, counts[~often])
        levels, knots = continuous(others, *heaps.cells(distinct[~often]), of_each)
        share = 1 - before[-1] if len(knots) else 0.0
        below = share * np.interp(spikes, knots, levels, left=0.0, right=1.0) if len(knots) else np.zeros(len(spikes))
        of_knots = share * levels + before[np.searchsorted(spikes, knots)]
        all_levels = np.concatenate([of_knots, below + before[:-1], below + before[1:]])
        all_knots = np.concatenate([knots, spikes, spikes])
        order = np.lexsort((all_knots, all_levels))
        knots = np.maximum.accumulate(all_knots[order])
        return cls(np.minimum(all_levels[order], 1.0), knots, np.array([heaps.step]), **heaps.arrays())

    @cached_property
    def cells(self) -> Heaps:
        """Give the cells of the grid's values."""
        return Heaps(float(self.step[0]), *Heaps.read(self.heaps))

    def to_normal(self, numbers: Floats, rng: np.random.Generator) -> Floats:
        """Bring the numbers of a column to coordinates that are nearly N(0, 1)."""
        if self.step[0]:
            spikes, even = self.knots[1:][np.diff(self.knots) == 0], middles(self.cells, numbers)
            numbers = np.where(np.isin(even, spikes), even, between(*self.cells.cells(numbers), rng, len(numbers)))
        return normal(within(*self._ranks(numbers), rng))

    def _ranks(self, numbers: Floats) -> tuple[Floats, Floats]:
        """Give the first and the last rank that numbers have."""
        one = np.interp(numbers, self.knots, self.levels)
        other = 1 - np.interp(-numbers, -self.knots[::-1], 1 - self.levels[::-1])
        return np.minimum(one, other), np.maximum(one, other)

    def from_normal(self, coordinates: Floats) -> Floats:
        """Bring coordinates back to numbers of the column."""
        return self.cells.values(np.interp(ndtr(coordinates), self.levels, self.knots))

    def arrays(self) -> dict[str, Floats]:
        """Give the arrays that the transform is made of again, by the names of its attributes."""
        return {"levels": self.levels, "knots": self.knots, "step": self.step, **self.cells.arrays()}


def middles(heaps: Heaps, numbers: Floats) -> Floats:
    """Give the middles of the cells of values."""
    low, high = heaps.cells(numbers)
    return np.asarray(low + (high - low) / 2)


def spikes_of(distinct: Floats, counts: np.ndarray, step: float | None, heaps: Heaps) -> np.ndarray:
    """Say which values of a column are spikes.

    >>> numbers, counts = np.arange(40.0), np.where(np.arange(40) == 7, 90, 10)
    >>> spikes_of(numbers, counts, 1.0, Heaps.of(np.repeat(numbers, counts), 1.0)).nonzero()[0]
    array([7])

    Args:
        distinct: the values, rising.
        counts: how many rows have each.
        step: of the grid; None: there is none.
    """
    total = int(counts.sum())
    if len(distinct) <= min(FEW if step else MANY, total // 2):
        return np.ones(len(distinct), bool)
    often = counts >= max(LEAST_IN_SPIKE, SPIKE * total)
    if not step:
        return np.asarray(often)
    places, (low, high) = np.arange(len(distinct)), heaps.cells(distinct)
    first, last = np.maximum(places - NEIGHBOURS, 0), np.minimum(places + NEIGHBOURS, len(distinct) - 1)
    sums = np.concatenate([[0], np.cumsum(counts)])
    width_around = (high[last] - low[first] - (high - low)) / step
    around = (sums[last + 1] - sums[first] - counts) / np.maximum(width_around, 1.0)
    expected = around * heaps.of_each(distinct)
    by_chance = pdtrc(counts - 1, expected) * len(distinct)  # that a value comes so often, in any place
    return np.asarray(often & (counts >= np.maximum(LEAST_ON_GRID, TIMES * expected)) & (by_chance < RARE))


def width_of(numbers: Floats, step: float | None) -> float:
    """Choose how wide the values of a grid are spread: by its step, or not at all where the grid is fine."""
    return step if step and np.ptp(numbers) < FINE * step else 0.0


def masses_of(distinct: Floats, numbers: Floats, weights: Floats) -> Floats:
    """Sum up the weights of the numbers that have each of the different values."""
    return np.asarray(np.bincount(np.searchsorted(distinct, numbers), weights, minlength=len(distinct)))


def continuous(numbers: Floats, lower: Floats, upper: Floats, weights: Floats | None = None) -> tuple[Floats, Floats]:
    """Give the ranks and the values of knots of numbers that rise, none if there are no numbers; the ends are half a row away.

    Args:
        lower, upper: ends of the cells that the numbers were spread over.
        weights: of the numbers; None: all count alike.
    """
    count = len(numbers)
    if not count:
        return np.empty(0), np.empty(0)
    tails = np.unique(np.concatenate([np.arange(min(TAIL, count)), np.arange(max(0, count - TAIL), count)]))
    if weights is None:
        fitted = QuantileTransformer(n_quantiles=min(count, MOST_QUANTILES), subsample=None).fit(numbers[:, None])
        ranks = np.concatenate([np.round(fitted.references_ * (count - 1), 6), tails])
        ranks, first = np.unique(ranks, return_index=True)
        knots, ranks = np.concatenate([fitted.quantiles_[:, 0], numbers[tails]])[first], (ranks + 0.5) / count
    else:  # which scikit-learn's has none of
        centres = (np.cumsum(weights) - weights / 2) / weights.sum()
        even = np.searchsorted(centres, np.linspace(0, centres[-1], min(count, MOST_QUANTILES)))
        chosen = np.unique(np.concatenate([even, tails]))
        knots, ranks = numbers[chosen], centres[chosen]
    return np.concatenate([[0.0], ranks, [1.0]]), np.concatenate([lower[:1], knots, upper[-1:]])


def evenly_spread(distinct: Floats, counts: np.ndarray, heaps: Heaps) -> Floats:
    """Repeat values as often as they are counted, at even distances within the cell of each."""
    times, first = np.repeat(counts, counts), np.repeat(np.cumsum(counts) - counts, counts)
    low, high = (np.repeat(end, counts) for end in heaps.cells(distinct))
    return np.asarray(low + (high - low) * ((np.arange(len(first)) - first + 0.5) / times))
