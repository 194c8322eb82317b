"""Rows as points: every column brought to numbers of the same size, so that rows have distances.

These are not the coordinates that a flow learns in: the noise that spreads categories and grids there would part a copied row
from its original.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline.report.kinds import Feature

HEAVY = 10.0
"""Excess kurtosis from which values are replaced by normal scores: a few of them would be all that a distance sees."""
MOST_CATEGORIES = 30
"""That get a coordinate of their own; the rest share one."""


@dataclass(frozen=True)
class Axis:
    """One column's coordinates.

    Attributes:
        feature: the column.
        number: its place among the columns.
        scale: of ordered values without heavy tails: mean and standard deviation.
        scores: of ordered values with heavy tails: a fitted QuantileTransformer.
        has_missing: whether a coordinate says what is missing.
    """

    feature: Feature
    number: int
    scale: tuple[float, float]
    scores: Any
    has_missing: bool

    def points(self, rows: np.ndarray) -> np.ndarray:
        """Make this column's coordinates: (n, d) -> (n, its own)."""
        values = rows[:, self.number]
        missing = np.isnan(values)
        indicator = [missing[:, None].astype(np.float64)] if self.has_missing else []
        shown = self._ordered(values, missing) if self.feature.ordered else self._categories(values)
        return np.concatenate([shown, *indicator], axis=1)

    def _ordered(self, values: np.ndarray, missing: np.ndarray) -> np.ndarray:
        mean, deviation = self.scale
        if self.scores is not None:
            scored = self.scores.transform(np.where(missing, mean, values)[:, None])
            return np.where(missing[:, None], 0.0, scored)
        centred = np.where(missing, 0.0, values - mean)
        return (centred / deviation if deviation > 0 else np.sign(centred))[:, None]

    def _categories(self, values: np.ndarray) -> np.ndarray:
        """Spell out categories: two different ones are at distance 1."""
        num = min(len(self.feature.labels), MOST_CATEGORIES)
        capped = np.where(np.isnan(values), -1, np.minimum(values, num - 1))
        return np.asarray((capped[:, None] == np.arange(num)) / np.sqrt(2))


def fit(features: Sequence[Feature], real: np.ndarray, others: Sequence[np.ndarray]) -> list[Axis]:
    """Fit the coordinates of every column to the real rows.

    Args:
        real: (n, d).
        others: further rows that will be shown, which may have missing values.
    """
    from scipy.stats import kurtosis
    from sklearn.preprocessing import QuantileTransformer

    axes = []
    for number, feature in enumerate(features):
        values = real[:, number]
        present = values[~np.isnan(values)]
        mean, deviation = (float(present.mean()), float(present.std())) if len(present) else (0.0, 0.0)
        if deviation <= 1e-12 * max(1.0, abs(mean)):
            deviation = 0.0
        scores = None
        if feature.ordered and deviation > 0 and kurtosis(present) > HEAVY:
            scores = QuantileTransformer(n_quantiles=min(1000, len(present)), output_distribution="normal", random_state=0)
            scores.fit(present[:, None])
        has_missing = any(bool(np.isnan(each[:, number]).any()) for each in (real, *others))
        axes.append(Axis(feature, number, (mean, deviation), scores, has_missing))
    return axes


def points(axes: Sequence[Axis], rows: np.ndarray) -> np.ndarray:
    """Make points of rows: (n, d) -> (n, width)."""
    return np.concatenate([axis.points(rows) for axis in axes], axis=1)
