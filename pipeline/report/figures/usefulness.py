"""Usefulness: does a model that learned from generated rows predict real ones as well as one that learned from real rows?"""

from dataclasses import dataclass

import numpy as np

from pipeline.errors import Unusable
from pipeline.report.figures.classifier import MOST_BINS, boosting, fitted
from pipeline.report.samples import Samples

LEAST_ROWS = 10


@dataclass(frozen=True)
class Usefulness:
    """Scores on held-out real rows.

    Attributes:
        feature_name: the column that is predicted.
        word: what the score is: accuracy of categories, R2 of numbers.
        metrics: `usefulness` of the model that learned from generated rows; its floor, of the one that learned from real rows.
        guessing: the score without any other column: the most frequent category, the mean.
    """

    feature_name: str
    word: str
    metrics: dict[str, float]
    guessing: float


def require_predictable(samples: Samples, name: str) -> int:
    """Find the column to predict.

    Raises:
        Unusable: there is none of the name, or nothing to predict or to predict it from.
    """
    names = [feature.name for feature in samples.features]
    if name not in names:
        raise Unusable(f"--predict must name a column that is judged ({', '.join(names[:10])}), not {name!r}")
    if len(names) < 2:
        raise Unusable(f"--predict {name} needs a second column to predict it from")
    number = names.index(name)
    for rows in (samples.real, samples.held_out):
        values = rows[:, number]
        if (~np.isnan(values)).sum() < LEAST_ROWS or len(np.unique(values[~np.isnan(values)])) < 2:
            raise Unusable(f"--predict must name a column with at least two values and {LEAST_ROWS} rows, not {name!r}")
    if len(samples.features[number].labels) > MOST_BINS:
        raise Unusable(f"--predict must name a column with at most {MOST_BINS} categories, not {name!r}")
    return number


def measure(samples: Samples, number: int) -> Usefulness:
    """Train gradient boosting on either side, and score it on held-out real rows.

    Args:
        number: place of the column that is predicted.
    """
    feature = samples.features[number]
    others = [each for i, each in enumerate(samples.features) if i != number]
    test = samples.held_out[~np.isnan(samples.held_out[:, number])]
    inputs, truth = np.delete(test, number, axis=1), test[:, number]

    def score(rows: np.ndarray) -> float:
        rows = rows[~np.isnan(rows[:, number])]
        targets = rows[:, number]
        if len(np.unique(targets)) < 2:
            predicted = np.full(len(truth), targets[0] if len(targets) else np.nan)
        else:
            model = boosting(others, regression=feature.ordered)
            predicted = fitted(model, np.delete(rows, number, axis=1), targets).predict(inputs)
        return _score(predicted, truth, is_number=feature.ordered)

    real = samples.real[~np.isnan(samples.real[:, number]), number]
    guess = real.mean() if feature.ordered else np.bincount(real.astype(int)).argmax()
    return Usefulness(
        feature.name,
        "R2" if feature.ordered else "accuracy",
        {"usefulness": score(samples.generated), "usefulness_floor": score(samples.real)},
        _score(np.full(len(truth), guess), truth, is_number=feature.ordered),
    )


def _score(predicted: np.ndarray, truth: np.ndarray, *, is_number: bool) -> float:
    if not is_number:
        return float((predicted == truth).mean())
    return float(1 - ((np.nan_to_num(predicted) - truth) ** 2).sum() / ((truth - truth.mean()) ** 2).sum())
