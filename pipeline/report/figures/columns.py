"""Column by column: do generated values have the real ones' distribution, range, grid, categories, missing values?"""

from dataclasses import dataclass

import numpy as np

from pipeline.report.kinds import Feature
from pipeline.report.samples import Samples

LEAST_DISTANCE = 0.05
"""A smaller difference of a column is none that is worth a sentence, however sure."""
SURE = 0.01
"""A difference that chance gives less often, in any of the columns, is one."""


@dataclass(frozen=True)
class ColumnFigures:
    """What is measured of one column.

    Attributes:
        distance: Kolmogorov-Smirnov of ordered values, total variation of categories: 0 equal, 1 nothing in common.
        floor: the same of real rows.
        p: how often chance gives equal distributions such a distance, or a larger one.
        missing: shares of missing values, real and generated.
        outside: share of generated values beyond the range of the real ones, or of categories that they do not have.
        is_outside: whether that is more than chance does.
        between: share of generated values between the steps that real values keep, beyond that of real ones.
        spreads: standard deviations, real and generated, of ordered values.
        shift: of the median, in real standard deviations.
        lacks: whether too many or too few values are missing.
        is_off: whether a difference, also of what is missing, is real and worth a sentence.
    """

    feature: Feature
    distance: float
    floor: float
    p: float
    missing: tuple[float, float]
    outside: float
    is_outside: bool
    between: float
    spreads: tuple[float, float]
    shift: float
    lacks: bool
    is_off: bool


def measure(samples: Samples) -> list[ColumnFigures]:
    """Measure every column."""
    return [_column(samples, number) for number in range(len(samples.features))]


def _column(samples: Samples, number: int) -> ColumnFigures:
    feature = samples.features[number]
    held_out, real, generated = (rows[:, number] for rows in (samples.held_out, samples.real, samples.generated))
    distance, p = distance_of(feature, generated, held_out)
    floor, _ = distance_of(feature, real, held_out)
    every_real = samples.originals[:, number]
    if samples.has_training:
        every_real = np.concatenate([held_out, every_real])
    present, made = every_real[~np.isnan(every_real)], generated[~np.isnan(generated)]
    spreads, shift = (0.0, 0.0), 0.0
    if feature.ordered and len(made):
        spreads = float(present.std()), float(made.std())
        shift = float(np.median(made) - np.median(present)) / spreads[0] if spreads[0] > 0 else 0.0
    missing = float(np.isnan(held_out).mean()), float(np.isnan(generated).mean())
    lacks = abs(missing[0] - missing[1]) > max(LEAST_DISTANCE, 4 * np.sqrt(max(missing) / len(generated)))
    outside = _outside(feature, made, present)
    is_off = distance > max(LEAST_DISTANCE, 1.25 * floor) and p < SURE / len(samples.features)
    return ColumnFigures(
        feature,
        distance,
        floor,
        p,
        missing,
        outside,
        bool(outside > max(0.005, _chance_outside(len(made), len(present), len(samples.features)))),
        max(0.0, float(feature.is_off_grid(made).mean() - feature.is_off_grid(present).mean())) if len(made) else 0.0,
        spreads,
        shift,
        bool(lacks),
        bool(is_off or lacks),
    )


def _outside(feature: Feature, made: np.ndarray, present: np.ndarray) -> float:
    if not len(made) or not len(present):
        return 0.0
    if feature.ordered:
        return float(((made < present.min()) | (made > present.max())).mean())
    return float((~np.isin(made, present)).mean())


def _chance_outside(num: int, num_real: int, num_columns: int) -> float:
    """Say which share of values chance puts beyond the largest or the smallest real one, once in two hundred reports."""
    if not num or not num_real:
        return 0.0
    return float(np.log(SURE / 4 / num_columns) / np.log(num / (num + num_real)) / num)


def distance_of(feature: Feature, x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """Measure how far apart two samples of a column are, missing values left out, and how likely chance does that.

    Example:
        >>> distance_of(Feature("x", ordered=True), np.arange(100.0), np.arange(100.0))
        (0.0, 1.0)

    Returns:
        The distance from 0 to 1, and the p-value of equal distributions.
    """
    x, y = x[~np.isnan(x)], y[~np.isnan(y)]
    if not len(x) or not len(y):
        return (0.0, 1.0) if len(x) == len(y) else (1.0, 0.0)
    return _kolmogorov_smirnov(x, y) if feature.ordered else _total_variation(x, y, len(feature.labels))


def _kolmogorov_smirnov(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    from scipy.stats import ks_2samp

    test = ks_2samp(x, y, method="asymp")
    return float(test.statistic), float(test.pvalue)


def _total_variation(x: np.ndarray, y: np.ndarray, num: int) -> tuple[float, float]:
    from scipy.stats import chi2_contingency

    counts = np.stack([np.bincount(each.astype(int), minlength=num) for each in (x, y)])
    shares = counts / counts.sum(1, keepdims=True)
    distance = float(np.abs(shares[0] - shares[1]).sum() / 2)
    seen = counts[:, counts.sum(0) > 0]
    return distance, float(chi2_contingency(seen, correction=False).pvalue) if seen.shape[1] > 1 else 1.0


def metrics(columns: list[ColumnFigures]) -> dict[str, float]:
    """Sum the columns up as metrics: the mean and the largest distance, with floors."""
    summary: dict[str, float] = {}
    for name, ordered in (("ks", True), ("tv", False)):
        some = [column for column in columns if column.feature.ordered == ordered]
        if some:
            summary[f"{name}_mean"] = float(np.mean([column.distance for column in some]))
            summary[f"{name}_mean_floor"] = float(np.mean([column.floor for column in some]))
            summary[f"{name}_max"] = max(column.distance for column in some)
            summary[f"{name}_max_floor"] = max(column.floor for column in some)
    return summary
