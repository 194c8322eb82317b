"""Columns of numbers as coordinates of mean 0 and variance 1, and back: `standard` and `power`; `quantile` has its own module."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from sklearn.preprocessing import PowerTransformer, StandardScaler

from pipeline.data.tables.codes.quantiles import Quantile, width_of

Floats = np.ndarray[Any, np.dtype[np.float64]]


class Marginal(Protocol):
    """A fitted transform of one column."""

    def to_normal(self, numbers: Floats, rng: np.random.Generator) -> Floats:
        """Give numbers as coordinates."""

    def from_normal(self, coordinates: Floats) -> Floats:
        """Give coordinates as numbers, which the grid and the bounds are still to be applied to."""

    def arrays(self) -> dict[str, Floats]:
        """Give what was fitted, by the names of its attributes."""


@dataclass(frozen=True, eq=False)
class Standard:
    """The mean is taken away and the standard deviation divided by; values of a grid are spread over its step before."""

    mean: Floats
    scale: Floats
    step: Floats

    @classmethod
    def fit(cls, numbers: Floats, step: float | None) -> "Standard":
        """Fit to numbers of a grid of a step, or of none."""
        fitted = StandardScaler().fit(numbers[:, None])
        return cls(fitted.mean_, fitted.scale_, np.array([width_of(numbers, step)]))

    def to_normal(self, numbers: Floats, rng: np.random.Generator) -> Floats:
        """Give numbers as coordinates."""
        return (spread(numbers, self.step, rng) - self.mean) / self.scale

    def from_normal(self, coordinates: Floats) -> Floats:
        """Give coordinates as numbers."""
        return coordinates * self.scale + self.mean

    def arrays(self) -> dict[str, Floats]:
        """Give what was fitted."""
        return {"mean": self.mean, "scale": self.scale, "step": self.step}


@dataclass(frozen=True, eq=False)
class Power:
    """The transform of Yeo and Johnson of what `Standard` gives, which brings a skewed column near to a normal one.

    Attributes:
        power: its exponent.
        mean, scale: of what it gives.
        inner: mean, scale and step of `Standard`.
    """

    power: Floats
    mean: Floats
    scale: Floats
    inner: Floats

    @classmethod
    def fit(cls, numbers: Floats, step: float | None) -> "Power":
        """Fit to numbers of a grid of a step, or of none."""
        inner = StandardScaler().fit(numbers[:, None])
        fitted = PowerTransformer(standardize=False).fit(inner.transform(numbers[:, None]))
        outer = StandardScaler().fit(fitted.transform(inner.transform(numbers[:, None])))
        return cls(
            fitted.lambdas_, outer.mean_, outer.scale_, np.array([inner.mean_[0], inner.scale_[0], width_of(numbers, step)])
        )

    @property
    def _transformer(self) -> PowerTransformer:
        transformer = PowerTransformer(standardize=False)
        transformer.lambdas_, transformer.n_features_in_ = self.power, 1
        return transformer

    def to_normal(self, numbers: Floats, rng: np.random.Generator) -> Floats:
        """Give numbers as coordinates."""
        inner = (spread(numbers, self.inner[2:], rng) - self.inner[0]) / self.inner[1]
        return np.asarray((self._transformer.transform(inner[:, None])[:, 0] - self.mean) / self.scale)

    def from_normal(self, coordinates: Floats) -> Floats:
        """Give coordinates as numbers, infinite ones where the transform reaches no number."""
        with np.errstate(all="ignore"):
            inner = self._transformer.inverse_transform((coordinates * self.scale + self.mean)[:, None])[:, 0]
        inner = np.where(np.isnan(inner), np.copysign(np.inf, coordinates), inner)
        return np.asarray(inner * self.inner[1] + self.inner[0])

    def arrays(self) -> dict[str, Floats]:
        """Give what was fitted."""
        return {"power": self.power, "mean": self.mean, "scale": self.scale, "inner": self.inner}


MARGINALS: Mapping[str, Any] = {"standard": Standard, "power": Power, "quantile": Quantile}
"""By the name of a transform."""


def spread(numbers: Floats, step: Floats, rng: np.random.Generator) -> Floats:
    """Spread values of a grid evenly over its step."""
    return numbers + step * (rng.random(len(numbers)) - 0.5) if step[0] else numbers
