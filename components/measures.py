"""Analytic probability measures, each a source or a target.

Coordinates are the measure's own units. `gauss25`, `gauss8` and `two_circles` have the constants of the reference code; the
others are the usual toy sets of the generative-modelling literature.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from jaxtyping import Float, Int

from components.streams import normal

Points = Float[np.ndarray, "n d"]
Labels = Int[np.ndarray, " n"]
Quantiles = Float[np.ndarray, " n"]
TAU = 2 * np.pi


@dataclass(frozen=True)
class Modes:
    """The modes of a measure: which one a sample lies in, and how probable each is.

    Example:
        >>> right = Modes(lambda points: (points[:, 0] > 0).astype(int) - 1, (1.0,))
        >>> right.mode_of(np.array([[2.0, 0.0], [-2.0, 0.0]]))
        array([ 0, -1])

    Attributes:
        mode_of: index of the mode whose 3-sigma support a sample lies in, -1 for none.
        mode_weights: probability of each mode.
        nearest: index of the mode that a sample lies nearest to, however far: a condition that every sample has; None: not known.
    """

    mode_of: Callable[[Points], Labels]
    mode_weights: tuple[float, ...]
    nearest: Callable[[Points], Labels] | None = None


@dataclass(frozen=True)
class Measure:
    """A probability measure on R^dim.

    Example:
        >>> MOONS.sample(3, np.random.default_rng(0)).shape
        (3, 2)

    Attributes:
        dim: dimension d.
        sample: (number of samples, generator) -> float32 samples of shape (n, d).
        modes: None where there are none.
    """

    dim: int
    sample: Callable[[int, np.random.Generator], Points]
    modes: Modes | None = None


def gaussian_moments(dim: int) -> tuple[Float[np.ndarray, " d"], Float[np.ndarray, "d d"]]:
    """Give mean and covariance of `gaussian`: mean (1, ..., 1), eigenvalues from 1/4 to 4, eigenvectors of the DCT-II."""
    eigenvalues = np.geomspace(0.25, 4.0, dim) if dim > 1 else np.array([0.25])
    grid = np.arange(dim)
    basis = np.cos(np.pi * (grid[None, :] + 0.5) * grid[:, None] / dim)
    basis /= np.linalg.norm(basis, axis=1, keepdims=True)
    return np.ones(dim), basis.T @ np.diag(eigenvalues) @ basis


def gaussian(dim: int) -> Measure:
    """Make the measure `gaussian` of a dimension, a correlated Gaussian with the moments of `gaussian_moments`.

    Example:
        >>> gaussian(5).sample(3, np.random.default_rng(0)).shape
        (3, 5)
    """
    mean, covariance = gaussian_moments(dim)
    return Measure(dim, partial(_gaussian, mean=mean, root=np.linalg.cholesky(covariance)))


def _gaussian(n: int, rng: np.random.Generator, *, mean: np.ndarray, root: np.ndarray) -> Points:
    return (mean + normal(rng, n, len(mean)) @ root.T).astype(np.float32)


def _mixture(n: int, rng: np.random.Generator, *, centres: np.ndarray, std: float) -> Points:
    return (centres[rng.integers(len(centres), size=n)] + std * normal(rng, n, 2)).astype(np.float32)


def _nearest_centre(x: Points, *, centres: np.ndarray, std: float) -> Labels:
    distance = np.linalg.norm(x[:, None] - centres[None], axis=2)
    return np.where(distance.min(1) <= 3 * std, distance.argmin(1), -1)


def _mixture_measure(centres: np.ndarray, std: float) -> Measure:
    weights = (1 / len(centres),) * len(centres)
    mode_of, nearest = (partial(_nearest_centre, centres=centres, std=each) for each in (std, np.inf))
    modes = Modes(mode_of, weights, nearest)
    return Measure(2, partial(_mixture, centres=centres, std=std), modes)


RADII, RING_STD = np.array([4.0, 8.0]), 0.2


def _two_circles(n: int, rng: np.random.Generator) -> Points:
    angle, radius = rng.uniform(0, TAU, n), RADII[rng.integers(2, size=n)]
    ring = np.stack([np.cos(angle), np.sin(angle)], 1) * radius[:, None]
    return (ring + RING_STD * normal(rng, n, 2)).astype(np.float32)


def _nearest_ring(x: Points, *, std: float = RING_STD) -> Labels:
    distance = np.abs(np.linalg.norm(x, axis=1)[:, None] - RADII)
    return np.where(distance.min(1) <= 3 * std, distance.argmin(1), -1)


def _upper_moon(angle: Quantiles) -> Points:
    return np.stack([np.cos(angle), np.sin(angle)], 1)


def _lower_moon(angle: Quantiles) -> Points:
    return np.stack([1 - np.cos(angle), 0.5 - np.sin(angle)], 1)


def _moons(n: int, rng: np.random.Generator) -> Points:
    angle, side = rng.uniform(0, np.pi, n), rng.integers(2, size=n)
    moon = np.where(side[:, None] == 0, _upper_moon(angle), _lower_moon(angle))
    return (moon + 0.05 * normal(rng, n, 2)).astype(np.float32)


def _checkerboard(n: int, rng: np.random.Generator) -> Points:
    """Draw uniformly from the eight dark squares of side 1 of the 4 x 4 board on [-2, 2]^2."""
    row = rng.integers(4, size=n)
    column = 2 * rng.integers(2, size=n) + row % 2
    corner = np.stack([column, row], 1) - 2.0
    return (corner + rng.uniform(size=(n, 2))).astype(np.float32)


def _spiral_arm(quantile: Quantiles) -> Points:
    angle = 3 * np.pi * np.sqrt(quantile)
    return np.stack([-np.cos(angle), np.sin(angle)], 1) * angle[:, None] / 3


def _spiral(n: int, rng: np.random.Generator) -> Points:
    """Draw from one arm of an Archimedean spiral of one and a half turns, uniform in area, with noise 0.1."""
    return (_spiral_arm(rng.uniform(size=n)) + 0.1 * normal(rng, n, 2)).astype(np.float32)


def _swiss_roll_arm(quantile: Quantiles) -> Points:
    angle = 1.5 * np.pi * (1 + 2 * quantile)
    return np.stack([np.cos(angle), np.sin(angle)], 1) * angle[:, None] / 5


def _swiss_roll(n: int, rng: np.random.Generator) -> Points:
    """Draw from the planar section of the swiss roll: angle uniform on [1.5 pi, 4.5 pi], radius = angle / 5, noise 0.1."""
    return (_swiss_roll_arm(rng.uniform(size=n)) + 0.1 * normal(rng, n, 2)).astype(np.float32)


def _pinwheel(n: int, rng: np.random.Generator) -> Points:
    """Draw from five Gaussian blades bent along a logarithmic twist (Johnson et al. 2016)."""
    blade = rng.integers(5, size=n)
    radial, tangential = 1 + 0.3 * normal(rng, n, 1)[:, 0], 0.05 * normal(rng, n, 1)[:, 0]
    angle = TAU * blade / 5 + 0.25 * np.exp(radial)
    x = radial * np.cos(angle) - tangential * np.sin(angle)
    y = radial * np.sin(angle) + tangential * np.cos(angle)
    return (2 * np.stack([x, y], 1)).astype(np.float32)


def _nearest_arc(x: Points, *, curve: Float[np.ndarray, "m 2"], arcs: Int[np.ndarray, " m"], std: float) -> Labels:
    """Find the arc that the nearest point of a finely sampled curve belongs to, within 3 std of it; -1 for NaN."""
    from scipy.spatial import cKDTree  # a tenth of a second, which reading a recipe need not wait for

    finite = np.isfinite(x).all(1)
    distance, nearest = cKDTree(curve).query(np.where(finite[:, None], x, 0.0))
    return np.where(finite & (distance <= 3 * std), arcs[nearest], -1)


def _curve_measure(
    sample: Callable[[int, np.random.Generator], Points], curve: Float[np.ndarray, "m 2"], std: float, num_arcs: int
) -> Measure:
    """Make a measure of a noisy curve, given by points in order of equal probability, cut into arcs of equal probability."""
    arcs = np.arange(len(curve)) * num_arcs // len(curve)
    mode_of, nearest = (partial(_nearest_arc, curve=curve, arcs=arcs, std=each) for each in (std, np.inf))
    return Measure(2, sample, Modes(mode_of, (1 / num_arcs,) * num_arcs, nearest))


def _dark_square(x: Points) -> Labels:
    column, row = np.floor(np.nan_to_num(x, nan=9.0).clip(-9, 9) + 2).astype(int).T
    inside = (column >= 0) & (column < 4) & (row >= 0) & (row < 4) & ((column - row) % 2 == 0)
    return np.where(inside, 2 * row + column // 2, -1)


_QUANTILES = (np.arange(6000) + 0.5) / 6000
_GRID = np.array([(x, y) for x in (-6, -3, 0, 3, 6) for y in (-6, -3, 0, 3, 6)], dtype=np.float64)
_DARK_CENTRES = np.array([(2 * column + row % 2 - 1.5, row - 1.5) for row in range(4) for column in range(2)])
_OCTAGON = 12 * np.stack([np.cos(TAU * np.arange(8) / 8), np.sin(TAU * np.arange(8) / 8)], 1)

GAUSS8 = _mixture_measure(_OCTAGON, 0.4**0.5)
GAUSS25 = _mixture_measure(_GRID, 0.0707)
TWO_CIRCLES = Measure(2, _two_circles, Modes(_nearest_ring, (0.5, 0.5), partial(_nearest_ring, std=np.inf)))
MOONS = _curve_measure(_moons, np.concatenate([_upper_moon(np.pi * _QUANTILES), _lower_moon(np.pi * _QUANTILES)]), 0.05, 2)
CHECKERBOARD = Measure(
    2, _checkerboard, Modes(_dark_square, (1 / 8,) * 8, partial(_nearest_centre, centres=_DARK_CENTRES, std=np.inf))
)
SPIRAL = _curve_measure(_spiral, _spiral_arm(_QUANTILES), 0.1, 6)
SWISS_ROLL = _curve_measure(_swiss_roll, _swiss_roll_arm(_QUANTILES), 0.1, 6)
PINWHEEL = Measure(2, _pinwheel)
