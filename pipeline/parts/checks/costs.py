"""What is tried of a cost of transport."""

import torch
from torch import Tensor

from components.costs import Cost
from pipeline.parts.checks.check import Check, Failed, finite, gradients, require, tensor_like, tried, words

NUM = 8
SHAPES = ((3,), (1, 4, 4))
"""Of samples: vectors and images."""


def checks_of(cost: Cost, shapes: tuple[tuple[int, ...], ...] = SHAPES) -> list[Check]:
    """Try a cost on samples of each shape.

    >>> from components.table import cost
    >>> [check.passed for check in checks_of(cost("squared"), ((3,),))]
    [True, True, True, True]
    """
    return [check for shape in shapes for check in _of(cost, shape)]


def _of(cost: Cost, shape: tuple[int, ...]) -> list[Check]:
    random = torch.Generator().manual_seed(0)
    x, y = (torch.randn(NUM, *shape, generator=random) for _ in range(2))
    of = f"for samples {shape}"
    return [
        tried("between", f"give one number per sample in their type, {of}", lambda: _numbers(cost, x, y)),
        tried("between", f"be at least 0, and 0 where nothing is moved, {of}", lambda: _distance(cost, x, y)),
        tried("between", f"have a finite gradient in y, also where nothing is moved, {of}", lambda: _gradient(cost, x, y)),
        tried("between", f"give each sample a cost of its own, {of}", lambda: _alone(cost, x, y)),
    ]


def _numbers(cost: Cost, x: Tensor, y: Tensor) -> str:
    for kind in (torch.float32, torch.float64):
        a, b = x.to(kind), y.to(kind)
        given = finite(tensor_like(cost.between(a, b), a.flatten(1)[:, 0]))
        require(torch.equal(given, cost.between(a, b)), "two calls give different numbers")
    return f"({len(x)},) in float32 and float64"


def _distance(cost: Cost, x: Tensor, y: Tensor) -> str:
    moved, at_rest = cost.between(x, y), cost.between(x, x)
    require(bool((moved >= 0).all()), f"it gives {moved.min().item():.4g}")
    require(bool((at_rest.abs() <= 1e-6).all()), f"between(x, x) is {at_rest.abs().max().item():.4g}")
    return f"from {moved.min().item():.3g} to {moved.max().item():.3g}; 0"


def _gradient(cost: Cost, x: Tensor, y: Tensor) -> str:
    largest = 0.0
    for where, start in (("", y), (" where y = x", x)):
        to = start.clone().requires_grad_()
        (gradient,) = gradients(cost.between(x, to).sum(), [to], "it")
        if gradient is None:
            raise Failed("it does not depend on y")
        largest = max(largest, finite(gradient, f"its gradient{where}").abs().max().item())
    return f"at most {largest:.3g}, in {words(x.dtype)}"


def _alone(cost: Cost, x: Tensor, y: Tensor) -> str:
    whole, part = cost.between(x, y)[:3], cost.between(x[:3], y[:3])
    require(torch.allclose(whole, part, rtol=1e-4, atol=1e-6), "a sample's cost changes with the samples beside it")
    return "equal in a part of the batch"
