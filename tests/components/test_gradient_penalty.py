"""R1 and R2 against potentials whose gradients are known, and sample by sample."""

import copy

import numpy as np
import pytest
import torch
from builders import BOTH_SPECS, name_of, objective

from components.semidual import gradient_penalty
from components.state import build_potential

WEIGHTS = pytest.mark.parametrize(("r1", "r2"), [(0.3, 0.0), (0.3, 0.7), (0.0, 0.7), (0.0, 0.0)])


def penalty_of(potential, inputs, num_target, r1, r2):
    inputs = inputs.requires_grad_()
    return gradient_penalty(objective(r1=r1, r2=r2), potential(inputs), inputs, num_target=num_target)


@WEIGHTS
def test_the_penalty_of_a_quadratic_potential(r1, r2):
    """D(x) = sum_j w_j x_j^2 / 2 has the gradient w x, so the penalty and its derivative in w are moments of x."""
    w = torch.tensor([0.5, -1.0, 2.0], dtype=torch.float64, requires_grad=True)
    x = torch.from_numpy(np.random.default_rng(0).normal(size=(12, 3)))
    penalty = penalty_of(lambda inputs: (w * inputs.square()).sum(1) / 2, x.clone(), 5, r1, r2)
    first, second = x[:5].square().mean(0), x[5:].square().mean(0)
    value = w.detach()
    torch.testing.assert_close(penalty.detach(), (value.square() * (r1 * first + r2 * second)).sum() / 2)
    (derivative,) = torch.autograd.grad(penalty, w)
    torch.testing.assert_close(derivative, value * (r1 * first + r2 * second))


@WEIGHTS
@pytest.mark.parametrize("spec", BOTH_SPECS, ids=name_of)
def test_the_penalty_equals_the_mean_of_gradients_taken_sample_by_sample(spec, r1, r2):
    potential = build_potential(spec).double()
    x = torch.from_numpy(np.random.default_rng(0).normal(size=(7, *spec.sample_shape)))
    squared_norms = []
    for sample in x:
        one = sample[None].clone().requires_grad_()
        squared_norms.append(torch.autograd.grad(potential(one).sum(), one)[0].square().sum().item())
    expected = r1 / 2 * np.mean(squared_norms[:4]) + r2 / 2 * np.mean(squared_norms[4:])
    assert penalty_of(potential, x.clone(), 4, r1, r2).item() == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("spec", BOTH_SPECS, ids=name_of)
def test_the_penalty_can_be_differentiated_in_the_weights(spec):
    """Along a random direction of all weights, against a central difference; LeakyReLU is smooth away from its kinks."""
    potential = build_potential(spec).double()
    x = torch.from_numpy(np.random.default_rng(0).normal(size=(6, *spec.sample_shape)))
    parameters = list(potential.parameters())
    rng = np.random.default_rng(1)
    directions = [torch.from_numpy(np.asarray(rng.normal(size=p.shape))) for p in parameters]

    penalty = penalty_of(potential, x.clone(), 3, 0.3, 0.7)
    gradients = torch.autograd.grad(penalty, parameters, allow_unused=True)
    derivative = sum((g * d).sum().item() for g, d in zip(gradients, directions, strict=True) if g is not None)

    def shifted(step):
        moved = copy.deepcopy(potential)
        with torch.no_grad():
            for p, d in zip(moved.parameters(), directions, strict=True):
                p.add_(step * d)
        return penalty_of(moved, x.clone(), 3, 0.3, 0.7).item()

    step = 1e-7
    assert derivative != 0
    assert derivative == pytest.approx((shifted(step) - shifted(-step)) / (2 * step), rel=1e-4)
