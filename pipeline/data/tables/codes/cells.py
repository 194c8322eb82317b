"""Choices as one standard normal coordinate: each choice has an interval with the normal mass of its frequency."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import ndtr, ndtri

Floats = np.ndarray[Any, np.dtype[np.float64]]
Indices = np.ndarray[Any, np.dtype[np.int64]]
EDGE = 1e-7
"""Coordinates stay within the normal quantiles of this and of 1 less this: 5.2 on either side."""
MARGIN = 0.01
"""The share of an interval, at its ends, that nothing is drawn in: rounded to 32 bits it would lie in the next one."""
NARROW = 4e-8
"""The same in shares of all, of intervals that are so narrow that it is more."""
LEAST = 1e-6
"""Share of all that a choice has at least, however rarely it came: coordinates of 32 bits must find room in its interval."""


@dataclass(frozen=True, eq=False)
class Cells:
    """Choices 0 to K - 1, side by side on the line.

    >>> cells = Cells.of(np.array([90, 10]))
    >>> cells.from_normal(np.array([-2.0, 1.2, 1.3]))
    array([0, 0, 1])

    Attributes:
        edges: K + 1 shares that rise from 0 to 1.
    """

    edges: Floats

    @classmethod
    def of(cls, masses: np.ndarray) -> "Cells":
        """Give each choice its share of the masses; one that never came has none, and is never drawn."""
        least = LEAST * masses.sum()
        edges = np.concatenate([[0.0], np.cumsum(np.where(masses > 0, np.maximum(masses, least), 0.0))])
        return cls(edges / edges[-1])

    def to_normal(self, choices: Indices, rng: np.random.Generator) -> Floats:
        """Draw a coordinate within the cell of each choice."""
        return normal(within(self.edges[choices], self.edges[choices + 1], rng))

    def from_normal(self, coordinates: Floats) -> Indices:
        """Find the cell that each coordinate lies in."""
        rank = np.clip(ndtr(coordinates), EDGE, 1 - EDGE)
        return np.asarray(np.searchsorted(self.edges, rank, side="right") - 1)


def normal(shares: Floats) -> Floats:
    """Give the normal quantiles of shares between 0 and 1."""
    return np.asarray(ndtri(np.clip(shares, EDGE, 1 - EDGE)))


def within(low: Floats, high: Floats, rng: np.random.Generator) -> Floats:
    """Draw a share of all from each interval of such, away from its ends."""
    margin = np.clip(NARROW / np.maximum(high - low, NARROW), MARGIN, 1.0)
    return np.asarray(low + (high - low) * (margin / 2 + (1 - margin) * rng.random(len(low))))


def between(low: Floats, high: Floats, rng: np.random.Generator, count: int) -> Floats:
    """Draw `count` numbers, each from its interval, or all from one, away from the ends."""
    return np.asarray(low + (high - low) * (MARGIN / 2 + (1 - MARGIN) * rng.random(count)))
