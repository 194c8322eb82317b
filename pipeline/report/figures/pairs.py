"""Pairs of columns: do generated values go together as the real ones do?"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from pipeline.report.kinds import Feature
from pipeline.report.samples import Samples

MOST_COLUMNS = 40
"""Whose pairs are measured: 780 pairs."""
LEAST_DIFFERENCE = 0.1
SURE = 4.5
"""Times 1 / sqrt(n): beyond what chance does to one of some dozens of pairs."""
LEAST_VALUES = 3


@dataclass(frozen=True)
class PairFigures:
    """What is measured of one pair of columns.

    Attributes:
        numbers: places of the two columns.
        measure: what the association is: rank correlation from -1 to 1, Cramer's V or the correlation ratio from 0 to 1.
        real, generated: the association in held-out and in generated rows.
        difference: how far the generated one is from the real one; of two columns of categories the total variation of their
            table, where that is larger.
        floor: the same difference of other real rows.
        is_off: whether the difference is real, and worth a sentence.
    """

    numbers: tuple[int, int]
    measure: str
    real: float
    generated: float
    difference: float
    floor: float
    is_off: bool = False


def measure(samples: Samples) -> list[PairFigures]:
    """Measure the pairs of the first 40 columns, the largest difference first."""
    chosen = [number for number, _ in enumerate(samples.features)][:MOST_COLUMNS]
    measured = [_pair(samples, pair) for pair in combinations(chosen, 2)]
    noise = max((pair.floor for pair in measured), default=0.0)
    least = max(LEAST_DIFFERENCE, SURE / np.sqrt(samples.num_rows), 1.25 * noise)
    marked = [PairFigures(**{**vars(pair), "is_off": bool(pair.difference > least)}) for pair in measured]
    return sorted(marked, key=lambda pair: -pair.difference)


def _pair(samples: Samples, numbers: tuple[int, int]) -> PairFigures:
    features = samples.features[numbers[0]], samples.features[numbers[1]]
    word, associate = ASSOCIATIONS[features[0].ordered, features[1].ordered]
    sides = [_present(rows, numbers) for rows in (samples.held_out, samples.generated, samples.real)]
    real, generated, other = (associate(*side) for side in sides)
    difference, floor = abs(generated - real), abs(other - real)
    if not features[0].ordered and not features[1].ordered:
        difference, floor = _table_distance(sides[1], sides[0], features), _table_distance(sides[2], sides[0], features)
    return PairFigures(numbers, word, real, generated, difference, floor)


def _present(rows: np.ndarray, numbers: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Take two columns without the rows where one of them is missing."""
    both = rows[:, numbers]
    both = both[~np.isnan(both).any(axis=1)]
    return both[:, 0], both[:, 1]


def rank_correlation(x: np.ndarray, y: np.ndarray) -> float:
    """Compute Spearman's correlation; 0 where a side is constant or has too few values.

    Example:
        >>> rank_correlation(np.arange(9.0), -np.arange(9.0) ** 3)
        -1.0
    """
    from scipy.stats import rankdata

    if len(x) < LEAST_VALUES or not np.ptp(x) or not np.ptp(y):
        return 0.0
    return round(float(np.corrcoef(rankdata(x), rankdata(y))[0, 1]), 12)


def cramers_v(x: np.ndarray, y: np.ndarray) -> float:
    """Compute Cramer's V of two columns of categories."""
    from scipy.stats.contingency import association, crosstab

    counts = crosstab(x, y).count if len(x) else np.zeros((0, 0))
    return float(association(counts.astype(int), method="cramer")) if min(counts.shape) > 1 else 0.0


def correlation_ratio(categories: np.ndarray, values: np.ndarray) -> float:
    """Compute which share of a number's spread lies between categories, as its root; the order of ranks, so without units."""
    from scipy.stats import rankdata

    if len(values) < LEAST_VALUES or not np.ptp(values):
        return 0.0
    ranks = rankdata(values)
    _, places, counts = np.unique(categories, return_inverse=True, return_counts=True)
    means = np.bincount(places, ranks) / counts
    return float(np.sqrt((counts * (means - ranks.mean()) ** 2).sum() / len(ranks) / ranks.var()))


def _turned(values: np.ndarray, categories: np.ndarray) -> float:
    return correlation_ratio(categories, values)


def _table_distance(
    x: tuple[np.ndarray, np.ndarray], y: tuple[np.ndarray, np.ndarray], features: tuple[Feature, Feature]
) -> float:
    """Measure the total variation of the tables of two columns of categories."""
    num, width = (len(feature.labels) for feature in features)
    shares = []
    for first, second in (x, y):
        counts = np.bincount((first * width + second).astype(int), minlength=num * width)
        shares.append(counts / max(1, counts.sum()))
    return float(np.abs(shares[0] - shares[1]).sum() / 2)


Association = Callable[[np.ndarray, np.ndarray], float]
ASSOCIATIONS: Mapping[tuple[bool, bool], tuple[str, Association]] = {
    (True, True): ("rank correlation", rank_correlation),
    (False, False): ("Cramer's V", cramers_v),
    (False, True): ("correlation ratio", correlation_ratio),
    (True, False): ("correlation ratio", _turned),
}
"""How two columns are associated, by whether each is ordered."""


def metrics(pairs: list[PairFigures]) -> dict[str, float]:
    """Sum the pairs up as metrics: the mean and the largest difference, with floors."""
    summary: dict[str, float] = {}
    tables = [pair for pair in pairs if pair.measure == ASSOCIATIONS[False, False][0]]
    others = [pair for pair in pairs if pair.measure != ASSOCIATIONS[False, False][0]]
    for name, some in (("correlation_error", others), ("contingency_tv", tables)):
        if some:
            summary[name] = float(np.mean([pair.difference for pair in some]))
            summary[f"{name}_floor"] = float(np.mean([pair.floor for pair in some]))
            summary[f"{name}_max"] = max(pair.difference for pair in some)
            summary[f"{name}_max_floor"] = max(pair.floor for pair in some)
    return summary
