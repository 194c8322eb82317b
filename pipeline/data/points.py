"""Sets of points in memory as sources: some to train on, others held out."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, ClassVar, Literal, Self

import numpy as np

from components.measures import Modes
from components.streams import stream
from pipeline.data.source import At, Moments, Samples, moments_of
from pipeline.data.tables import kept


@dataclass(frozen=True)
class Points:
    """Two arrays of samples, in memory or mapped into it, as a `Source`: batches are independent draws with replacement.

    Samples that have weights are drawn with probabilities in proportion to them, held-out ones with replacement too.

    Example:
        >>> points = Points(np.eye(4, dtype=np.float32), np.zeros((2, 4), dtype=np.float32))
        >>> points.shape, points.num_distinct
        ((4,), 2)

    Attributes:
        train, test: samples to train on, and held-out ones.
        modes: of the measure they are drawn from, where it is known.
        weights: one of each sample to train on, and of each held-out one; None: all count alike.
        kept_as: the word for this class in files.
    """

    train: np.ndarray
    test: np.ndarray
    modes: Modes | None = None
    units: Literal["data"] = "data"
    picture: str = "points"
    weights: tuple[np.ndarray, np.ndarray] | None = None
    kept_as: ClassVar[str] = "points"

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
        for array in (self.train, self.test, *(self.weights or ())):
            for part in kept.windows(array):
                digest.update(np.ascontiguousarray(part).data)
        return digest.hexdigest()

    def files(self) -> dict[str, kept.File]:
        """Give all that these samples are, by the name of the file that each part is kept in."""
        weights = {} if self.weights is None else kept.numbered("weights", self.weights)
        return {**kept.numbered("samples", (self.train, self.test)), **weights}

    @classmethod
    def of_files(cls, contents: Mapping[str, Any], **others: Any) -> Self:
        """Make the samples again of what `files` has given."""
        weights = kept.pair("weights", contents) if "weights-train.npy" in contents else None
        return cls(*kept.pair("samples", contents), weights=weights, **others)

    def only(self, train: np.ndarray, test: np.ndarray) -> Self:
        """Give the source of some of the points: those that two masks say."""
        return replace(self, train=self.train[train], test=self.test[test], weights=self.kept_weights(train, test))

    def kept_weights(self, train: np.ndarray, test: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
        """Give the weights of some of the points, where they have any."""
        return None if self.weights is None else (self.weights[0][train], self.weights[1][test])

    def moments(self) -> Moments:
        """Measure the moments of all training points."""
        return moments_of(self.train, None if self.weights is None else self.weights[0])

    def batch(self, at: At) -> Samples:
        """Give one rank's rows of the global batch of a step; numbers of all rows are drawn, and no other row is read."""
        indices = self._drawn("train", at.n, stream(at.seed, at.end, phase=at.phase, step=at.step))
        rows: Samples = self.train[indices[at.rows]]
        return rows

    def sample(self, n: int, rng: np.random.Generator) -> Samples:
        """Draw n training points with replacement."""
        rows: Samples = self.train[self._drawn("train", n, rng)]
        return rows

    def seen(self, n: int, rng: np.random.Generator) -> Samples:
        """Draw n training points, without replacement where they have no weights."""
        rows: Samples = self.train[self._distinct("train", n, rng)]
        return rows

    def held_out(self, n: int, rng: np.random.Generator) -> Samples:
        """Draw n held-out points, without replacement where they have no weights."""
        rows: Samples = self.test[self._distinct("test", n, rng)]
        return rows

    def _drawn(self, split: str, n: int, rng: np.random.Generator) -> np.ndarray:
        """Draw n numbers of rows with replacement."""
        if self.weights is None:
            return rng.integers(len(getattr(self, split)), size=n)
        return np.searchsorted(self._cumulative[split], rng.random(n), side="right")

    def _distinct(self, split: str, n: int, rng: np.random.Generator) -> np.ndarray:
        """Draw n numbers of rows, all there are where more are asked for."""
        size = len(getattr(self, split))
        return rng.permutation(size)[:n] if self.weights is None else self._drawn(split, min(n, size), rng)

    @cached_property
    def _cumulative(self) -> dict[str, np.ndarray]:
        """Sum up the probabilities of rows, the last sum exactly 1."""
        assert self.weights is not None
        train, test = (np.cumsum(weights, dtype=np.float64) for weights in self.weights)
        return {"train": train / train[-1], "test": test / test[-1]}
