"""A potential on points: the semi-dual of a JKO step between two samples, solved without an adversary.

    sup_v mean_i v^c(x_i) - sum_j w_j f*(-v_j),   v^c(x) = min_j [c_h(x, y_j) - v_j]

is concave in v, a vector over n target points of weights w_j. v^c is an exact minimum over them, and a global one: a map that
follows a network sees the near side of a valley alone. Its primal is min_pi sum c pi + sum_j w_j f(pi_j / w_j), pi_j the mass
that y_j gets (Eq. 14-16 between samples); the difference of the two, the *dual gap*, says how nearly it is solved. With
f = linear it is optimal transport, and the masses are those of the data whatever h is.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from components.divergences.base import FDivergence
from components.semidual import Objective

Vector = Float[np.ndarray, " n"]
Matrix = Float[np.ndarray, "m n"]
SMOOTHING = (1.0, 0.1, 0.01, 0.001)
"""Of v^c, each begun where the one before ended, in units of the costs' standard deviation: the last is what remains."""
MOST_ITERATIONS = 1000
"""Of L-BFGS for each smoothing."""
NUM_SOLVED = 4
"""Samples that a hard dual is solved on, one after the other, and averaged over; a soft one takes as long as all of them."""
NUM_ROUNDS, OF_SPREAD, OF_DISTANCE = 200, 5.0, 0.5
"""Of stochastic ascent, and its first steps where a mass is 1 / n too small. A step is so much of the costs' deviation over n,
and at most so much of the cost of moving a point to its fourth neighbour: points that lie close together differ by little. Of
fewer than 50 points it is a nearer one: the fourth of five is the farthest, and such steps have left points without any mass."""


class Solved(NamedTuple):
    """A solved dual: the network's output D that stands for v at each of the n target points, and the dual gap, at least 0, in
    nats.
    """

    output: Vector
    gap: float


@dataclass(frozen=True)
class PointPotential:
    """A potential that lives on n target points, and the transport that it stands for.

    Example:
        >>> from components.table import cost, divergence
        >>> objective = Objective(divergence("linear"), divergence("linear"), cost("squared"), h=0.5, r1=0.0, r2=0.0)
        >>> y, weights = torch.tensor([[0.0], [1.0]]), torch.tensor([0.5, 0.5])
        >>> v = PointPotential(objective, y, weights, output=torch.tensor([0.0, 0.5]), gap=0.0)
        >>> v.points[v.nearest(torch.tensor([[0.2], [0.3]]))]
        tensor([[0.],
                [1.]])

    Attributes:
        objective: of the step, whose cost decides what is near.
        points: y_j, none twice.
        weights: w_j, what of the data each point stands for; their sum is 1.
        output: the network's output D_j that stands for v_j; they are equal unless v is bounded below.
        gap: of the dual that the values solve.
    """

    objective: Objective
    points: Float[Tensor, "n *shape"]
    weights: Float[Tensor, " n"]
    output: Float[Tensor, " n"]
    gap: float

    @property
    def values(self) -> Float[Tensor, " n"]:
        """Compute v at the points."""
        divergence = self.objective.divergence
        assert isinstance(divergence, FDivergence)  # a rule of recipes
        return divergence.potential(self.output)

    def nearest(self, x: Float[Tensor, "m *shape"]) -> Int[Tensor, " m"]:
        """Find the number j of the point that each x goes to: the one of least c_h(x, y_j) - v_j."""
        with torch.autocast(x.device.type, enabled=False):  # 16 bits tell no two neighbours apart
            return self.objective.cost.nearest(x, self.points, 2 * self.objective.h * self.values)

    def loss(self, reached: Int[Tensor, " m"]) -> Float[Tensor, ""]:
        """Compute L_v where transported samples are points: minus it, the running divergence, as of any potential."""
        divergence = self.objective.divergence
        assert isinstance(divergence, FDivergence)
        return self.weights @ divergence.target_term(self.output) + self.values[reached].mean()


def potential_on(
    points: Float[Tensor, "n *shape"],
    weights: Float[Tensor, " n"],
    objective: Objective,
    draw: Callable[[int], Float[Tensor, "m *shape"]],
) -> PointPotential:
    """Solve the semi-dual of a step on points: exactly on a few samples of mu_k, then by ascent on many.

    Args:
        points: y_j of the target.
        weights: w_j, of sum 1.
        draw: (number) -> samples of mu_k, others for each number.
    """

    def costs_of(number: int) -> Matrix:
        """Compute the costs between the points and a sample that no round sees."""
        costs = objective.cost.matrix(draw(NUM_ROUNDS + number), points) / (2 * objective.h)
        return costs.cpu().numpy()

    divergence = objective.divergence
    assert isinstance(divergence, FDivergence)  # a rule of recipes
    output, gap = averaged(divergence, costs_of, weights.cpu().numpy())
    return corrected(PointPotential(objective, points, weights, torch.from_numpy(output).to(points), gap), draw)


def corrected(
    potential: PointPotential, draw: Callable[[int], Float[Tensor, "m *shape"]], num_rounds: int = NUM_ROUNDS
) -> PointPotential:
    """Go on raising the dual by stochastic ascent on samples that it was not solved on, so that their masses are right too.

    A dual between n points and as many samples fits those samples: of others, a third or a half go to points that have too many
    already. The average over the second half of the rounds is what stays (Polyak and Juditsky 1992; semidiscrete: Genevay et al.
    2016). It moves the network's output D that stands for v, so that v stays where f* is finite.

    Args:
        draw: (number of the round) -> samples of mu_k.
    """
    objective = potential.objective
    divergence = objective.divergence
    assert isinstance(divergence, FDivergence)
    n, moved = len(potential.values), potential
    first = _first_steps(potential, draw(0))
    total = torch.zeros_like(potential.output)
    for at in range(num_rounds):
        reached = moved.nearest(draw(at))
        masses = torch.bincount(reached, minlength=n) / len(reached)
        output = moved.output.detach().requires_grad_()
        loss = potential.weights @ divergence.target_term(output) + (masses * divergence.potential(output)).sum()
        (slope,) = torch.autograd.grad(loss, output)
        steps = first / (1 + 4 * at / num_rounds)
        moved = replace(potential, output=output.detach() - steps * n * slope)
        if at >= num_rounds // 2:
            total += moved.output
    return replace(potential, output=total / (num_rounds - num_rounds // 2))


def _first_steps(potential: PointPotential, x: Float[Tensor, "m *shape"]) -> Float[Tensor, " n"]:
    """Choose how far the output at each point moves in the first round, were its mass 0."""
    points, cost, h = potential.points, potential.objective.cost, potential.objective.h
    spread = cost.matrix(x, points).std() / (2 * h)
    among = cost.matrix(points, points) / (2 * h)
    n = len(points)
    nth = min(n, max(2, min(5, n // 10)))  # the first is the point itself
    near = among.kthvalue(nth, 1).values
    return torch.minimum(OF_SPREAD * spread / n, OF_DISTANCE * near)


def averaged(divergence: FDivergence, costs_of: Callable[[int], Matrix], weights: Vector) -> Solved:
    """Solve the dual on several samples, and average over the potentials; the gap is the largest.

    One potential fits its sample, whose masses are off over long ways by chance, and that is what ascent on fresh samples
    mends last. The mean of R potentials has 1/R of that variance, as one on R times as many samples, at R times its price.

    Args:
        costs_of: (number of the sample) -> c_h(x_i, y_j), shape (m, n).
        weights: w_j, of sum 1.
    """
    solved = [solve(divergence, costs_of(number), weights) for number in range(NUM_SOLVED if divergence.fixes_marginal else 1)]
    return Solved(np.mean([each.output for each in solved], axis=0), max(each.gap for each in solved))


def solve(divergence: FDivergence, costs: Matrix, weights: Vector | None = None) -> Solved:
    """Solve the dual between m source samples of equal weights and n target points.

    Exactly where the marginal is hard (network simplex); for other divergences by L-BFGS on a v^c that is smoothed less and less.

    Example:
        >>> from components.table import divergence
        >>> output, gap = solve(divergence("linear"), np.array([[0.0, 3.0], [1.0, 0.0]]))
        >>> round(gap, 6)
        0.0

    Args:
        costs: c_h(x_i, y_j), shape (m, n).
        weights: w_j of the target points, of sum 1; None: 1 / n.
    """
    costs = costs.astype(np.float64)
    weights = np.full(costs.shape[1], 1 / costs.shape[1]) if weights is None else weights / weights.sum(dtype=np.float64)
    return _solve_hard(costs, weights) if divergence.fixes_marginal else _solve_soft(divergence, costs, weights)


def _solve_hard(costs: Matrix, weights: Vector) -> Solved:
    import ot  # a second or more to import: only where it is used

    plan, log = ot.emd(np.full(len(costs), 1 / len(costs)), weights, costs, numItermax=10_000_000, log=True)
    values = log["v"] - weights @ log["v"]  # v + constant is the same potential where masses are equal
    dual = (costs - values).min(1).mean() + weights @ values
    return Solved(values, max(0.0, float((plan * costs).sum() - dual)))  # rounding may leave -1e-17


def _solve_soft(divergence: FDivergence, costs: Matrix, weights: Vector) -> Solved:
    """Raise the smoothed dual in the network's output D, which stands for v without bounds.

    In one thread: those of L-BFGS's vector products wait for each other at full speed, seven times the CPU-seconds of the rest.
    """
    from scipy.optimize import minimize
    from threadpoolctl import threadpool_limits

    output, scale = np.zeros(costs.shape[1]), costs.std()
    options = {"maxiter": MOST_ITERATIONS, "maxfun": 2 * MOST_ITERATIONS, "ftol": 1e-12, "gtol": 1e-9}
    with threadpool_limits(1):
        for smoothing in SMOOTHING:
            given = (divergence, costs, weights, smoothing * scale)
            output = minimize(_negative_dual, output, args=given, jac=True, method="L-BFGS-B", options=options).x
    values = divergence.potential(torch.from_numpy(output)).numpy()
    dual = (costs - values).min(1).mean() - weights @ divergence.conjugate(torch.from_numpy(-values)).numpy()
    return Solved(output, float(_primal(divergence, costs, weights, values, smoothing * scale) - dual))


def _negative_dual(
    output: Vector, divergence: FDivergence, costs: Matrix, weights: Vector, smoothing: float
) -> tuple[float, Vector]:
    """Compute minus the smoothed dual, and its gradient by D."""
    free = torch.from_numpy(output).requires_grad_()
    potential = divergence.potential(free)
    on_target = torch.from_numpy(weights) @ divergence.target_term(free)
    values = potential.detach().numpy()
    exponents = (values - costs) / smoothing
    highest = exponents.max(1, keepdims=True)
    shares = np.exp(exponents - highest)
    sums = shares.sum(1, keepdims=True)
    transform = -smoothing * (np.log(sums / costs.shape[1]) + highest).mean()
    masses = torch.from_numpy((shares / sums).mean(0))
    (gradient,) = torch.autograd.grad(on_target + (masses * potential).sum(), free)
    return float(on_target.detach()) - transform, gradient.numpy()


def _primal(divergence: FDivergence, costs: Matrix, weights: Vector, values: Vector, smoothing: float) -> float:
    """Compute the primal of the plan that the smoothed v^c stands for, which leaves the source marginal as it is.

    Where rounding has put its masses beyond the domain of f, as t <= 2 of `softplus`, a little of the product plan is mixed in.
    """
    exponents = (values - costs) / smoothing
    plan = np.exp(exponents - exponents.max(1, keepdims=True))
    plan /= plan.sum(1, keepdims=True) * len(costs)
    for share in (0.0, *10.0 ** np.arange(-9, 1)):
        ratios = torch.from_numpy((1 - share) * plan.sum(0) / weights + share)
        on_target = float(weights @ divergence.generator(ratios).numpy())
        if np.isfinite(on_target):
            break
    return float((1 - share) * (plan * costs).sum() + share * costs.mean(0) @ weights + on_target)
