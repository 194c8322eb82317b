"""Distances of features against closed forms and torch-fidelity; balance of classes against counts made by hand."""

import math

import numpy as np
import pytest
import torch
from closed_forms import bures_wasserstein
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cdist
from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric
from torch_fidelity.metric_isc import isc_features_to_metric
from torch_fidelity.metric_prc import calculate_precision_recall_full

from components.image_metrics import class_balance, feature_distances, frechet_distance, inception_score, kernel_distance
from components.metrics import precision_recall

SEEDS = st.integers(0, 2**20)
PROPERTY = settings(deadline=None, max_examples=25)


def cloud(seed, n=60, dim=4):
    return np.random.default_rng(seed).normal(size=(n, dim))


def with_moments(seed, mean, root, n=60):
    """A sample whose mean, and whose unbiased covariance root root^T, are exact."""
    x = cloud(seed, n, len(mean))
    x = x - x.mean(0)
    whitened = x @ np.linalg.inv(np.linalg.cholesky(np.cov(x.T))).T
    return mean + whitened @ root.T


@PROPERTY
@given(SEEDS)
def test_frechet_distance_of_diagonal_gaussians_is_that_of_means_and_deviations(seed):
    rng = np.random.default_rng(seed)
    (a, b), (s, t) = rng.normal(size=(2, 4)), rng.uniform(0.1, 3, size=(2, 4))
    x, y = with_moments(seed, a, np.diag(s)), with_moments(seed + 1, b, np.diag(t), n=80)
    assert frechet_distance(x, y) == pytest.approx(((a - b) ** 2).sum() + ((s - t) ** 2).sum(), rel=1e-9)


@PROPERTY
@given(SEEDS)
def test_frechet_distance_of_covariances_that_commute_is_that_of_their_eigenvalues(seed):
    rng = np.random.default_rng(seed)
    rotation, (s, t) = np.linalg.qr(rng.normal(size=(4, 4)))[0], rng.uniform(0.1, 3, size=(2, 4))
    x, y = (with_moments(seed + k, np.zeros(4), rotation * each) for k, each in enumerate((s, t)))
    assert frechet_distance(x, y) == pytest.approx(((s - t) ** 2).sum(), rel=1e-9, abs=1e-12)


@PROPERTY
@given(SEEDS)
def test_frechet_distance_of_any_covariances_is_the_squared_bures_wasserstein_distance(seed):
    rng = np.random.default_rng(seed)
    a, b, root, other = *rng.normal(size=(2, 3)), *(rng.normal(size=(2, 3, 3)) + np.eye(3))
    expected = bures_wasserstein((a, root @ root.T), (b, other @ other.T)) ** 2
    assert frechet_distance(with_moments(seed, a, root), with_moments(seed + 1, b, other)) == pytest.approx(expected, rel=1e-6)


@PROPERTY
@given(SEEDS, st.floats(0.1, 10))
def test_frechet_distance_is_symmetric_moves_with_translations_and_scales_with_squared_units(seed, factor):
    x, y, shift = cloud(seed), 1 + 2 * cloud(seed + 1, n=50), cloud(seed + 2, n=1)[0]
    distance = frechet_distance(x, y)
    assert distance > 0
    assert frechet_distance(y, x) == pytest.approx(distance, rel=1e-9)
    assert frechet_distance(x + shift, y + shift) == pytest.approx(distance, rel=1e-9)
    assert frechet_distance(factor * x, factor * y) == pytest.approx(factor**2 * distance, rel=1e-9)
    assert frechet_distance(x, x + shift) == pytest.approx(shift @ shift, rel=1e-9)


def test_a_sample_in_few_of_its_dimensions_is_at_distance_zero_of_itself():
    """Singular covariances: roots of eigenvalues that rounding made negative or 1e-16 would leave 1e-8 per dimension."""
    x = 100 * cloud(0, n=30, dim=200)
    assert frechet_distance(x, np.random.default_rng(1).permutation(x)) < 1e-14 * np.trace(np.cov(x.T))


def test_frechet_distance_is_torch_fidelitys():
    x, y = np.exp(cloud(0, 500, 20)), np.exp(0.9 * cloud(1, 400, 20))
    theirs = [fid_features_to_statistics(torch.from_numpy(features)) for features in (x, y)]
    expected = fid_statistics_to_metric(*theirs, verbose=False)["frechet_inception_distance"]
    assert frechet_distance(x, y) == pytest.approx(expected, rel=1e-8)
    single = frechet_distance(x.astype(np.float32), y.astype(np.float32))
    assert single == pytest.approx(expected, rel=1e-4), "computed in double precision"


def polynomial_mmd2(x, y):
    """The definition, summed one pair at a time."""
    n, dim = x.shape
    kernel = [[[(u @ v / dim + 1) ** 3 for v in second] for u in first] for first, second in ((x, x), (y, y), (x, y))]
    within = sum(np.sum(k) - np.trace(k) for k in kernel[:2]) / (n * (n - 1))
    return within - 2 * np.mean(kernel[2])


def test_kernel_distance_on_all_points_is_its_definition():
    x, y = cloud(0, 12), 0.5 + cloud(1, 12)
    assert kernel_distance(x, y, num_subsets=3) == pytest.approx(polynomial_mmd2(x, y), rel=1e-9)


def test_kernel_distance_of_a_shift_on_a_line_is_its_closed_form():
    """For N(0, 1) and N(a, 1) the features of (u v + 1)^3 are moments: sum over k of binom(3, k) (E u^k - E v^k)^2."""
    a, n = 0.5, 10_000
    moments = [(0, a), (1, 1 + a**2), (0, a**3 + 3 * a)]
    expected = sum(math.comb(3, k + 1) * (p - q) ** 2 for k, (p, q) in enumerate(moments))
    found = kernel_distance(cloud(0, n, 1), a + cloud(1, n, 1), num_subsets=80, subset_size=400)
    assert found == pytest.approx(expected, rel=0.1)


def test_kernel_distance_of_equal_measures_has_mean_zero():
    values = [kernel_distance(cloud(2 * i, 100), cloud(2 * i + 1, 100), num_subsets=1) for i in range(60)]
    assert abs(np.mean(values)) < 4 * np.std(values) / np.sqrt(len(values))
    assert min(values) < 0, "unbiased, so of either sign"
    assert kernel_distance(cloud(0, 100), 1 + cloud(1, 100)) > max(values)


@pytest.mark.parametrize("sizes", [(300, 200), (1200, 900)])
def test_precision_and_recall_are_torch_fidelitys(sizes):
    x, y = cloud(0, sizes[0], 12), 0.3 + 1.3 * cloud(1, sizes[1], 12)
    found = precision_recall(x, y, k=3)
    expected = calculate_precision_recall_full(torch.from_numpy(x), torch.from_numpy(y), neighborhood=3)
    assert (found["precision"], found["recall"]) == pytest.approx(expected, abs=1e-6)
    assert 0.05 < found["recall"] < 0.95


def test_precision_and_recall_count_equal_points_as_at_no_distance():
    """Four times each point: every ball of three neighbours is a point, far from the origin where sums of squares cancel."""
    points = (1000 + cloud(0, 50, 300)).astype(np.float32)
    y = np.repeat(points, 4, axis=0)
    assert precision_recall(y, y, k=3) == {"precision": 1.0, "recall": 1.0}
    beside = y + np.float32(0.01)
    assert precision_recall(beside, y, k=3) == {"precision": 0.0, "recall": 0.0}
    distances = cdist(points, points)
    assert precision_recall(points[:25], points, k=3)["recall"] == np.mean(
        (distances[:, :25] <= np.sort(distances[:25, :25], 1)[:, 3]).any(1)
    )


def test_inception_score_is_torch_fidelitys_and_between_one_and_the_number_of_classes():
    logits = (3 * cloud(0, 200, 5)).astype(np.float32)
    assert inception_score(logits) == isc_features_to_metric(torch.from_numpy(logits))["inception_score_mean"]
    assert inception_score(np.zeros((50, 5), np.float32)) == pytest.approx(1)
    certain = 1e3 * np.eye(5, dtype=np.float32)[np.arange(500) % 5]
    assert inception_score(certain, num_splits=1) == pytest.approx(5)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_features_that_are_not_finite_have_no_distance(bad):
    x, y = cloud(0), cloud(1)
    x[3, 1] = bad
    assert math.isnan(frechet_distance(x, y))
    assert math.isnan(kernel_distance(y, x))
    distances = feature_distances(x, y)
    assert distances.keys() == {"frechet", "kid", "precision", "recall"}
    assert all(math.isnan(value) for value in distances.values())


BALANCES = [  # samples, data, classes, KL, covered
    ([0, 1, 2], [0, 1, 2], 3, 0.0, 3),
    ([0, 0], [0, 1], 2, math.log(2), 1),
    ([0, 1, 1, 1], [0, 0, 0, 1], 2, 0.25 * math.log(1 / 3) + 0.75 * math.log(3), 2),
    ([0] * 39 + [1], [0, 1], 2, 0.975 * math.log(1.95) + 0.025 * math.log(0.05), 1),  # a twentieth of its share
    ([0, 2], [0, 2], 3, 0.0, 2),  # a class that neither has
    ([0, 1], [0, 0], 2, math.inf, 1),
]


@pytest.mark.parametrize(("samples", "data", "num_classes", "kl", "covered"), BALANCES)
def test_class_balance_of_hand_made_classes(samples, data, num_classes, kl, covered):
    balance = class_balance(np.array(samples), np.array(data), num_classes)
    assert balance["class_kl"] == pytest.approx(kl, abs=1e-12)
    assert balance["classes_covered"] == covered


@PROPERTY
@given(st.lists(st.integers(0, 4), min_size=1, max_size=60), st.lists(st.integers(0, 4), min_size=1, max_size=60))
def test_class_balance_stays_in_its_ranges(samples, data):
    balance = class_balance(np.array(samples), np.array(data), 5)
    assert balance["class_kl"] >= -1e-12
    assert 0 <= balance["classes_covered"] <= len(set(data))
    assert class_balance(np.array(data), np.array(data), 5) == {"class_kl": 0.0, "classes_covered": len(set(data))}
