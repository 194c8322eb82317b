"""Precision, recall, density, coverage: do generated rows lie where real ones do, and everywhere where they do?

Written here and not taken from prdc, whose digits these are: that package prints, and starts processes of its own.
"""

from dataclasses import dataclass

import numpy as np

from pipeline.report.figures.columns import distance_of
from pipeline.report.kinds import Feature
from pipeline.report.samples import Samples

NUM_NEIGHBOURS = 5
LEAST_ROWS = 8
"""Not covered, before it is said which they are."""


@dataclass(frozen=True)
class Missed:
    """What is peculiar to the real rows that nothing generated comes near."""

    feature: Feature
    what: str
    share: float
    otherwise: float


@dataclass(frozen=True)
class Neighbours:
    """What the nearest rows tell.

    Attributes:
        metrics: precision, recall, density and coverage, each with its floor.
        missed: what the real rows that are not covered have in common, where there is something.
    """

    metrics: dict[str, float]
    missed: Missed | None


def measure(samples: Samples, held_out: np.ndarray, real: np.ndarray, generated: np.ndarray) -> Neighbours:
    """Measure points in the encoded coordinates, (n, width) each."""
    made, covered = _figures(generated, held_out)
    floors, _ = _figures(real, held_out)
    metrics = {name + ending: value for ending, of in (("", made), ("_floor", floors)) for name, value in of.items()}
    return Neighbours(metrics, _peculiar(samples, covered))


def _figures(x: np.ndarray, y: np.ndarray) -> tuple[dict[str, float], np.ndarray]:
    """Measure samples x against data y (Kynkaanniemi et al. 2019, Naeem et al. 2020).

    Returns:
        The figures, and which rows of y have a sample within the distance of their k-th neighbour.
    """
    from scipy.spatial.distance import cdist

    k = min(NUM_NEIGHBOURS, len(y) - 1)
    across = cdist(x, y)
    of_y, of_x = (np.partition(cdist(each, each), k, axis=1)[:, k] for each in (y, x))
    within = across <= of_y
    covered = within.any(axis=0)
    return {
        "precision": float(within.any(axis=1).mean()),
        "recall": float((across <= of_x[:, None]).any(axis=0).mean()),
        "density": float(within.sum() / (k * len(x))),
        "coverage": float(covered.mean()),
    }, covered


def _peculiar(samples: Samples, covered: np.ndarray) -> Missed | None:
    """Find the column in which rows that are not covered differ most from the others."""
    missed, others = samples.held_out[~covered], samples.held_out[covered]
    if len(missed) < LEAST_ROWS or len(others) < LEAST_ROWS:
        return None
    distances = [distance_of(feature, missed[:, i], others[:, i])[0] for i, feature in enumerate(samples.features)]
    number = int(np.argmax(distances))
    feature, x, y = samples.features[number], missed[:, number], others[:, number]
    if distances[number] < 0.3:
        return None
    if not feature.ordered:
        counts = np.bincount(x[~np.isnan(x)].astype(int), minlength=len(feature.labels)) / len(x)
        usual = np.bincount(y[~np.isnan(y)].astype(int), minlength=len(feature.labels)) / len(y)
        place = int(np.argmax(counts - usual))
        return Missed(feature, f"= {feature.labels[place]}", float(counts[place]), float(usual[place]))
    return _side(feature, x, y)


def _side(feature: Feature, x: np.ndarray, y: np.ndarray) -> Missed:
    """Say on which side of which value the rows lie that are not covered."""
    values = np.unique(np.concatenate([x[~np.isnan(x)], y[~np.isnan(y)]]))
    below = [np.array([(each <= value).mean() for value in values]) for each in (x, y)]
    lower, upper = int(np.argmax(below[0] - below[1])), int(np.argmax(below[1] - below[0]))
    if below[0][lower] - below[1][lower] >= below[1][upper] - below[0][upper]:
        return Missed(feature, f"<= {values[lower]:.4g}", float(below[0][lower]), float(below[1][lower]))
    return Missed(feature, f"> {values[upper]:.4g}", float(1 - below[0][upper]), float(1 - below[1][upper]))
