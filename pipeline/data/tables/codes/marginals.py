"""Columns of numbers as coordinates of mean 0 and variance 1, and back; which of the transforms a column gets."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Protocol

import numpy as np
from sklearn.preprocessing import PowerTransformer, StandardScaler

from pipeline.data.tables.codes.cells import between
from pipeline.data.tables.codes.heaps import EVEN, Heaps
from pipeline.data.tables.codes.quantiles import Quantile, evenly_spread, masses_of, spikes_of, width_of

Floats = np.ndarray[Any, np.dtype[np.float64]]

MOST_FOR_POWER = 20_000
"""Numbers that the exponent is fitted to, evenly spaced among those given."""
INSIDE = 1 - 1e-12
"""How near numbers come to an end of what the power transform can give, over that end."""
HEAVY = 6.0
"""Standard deviations: a column that reaches farther after the power transform has tails that it does not tame."""
FARTHEST = 10.0
"""Coordinates beyond it, of a column that does not suit the transform, are this."""
CLOSE = 1e-4
"""Of a column's range: how near its values must come back from coordinates of 32 bits."""


class Marginal(Protocol):
    """A fitted transform of one column."""

    def to_normal(self, numbers: Floats, rng: np.random.Generator) -> Floats:
        """Bring the numbers of a column to coordinates that are nearly N(0, 1)."""

    def from_normal(self, coordinates: Floats) -> Floats:
        """Give coordinates as numbers, which the grid and the bounds are still to be applied to."""

    def arrays(self) -> dict[str, Floats]:
        """Give the arrays that the transform is made of again, by the names of its attributes."""


@dataclass(frozen=True, eq=False)
class Standard:
    """The mean is taken away and the standard deviation divided by; values of a grid are spread over their cells before."""

    mean: Floats
    scale: Floats
    step: Floats
    heaps: Floats = field(default_factory=EVEN.copy)

    @classmethod
    def fit(cls, numbers: Floats, step: float | None, weights: Floats | None = None) -> "Standard":
        """Fit to numbers of a grid of a step, or of none, which count alike or by their weights."""
        heaps = Heaps.of(numbers, width_of(numbers, step), weights)
        mean, scale = moments_of(numbers, weights)
        return cls(np.array([mean]), np.array([scale]), np.array([heaps.step]), **heaps.arrays())

    @cached_property
    def cells(self) -> Heaps:
        """Give the cells of the grid's values."""
        return Heaps(float(self.step[0]), *Heaps.read(self.heaps))

    def to_normal(self, numbers: Floats, rng: np.random.Generator) -> Floats:
        """Bring the numbers of a column to coordinates that are nearly N(0, 1)."""
        return (spread(numbers, self.cells, rng) - self.mean) / self.scale

    def from_normal(self, coordinates: Floats) -> Floats:
        """Bring coordinates back to numbers of the column."""
        return self.cells.values(coordinates * self.scale + self.mean)

    def arrays(self) -> dict[str, Floats]:
        """Give the arrays that the transform is made of again, by the names of its attributes."""
        return {"mean": self.mean, "scale": self.scale, "step": self.step, **self.cells.arrays()}


@dataclass(frozen=True, eq=False)
class Power:
    """The transform of Yeo and Johnson of what `Standard` gives, which brings a skewed column near to a normal one.

    Attributes:
        power: its exponent.
        mean, scale: of what it gives.
        inner: mean, scale and step of `Standard`.
        heaps: its heaps.
    """

    power: Floats
    mean: Floats
    scale: Floats
    inner: Floats
    heaps: Floats = field(default_factory=EVEN.copy)

    @classmethod
    def fit(cls, numbers: Floats, step: float | None, weights: Floats | None = None) -> "Power":
        """Fit to numbers of a grid of a step, or of none, which count alike or by their weights."""
        heaps = Heaps.of(numbers, width_of(numbers, step), weights)
        if heaps.step:
            distinct, counts = np.unique(numbers, return_counts=True)
            weights = None if weights is None else np.repeat(masses_of(distinct, numbers, weights) / counts, counts)
            numbers = evenly_spread(distinct, counts, heaps)
        mean, scale = moments_of(numbers, weights)
        inner = ((numbers - mean) / scale)[:, None]
        some = inner[:: 1 + len(inner) // MOST_FOR_POWER] if weights is None else inner[by_weight(weights, MOST_FOR_POWER)]
        fitted = PowerTransformer(standardize=False).fit(some)
        outer = moments_of(fitted.transform(inner)[:, 0], weights)
        of_inner = np.array([mean, scale, heaps.step])
        return cls(fitted.lambdas_, np.array([outer[0]]), np.array([outer[1]]), of_inner, **heaps.arrays())

    @cached_property
    def cells(self) -> Heaps:
        """Give the cells of the grid's values."""
        return Heaps(float(self.inner[2]), *Heaps.read(self.heaps))

    @property
    def _transformer(self) -> PowerTransformer:
        transformer = PowerTransformer(standardize=False)
        transformer.lambdas_, transformer.n_features_in_ = self.power, 1
        return transformer

    def to_normal(self, numbers: Floats, rng: np.random.Generator) -> Floats:
        """Bring the numbers of a column to coordinates that are nearly N(0, 1)."""
        inner = (spread(numbers, self.cells, rng) - self.inner[0]) / self.inner[1]
        coordinates = (self._transformer.transform(inner[:, None])[:, 0] - self.mean) / self.scale
        return np.asarray(np.clip(coordinates, -FARTHEST, FARTHEST))

    def from_normal(self, coordinates: Floats) -> Floats:
        """Give coordinates as numbers; those that the transform never gives, as the nearest that it does."""
        power = float(self.power[0])
        lowest, highest = (1 / (2 - power) if power > 2 else -np.inf), (-1 / power if power < 0 else np.inf)
        within = np.clip(coordinates * self.scale + self.mean, lowest * INSIDE, highest * INSIDE)
        with np.errstate(over="ignore"):
            inner = self._transformer.inverse_transform(within[:, None])[:, 0]
        return self.cells.values(inner * self.inner[1] + self.inner[0])

    def arrays(self) -> dict[str, Floats]:
        """Give the arrays that the transform is made of again, by the names of its attributes."""
        return {"power": self.power, "mean": self.mean, "scale": self.scale, "inner": self.inner, **self.cells.arrays()}


MARGINALS: Mapping[str, Any] = {"standard": Standard, "power": Power, "quantile": Quantile}
"""By the name of a transform."""


def moments_of(numbers: Floats, weights: Floats | None = None) -> tuple[float, float]:
    """Give the mean and the standard deviation of numbers of any size, 1 where they are all equal.

    >>> moments_of(np.array([1e12, 1e12 + 2]))
    (1000000000001.0, 1.0)
    """
    centre = float(np.median(numbers))
    _, exponent = np.frexp(np.abs(numbers - centre).max())
    size = float(np.ldexp(1.0, int(exponent)))
    fitted = StandardScaler().fit(((numbers - centre) / size)[:, None], sample_weight=weights)
    return centre + float(fitted.mean_[0]) * size, float(fitted.scale_[0]) * size


def by_weight(weights: Floats, most: int) -> np.ndarray:
    """Give the numbers of at most so many rows, each as often as its weight says.

    >>> by_weight(np.array([1.0, 3.0, 4.0]), 8)
    array([1, 1, 2])
    """
    count = min(len(weights), most)
    return np.asarray(np.searchsorted(np.cumsum(weights), (np.arange(count) + 0.5) / count * weights.sum()))


def spread(numbers: Floats, heaps: Heaps, rng: np.random.Generator) -> Floats:
    """Spread values of a grid evenly over their cells."""
    return between(*heaps.cells(numbers), rng, len(numbers)) if heaps.step else numbers


def transform_of(numbers: Floats, step: float | None) -> str:
    """Choose `quantile` for a column with spikes, or tails that a power does not tame, else `power`.

    >>> transform_of(np.random.default_rng(0).normal(size=100), None)
    'power'
    >>> transform_of(np.random.default_rng(0).standard_cauchy(size=1000), None)
    'quantile'

    Args:
        step: of the grid; None: there is none.
    """
    distinct, counts = np.unique(numbers, return_counts=True)
    if spikes_of(distinct, counts, step, Heaps.of(numbers, width_of(numbers, step))).any():
        return "quantile"
    power = Power.fit(numbers, None)
    coordinates = power.to_normal(numbers, np.random.default_rng(0))
    wrong = np.abs(power.from_normal(coordinates.astype(np.float32).astype(np.float64)) - numbers).max()
    return "power" if np.abs(coordinates).max() <= HEAVY and wrong <= CLOSE * np.ptp(numbers) else "quantile"
