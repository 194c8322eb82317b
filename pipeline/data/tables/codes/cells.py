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
    def of(cls, counts: np.ndarray) -> "Cells":
        """Give each choice its share of the counts; one that never came has no mass, and is never drawn."""
        edges = np.concatenate([[0.0], np.cumsum(counts, dtype=np.float64)])
        return cls(edges / edges[-1])

    def to_normal(self, choices: Indices, rng: np.random.Generator) -> Floats:
        """Draw a coordinate within the cell of each choice."""
        low, high = self.edges[choices], self.edges[choices + 1]
        return normal(between(low, high, rng, len(low)))

    def from_normal(self, coordinates: Floats) -> Indices:
        """Find the cell that each coordinate lies in."""
        rank = np.clip(ndtr(coordinates), EDGE, 1 - EDGE)
        return np.asarray(np.searchsorted(self.edges, rank, side="right") - 1)


def normal(shares: Floats) -> Floats:
    """Give the normal quantiles of shares between 0 and 1."""
    return np.asarray(ndtri(np.clip(shares, EDGE, 1 - EDGE)))


def between(low: Floats, high: Floats, rng: np.random.Generator, count: int) -> Floats:
    """Draw `count` numbers, each from its interval, or all from one, away from the ends."""
    return np.asarray(low + (high - low) * (MARGIN / 2 + (1 - MARGIN) * rng.random(count)))
