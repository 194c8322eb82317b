"""Sets of points in memory as sources: some to train on, others held out."""

import hashlib
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal, Self

import numpy as np

from components.streams import stream
from pipeline.data.source import At, Moments, Samples, moments_of


@dataclass(frozen=True)
class Points:
    """Two arrays of samples, in memory or mapped into it, as a `Source`: batches are independent draws with replacement.

    Example:
        >>> points = Points(np.eye(4, dtype=np.float32), np.zeros((2, 4), dtype=np.float32))
        >>> points.shape, points.num_distinct
        ((4,), 2)
    """

    train: np.ndarray
    test: np.ndarray
    modes: None = None
    units: Literal["data"] = "data"
    picture: str = "points"

    @property
    def shape(self) -> tuple[int, ...]:
        """Give the shape of one point."""
        return tuple(self.train.shape[1:])

    @property
    def num_distinct(self) -> int:
        """Count held-out points, or those of training where they are fewer."""
        return min(len(self.test), len(self.train))

    @cached_property
    def digest(self) -> str:
        """Hash all points: the sha256 of the training points, then the held-out ones."""
        digest = hashlib.sha256()
        for array in (self.train, self.test):
            digest.update(np.ascontiguousarray(array).data)
        return digest.hexdigest()

    def only(self, train: np.ndarray, test: np.ndarray) -> Self:
        """Give the source of some of the points: those that two masks say."""
        return replace(self, train=self.train[train], test=self.test[test])

    def moments(self) -> Moments:
        """Measure the moments of all training points."""
        return moments_of(self.train)

    def batch(self, at: At) -> Samples:
        """Give one rank's rows of the global batch of a step; numbers of all rows are drawn, and no other row is read."""
        indices = stream(at.seed, at.end, phase=at.phase, step=at.step).integers(len(self.train), size=at.n)
        rows: Samples = self.train[indices[at.rows]]
        return rows

    def sample(self, n: int, rng: np.random.Generator) -> Samples:
        """Draw n training points with replacement."""
        rows: Samples = self.train[rng.integers(len(self.train), size=n)]
        return rows

    def seen(self, n: int, rng: np.random.Generator) -> Samples:
        """Draw n training points without replacement."""
        rows: Samples = self.train[rng.permutation(len(self.train))[:n]]
        return rows

    def held_out(self, n: int, rng: np.random.Generator) -> Samples:
        """Draw n held-out points without replacement."""
        rows: Samples = self.test[rng.permutation(len(self.test))[:n]]
        return rows
