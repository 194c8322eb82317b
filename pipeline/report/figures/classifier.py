"""The classifier two-sample test: can generated rows be told from real ones, and by which columns?"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline.report.kinds import Feature
from pipeline.report.samples import Samples

NUM_FOLDS = 5
NUM_SHUFFLES = 3
MOST_BINS = 255
"""Categories that gradient boosting can take as such."""


@dataclass(frozen=True)
class TwoSampleTest:
    """What classifiers found.

    Attributes:
        metrics: AUC of gradient boosting and of a logistic regression, cross-validated, each with its floor.
        error: standard error of an AUC where both sides are alike.
        importance: what shuffling a column takes from gradient boosting's AUC, by the column's name, the largest first.
        scores: of gradient boosting: the probability of being generated, of every held-out and every generated row.
    """

    metrics: dict[str, float]
    error: float
    importance: dict[str, float]
    scores: tuple[np.ndarray, np.ndarray]


def measure(samples: Samples, points: Mapping[str, np.ndarray]) -> TwoSampleTest:
    """Train classifiers on the rows.

    Args:
        points: the same rows as points, by `held_out`, `real`, `generated`.
    """
    metrics: dict[str, float] = {}
    scores, importance = _boosted(samples.held_out, samples.generated, samples.features, with_importance=True)
    metrics["c2st_auc"] = _auc(*scores)
    metrics["c2st_auc_floor"] = _auc(*_boosted(samples.held_out, samples.real, samples.features)[0])
    for ending, side in (("", "generated"), ("_floor", "real")):
        metrics[f"c2st_logistic_auc{ending}"] = _auc(*_out_of_fold(_logistic(), points["held_out"], points[side])[0])
    n = samples.num_rows
    return TwoSampleTest(metrics, math.sqrt((2 * n + 1) / (12 * n * n)), importance, scores)


def boosting(features: Sequence[Feature], *, regression: bool = False) -> Any:
    """Make gradient boosting that takes categories and missing values as they are."""
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

    kind = HistGradientBoostingRegressor if regression else HistGradientBoostingClassifier
    taken = [not feature.ordered and len(feature.labels) < MOST_BINS for feature in features]
    return kind(categorical_features=taken, random_state=0, early_stopping=False, max_iter=100)


def fitted(model: Any, rows: np.ndarray, labels: np.ndarray) -> Any:
    """Train a model; a column without a single value, which scikit-learn cannot sort into bins, is constant."""
    return model.fit(np.where(np.isnan(rows).all(axis=0), 0.0, rows), labels)


def _logistic() -> Any:
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))


def _boosted(
    real: np.ndarray, made: np.ndarray, features: Sequence[Feature], *, with_importance: bool = False
) -> tuple[tuple[np.ndarray, np.ndarray], dict[str, float]]:
    names = [feature.name for feature in features] if with_importance else []
    return _out_of_fold(boosting(features), real, made, names)


def _out_of_fold(
    model: Any, real: np.ndarray, made: np.ndarray, names: Sequence[str] = ()
) -> tuple[tuple[np.ndarray, np.ndarray], dict[str, float]]:
    """Score each row by a model that was trained without it; measure what columns were used for."""
    from sklearn.inspection import permutation_importance
    from sklearn.model_selection import StratifiedKFold

    rows, labels = np.concatenate([real, made]), np.repeat([0, 1], [len(real), len(made)])
    scores, used = np.zeros(len(rows)), np.zeros(len(names))
    folds = list(StratifiedKFold(min(NUM_FOLDS, len(real)), shuffle=True, random_state=0).split(rows, labels))
    for number, (train, test) in enumerate(folds):
        fitted(model, rows[train], labels[train])
        scores[test] = model.predict_proba(rows[test])[:, 1]
        if names and number < 2:
            chosen = {"scoring": "roc_auc", "n_repeats": NUM_SHUFFLES, "random_state": number}
            used += permutation_importance(model, rows[test], labels[test], **chosen).importances_mean / 2
    importance = sorted(zip(names, map(float, used), strict=True), key=lambda each: -each[1])
    return (scores[: len(real)], scores[len(real) :]), dict(importance)


def _auc(real: np.ndarray, made: np.ndarray) -> float:
    from sklearn.metrics import roc_auc_score

    return float(roc_auc_score(np.repeat([0, 1], [len(real), len(made)]), np.concatenate([real, made])))
