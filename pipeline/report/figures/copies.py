"""Memorisation: are generated rows copies of training rows, or nearer to them than other real rows are?"""

from dataclasses import dataclass

import numpy as np

from pipeline.report.samples import Samples

NEAR = 0.05
"""Share of other real rows that count as near copies: those with the least distance to one row beside that to the next."""
EQUAL = 1e-9


@dataclass(frozen=True)
class Copies:
    """What distances to the closest training record tell.

    Attributes:
        metrics: `copied_share`, `near_share`, and where training rows were given `dcr_share`, with floors.
        distances: to the closest of the rows that could have been copied: of other real rows, and of generated ones.
        error: standard error of `dcr_share` where nothing is memorised.
        repeated: which share of training rows equals another one, as other real rows then do too; 0 without training rows.
    """

    metrics: dict[str, float]
    distances: tuple[np.ndarray, np.ndarray]
    error: float
    repeated: float


def measure(samples: Samples, held_out: np.ndarray, originals: np.ndarray, generated: np.ndarray) -> Copies:
    """Measure points in the encoded coordinates, (n, width), (m, width) and (n, width).

    Without training rows each real row is compared with the other real rows.
    """
    made, second = _closest(generated, originals)
    queries = held_out if samples.has_training else originals[: len(generated)]
    usual, second_usual = _closest(queries, originals, skip_self=not samples.has_training)
    made_ratio, usual_ratio = _ratio(made, second), _ratio(usual, second_usual)
    near = float(np.quantile(usual_ratio, NEAR))
    metrics = {
        "copied_share": float((made <= EQUAL).mean()),
        "copied_share_floor": float((usual <= EQUAL).mean()),
        "near_share": float((made_ratio < near).mean()),
        "near_share_floor": float((usual_ratio < near).mean()),
    }
    repeated = 0.0
    if samples.has_training:
        metrics |= _shares(held_out, originals, generated)
        if metrics["copied_share_floor"] > 0:
            repeated = float((_closest(originals[: len(generated)], originals, skip_self=True)[0] <= EQUAL).mean())
    return Copies(metrics, (usual, made), float(np.sqrt(0.25 / len(generated))), repeated)


def _ratio(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Divide the distance to the closest row by that to the second: small of a copy, whether rows are crowded there or not."""
    return np.where(second > EQUAL, first / np.maximum(second, EQUAL), 1.0)


def _closest(points: np.ndarray, to: np.ndarray, *, skip_self: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Compute the distances of each point to the two nearest of others.

    Args:
        skip_self: the points are the first of the others, and none is compared with itself.
    """
    from scipy.spatial.distance import cdist

    nearest = np.empty((len(points), 2))
    rows = max(1, 20_000_000 // len(to))
    for begin in range(0, len(points), rows):
        across = cdist(points[begin : begin + rows], to)
        if skip_self:
            across[np.arange(len(across)), np.arange(begin, begin + len(across))] = np.inf
        nearest[begin : begin + rows] = np.partition(across, 1, axis=1)[:, :2]
    return nearest[:, 0], nearest[:, 1]


def _shares(held_out: np.ndarray, originals: np.ndarray, generated: np.ndarray) -> dict[str, float]:
    """Measure which share of rows is nearer to training rows than to equally many held-out rows; a tie is half of each.

    The floor is that of one half of the held-out rows against the other.
    """
    half = len(held_out) // 2
    shares = {}
    for name, rows, others in (
        ("dcr_share", generated, held_out),
        ("dcr_share_floor", held_out[:half], held_out[half:]),
    ):
        n = min(len(others), len(originals))
        to_training, to_others = _closest(rows, originals[:n])[0], _closest(rows, others[:n])[0]
        shares[name] = float((to_training < to_others).mean() + (to_training == to_others).mean() / 2)
    return shares
