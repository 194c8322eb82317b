"""What is tried of a divergence: its conjugate against a numerical Legendre transform, its slopes, its losses."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from components.divergences.base import Divergence, FDivergence
from components.table import divergence as built_in
from pipeline.parts.checks.check import Check, Failed, finite, gradients, require, tensor_like, tried, words

OUTPUTS = torch.linspace(-4, 4, 33, dtype=torch.float64)
"""Outputs D of a potential's network; -v(D) are slopes that training asks for."""
SLOPES = torch.linspace(-5, 5, 41, dtype=torch.float64)
"""Those that it asks for beside them, where f* is finite everywhere."""
STEEP = 30.0
"""An output, or a slope, as far from 0 as a network goes when it is sure."""
LARGEST_RATIO = 1e8
"""The density ratio t up to which the supremum over s t - f(t) is looked for."""
TOLERANCE = 1e-5
"""Relative, and for numbers below 1 absolute: of formulas in float64, of which some use float32 inside."""
ROUNDS, POINTS = 5, 65
"""Of the refinement of that supremum: each round looks 32 times closer, so that its error is that of float64."""


def checks_of(divergence: Divergence) -> list[Check]:
    """Try a divergence: all that a step uses, and for a Csiszar divergence what makes it one.

    >>> all(check.passed for check in checks_of(built_in("jsd")))
    True
    """
    checks = [tried("curvature", "be a number above 0", lambda: _curvature(divergence))]
    if isinstance(divergence, FDivergence):
        checks += _csiszar(divergence)
    return [
        *checks,
        tried("potential_loss", "give one finite number that depends on D(y) and D(T(x))", lambda: _potential_loss(divergence)),
        tried("map_loss", "give one finite number that depends on D(T(x)) and the cost", lambda: _map_loss(divergence)),
    ]


def _csiszar(divergence: FDivergence) -> list[Check]:
    checks = [
        tried("generator", "be 0 at 1: f(1) = 0", lambda: _at(divergence.generator, 1.0, 0.0)),
        tried("potential", "grow with D, in the shape and type of D", lambda: _potential(divergence)),
        tried("conjugate", "be 0 at 0: f*(0) = 0", lambda: _at(divergence.conjugate, 0.0, 0.0)),
        tried("conjugate_gradient", "be 1 at 0: (f*)'(0) = 1", lambda: _at(divergence.conjugate_gradient, 0.0, 1.0)),
        tried("conjugate", "equal sup_t [s t - f(t)]", lambda: _transform(divergence)),
        tried("conjugate_gradient", "be the derivative of conjugate", lambda: _derivative(divergence)),
        tried("conjugate", "be convex", lambda: _convex(divergence)),
        tried("curvature", "be f''(1) = 1 / (f*)''(0)", lambda: _second_derivative(divergence)),
        tried("target_term", "equal conjugate(-potential(D)), and stay finite", lambda: _target_term(divergence)),
    ]
    if divergence.finite_conjugate:
        checks.append(tried("conjugate", "be finite everywhere, as finite_conjugate says", lambda: _everywhere(divergence)))
    return checks


def _curvature(divergence: Divergence) -> str:
    number = getattr(divergence, "curvature", None)
    require(number is not None, "there is none")
    require(isinstance(number, int | float) and number > 0, f"it is {number!r}")
    return f"{number:g}"


def _values(function: Callable[[Tensor], Tensor], at: Tensor) -> Tensor:
    """Evaluate an elementwise function twice: equal numbers of the shape and type that it was given, whatever they are."""
    given = tensor_like(function(at), at)
    again = function(at)
    require(torch.equal(given.nan_to_num(), again.nan_to_num()), "two calls give different numbers")
    return given


def _at(function: Callable[[Tensor], Tensor], at: float, expected: float) -> str:
    (value,) = _values(function, torch.tensor([at], dtype=torch.float64)).tolist()
    require(abs(value - expected) <= TOLERANCE, f"it is {value:.6g}")
    return f"{value:.3g}"


def _slopes(divergence: FDivergence) -> Tensor:
    """Give slopes at which f* must be right, in order: those that outputs of a network stand for, more where f* is finite."""
    asked = -finite(_values(divergence.potential, OUTPUTS), "potential")
    slopes = torch.cat([asked, SLOPES]) if divergence.finite_conjugate else asked
    return slopes.sort().values


def _potential(divergence: FDivergence) -> str:
    v = finite(_values(divergence.potential, OUTPUTS))
    require(bool((v.diff() > 0).all()), "a larger D gives no larger v")
    return f"from {v[0].item():.3g} to {v[-1].item():.3g} for D from -4 to 4"


def _transform(divergence: FDivergence) -> str:
    slopes = _slopes(divergence)
    given = _values(divergence.conjugate, slopes)
    _values(divergence.generator, torch.linspace(0.1, 0.9, 9, dtype=torch.float64))
    expected = legendre(divergence.generator, slopes)
    for s, ours, theirs in zip(slopes.tolist(), expected.tolist(), given.tolist(), strict=True):
        if math.isinf(ours) or math.isinf(theirs):
            raise Failed(
                f"conjugate({s:.4g}) is {theirs:.4g}, and s t - f(t) has {'no' if math.isinf(ours) else 'an'} upper bound there: "
                "let potential keep -v where f* is finite, and set finite_conjugate = False where that is not everywhere"
            )
        if not abs(ours - theirs) <= TOLERANCE * max(1.0, abs(ours)):
            raise Failed(f"conjugate({s:.4g}) is {theirs:.6g}, and the supremum is {ours:.6g}")
    difference = (given - expected).abs().max().item()
    return f"largest difference {difference:.1e} at {len(slopes)} slopes from {slopes[0].item():.3g} to {slopes[-1].item():.3g}"


def legendre(generator: Callable[[Tensor], Tensor], slopes: Tensor) -> Tensor:
    """Compute sup_t [s t - f(t)] over t from 0 to 1e8 for each slope s; infinite where it still grows there.

    >>> legendre(lambda t: (t - 1) ** 2, torch.tensor([2.0], dtype=torch.float64))
    tensor([3.], dtype=torch.float64)

    Raises:
        Failed: f is not a number somewhere above 0.
    """
    powers = torch.logspace(-8, math.log10(LARGEST_RATIO), 1601, dtype=torch.float64)
    grid = torch.unique(torch.cat([powers, torch.tensor([0.0, 1.0], dtype=torch.float64)])).expand(len(slopes), -1)
    best = torch.full_like(slopes, -math.inf)
    unbounded = torch.zeros_like(slopes, dtype=torch.bool)
    for number in range(ROUNDS):
        f = tensor_like(generator(grid), grid, "generator")
        wrong = grid[f.isnan() & (grid > 0)]
        if len(wrong):
            raise Failed(f"generator({wrong[0].item():.4g}) is not a number; outside its domain it must be inf")
        gains = torch.where(f.isfinite(), slopes[:, None] * grid - f, -math.inf)
        top, at = gains.max(1)
        best = torch.maximum(best, top)
        if number == 0:
            unbounded = (at == grid.shape[1] - 1) & top.isfinite()
        lower = grid.gather(1, (at - 1).clamp(min=0)[:, None])
        upper = grid.gather(1, (at + 1).clamp(max=grid.shape[1] - 1)[:, None])
        grid = lower + (upper - lower) * torch.linspace(0, 1, POINTS, dtype=torch.float64)
    return torch.where(unbounded, math.inf, best)


def _autograd(divergence: FDivergence, slopes: Tensor) -> Tensor:
    s = slopes.clone().requires_grad_()
    (gradient,) = gradients(divergence.conjugate(s).sum(), [s], "conjugate")
    return finite(torch.zeros_like(s) if gradient is None else gradient, "the gradient of conjugate")


def _derivative(divergence: FDivergence) -> str:
    slopes = _slopes(divergence)
    given, expected = _values(divergence.conjugate_gradient, slopes), _autograd(divergence, slopes)
    difference = (given - expected).abs() / expected.abs().clamp(min=1)
    worst = int(difference.nan_to_num(math.inf).argmax())
    s, ours, theirs = (each[worst].item() for each in (slopes, expected, given))
    require(
        difference[worst].item() <= TOLERANCE,
        f"conjugate_gradient({s:.4g}) is {theirs:.6g}, and conjugate's derivative is {ours:.6g}",
    )
    return f"largest difference {difference[worst].item():.1e}"


def _convex(divergence: FDivergence) -> str:
    slopes = _slopes(divergence)
    rise = _autograd(divergence, slopes).diff()
    worst = int(rise.argmin())
    fall = -rise[worst].item()
    require(fall <= TOLERANCE, f"its derivative falls by {fall:.3g} after {slopes[worst].item():.4g}")
    return "its derivative never falls"


def _second_derivative(divergence: FDivergence) -> str:
    step = torch.tensor([-1e-4, 1e-4], dtype=torch.float64)
    below, above = _values(divergence.conjugate_gradient, step).tolist()
    inverse = (above - below) / 2e-4
    second = 1 / inverse if inverse > 0 else math.inf
    given = float(divergence.curvature)
    require(
        given == second or abs(given - second) <= 1e-3 * max(1.0, second), f"curvature is {given:g}, and f''(1) is {second:.6g}"
    )
    return f"{second:.6g}"


def _target_term(divergence: FDivergence) -> str:
    given = _values(divergence.target_term, OUTPUTS)
    expected = _values(lambda output: divergence.conjugate(-divergence.potential(output)), OUTPUTS)
    difference = (given - expected).abs() / expected.abs().clamp(min=1)
    worst = int(difference.nan_to_num(math.inf).argmax())
    require(
        difference[worst].item() <= TOLERANCE,
        f"target_term({OUTPUTS[worst].item():g}) is {given[worst].item():.6g}, and f*(-v) is {expected[worst].item():.6g}",
    )
    steep = torch.tensor([-STEEP, STEEP], requires_grad=True)
    term = finite(tensor_like(divergence.target_term(steep), steep), f"in float32, for D = -{STEEP:g} and {STEEP:g}, it")
    (gradient,) = gradients(term.sum(), [steep], "it")
    require(gradient is not None, "it does not depend on D")
    finite(gradient if gradient is not None else term, f"its gradient, for D = -{STEEP:g} and {STEEP:g},")
    return f"largest difference {difference[worst].item():.1e}, finite for |D| = {STEEP:g}"


def _everywhere(divergence: FDivergence) -> str:
    s = torch.linspace(-STEEP, STEEP, 61)
    finite(_values(divergence.conjugate, s), f"in float32, for slopes from -{STEEP:g} to {STEEP:g}, it")
    return f"for slopes from -{STEEP:g} to {STEEP:g} in float32"


def _samples() -> tuple[Tensor, Tensor, Tensor]:
    random = torch.Generator().manual_seed(0)
    on_target, on_transported = (torch.randn(16, generator=random).requires_grad_() for _ in range(2))
    return on_target, on_transported, torch.rand(16, generator=random).requires_grad_()


def _number(loss: object, by: dict[str, Tensor], what: str) -> str:
    scalar = tensor_like(loss, torch.zeros(()), what)
    finite(scalar, what)
    for name, gradient in zip(by, gradients(scalar, list(by.values()), what), strict=True):
        if gradient is None or not gradient.any():
            raise Failed(f"it does not depend on {name}")
        finite(gradient, f"its gradient by {name}")
    return f"{scalar.item():.3g} in {words(scalar.dtype)}"


def _potential_loss(divergence: Divergence) -> str:
    on_target, on_transported, cost = _samples()
    fixed = built_in("linear")
    assert isinstance(fixed, FDivergence)
    loss = divergence.potential_loss(on_target, on_transported, cost, fixed)
    return _number(loss, {"D(y)": on_target, "D(T(x))": on_transported}, "it")


def _map_loss(divergence: Divergence) -> str:
    on_target, on_transported, cost = _samples()
    loss = divergence.map_loss(on_target.detach() if divergence.paired else None, on_transported, cost)
    return _number(loss, {"D(T(x))": on_transported, "the cost": cost}, "it")
