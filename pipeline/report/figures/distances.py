"""All columns at once: W2, sliced W2, and the energy distance with a permutation test."""

import math
from dataclasses import dataclass

import numpy as np

from components.metrics import sliced_w2, w2

NUM_VIEWS = 4
"""Disjoint parts of the rows that W2 is measured on, so that its spread is known."""
LEAST_IN_VIEW = 50
NUM_PERMUTATIONS = 199
MOST_PERMUTED = 1_000
"""Rows of each side in the permutation test."""


@dataclass(frozen=True)
class Distances:
    """How far generated points lie from held-out ones.

    Attributes:
        metrics: W2, sliced W2, energy distance and its p-value, each with its floor.
        excess: of W2 over its floor, as a share of the floor; below 0 it is under it.
        is_under: whether W2 is under its floor, beyond what chance does.
        blindness: the floor of W2 over the distance of two arbitrary real rows: near 1, W2 sees next to nothing.
    """

    metrics: dict[str, float]
    excess: float
    is_under: bool
    blindness: float


def measure(held_out: np.ndarray, real: np.ndarray, generated: np.ndarray) -> Distances:
    """Measure points in the encoded coordinates.

    Args:
        held_out, real, generated: (n, width) each.
    """
    views = max(1, min(NUM_VIEWS, len(held_out) // LEAST_IN_VIEW))
    parts = [[each[i::views] for each in (held_out, real, generated)] for i in range(views)]
    made = np.array([w2(x, y) for y, _, x in parts])
    floors = np.array([w2(x, y) for y, x, _ in parts])
    metrics = {"encoded_w2": float(made.mean()), "encoded_w2_floor": float(floors.mean())}
    for ending, side in (("", generated), ("_floor", real)):
        metrics[f"encoded_sliced_w2{ending}"] = sliced_w2(side, held_out, np.random.default_rng(0))
        metrics[f"energy_distance{ending}"], metrics[f"energy_p{ending}"] = energy_test(side, held_out)
    floor = metrics["encoded_w2_floor"]
    typical = math.sqrt(2 * held_out.var(axis=0).sum())
    excess = float(made.mean()) / floor - 1 if floor > 0 else 0.0
    return Distances(metrics, excess, _is_under(made - floors, floor), floor / typical if typical > 0 else 0.0)


def _is_under(differences: np.ndarray, floor: float) -> bool:
    """Say whether the mean of a difference from the floor is below zero, with one chance in two hundred of an error."""
    from scipy.stats import t

    views = len(differences)
    if views < 2:
        return False
    uncertainty = float(differences.std(ddof=1)) / math.sqrt(views)
    return bool(differences.mean() < -max(0.02 * floor, t.ppf(0.995, views - 1) * uncertainty))


def energy_test(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """Measure the energy distance of two samples (Szekely and Rizzo 2013), and test whether they are of one distribution.

    Example:
        >>> x = np.arange(20.0)[:, None]
        >>> energy_test(x, x + 100)[1]
        0.005

    Returns:
        The square root of 2 E|x - y| - E|x - x'| - E|y - y'|, and the p-value of a permutation test.
    """
    from scipy.spatial.distance import cdist

    x, y = x[:MOST_PERMUTED], y[:MOST_PERMUTED]
    rows = np.concatenate([x, y])
    between = cdist(rows, rows)
    signs = np.concatenate([np.full(len(x), 1 / len(x)), np.full(len(y), -1 / len(y))])
    rng = np.random.default_rng(0)
    drawn = np.column_stack([signs, *(rng.permutation(signs) for _ in range(NUM_PERMUTATIONS))])
    statistics = -((between @ drawn) * drawn).sum(axis=0)
    p = (1 + (statistics[1:] >= statistics[0] * (1 - 1e-9)).sum()) / (1 + NUM_PERMUTATIONS)
    return math.sqrt(max(0.0, float(statistics[0]))), float(p)
