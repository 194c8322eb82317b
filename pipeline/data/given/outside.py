"""Which given points lie far outside the source: a map was never trained there, and what it makes of them means little."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from components.streams import stream
from pipeline.data.source import Samples

MOST_DRAWS, MOST_BYTES, LEAST_DRAWS = 10_000, 64 * 2**20, 64
"""Samples of the source that its reach is measured on: so many, but of large images no more than fit into so many bytes."""
DEVIATIONS = 6
LEAST_SHARE = 0.01
"""The deviation of a coordinate counts as this share of the mean one at least, or any change of a constant one would be far."""
RULE = (
    f"their distance to its mean, in standard deviations of each coordinate, is more than {DEVIATIONS} deviations of that "
    "distance above its average over draws of the source"
)
"""The rule as it is told."""


@dataclass(frozen=True)
class Reach:
    """How far the samples of a source reach, in the space that the flow lives in.

    Example:
        >>> reach = Reach.of(lambda n, rng: rng.standard_normal((n, 2), dtype=np.float32), (2,))
        >>> reach.far(np.array([[0, 0], [3, 3], [9, 0]], np.float32)).tolist()
        [False, False, True]

    Attributes:
        mean, deviation: of each coordinate.
        most: largest distance, as a root mean square over the coordinates, that is not far.
    """

    mean: np.ndarray
    deviation: np.ndarray
    most: float

    @classmethod
    def of(cls, draw: Callable[[int, np.random.Generator], Samples], shape: tuple[int, ...]) -> "Reach":
        """Measure the reach of a source on draws that are the same at every call.

        Args:
            draw: gives n samples of a shape.
        """
        n = max(LEAST_DRAWS, min(MOST_DRAWS, MOST_BYTES // (4 * math.prod(shape))))
        rows = draw(n, stream(0, "outside")).reshape(n, -1).astype(np.float64)
        mean, deviation = rows.mean(0), rows.std(0)
        floor = LEAST_SHARE * math.sqrt(float((deviation**2).mean()))
        measured = cls(mean, np.maximum(deviation, floor or 1.0), math.inf)
        distances = measured.distances(rows)
        return cls(mean, measured.deviation, float(distances.mean() + DEVIATIONS * distances.std()))

    def distances(self, samples: Samples) -> np.ndarray:
        """Measure how far samples are from the mean: root mean squares over the coordinates, in their deviations."""
        scaled = (samples.reshape(len(samples), -1) - self.mean) / self.deviation
        distances: np.ndarray = np.sqrt((scaled**2).mean(1))
        return distances

    def far(self, samples: Samples) -> np.ndarray:
        """Say which samples of the space that the flow lives in lie far outside the source."""
        is_far: np.ndarray = self.distances(samples) > self.most
        return is_far


def far_outside(num_far: int, num_points: int) -> str:
    """Say how many of the points lie far outside the source, and by which rule.

    >>> far_outside(2, 1000).partition(":")[0]
    '2 of 1,000 points lie far outside the source'
    """
    lies = "lies" if num_far == 1 else "lie"
    return f"{num_far:,} of {num_points:,} points {lies} far outside the source: {RULE}"
