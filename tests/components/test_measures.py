"""Analytic measures: shapes, exact moments, geometry and modes. Sample sizes set the tolerances: four standard errors."""

import numpy as np
import pytest
from scipy import stats

from components import measures
from components.measures import Measure, Modes, gaussian_moments
from components.streams import stream

N = 40_000
WITH_MODES = ["gauss8", "gauss25", "two_circles", "moons", "checkerboard", "spiral", "swiss_roll"]
NAMES = ["gaussian", *WITH_MODES, "pinwheel"]
EACH = pytest.mark.parametrize("name", NAMES)
DIMS = pytest.mark.parametrize("dim", [1, 2, 5, 16])


def measure(name: str, dim: int = 2) -> Measure:
    """Find a measure by the name that recipes have for it."""
    return measures.gaussian(dim) if name == "gaussian" else getattr(measures, name.upper())


def modes(name: str) -> Modes:
    found = measure(name).modes
    assert found is not None
    return found


def samples(name, n=N, dim=2, seed=0):
    return measure(name, dim).sample(n, stream(seed, "target"))


@EACH
@pytest.mark.parametrize("n", [1, 7, 400])
def test_samples_are_float32_of_the_shape_asked_for(name, n):
    x = samples(name, n)
    assert x.shape == (n, 2)
    assert x.dtype == np.float32
    assert np.isfinite(x).all()
    assert measure(name).dim == 2


@EACH
def test_samples_are_a_function_of_the_generator(name):
    np.testing.assert_array_equal(samples(name, 50), samples(name, 50))
    assert not np.isin(samples(name, 50, seed=1), samples(name, 50)).all(1).any()


@DIMS
def test_gaussians_exist_in_every_dimension(dim):
    assert samples("gaussian", 9, dim).shape == (9, dim)
    assert measure("gaussian", dim).dim == dim


def assert_moments(x, mean, covariance):
    """Four standard errors of each entry; for a Gaussian the variance of x_i x_j is S_ii S_jj + S_ij^2."""
    x, variances = x.astype(np.float64), np.diag(covariance)
    assert np.all(np.abs(x.mean(0) - mean) < 4 * np.sqrt(variances / len(x)))
    errors = np.sqrt((np.outer(variances, variances) + covariance**2) / len(x))
    assert np.all(np.abs(np.cov(x.T).reshape(covariance.shape) - covariance) < 4 * errors)


@DIMS
def test_the_gaussian_measure_has_its_stated_moments(dim):
    assert_moments(samples("gaussian", dim=dim), *gaussian_moments(dim))


@DIMS
def test_the_covariance_of_the_gaussian_measure_is_as_described(dim):
    mean, covariance = gaussian_moments(dim)
    np.testing.assert_array_equal(mean, np.ones(dim))
    np.testing.assert_allclose(covariance, covariance.T, atol=1e-12)
    eigenvalues = np.linalg.eigvalsh(covariance)
    np.testing.assert_allclose(eigenvalues[[0, -1]], [0.25, 4.0 if dim > 1 else 0.25], rtol=1e-12)
    if dim > 1:
        np.testing.assert_allclose(np.diff(np.log(eigenvalues)), np.log(16) / (dim - 1), rtol=1e-9)
        assert np.abs(covariance - np.diag(np.diag(covariance))).max() > 0.1  # correlated


@pytest.mark.parametrize(
    ("name", "centres", "std"),
    [
        ("gauss8", [(12 * np.cos(k * np.pi / 4), 12 * np.sin(k * np.pi / 4)) for k in range(8)], np.sqrt(0.4)),
        ("gauss25", [(x, y) for x in (-6, -3, 0, 3, 6) for y in (-6, -3, 0, 3, 6)], 0.0707),
    ],
)
def test_a_mixture_has_the_centres_and_the_spread_of_the_method(name, centres, std):
    x, centres = samples(name).astype(np.float64), np.array(centres, dtype=np.float64)
    nearest = np.linalg.norm(x[:, None] - centres, axis=2).argmin(1)
    for label, centre in enumerate(centres):
        own = x[nearest == label]
        assert len(own) == pytest.approx(N / len(centres), abs=4 * np.sqrt(N / len(centres)))
        assert np.all(np.abs(own.mean(0) - centre) < 4.5 * std / np.sqrt(len(own)))
        assert np.all(np.abs(own.std(0) - std) < 4.5 * std / np.sqrt(2 * len(own)))
    np.testing.assert_array_equal(modes(name).mode_of(centres), np.arange(len(centres)))


def ring_share():
    """Share of ring samples within 3 sigma of their radius: the distance from the origin is Rice distributed."""
    return np.mean([np.diff(stats.rice.cdf([r - 0.6, r + 0.6], r / 0.2, scale=0.2))[0] for r in (4.0, 8.0)])


def test_the_two_circles_have_the_radii_and_the_noise_of_the_method():
    radius = np.linalg.norm(samples("two_circles").astype(np.float64), axis=1)
    for r in (4.0, 8.0):
        own = radius[np.abs(radius - r) < 2]
        assert stats.kstest(own, stats.rice(r / 0.2, scale=0.2).cdf).pvalue > 1e-3
        assert len(own) == pytest.approx(N / 2, abs=4 * np.sqrt(N / 4))


def test_the_two_circles_are_uniform_in_angle():
    x = samples("two_circles").astype(np.float64)
    assert stats.kstest(np.arctan2(x[:, 1], x[:, 0]), stats.uniform(-np.pi, 2 * np.pi).cdf).pvalue > 1e-3


@pytest.mark.parametrize(
    ("name", "expected"),
    [("gauss8", stats.chi(2).cdf(3)), ("gauss25", stats.chi(2).cdf(3)), ("two_circles", ring_share()), ("checkerboard", 1.0)],
)
def test_the_share_of_true_samples_within_three_sigma_of_a_mode(name, expected):
    share = (modes(name).mode_of(samples(name)) >= 0).mean()
    assert share == pytest.approx(expected, abs=4 * np.sqrt(expected * (1 - expected) / N))


@pytest.mark.parametrize(
    ("name", "point", "mode"),
    [
        ("gauss25", (-6, -6), 0),
        ("gauss25", (0, 0), 12),
        ("gauss25", (6, 6.2), 24),
        ("gauss25", (6, 6.22), -1),
        ("gauss25", (1.5, 1.5), -1),
        ("gauss8", (12, 0), 0),
        ("gauss8", (0, -12), 6),
        ("gauss8", (12, 1.89), 0),
        ("gauss8", (12, 1.91), -1),
        ("gauss8", (0, 0), -1),
        ("two_circles", (4, 0), 0),
        ("two_circles", (0, -4.59), 0),
        ("two_circles", (0, -4.61), -1),
        ("two_circles", (-8.59, 0), 1),
        ("two_circles", (-8.61, 0), -1),
        ("two_circles", (6, 0), -1),
        ("two_circles", (0, 0), -1),
        ("moons", (0, 1.1), 0),
        ("moons", (0, 1.16), -1),
        ("moons", (1, -0.6), 1),
        ("moons", (0.5, 0.25), -1),
        ("checkerboard", (-1.5, -1.5), 0),
        ("checkerboard", (1.5, 1.5), 7),
        ("checkerboard", (-0.5, -1.5), -1),
        ("checkerboard", (2.1, 1.5), -1),
        ("spiral", (-0.1, 0), 0),
        ("spiral", (3.14, 0.2), 5),
        ("spiral", (0, -1), -1),
        ("swiss_roll", (0, -0.94), 0),
        ("swiss_roll", (0, 2.83), 5),
        ("swiss_roll", (0, 0), -1),
    ],
)
def test_the_mode_of_a_known_point(name, point, mode):
    labels = modes(name).mode_of(np.array([point], dtype=np.float32))
    assert labels.tolist() == [mode]


@pytest.mark.parametrize("name", ["moons", "spiral", "swiss_roll"])
def test_noise_across_a_smooth_curve_is_normal(name):
    """Up to the curvature and the ends: the share within three sigma is that of a normal number."""
    assert (modes(name).mode_of(samples(name)) >= 0).mean() == pytest.approx(stats.chi(1).cdf(3), abs=2e-3)


@pytest.mark.parametrize("name", WITH_MODES)
def test_modes_are_as_likely_as_stated(name):
    weights = np.array(modes(name).mode_weights)
    assert weights.sum() == pytest.approx(1)
    labels = modes(name).mode_of(samples(name))
    share = np.bincount(labels[labels >= 0], minlength=len(weights)) / (labels >= 0).sum()
    assert np.all(np.abs(share - weights) < 4 * np.sqrt(weights / N))


@pytest.mark.parametrize("name", [name for name in NAMES if name not in WITH_MODES])
def test_other_measures_have_no_modes(name):
    assert measure(name).modes is None


def test_the_checkerboard_is_uniform_on_every_other_square():
    x = samples("checkerboard").astype(np.float64)
    column, row = np.clip(np.floor(x + 2).astype(int), 0, 3).T
    counts = np.zeros((4, 4))
    np.add.at(counts, (column, row), 1)
    dark = np.add.outer(np.arange(4), np.arange(4)) % 2 == 0
    assert counts[~dark].sum() == 0
    assert stats.chisquare(counts[dark]).pvalue > 1e-3
    for fraction in (x - np.floor(x)).T:
        assert stats.kstest(fraction, stats.uniform.cdf).pvalue > 1e-3


def test_the_moons_are_two_half_circles_of_radius_one():
    x = samples("moons").astype(np.float64)
    upper, lower = np.abs(np.linalg.norm(x, axis=1) - 1), np.abs(np.linalg.norm(x - [1, 0.5], axis=1) - 1)
    assert np.minimum(upper, lower).max() < 6 * 0.05
    assert x[upper < 0.2, 1].mean() > 0.4
    assert x[lower < 0.2, 1].mean() < 0.1


def test_the_swiss_roll_lies_on_its_curve():
    angle = np.linspace(1.5 * np.pi, 4.5 * np.pi, 2000)
    curve = np.stack([np.cos(angle), np.sin(angle)], 1) * angle[:, None] / 5
    x = samples("swiss_roll", 2000).astype(np.float64)
    assert np.linalg.norm(x[:, None] - curve, axis=2).min(1).max() < 6 * 0.1


def test_the_spiral_lies_on_its_arm_and_is_uniform_in_squared_radius():
    angle = np.linspace(0, 3 * np.pi, 2000)
    arm = np.stack([-np.cos(angle), np.sin(angle)], 1) * angle[:, None] / 3
    x = samples("spiral", 2000).astype(np.float64)
    assert np.linalg.norm(x[:, None] - arm, axis=2).min(1).max() < 6 * 0.1
    squared = np.sum(x**2, 1)
    expected = np.pi**2 / 2 + 2 * 0.1**2  # uniform on [0, pi^2], plus the noise in two dimensions
    assert squared.mean() == pytest.approx(expected, abs=4 * squared.std() / np.sqrt(len(x)))


def test_the_pinwheel_has_a_five_fold_symmetry():
    """A turn by a fifth multiplies E exp(i p angle) by exp(2 pi i p / 5), so it vanishes for p = 1 to 4 and not for p = 5."""
    x = samples("pinwheel", 2000).astype(np.float64)
    direction = (x[:, 0] + 1j * x[:, 1]) / np.linalg.norm(x, axis=1)
    harmonics = np.abs([np.mean(direction**power) for power in range(1, 6)])
    assert harmonics[:4].max() < 4 / np.sqrt(len(x))
    assert harmonics[4] > 0.2


@pytest.mark.parametrize("name", WITH_MODES)
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_point_that_is_not_finite_lies_in_no_mode(name, bad):
    points = samples(name)[:3].copy()
    points[1, 0] = bad
    assert modes(name).mode_of(points)[1] == -1
