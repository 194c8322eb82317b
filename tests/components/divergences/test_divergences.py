"""Conjugates against Legendre transforms of generators that are written out here from the definitions."""

import math

import numpy as np
import pytest
import torch
from builders import objective
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar
from scipy.special import xlogy
from torch.nn import functional

from components.divergences.base import FDivergence
from components.semidual import potential_loss
from components.table import DIVERGENCES
from components.table import divergence as loaded


def forward_kl(t):
    with np.errstate(divide="ignore"):
        return -np.log(t) + t - 1


# f(t) and the interval of t on which it is finite (to be searched), then an interval of slopes s on which f* is finite.
TABLE = {
    "linear": (lambda t: np.where(t == 1, 0.0, np.inf), (1.0, 1.0), (-6.0, 6.0)),
    "kl": (lambda t: xlogy(t, t) - t + 1, (0.0, 60.0), (-6.0, 4.0)),
    "chi2": (lambda t: (t - 1) ** 2, (0.0, 60.0), (-6.0, 6.0)),
    "softplus": (lambda t: xlogy(t, t) + xlogy(2 - t, 2 - t), (0.0, 2.0), (-6.0, 6.0)),
    "forward_kl": (forward_kl, (0.0, 60.0), (-6.0, 0.95)),
    "jsd": (lambda t: (t + 1) * np.log((t + 1) / 2) - (t - 1), (0.0, 60.0), (-6.0, 3.0)),
    "twice_jsd": (lambda t: xlogy(t, t) - (t + 1) * np.log((t + 1) / 2), (0.0, 60.0), (-6.0, 0.67)),
}
EACH = pytest.mark.parametrize("name", TABLE)
SMOOTH = pytest.mark.parametrize("name", [name for name in TABLE if name != "linear"])
PROPERTY = settings(deadline=None, max_examples=60)


def slopes(name, num=41):
    low, high = TABLE[name][2]
    return np.linspace(low, high, num)


def tensor(values):
    return torch.as_tensor(values, dtype=torch.float64)


def legendre(name, s):
    """sup_t [s t - f(t)], by a bounded search for the maximum of a concave function and a look at both ends."""
    generator, (low, high), _ = TABLE[name]
    found = minimize_scalar(lambda t: generator(t) - s * t, bounds=(low, high), method="bounded", options={"xatol": 1e-9}).x
    return max(float(s * t - generator(t)) for t in (low, found, high))


def test_every_divergence_is_in_the_table():
    assert {name for name in DIVERGENCES if isinstance(loaded(name), FDivergence)} == set(TABLE)


@EACH
def test_the_generator_is_the_one_of_its_definition(name):
    generator, (low, high), _ = TABLE[name]
    t = np.append(np.linspace(low, high, 50), 1.0)
    np.testing.assert_allclose(loaded(name).generator(tensor(t)), generator(t), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("name", "outside"), [("linear", 0.5), ("linear", 2.0), ("softplus", 2.001), ("softplus", 50.0)])
def test_the_generator_is_infinite_outside_its_domain(name, outside):
    assert loaded(name).generator(tensor([outside])).item() == math.inf


@EACH
def test_the_conjugate_is_the_legendre_transform_of_the_generator(name):
    expected = [legendre(name, s) for s in slopes(name)]
    np.testing.assert_allclose(loaded(name).conjugate(tensor(slopes(name))), expected, rtol=1e-8, atol=1e-8)


@EACH
def test_the_normalisation(name):
    divergence, zero, one = loaded(name), tensor([0.0]), tensor([1.0])
    assert divergence.generator(one).item() == 0
    assert divergence.conjugate(zero).item() == pytest.approx(0, abs=1e-15)
    assert divergence.conjugate_gradient(zero).item() == pytest.approx(1, abs=1e-15)


@EACH
def test_the_conjugate_gradient_is_the_derivative_of_the_conjugate(name):
    s = tensor(slopes(name)).requires_grad_()
    (derivative,) = torch.autograd.grad(loaded(name).conjugate(s).sum(), s)
    torch.testing.assert_close(loaded(name).conjugate_gradient(s.detach()), derivative, rtol=1e-12, atol=1e-12)


@EACH
def test_the_network_output_zero_stands_for_the_potential_zero(name):
    assert loaded(name).potential(tensor([0.0])).item() == pytest.approx(0, abs=1e-15)
    assert loaded(name).target_term(tensor([0.0])).item() == pytest.approx(0, abs=1e-15)


@EACH
def test_the_target_term_is_the_conjugate_at_minus_the_potential(name):
    output = torch.linspace(-8, 8, 65, dtype=torch.float64)
    divergence = loaded(name)
    torch.testing.assert_close(
        divergence.target_term(output), divergence.conjugate(-divergence.potential(output)), rtol=1e-9, atol=1e-9
    )


@EACH
@pytest.mark.parametrize("term", ["target_term", "potential"])
def test_values_and_gradients_are_finite_for_outputs_up_to_80(name, term):
    output = torch.linspace(-80, 80, 321).requires_grad_()
    value = getattr(loaded(name), term)(output)
    (gradient,) = torch.autograd.grad(value.sum(), output)
    assert value.isfinite().all()
    assert gradient.isfinite().all()


def test_kl_goes_on_in_a_straight_line_before_anything_overflows():
    output = torch.linspace(-1000, 200, 2401).requires_grad_()
    value = loaded("kl").target_term(output)
    (slope,) = torch.autograd.grad(value.sum(), output)
    for number in (value, slope, slope.square()):  # Adam keeps the last
        assert number.isfinite().all()
    assert (slope.diff() >= 0).all(), "convex"
    usual = torch.linspace(-40, 200, 481).requires_grad_()
    plain = torch.expm1(-usual)
    (expected,) = torch.autograd.grad(plain.sum(), usual)
    (slope,) = torch.autograd.grad(loaded("kl").target_term(usual).sum(), usual)
    assert torch.equal(loaded("kl").target_term(usual), plain), "to the last digit what it was"
    assert torch.equal(slope, expected)


@EACH
@PROPERTY
@given(data=st.data())
def test_fenchel_young_holds_with_equality_at_the_conjugate_gradient(name, data):
    divergence, (low, high) = loaded(name), TABLE[name][2]
    s = tensor([data.draw(st.floats(low, high))])
    t = tensor([data.draw(st.floats(0, 60))])
    bound = divergence.generator(t) + divergence.conjugate(s)
    assert (s * t <= bound + 1e-9 * (1 + (s * t).abs())).all()
    best = divergence.conjugate_gradient(s)
    gap = divergence.generator(best) + divergence.conjugate(s) - s * best
    assert gap.item() == pytest.approx(0, abs=1e-9)


@EACH
@PROPERTY
@given(data=st.data())
def test_the_conjugate_is_convex_and_not_decreasing(name, data):
    conjugate, (low, high) = loaded(name).conjugate, TABLE[name][2]
    a, b = sorted([data.draw(st.floats(low, high)), data.draw(st.floats(low, high))])
    weight = data.draw(st.floats(0, 1))
    at_a, at_b, between = conjugate(tensor([a, b, min(b, max(a, weight * a + (1 - weight) * b))])).tolist()
    assert between <= weight * at_a + (1 - weight) * at_b + 1e-9
    assert at_a <= at_b + 1e-12


@SMOOTH
@PROPERTY
@given(data=st.data())
def test_the_generator_is_convex_and_not_negative(name, data):
    generator, (low, high) = loaded(name).generator, TABLE[name][1]
    a, b = data.draw(st.floats(low, high)), data.draw(st.floats(low, high))
    at_a, at_b, between = generator(tensor([a, b, (a + b) / 2])).tolist()
    assert between <= (at_a + at_b) / 2 + 1e-9
    assert between >= -1e-12


@SMOOTH
def test_the_curvature_is_the_second_derivative_of_the_generator_at_one(name):
    t = tensor([1 - 1e-4, 1.0, 1 + 1e-4])
    before, at, after = loaded(name).generator(t).tolist()
    assert loaded(name).curvature == pytest.approx((before - 2 * at + after) / 1e-8, rel=1e-5)


def test_the_curvature_of_the_paired_comparison_is_that_of_its_losses():
    """Data uniform on 20 atoms, model tilted by 1 + g: the best D is -g to first order, and F is curvature / 2 E[g^2]."""
    tilt = 1e-3 * torch.linspace(-1, 1, 20, dtype=torch.float64)
    slopes = torch.linspace(0.5, 1.5, 101, dtype=torch.float64)

    def estimate(slope):
        differences = slope * (tilt[None, :] - tilt[:, None])  # D(T(x)) - D(y), atoms of the model in rows
        return -((1 + tilt)[:, None] / 400 * (functional.softplus(differences) - math.log(2))).sum()

    best = torch.stack([estimate(2 * slope) for slope in slopes]).max()
    assert float(best) == pytest.approx(loaded("relativistic").curvature / 2 * float(tilt.square().mean()), rel=1e-3)


@EACH
def test_a_conjugate_that_is_called_finite_is_so_at_every_slope_and_only_then(name):
    values = loaded(name).conjugate(tensor([-80.0, -1.0, 1.0, 80.0]))
    assert loaded(name).finite_conjugate == bool(values.isfinite().all())


@EACH
def test_the_potential_increases_with_the_output(name):
    output = torch.linspace(-20, 20, 401, dtype=torch.float64)
    assert (loaded(name).potential(output).diff() > 0).all()


def test_jsd_is_kl_less_twice_jsd_and_takes_the_same_output_for_the_same_density_ratio():
    t = torch.linspace(0.01, 20, 200, dtype=torch.float64).requires_grad_()
    jsd, kl, twice = (loaded(name) for name in ("jsd", "kl", "twice_jsd"))
    torch.testing.assert_close(jsd.generator(t), kl.generator(t) - twice.generator(t))
    for divergence in (jsd, kl, twice):
        (slope,) = torch.autograd.grad(divergence.generator(t).sum(), t)
        torch.testing.assert_close(divergence.potential(-t.detach().log()), -slope)


@pytest.mark.parametrize("name", ["jsd", "twice_jsd"])
def test_the_potential_loss_is_that_of_a_gan_discriminator(name):
    on_target, on_transported = torch.randn(2, 64, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 5
    cross_entropy = functional.binary_cross_entropy_with_logits
    discriminator = cross_entropy(on_target, torch.ones_like(on_target)) + cross_entropy(
        on_transported, torch.zeros_like(on_target)
    )
    loss = potential_loss(objective(name), on_target, on_transported, torch.zeros_like(on_target))
    torch.testing.assert_close(loss, discriminator - 2 * math.log(2))
