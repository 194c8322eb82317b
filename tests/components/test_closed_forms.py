"""The exact solutions themselves: against independent formulas, numerical optimality and the POT library."""

import numpy as np
import ot
import pytest
from closed_forms import (
    bures_wasserstein,
    gaussian_divergence,
    gaussian_jko_step,
    gaussian_kl,
    optimal_map,
    optimal_potential,
    ornstein_uhlenbeck,
    scalar_jko_step,
)
from scipy.optimize import approx_fprime


def random_gaussian(dim, seed):
    rng = np.random.default_rng(seed)
    factor = rng.normal(size=(dim, dim))
    return rng.normal(size=dim), factor @ factor.T + 0.3 * np.eye(dim)


DIMS = pytest.mark.parametrize("dim", [1, 2, 4])


@pytest.mark.parametrize(
    ("a", "s", "m", "sigma", "h"), [(0, 1, 1, 0.6, 0.1), (-2, 0.3, 3, 2, 1), (1, 3, 1, 0.5, 5), (0, 1, 0, 1, 0.5)]
)
def test_the_general_step_agrees_with_the_scalar_formula(a, s, m, sigma, h):
    mean, covariance = gaussian_jko_step((np.array([a]), np.array([[s**2]])), (np.array([m]), np.array([[sigma**2]])), h)
    scalar_mean, scalar_std = scalar_jko_step(a, s, m, sigma, h)
    assert mean[0] == pytest.approx(scalar_mean, rel=1e-12)
    assert covariance[0, 0] == pytest.approx(scalar_std**2, rel=1e-12)


def test_commuting_covariances_step_per_eigenvalue():
    rotation = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0]
    s, sigma, h = np.array([0.5, 1.0, 2.0]), np.array([2.0, 0.7, 0.4]), 0.3
    zero = np.zeros(3)
    _, covariance = gaussian_jko_step(
        (zero, rotation @ np.diag(s**2) @ rotation.T), (zero, rotation @ np.diag(sigma**2) @ rotation.T), h
    )
    expected = [scalar_jko_step(0, a, 0, b, h)[1] ** 2 for a, b in zip(s, sigma, strict=True)]
    np.testing.assert_allclose(rotation.T @ covariance @ rotation, np.diag(expected), atol=1e-12)


@DIMS
def test_the_step_is_a_stationary_point_of_its_objective(dim):
    current, target, h = random_gaussian(dim, 1), random_gaussian(dim, 2), 0.3
    mean, covariance = gaussian_jko_step(current, target, h)

    def step_objective(parameters):
        root = parameters[dim:].reshape(dim, dim)
        rho = parameters[:dim], root @ root.T
        return bures_wasserstein(current, rho) ** 2 / (2 * h) + gaussian_kl(rho, target)

    optimum = np.concatenate([mean, np.linalg.cholesky(covariance).ravel()])
    np.testing.assert_allclose(approx_fprime(optimum, step_objective, 1e-6), 0, atol=1e-4)
    moved = optimum + 0.05 * np.random.default_rng(0).normal(size=(20, len(optimum)))
    assert all(step_objective(other) > step_objective(optimum) for other in moved)


@DIMS
def test_the_optimal_potential_is_the_slope_of_the_optimal_map(dim):
    """(T(x) - x) / h = grad v(T(x)): the first-order condition of inf_y c_h(x, y) - v(y)."""
    current, target, h = random_gaussian(dim, 3), random_gaussian(dim, 4), 0.2
    after = gaussian_jko_step(current, target, h)
    a, b = optimal_map(current, after)
    quadratic, linear, _ = optimal_potential(after, target)
    x = np.random.default_rng(0).normal(size=(10, dim))
    y = x @ a.T + b
    np.testing.assert_allclose((y - x) / h, 2 * y @ quadratic + linear, atol=1e-9)


@DIMS
def test_the_optimal_potential_is_minus_the_log_density_ratio(dim):
    (m, s), (target_m, target_s) = after, target = random_gaussian(dim, 5), random_gaussian(dim, 6)
    quadratic, linear, constant = optimal_potential(after, target)
    x = np.random.default_rng(0).normal(size=(10, dim))

    def log_density(mean, covariance):
        shifted = x - mean
        return -(np.einsum("ni,ij,nj->n", shifted, np.linalg.inv(covariance), shifted) + np.linalg.slogdet(covariance)[1]) / 2

    value = np.einsum("ni,ij,nj->n", x, quadratic, x) + x @ linear + constant
    np.testing.assert_allclose(value, log_density(target_m, target_s) - log_density(m, s), atol=1e-9)


@DIMS
def test_the_optimal_map_transports_one_gaussian_to_the_other(dim):
    p, q = random_gaussian(dim, 7), random_gaussian(dim, 8)
    a, b = optimal_map(p, q)
    np.testing.assert_allclose(a @ p[0] + b, q[0], atol=1e-12)
    np.testing.assert_allclose(a @ p[1] @ a.T, q[1], atol=1e-10)
    np.testing.assert_allclose(a, a.T, atol=1e-12)
    moved = np.sum((q[0] - p[0]) ** 2) + np.trace((a - np.eye(dim)) @ p[1] @ (a - np.eye(dim)))
    assert moved == pytest.approx(bures_wasserstein(p, q) ** 2, rel=1e-10)


@DIMS
def test_bures_agrees_with_pot(dim):
    p, q = random_gaussian(dim, 9), random_gaussian(dim, 10)
    assert bures_wasserstein(p, q) == pytest.approx(ot.gaussian.bures_wasserstein_distance(p[0], q[0], p[1], q[1]), rel=1e-10)


def test_the_quadrature_of_a_divergence_agrees_with_the_closed_form_of_kl():
    exact = gaussian_kl((np.array([0.3]), np.array([[0.64]])), (np.array([-0.2]), np.array([[1.21]])))
    assert gaussian_divergence(lambda t: t * np.log(t) - t + 1 if t > 0 else 1.0, (0.3, 0.8), (-0.2, 1.1)) == pytest.approx(exact)


@pytest.mark.parametrize("t", [0.2, 1.0])
def test_the_exact_recursion_converges_to_ornstein_uhlenbeck_at_first_order_in_h(t):
    start, target = (np.zeros(2), np.eye(2)), random_gaussian(2, 2)
    errors = []
    for num_phases in (16, 32, 64, 128):
        rho = start
        for _ in range(num_phases):
            rho = gaussian_jko_step(rho, target, t / num_phases)
        errors.append(bures_wasserstein(rho, ornstein_uhlenbeck(start, target, t)))
    orders = np.log2(np.array(errors[:-1]) / errors[1:])
    assert np.all((orders > 0.9) & (orders < 1.1)), orders


def test_ornstein_uhlenbeck_starts_at_the_start_and_ends_at_the_target():
    start, target = random_gaussian(3, 11), random_gaussian(3, 12)
    for exact, time in ((start, 0.0), (target, 500.0)):
        mean, covariance = ornstein_uhlenbeck(start, target, time)
        np.testing.assert_allclose(mean, exact[0], atol=1e-9)
        np.testing.assert_allclose(covariance, exact[1], atol=1e-9)
