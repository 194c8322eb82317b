"""Distances between samples, in the samples' own units, through the POT library; mode statistics."""

import math
from collections.abc import Iterator

import numpy as np
from jaxtyping import Float, Int

Points = Float[np.ndarray, "n d"]
LEAST_SAMPLES = 2
"""Of each side, where a spread is compared: a variance has one less degree of freedom."""


def comparable(x: Points, y: Float[np.ndarray, "m d"], least: int = 1) -> bool:
    """Say whether both samples are finite and large enough; a metric of others is NaN."""
    return min(len(x), len(y)) >= least and bool(np.isfinite(x).all() and np.isfinite(y).all())


def over_floor(value: float, floor: float) -> float | None:
    """Divide a distance by its floor; None where the floor is zero, as of data that are all equal, or not a number."""
    return value / floor if floor > 0 and math.isfinite(floor) else None


def w2(x: Points, y: Float[np.ndarray, "m d"]) -> float:
    """Solve for the exact 2-Wasserstein distance between two samples of equal weights (network simplex); NaN where not finite.

    Example:
        >>> x = np.zeros((4, 2), dtype=np.float32)
        >>> round(w2(x, x + 3), 4)
        4.2426
    """
    if not comparable(x, y):
        return math.nan  # the solver would say 0
    import ot  # and with it scikit-learn, a second or more: only where something is measured

    cost = ot.dist(x.astype(np.float64), y.astype(np.float64), metric="sqeuclidean")
    weights = np.full(len(x), 1 / len(x)), np.full(len(y), 1 / len(y))
    return math.sqrt(max(0.0, float(ot.emd2(*weights, cost, numItermax=10_000_000))))


def sliced_w2(x: Points, y: Float[np.ndarray, "m d"], rng: np.random.Generator, num_projections: int = 256) -> float:
    """Estimate the sliced 2-Wasserstein distance over random directions (Bonneel et al. 2015); NaN where not finite.

    Example:
        >>> x = np.zeros((4, 1), dtype=np.float32)
        >>> round(sliced_w2(x, x + 3, np.random.default_rng(0)), 4)
        3.0
    """
    if not comparable(x, y):
        return math.nan
    import ot

    directions = rng.standard_normal((x.shape[1], num_projections))
    directions /= np.linalg.norm(directions, axis=0)
    return float(ot.sliced_wasserstein_distance(x.astype(np.float64), y.astype(np.float64), projections=directions))


def mmd2(x: Points, y: Float[np.ndarray, "m d"]) -> float:
    """Estimate the squared maximum mean discrepancy without bias (Gretton et al. 2012, Eq. 3): about 0 for equal measures, of
    either sign.

    The kernel is Gaussian; its width is the median distance between points of y. NaN where not finite, where there is but one
    sample on a side, and where that median is zero.

    Example:
        >>> x, y = np.zeros((2, 1)), np.array([[0.0], [1.0]])
        >>> round(mmd2(x, y), 4)
        0.0
    """
    if not comparable(x, y, LEAST_SAMPLES):
        return math.nan
    from scipy.spatial.distance import cdist  # only where something is measured, as above

    (n, m), yy = (len(x), len(y)), cdist(y, y, "sqeuclidean")
    scale = 2 * np.median(yy[np.triu_indices(m, 1)])
    if scale == 0:
        return math.nan
    within_x, within_y = np.exp(-cdist(x, x, "sqeuclidean") / scale), np.exp(-yy / scale)
    across = np.exp(-cdist(x, y, "sqeuclidean") / scale).mean()
    return float((within_x.sum() - n) / (n * (n - 1)) + (within_y.sum() - m) / (m * (m - 1)) - 2 * across)


def precision(x: Points, y: Float[np.ndarray, "m d"], k: int = 5) -> float:
    """Measure the quality of samples x against data y (Kynkaanniemi et al. 2019), in the samples' own coordinates.

    It is the share of x within the distance of some point of y to its k-th neighbour in y, or to the farthest where y has no k
    others. NaN where not finite, and where there is but one sample on a side.
    """
    if not comparable(x, y, LEAST_SAMPLES):
        return math.nan
    nth = min(k, len(y) - 1)  # the zeroth neighbour of a point is itself
    radii = np.concatenate([np.partition(within, nth, axis=1)[:, nth] for within in squared_distances(y, y)])
    return float(np.concatenate([(across <= radii).any(1) for across in squared_distances(x, y)]).mean())


def recall(x: Points, y: Float[np.ndarray, "m d"], k: int = 5) -> float:
    """Measure the diversity of samples x against data y: the precision of the data against the samples."""
    return precision(y, x, k)


def precision_recall(x: Points, y: Float[np.ndarray, "m d"], k: int = 5) -> dict[str, float]:
    """Measure quality and diversity of samples x against data y."""
    return {"precision": precision(x, y, k), "recall": recall(x, y, k)}


def nearness(x: Points, y: Float[np.ndarray, "m d"], *, among: bool = False) -> Float[np.ndarray, " n"]:
    """Divide the distance of each x to its closest y by that to the second closest: near 0 for a copy, 1 between two.

    Example:
        >>> y = np.array([[0.0], [1.0], [3.0]])
        >>> nearness(np.array([[0.01], [0.5]]), y).round(2)
        array([0.01, 1.  ])
        >>> nearness(y[:1], y, among=True).round(2)
        array([0.33])

    Args:
        y: at least two points.
        among: each x is one of y, which needs three points, and is compared with the others.
    """
    skipped = int(among)
    closest = np.concatenate(
        [np.partition(across, skipped + 1, axis=1)[:, skipped : skipped + 2] for across in squared_distances(x, y)]
    )
    return np.sqrt(closest[:, 0] / np.maximum(closest[:, 1], np.finfo(closest.dtype).tiny))


def squared_distances(x: np.ndarray, y: np.ndarray, rows: int = 1000) -> Iterator[np.ndarray]:
    """Yield squared distances of x to y by blocks of rows: 10,000 x 10,000 in 1,280 dimensions neither fill the memory nor take
    minutes.
    """
    centre = y.mean(0, dtype=np.float64)
    x, y = x - centre, y - centre
    of_y = (y**2).sum(1)
    for begin in range(0, len(x), rows):
        block = x[begin : begin + rows]
        norms = (block**2).sum(1)[:, None] + of_y
        squared = norms - 2 * block @ y.T
        squared[squared < 1e-12 * norms] = 0.0  # what cancellation leaves of equal points
        yield squared


def mode_statistics(modes: Int[np.ndarray, " n"], weights: tuple[float, ...]) -> dict[str, float]:
    """Measure how samples spread over the modes of a measure.

    Args:
        modes: index of each sample's mode, -1 for none (`Measure.mode_of`).
        weights: the true probability of each mode.

    Returns:
        `modes_covered`: modes that hold at least a tenth of their share; `on_support`: share of samples within three sigma of
        a mode; `mode_kl`: KL(sample | true) of the mode weights in nats, over samples that lie in a mode.
    """
    counts = np.bincount(modes[modes >= 0], minlength=len(weights))
    expected = np.asarray(weights)
    share = counts / max(1, counts.sum())
    occupied = share > 0
    return {
        "modes_covered": float((share >= expected / 10).sum()),
        "on_support": float((modes >= 0).mean()),
        "mode_kl": float((share[occupied] * np.log(share[occupied] / expected[occupied])).sum()) if occupied.any() else math.inf,
    }
