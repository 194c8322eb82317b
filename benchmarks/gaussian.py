"""Gaussian to Gaussian under KL against the exact JKO steps: Bures-UVP of every marginal, R^2 of every potential.

Random covariances that do not commute: rotations are uniform, eigenvalues log-uniform on [1/4, 4]; the target's mean is
N(0, I). Maps and potentials are the product's own (`network.second_order`, `jko.fit = logistic`), perceptron part included.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch

from benchmarks.flows import CPU, frozen
from benchmarks.harness import Pivot, Row, main
from components import state as states
from components.jko import Batch, Problem, train_phase
from components.networks import PerceptronPotential
from components.semidual import Objective
from components.shape import Shape
from components.streams import normal, stream
from tests.closed_forms import Gaussian, bures_uvp, gaussian_jko_step, optimal_potential

DIMS, STEP_SIZES, SEEDS, NUM_PHASES = (2, 8, 32), (0.1, 0.3, 1.0), (0, 1, 2), 10
NUM_MOMENTS = 100_000
"""Samples that a marginal's mean and covariance are estimated from; the `floor` is what exact samples of that number give."""


@dataclass(frozen=True)
class Solver:
    """Settings of the training, the same for every problem."""

    num_steps: int = 800
    batch_size: int = 1024
    map_lr: float = 3e-3
    potential_lr: float = 1e-2
    final_rate: float = 0.01
    width: int = 64
    depth: int = 2
    beta1: float = 0.0
    beta2: float = 0.99
    ema_decay: float = 0.98
    second_order: bool = True
    fit: str = "logistic"
    seed: int = 0


@dataclass(frozen=True)
class Solved:
    """Phase k: moments of its marginal, the potential as a function, CPU-seconds since the flow began."""

    moments: Gaussian
    potential: torch.nn.Module
    cpu_seconds: float


def random_gaussian(dim: int, rng: np.random.Generator, *, centred: bool) -> Gaussian:
    """Mean 0 or N(0, I); covariance with a uniform rotation and log-uniform eigenvalues on [1/4, 4]."""
    rotation, triangle = np.linalg.qr(rng.standard_normal((dim, dim)))
    rotation *= np.sign(np.diag(triangle))
    eigenvalues = np.exp(rng.uniform(-np.log(4), np.log(4), dim))
    mean = np.zeros(dim) if centred else rng.standard_normal(dim)
    return mean, (rotation * eigenvalues) @ rotation.T


def draw_from(gaussian: Gaussian, n: int, rng: np.random.Generator) -> torch.Tensor:
    """n samples in single precision."""
    mean, covariance = gaussian
    return torch.from_numpy((mean + normal(rng, n, len(mean)) @ np.linalg.cholesky(covariance).T).astype(np.float32))


def moments_of(samples: torch.Tensor) -> Gaussian:
    """The Gaussian fit of a sample."""
    x = samples.double().numpy()
    return x.mean(0), np.atleast_2d(np.cov(x.T))


def solve(source: Gaussian, target: Gaussian, h: float, num_phases: int, solver: Solver) -> Iterator[Solved]:
    """Train the flow phase by phase."""
    dim, seed = len(source[0]), solver.seed
    shape = Shape((dim,), solver.width, solver.depth, second_order=solver.second_order)
    state = states.new_state(shape, seed=seed, betas=(solver.beta1, solver.beta2), device=CPU)
    assert isinstance(state.potential, PerceptronPotential)
    if solver.second_order:
        state.potential.whiten(draw_from(target, 65_536, stream(seed, "standardisation")))

    def learning_rates(step: int) -> tuple[float, float]:
        factor = solver.final_rate ** (step / solver.num_steps)
        return factor * solver.map_lr, factor * solver.potential_lr

    objective = Objective("kl", "linear", "squared", h, r1=0.0, r2=0.0, fit=solver.fit)
    problem = Problem(objective, False, solver.num_steps, learning_rates, penalty_every=1, ema_decay=solver.ema_decay)
    anchor: list[torch.nn.Module] = []
    spent = 0.0
    for k in range(num_phases):
        state.step = 0

        def draw(step: int, k: int = k) -> Batch:
            ends = ((source, "source"), (target, "target"))
            x, y = (draw_from(g, solver.batch_size, stream(seed, purpose, phase=k, step=step)) for g, purpose in ends)
            return Batch(x, y, None, None)

        began = time.process_time()
        for _ in train_phase(state, problem, anchor, draw):
            pass
        spent += time.process_time() - began
        anchor = [frozen(state.transport_map)]
        with torch.no_grad():
            samples = state.averaged_map(draw_from(source, NUM_MOMENTS, stream(seed, "evaluation_source", phase=k)), None)
        yield Solved(moments_of(samples), frozen(state.potential), spent)


def potential_r2(potential: torch.nn.Module, after: Gaussian, target: Gaussian, rng: np.random.Generator) -> float:
    """Share of the variance of the exact v under the exact marginal that the learned one explains; constants do not count."""
    y = draw_from(after, 20_000, rng)
    quadratic, linear, _ = optimal_potential(after, target)
    exact = ((y.numpy() @ quadratic) * y.numpy()).sum(1) + y.numpy() @ linear
    with torch.no_grad():
        learned = potential(y).numpy()
    return float(1 - np.var(learned - exact) / np.var(exact))


def cases(quick: bool) -> list[Row]:
    """What to measure."""
    if quick:
        return [{"d": d, "h": 0.3, "seed": 0, "num_phases": 3} for d in (2, 8)]
    return [
        {"d": d, "h": h, "seed": seed, "num_phases": NUM_PHASES} for d in reversed(DIMS) for h in STEP_SIZES for seed in SEEDS
    ]


def measure(case: Row) -> Iterator[Row]:
    """One row per phase."""
    rng = stream(case["seed"], "problem", phase=case["d"])
    source, target = (random_gaussian(case["d"], rng, centred=centred) for centred in (True, False))
    exact = source
    for k, solved in enumerate(solve(source, target, case["h"], case["num_phases"], Solver(seed=case["seed"])), start=1):
        before, exact = exact, gaussian_jko_step(exact, target, case["h"])
        fresh = draw_from(exact, NUM_MOMENTS, stream(case["seed"], "evaluation_floor", phase=k))
        yield {
            "k": k,
            "uvp_percent": bures_uvp(solved.moments, exact),
            "uvp_floor": bures_uvp(moments_of(fresh), exact),
            "uvp_of_staying": bures_uvp(before, exact),
            "potential_r2": potential_r2(solved.potential, exact, target, stream(case["seed"], "evaluation_target", phase=k)),
            "cpu_seconds": solved.cpu_seconds,
        }


PIVOTS = [
    Pivot(("d", "h"), "k", ("uvp_percent",), "Bures-UVP, per cent, after k JKO steps; goal 0.5 / 1 / 3 at d = 2 / 8 / 32"),
    Pivot(("d", "h"), "k", ("potential_r2",), "R^2 of the potential against the exact one"),
    Pivot(
        ("d", "h"), None, ("uvp_percent", "uvp_floor", "uvp_of_staying", "potential_r2", "cpu_seconds"), "over all k and seeds"
    ),
]

if __name__ == "__main__":
    main("gaussian", __doc__, cases, measure, PIVOTS)
