"""The semi-dual losses: the potential's loss is minus a divergence at its optimum and never less than that elsewhere."""

import functools
import math

import numpy as np
import pytest
import torch
from builders import objective
from closed_forms import gaussian_divergence
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import xlogy
from scipy.stats import norm

from components.costs import Squared, transport_cost
from components.semidual import map_loss, potential_loss

GENERATORS = {
    "kl": lambda t: xlogy(t, t) - t + 1,
    "chi2": lambda t: (t - 1) ** 2,
    "softplus": lambda t: xlogy(t, t) + xlogy(2 - t, 2 - t),
    "forward_kl": lambda t: t - 1 - np.log(t),
    "twice_jsd": lambda t: xlogy(t, t) - (t + 1) * np.log((t + 1) / 2),
}
GENERATORS["jsd"] = GENERATORS["twice_jsd"]  # D is learned by the loss of 2 JSD, so -L_v is that; F is KL - 2 JSD

# The network output D at which v = -f'(t) for a density ratio t: by hand from f and from v(D).
OPTIMAL_OUTPUT = {
    "kl": lambda t: -np.log(t),
    "chi2": lambda t: 2 * (1 - t),
    "softplus": lambda t: np.log((2 - t) / t),
    "forward_kl": lambda t: -np.log(t),
    "jsd": lambda t: -np.log(t),
    "twice_jsd": lambda t: -np.log(t),
}
EACH = pytest.mark.parametrize("name", GENERATORS)
RHO, NU = (0.2, 0.9), (0.0, 1.0)  # (mean, std): d rho / d nu < 1.25, inside every domain
NODES = np.linspace(-12, 12, 241)  # of the trapezoidal rule, whose error for these analytic integrands is below 1e-12
WEIGHTS = torch.from_numpy(norm.pdf(NODES) * (NODES[1] - NODES[0]))


def zeros(n):
    return torch.zeros(n, dtype=torch.float64)


def divergence_estimate(name, output):
    """-L_v for the two Gaussians and D = output(x), by quadrature: each node is a batch of one pair, with a weight."""
    on_target, on_transported = (torch.from_numpy(output(mean + std * NODES)) for mean, std in (NU, RHO))

    def loss(at_target, at_transported):
        return potential_loss(objective(name), at_target[None], at_transported[None], zeros(1))

    return -float(WEIGHTS @ torch.vmap(loss)(on_target, on_transported))


@functools.cache
def exact_divergence(name):
    return gaussian_divergence(lambda t: float(GENERATORS[name](max(t, 1e-300))), RHO, NU)


@EACH
def test_the_loss_at_the_optimal_potential_is_minus_the_divergence(name):
    def output(x):
        return OPTIMAL_OUTPUT[name](norm.pdf(x, *RHO) / norm.pdf(x, *NU))

    assert divergence_estimate(name, output) == pytest.approx(exact_divergence(name), rel=1e-7)


@EACH
@settings(deadline=None, max_examples=30)
@given(constant=st.floats(-2, 2), slope=st.floats(-2, 2), curvature=st.floats(-0.15, 1))
def test_no_quadratic_output_exceeds_the_divergence(name, constant, slope, curvature):
    estimate = divergence_estimate(name, lambda x: constant + slope * x + curvature * x**2)
    assert estimate <= exact_divergence(name) + 1e-9


@EACH
@settings(deadline=None, max_examples=100)
@given(data=st.data())
def test_no_output_at_all_exceeds_the_divergence_of_two_discrete_measures(name, data):
    """A batch is a discrete measure: atoms 0 to 3, drawn with repetition; any output is one number per atom."""
    atoms = st.lists(st.integers(0, 3), min_size=12, max_size=12)
    on_target, on_transported = ([0, 1, 2, 3, *data.draw(atoms)] for _ in range(2))
    nu, rho = (np.bincount(indices) / 16 for indices in (on_target, on_transported))
    output = torch.tensor(data.draw(st.lists(st.floats(-6, 6), min_size=4, max_size=4)), dtype=torch.float64)
    exact = float(nu @ GENERATORS[name](rho / nu)) if name != "softplus" or np.all(rho <= 2 * nu) else math.inf
    estimate = -potential_loss(objective(name), output[on_target], output[on_transported], zeros(16)).item()
    assert estimate <= exact + 1e-9
    if name != "softplus" or np.all(rho < 2 * nu):
        best = torch.from_numpy(OPTIMAL_OUTPUT[name](rho / nu))
        reached = -potential_loss(objective(name), best[on_target], best[on_transported], zeros(16)).item()
        assert reached == pytest.approx(exact, abs=1e-9)


@pytest.mark.parametrize("name", [*GENERATORS, "linear", "relativistic"])
def test_the_loss_is_zero_at_the_zero_potential(name):
    assert potential_loss(objective(name), zeros(5), zeros(5), zeros(5) + 3).item() == pytest.approx(0, abs=1e-15)


def relativistic_estimate(output, rho, nu, *, step=4):
    """-L_v of the pairing over all pairs of a coarser grid, by quadrature."""
    nodes, weights = torch.from_numpy(NODES[::step]), WEIGHTS[::step] * step
    on_target, on_transported = (output(mean + std * nodes) for mean, std in (nu, rho))

    def loss(at_target, at_transported):
        return potential_loss(objective("relativistic"), at_target[None], at_transported[None], zeros(1))

    pairs = torch.vmap(torch.vmap(loss, (None, 0)), (0, None))(on_target, on_transported)
    return -(weights @ pairs @ weights)


@settings(deadline=None, max_examples=30)
@given(constant=st.floats(-5, 5))
def test_the_relativistic_loss_is_zero_at_every_constant_output(constant):
    output = torch.full((7,), constant, dtype=torch.float64)
    assert potential_loss(objective("relativistic"), output, output, zeros(7)).item() == pytest.approx(0, abs=1e-15)


@settings(deadline=None, max_examples=30)
@given(slope=st.floats(-3, 3), curvature=st.floats(-1, 1))
def test_the_relativistic_divergence_of_a_measure_from_itself_is_zero(slope, curvature):
    """softplus(d) + softplus(-d) >= 2 log 2, so no output finds a difference where there is none."""
    assert float(relativistic_estimate(lambda x: slope * x + curvature * x**2, NU, NU)) <= 1e-9


@pytest.mark.parametrize("rho", [(0.5, 1.0), (0.0, 0.7), (-1.0, 1.5)])
def test_the_relativistic_divergence_is_positive_at_the_best_quadratic_output(rho):
    coefficients = torch.zeros(2, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([coefficients], max_iter=50, line_search_fn="strong_wolfe")

    def closure():
        optimizer.zero_grad()
        loss = -relativistic_estimate(lambda x: coefficients[0] * x + coefficients[1] * x**2, rho, NU)
        loss.backward()
        return loss.detach()

    optimizer.step(closure)
    assert 0.01 < -closure().item() < math.log(2)


def test_a_source_fixed_loss_does_not_see_the_cost():
    on_target, on_transported, cost = torch.randn(3, 9, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for name in [*GENERATORS, "linear", "relativistic"]:
        losses = [potential_loss(objective(name), on_target, on_transported, c) for c in (cost, 100 * cost)]
        assert torch.equal(*losses)


SOURCE_CONJUGATES = {
    "kl": lambda s: np.exp(s) - 1,
    "chi2": lambda s: np.where(s < -2, -1, s + s**2 / 4),
    "softplus": lambda s: 2 * np.log1p(np.exp(s)) - 2 * np.log(2),
    "jsd": lambda s: np.where(s < -np.log(2), np.log(2) - 1, 2 * np.exp(s) - 2 - s),
}


@pytest.mark.parametrize("source", SOURCE_CONJUGATES)
def test_an_unbalanced_source_sees_the_potential_less_the_cost(source):
    """UOTM (arXiv 2305.14777): E_nu[f2*(-v(y))] + E_mu[f1*(v(T(x)) - c)], here with f2 = kl."""
    on_target, on_transported, cost = np.random.default_rng(0).normal(size=(3, 9))
    cost = 4 * cost**2
    expected = np.mean(np.expm1(-on_target)) + np.mean(SOURCE_CONJUGATES[source](on_transported - cost))
    loss = potential_loss(objective("kl", source_divergence=source), *map(torch.from_numpy, (on_target, on_transported, cost)))
    assert loss.item() == pytest.approx(expected, rel=1e-12)


def test_two_linear_sides_are_plain_optimal_transport():
    on_target, on_transported, cost = torch.randn(3, 9, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    loss = potential_loss(objective("linear"), on_target, on_transported, cost)
    torch.testing.assert_close(loss, on_transported.mean() - on_target.mean())


def softplus(s):
    return np.log1p(np.exp(s))


MAP_LOSSES = {  # from D(T(x)), D(y) and c; for jsd the paper's non-saturating form
    "linear": lambda d, y, c: c - d,
    "kl": lambda d, y, c: c - d,
    "chi2": lambda d, y, c: c - d,
    "softplus": lambda d, y, c: c - d,
    "forward_kl": lambda d, y, c: c - (np.exp(d) - 1),
    "jsd": lambda d, y, c: c + softplus(-d) - np.log(2),
    "twice_jsd": lambda d, y, c: c - softplus(d) + np.log(2),
    "relativistic": lambda d, y, c: c + softplus(y - d),
}


@pytest.mark.parametrize("name", MAP_LOSSES)
def test_the_map_loss(name):
    on_transported, on_target, cost = np.random.default_rng(0).normal(size=(3, 9))
    loss = map_loss(objective(name), *map(torch.from_numpy, (on_transported, on_target, cost)))
    assert loss.item() == pytest.approx(np.mean(MAP_LOSSES[name](on_transported, on_target, cost)), rel=1e-12)


@pytest.mark.parametrize("name", MAP_LOSSES)
def test_an_infinite_step_leaves_the_map_loss_of_a_gan(name):
    on_transported, on_target = np.random.default_rng(0).normal(size=(2, 9))
    x, y = torch.randn(2, 9, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    cost = transport_cost(x, y, h=math.inf, cost=Squared())
    loss = map_loss(objective(name), torch.from_numpy(on_transported), torch.from_numpy(on_target), cost)
    assert loss.item() == pytest.approx(np.mean(MAP_LOSSES[name](on_transported, on_target, 0)), rel=1e-12)


@pytest.mark.parametrize("name", ["kl", "forward_kl"])
def test_a_logistic_fit_has_the_minimiser_of_the_semi_dual(name):
    """By quadrature: at D = log(d nu / d rho) both losses are stationary, and the logistic one is -2 JSD there."""

    def density_ratio(x):
        return norm.pdf(x, *RHO) / norm.pdf(x, *NU)

    at_target, at_transported = (torch.from_numpy(-np.log(density_ratio(mean + std * NODES))) for mean, std in (NU, RHO))

    def loss(fit, scale, slope):
        """Expectations of the loss at D = scale * D_optimal + slope * x."""
        of = objective(name, fit=fit)
        on_target = scale * at_target + slope * torch.from_numpy(NU[0] + NU[1] * NODES)
        on_transported = scale * at_transported + slope * torch.from_numpy(RHO[0] + RHO[1] * NODES)
        each = torch.vmap(lambda y, t: potential_loss(of, y[None], t[None], zeros(1)))(on_target, on_transported)
        return WEIGHTS @ each

    for fit in ("conjugate", "logistic"):
        at = torch.tensor([1.0, 0.0], dtype=torch.float64, requires_grad=True)
        (gradient,) = torch.autograd.grad(loss(fit, at[0], at[1]), at)
        np.testing.assert_allclose(gradient.numpy(), 0, atol=1e-7)
    assert -float(loss("logistic", 1.0, 0.0)) == pytest.approx(exact_divergence("jsd"), abs=1e-7)
