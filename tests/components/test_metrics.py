"""Distances between samples against closed forms, and mode statistics against counts made by hand."""

import math

import numpy as np
import pytest
from closed_forms import bures_wasserstein, optimal_map
from hypothesis import given, settings
from hypothesis import strategies as st

from components.image_metrics import feature_distances, frechet_distance, kernel_distance
from components.metrics import mmd2, mode_statistics, over_floor, precision_recall, sliced_w2, w2
from components.streams import stream

SEEDS = st.integers(0, 2**20)
PROPERTY = settings(deadline=None, max_examples=25)


def cloud(seed, n=40, dim=3):
    return np.random.default_rng(seed).normal(size=(n, dim))


def sliced(x, y, num_projections=256):
    return sliced_w2(x, y, stream(0, "projections"), num_projections)


@PROPERTY
@given(SEEDS)
def test_w2_on_a_line_pairs_the_sorted_points(seed):
    x, y = cloud(seed, dim=1), 2 * cloud(seed + 1, dim=1) - 1
    expected = np.sqrt(np.mean((np.sort(x[:, 0]) - np.sort(y[:, 0])) ** 2))
    assert w2(x, y) == pytest.approx(expected, rel=1e-9)
    assert sliced(x, y) == pytest.approx(expected, rel=1e-9)


@PROPERTY
@given(SEEDS)
def test_w2_is_zero_on_equal_measures_and_symmetric(seed):
    x, y = cloud(seed), cloud(seed + 1)
    assert w2(x, np.random.default_rng(0).permutation(x)) == pytest.approx(0, abs=1e-7)
    assert w2(x, np.concatenate([x, x])) == pytest.approx(0, abs=1e-7)
    assert w2(x, y) == pytest.approx(w2(y, x), rel=1e-9)


@PROPERTY
@given(SEEDS)
def test_w2_satisfies_the_triangle_inequality(seed):
    x, y, z = (cloud(seed + k) for k in range(3))
    assert w2(x, z) <= w2(x, y) + w2(y, z) + 1e-9


@PROPERTY
@given(SEEDS, st.floats(0.1, 10))
def test_w2_moves_with_translations_and_scales_with_units(seed, factor):
    x, y, shift = cloud(seed), cloud(seed + 1), cloud(seed + 2, n=1)[0]
    assert w2(x, x + shift) == pytest.approx(np.linalg.norm(shift), rel=1e-9)
    assert w2(factor * x, factor * y) == pytest.approx(factor * w2(x, y), rel=1e-9)
    # A shift of one side adds |shift|^2 and twice its product with the difference of the means.
    expected = w2(x, y) ** 2 + shift @ shift + 2 * shift @ (y.mean(0) - x.mean(0))
    assert w2(x, y + shift) ** 2 == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("dim", [1, 2, 4])
def test_w2_of_a_cloud_and_its_optimal_image_is_the_bures_distance(dim):
    """The image under a gradient of a convex function is an optimal pairing, for samples as for Gaussians (Brenier)."""
    rng = np.random.default_rng(dim)
    x, factor = rng.normal(size=(300, dim)) * np.linspace(0.5, 2, dim), rng.normal(size=(dim, dim))
    own = x.mean(0), np.cov(x.T, bias=True).reshape(dim, dim)
    other = rng.normal(size=dim), factor @ factor.T + 0.1 * np.eye(dim)
    a, b = optimal_map(own, other)
    assert w2(x, x @ a.T + b) == pytest.approx(bures_wasserstein(own, other), rel=1e-9)


def test_w2_of_large_gaussian_samples_approaches_the_bures_distance():
    """From above in the mean: samples add their own distance from the measure, about sqrt(log n / n) in the plane."""
    rng, n = np.random.default_rng(0), 1500
    factor = np.array([[1.5, 0.0], [0.5, 0.4]])
    p, q = (np.zeros(2), np.eye(2)), (np.array([1.0, -2.0]), factor @ factor.T)
    x, y = rng.normal(size=(n, 2)), q[0] + rng.normal(size=(n, 2)) @ factor.T
    assert w2(x, y) == pytest.approx(bures_wasserstein(p, q), abs=3 * np.sqrt(np.log(n) / n))


def test_single_precision_samples_are_compared_in_double():
    x = (1000 + cloud(0)).astype(np.float32)
    assert w2(x, x + np.float32(0.5)) == pytest.approx(0.5 * np.sqrt(3), rel=1e-4)
    assert w2(x, x) == pytest.approx(0, abs=1e-4)


@PROPERTY
@given(SEEDS)
def test_sliced_w2_is_a_lower_bound_and_symmetric(seed):
    x, y = cloud(seed), 1 + cloud(seed + 1)
    assert 0 < sliced(x, y) <= w2(x, y) + 1e-9
    assert sliced(x, y) == pytest.approx(sliced(y, x), rel=1e-9)
    assert sliced(x, x) == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("dim", [2, 5])
def test_sliced_w2_of_a_translation_is_its_length_over_the_root_of_the_dimension(dim):
    """E (theta . a)^2 = |a|^2 / d for theta uniform on the sphere; its variance is below 2 |a|^4 / d^2."""
    x, shift, num = cloud(0, dim=dim), np.full(dim, 2.0), 20_000
    squared = shift @ shift / dim
    assert sliced(x, x + shift, num) ** 2 == pytest.approx(squared, abs=4 * np.sqrt(2 / num) * squared)


def test_sliced_w2_is_a_function_of_its_generator():
    x, y = cloud(0), 1 + cloud(1)
    assert sliced(x, y) == sliced(x, y)
    assert sliced(x, y) != sliced_w2(x, y, stream(1, "projections"))


LOG = math.log
HAND_MADE = [  # labels, weights, modes covered, share on support, KL
    ([0, 1, 2, 3], (0.25,) * 4, 4, 1.0, 0.0),
    ([0, 0, 1, 1, -1, -1, -1, -1], (0.5, 0.5), 2, 0.5, 0.0),
    ([0, 0, 0, 0], (0.5, 0.5), 1, 1.0, LOG(2)),
    ([0, 0, 0, 1], (0.5, 0.5), 2, 1.0, 0.75 * LOG(1.5) + 0.25 * LOG(0.5)),
    ([1, 1, 1, -1], (0.2, 0.8), 1, 0.75, LOG(1 / 0.8)),
    ([0] * 19 + [1], (0.5, 0.5), 2, 1.0, 0.95 * LOG(1.9) + 0.05 * LOG(0.1)),  # exactly a tenth of its share
    ([0] * 39 + [1], (0.5, 0.5), 1, 1.0, 0.975 * LOG(1.95) + 0.025 * LOG(0.05)),
    ([-1, -1], (0.5, 0.5), 0, 0.0, math.inf),
]


@pytest.mark.parametrize(("labels", "weights", "covered", "on_support", "kl"), HAND_MADE)
def test_mode_statistics_of_hand_made_labels(labels, weights, covered, on_support, kl):
    statistics = mode_statistics(np.array(labels), weights)
    assert statistics.keys() == {"modes_covered", "on_support", "mode_kl"}
    assert statistics["modes_covered"] == covered
    assert statistics["on_support"] == pytest.approx(on_support)
    assert statistics["mode_kl"] == pytest.approx(kl, abs=1e-12)


@PROPERTY
@given(st.lists(st.integers(-1, 4), min_size=1, max_size=60), st.lists(st.floats(0.05, 1), min_size=5, max_size=5))
def test_mode_statistics_stay_in_their_ranges(labels, weights):
    weights = np.array(weights) / np.sum(weights)
    statistics = mode_statistics(np.array(labels), tuple(weights.tolist()))
    assert statistics["mode_kl"] >= -1e-12
    assert 0 <= statistics["on_support"] <= 1
    assert 0 <= statistics["modes_covered"] <= len(set(labels) - {-1})


@pytest.mark.slow
def test_mmd2_of_shifted_gaussians_is_its_closed_form():
    """E k over N(0, (2 + s) I) differences with a Gaussian kernel of width s, dimension 1, shift 1."""
    n = 3000
    x, y = cloud(0, n, 1), cloud(1, n, 1) + 1
    distances = np.abs(y - y.T)[np.triu_indices(n, 1)]
    s = np.median(distances) ** 2
    inside = np.sqrt(s / (s + 2))
    expected = 2 * inside - 2 * inside * np.exp(-1 / (2 * (s + 2)))
    assert mmd2(x, y) == pytest.approx(expected, abs=0.02)


def test_mmd2_of_equal_measures_has_mean_zero():
    values = [mmd2(cloud(2 * i, 100), cloud(2 * i + 1, 100)) for i in range(40)]
    assert abs(np.mean(values)) < 4 * np.std(values) / np.sqrt(40)
    assert min(values) < 0, "unbiased, so of either sign"


def test_precision_and_recall_tell_quality_from_diversity():
    rng = np.random.default_rng(0)
    left, right, far = (rng.normal(size=(400, 2)) + shift for shift in ((0, 0), (20, 0), (0, 50)))
    data = np.concatenate([left, right])
    one_mode = precision_recall(rng.normal(size=(800, 2)), data)
    assert one_mode["precision"] > 0.9
    assert one_mode["recall"] == pytest.approx(0.5, abs=0.05)
    astray = precision_recall(np.concatenate([data + rng.normal(size=data.shape) * 0.1, far, far + 1]), data)
    assert astray["precision"] == pytest.approx(0.5, abs=0.05)
    assert astray["recall"] > 0.9
    assert precision_recall(data, data) == {"precision": 1.0, "recall": 1.0}


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_samples_that_are_not_finite_are_at_no_distance_at_all(bad):
    x, y = cloud(0), cloud(1)
    x[3, 1] = bad
    assert math.isnan(w2(x, y))
    assert math.isnan(w2(y, x))


SAMPLES = {
    "one": np.ones((1, 3)),
    "two": np.arange(6.0).reshape(2, 3),
    "three": np.arange(9.0).reshape(3, 3),
    "equal": np.full((20, 3), 0.5),
    "many": np.random.default_rng(0).standard_normal((30, 3)),
    "nan": np.full((20, 3), np.nan),
    "infinite": np.where(np.eye(20, 3) > 0, np.inf, 1.0),
    "huge": 1e12 * np.random.default_rng(1).standard_normal((20, 3)),
}
METRICS = {
    "w2": w2,
    "sliced_w2": lambda x, y: sliced_w2(x, y, np.random.default_rng(0)),
    "mmd2": mmd2,
    "precision_recall": lambda x, y: sum(precision_recall(x, y).values()),
    "frechet": frechet_distance,
    "kid": lambda x, y: kernel_distance(x, y, num_subsets=3),
    "all of features": lambda x, y: sum(feature_distances(x, y).values()),
}
OF_ONE = ("w2", "sliced_w2")
"""Metrics that one sample of each side has."""


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("x", SAMPLES)
@pytest.mark.parametrize("y", SAMPLES)
def test_every_metric_of_any_two_samples_is_a_number_or_nan_and_no_error(metric, x, y):
    value = METRICS[metric](SAMPLES[x], SAMPLES[y])
    undefined = {x, y} & {"nan", "infinite"} or ("one" in (x, y) and metric not in OF_ONE)
    if undefined:
        assert math.isnan(value)
    elif "huge" not in (x, y) and not (metric == "mmd2" and y == "equal"):
        assert math.isfinite(value)


@pytest.mark.parametrize(("value", "floor", "expected"), [(3.0, 2.0, 1.5), (1.0, 0.0, None), (0.0, 0.0, None)])
def test_a_distance_has_no_multiple_of_a_floor_of_zero(value, floor, expected):
    assert over_floor(value, floor) == expected


@pytest.mark.parametrize("floor", [math.nan, math.inf])
def test_a_distance_has_no_multiple_of_a_floor_that_is_none(floor):
    assert over_floor(1.0, floor) is None
