"""Ranks of a column as normal quantiles, in which values that many rows have keep their share exactly."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import ndtr
from sklearn.preprocessing import QuantileTransformer

from pipeline.data.tables.codes.cells import between, normal, within

Floats = np.ndarray[Any, np.dtype[np.float64]]
SPIKE = 0.01
"""A value that at least this share of the rows has can be a spike."""
LEAST_IN_SPIKE = 3
LEAST_ON_GRID = 6
"""Rows of a spike on a grid, where a value can come twice by chance."""
TIMES = 3.0
"""A spike has so many times the rows that its neighbours on the grid have on average."""
NEIGHBOURS = 5
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
    the spike again, with its share. Other values of a grid are spread over its steps before.

    >>> fitted = Quantile.fit(np.array([0.0, 0.0, 0.0, 0.0, 7.1, 8.2, 9.9, 12.5]), None)
    >>> fitted.from_normal(np.array([-3.0, -0.1, 3.0]))
    array([ 0. ,  0. , 12.5])

    Attributes:
        levels: ranks from 0 to 1 that do not fall.
        knots: the values there, which do not fall either.
        step: that values are spread over; 0: they are not.
    """

    levels: Floats
    knots: Floats
    step: Floats

    @classmethod
    def fit(cls, numbers: Floats, step: float | None, weights: Floats | None = None) -> "Quantile":
        """Fit to numbers of a grid of a step, or of none, which count alike or by their weights."""
        distinct, counts = np.unique(numbers, return_counts=True)
        masses = counts if weights is None else masses_of(distinct, numbers, weights)
        often, width = spikes_of(distinct, counts, step), width_of(distinct, step)
        spikes, shares = distinct[often], masses[often] / masses.sum()
        before = np.concatenate([[0.0], np.cumsum(shares)])
        others, each = evenly_spread(distinct[~often], counts[~often], width), (masses / counts)[~often]
        of_each = None if weights is None else np.repeat(each, counts[~often])
        levels, knots = continuous(others, distinct[~often], width, of_each)
        share = 1 - before[-1] if len(knots) else 0.0
        below = share * np.interp(spikes, knots, levels, left=0.0, right=1.0) if len(knots) else np.zeros(len(spikes))
        of_knots = share * levels + before[np.searchsorted(spikes, knots)]
        all_levels = np.concatenate([of_knots, below + before[:-1], below + before[1:]])
        all_knots = np.concatenate([knots, spikes, spikes])
        order = np.lexsort((all_knots, all_levels))
        return cls(np.minimum(all_levels[order], 1.0), np.maximum.accumulate(all_knots[order]), np.array([width]))

    def to_normal(self, numbers: Floats, rng: np.random.Generator) -> Floats:
        """Give numbers as coordinates."""
        if self.step[0]:
            spikes = self.knots[1:][np.diff(self.knots) == 0]
            numbers = numbers + np.where(np.isin(numbers, spikes), 0.0, between(-self.step / 2, self.step / 2, rng, len(numbers)))
        return normal(within(*self._ranks(numbers), rng))

    def _ranks(self, numbers: Floats) -> tuple[Floats, Floats]:
        """Give the first and the last rank that numbers have."""
        one = np.interp(numbers, self.knots, self.levels)
        other = 1 - np.interp(-numbers, -self.knots[::-1], 1 - self.levels[::-1])
        return np.minimum(one, other), np.maximum(one, other)

    def from_normal(self, coordinates: Floats) -> Floats:
        """Give coordinates as numbers."""
        return np.asarray(np.interp(ndtr(coordinates), self.levels, self.knots))

    def arrays(self) -> dict[str, Floats]:
        """Give what was fitted."""
        return {"levels": self.levels, "knots": self.knots, "step": self.step}


def spikes_of(distinct: Floats, counts: np.ndarray, step: float | None) -> np.ndarray:
    """Say which values of a column are spikes.

    >>> spikes_of(np.arange(40.0), np.where(np.arange(40) == 7, 90, 10), 1.0).nonzero()[0]
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
    places = np.arange(len(distinct))
    first, last = np.maximum(places - NEIGHBOURS, 0), np.minimum(places + NEIGHBOURS, len(distinct) - 1)
    sums = np.concatenate([[0], np.cumsum(counts)])
    around = (sums[last + 1] - sums[first] - counts) / np.maximum((distinct[last] - distinct[first]) / step, 1.0)
    return np.asarray(often & (counts >= np.maximum(LEAST_ON_GRID, TIMES * around)))


def width_of(numbers: Floats, step: float | None) -> float:
    """Choose how wide the values of a grid are spread: by its step, or not at all where the grid is fine."""
    return step if step and np.ptp(numbers) < FINE * step else 0.0


def masses_of(distinct: Floats, numbers: Floats, weights: Floats) -> Floats:
    """Sum up the weights of the numbers that have each of the different values."""
    return np.asarray(np.bincount(np.searchsorted(distinct, numbers), weights, minlength=len(distinct)))


def continuous(numbers: Floats, distinct: Floats, width: float, weights: Floats | None = None) -> tuple[Floats, Floats]:
    """Give the ranks and the values of knots of numbers that rise, none if there are no numbers; the ends are half a row away.

    Args:
        distinct: the values that were spread over a width to give the numbers.
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
    lowest, highest = distinct[0] - width / 2, distinct[-1] + width / 2
    return np.concatenate([[0.0], ranks, [1.0]]), np.concatenate([[lowest], knots, [highest]])


def evenly_spread(distinct: Floats, counts: np.ndarray, step: float) -> Floats:
    """Repeat values as often as they are counted, at even distances within a step about each."""
    repeated, times = np.repeat(distinct, counts), np.repeat(counts, counts)
    first = np.repeat(np.cumsum(counts) - counts, counts)
    return np.asarray(repeated + step * ((np.arange(len(repeated)) - first + 0.5) / times - 0.5))
