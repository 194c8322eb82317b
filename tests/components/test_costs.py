"""The transport cost c_h, by its properties."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from jaxtyping import TypeCheckError

from components.costs import MeanSquared, Squared, transport_cost

SHAPES = pytest.mark.parametrize("shape", [(1,), (5,), (3, 8, 8)], ids=str)
COSTS = pytest.mark.parametrize("cost", [Squared(), MeanSquared()], ids=["squared", "mean_squared"])


def points(shape, seed, n=6):
    return torch.from_numpy(np.random.default_rng(seed).normal(size=(n, *shape)))


@SHAPES
def test_the_true_cost_is_half_the_squared_distance_over_h(shape):
    x, y = points(shape, 0), points(shape, 1)
    expected = [np.sum((a - b) ** 2) / (2 * 0.3) for a, b in zip(x.numpy(), y.numpy(), strict=True)]
    np.testing.assert_allclose(transport_cost(x, y, h=0.3, cost=Squared()), expected, rtol=1e-12)


@SHAPES
def test_the_two_conventions_differ_by_the_dimension(shape):
    x, y = points(shape, 0), points(shape, 1)
    true, mean = (transport_cost(x, y, h=0.3, cost=cost) for cost in (Squared(), MeanSquared()))
    torch.testing.assert_close(true, mean * math.prod(shape))


@SHAPES
@COSTS
def test_the_cost_is_symmetric_and_zero_on_the_diagonal(shape, cost):
    x, y = points(shape, 0), points(shape, 1)
    torch.testing.assert_close(transport_cost(x, y, h=0.3, cost=cost), transport_cost(y, x, h=0.3, cost=cost))
    assert (transport_cost(x, x, h=0.3, cost=cost) == 0).all()
    assert (transport_cost(x, y, h=0.3, cost=cost) > 0).all()


@COSTS
@settings(deadline=None, max_examples=40)
@given(h=st.floats(1e-3, 1e3), factor=st.floats(0.1, 10))
def test_the_cost_scales_inversely_with_h_and_with_the_square_of_the_units(cost, h, factor):
    x, y = points((4,), 0), points((4,), 1)
    one = transport_cost(x, y, h=h, cost=cost)
    torch.testing.assert_close(transport_cost(x, y, h=factor * h, cost=cost), one / factor)
    torch.testing.assert_close(transport_cost(factor * x, factor * y, h=h * factor**2, cost=cost), one)


@SHAPES
@COSTS
def test_an_infinite_step_drops_the_cost(shape, cost):
    x, y = points(shape, 0), points(shape, 1)
    assert torch.equal(transport_cost(x, y, h=math.inf, cost=cost), torch.zeros(6, dtype=torch.float64))


@COSTS
def test_the_cost_pulls_along_the_displacement(cost):
    x, y = points((4,), 0), points((4,), 1).requires_grad_()
    (gradient,) = torch.autograd.grad(transport_cost(x, y, h=0.3, cost=cost).sum(), y)
    torch.testing.assert_close(gradient, (y - x).detach() / (0.3 if isinstance(cost, Squared) else 4 * 0.3))


def test_shape_annotations_are_checked_while_testing():
    with pytest.raises(TypeCheckError):
        transport_cost(points((4,), 0), points((5,), 0), h=1.0, cost=Squared())
