"""Gaussian to Gaussian under KL against the exact JKO steps: Bures-UVP of every marginal, R^2 of every potential.

Random covariances that do not commute: rotations are uniform, eigenvalues log-uniform on [1/4, 4]; the target's mean is
N(0, I). Ours is the shipped recipe `gaussian` (`network.second_order`, `jko.fit = logistic`). Its family holds the exact
solution, so what is measured is everything else: the alternation, the noise, the perceptrons beside the exact parts, the drift
over k phases.
"""

from collections.abc import Iterator
from dataclasses import replace
from functools import partial

import numpy as np
import torch

from benchmarks.flows import Trained, shipped, train_flow
from benchmarks.harness import main
from benchmarks.rows import Pivot, Row
from components.streams import normal, stream
from pipeline.data.analytic import Analytic
from pipeline.data.endpoints import between
from pipeline.data.source import Samples
from pipeline.recipe import Recipe
from tests.closed_forms import Gaussian, bures_uvp, gaussian_jko_step, optimal_potential

DIMS, STEP_SIZES, SEEDS, NUM_PHASES = (2, 8, 32), (0.1, 0.3, 1.0), (0, 1, 2), 10
NUM_MOMENTS = 100_000
"""Samples that a marginal's mean and covariance are estimated from; the `floor` is what exact samples of that number give."""

VARIANTS = ("ours", "semi_dual_fit", "perceptrons_only")
"""Ours, and what its two parts give: v learned by L_v itself, and no affine and quadratic part."""


def recipe_of(variant: str, seed: int) -> Recipe:
    """Alter the shipped recipe `gaussian` as a variant says."""
    ours = replace(shipped("gaussian"), seed=seed)
    if variant == "semi_dual_fit":
        return replace(ours, jko=replace(ours.jko, fit="conjugate"))
    if variant == "perceptrons_only":
        return replace(ours, network=replace(ours.network, second_order=False))
    return ours


def random_gaussian(dim: int, rng: np.random.Generator, *, centred: bool) -> Gaussian:
    """Draw a Gaussian: mean 0 or from N(0, I), covariance with a uniform rotation and log-uniform eigenvalues on [1/4, 4]."""
    rotation, triangle = np.linalg.qr(rng.standard_normal((dim, dim)))
    rotation *= np.sign(np.diag(triangle))
    eigenvalues = np.exp(rng.uniform(-np.log(4), np.log(4), dim))
    mean = np.zeros(dim) if centred else rng.standard_normal(dim)
    return mean, (rotation * eigenvalues) @ rotation.T


def draw_from(gaussian: Gaussian, n: int, rng: np.random.Generator) -> Samples:
    """Draw n samples of a Gaussian in single precision."""
    mean, covariance = gaussian
    return (mean + normal(rng, n, len(mean)) @ np.linalg.cholesky(covariance).T).astype(np.float32)


def moments_of(samples: Samples) -> Gaussian:
    """Fit a Gaussian to a sample: its mean and its covariance, in double precision.

    >>> moments_of(np.array([[0.0], [2.0]], np.float32))
    (array([1.]), array([[2.]]))
    """
    x = samples.astype(np.float64)
    return x.mean(0), np.atleast_2d(np.cov(x.T))


def solve(source: Gaussian, target: Gaussian, h: float, num_phases: int, recipe: Recipe) -> Iterator[Trained]:
    """Train the flow between two Gaussians, and yield it phase by phase."""
    recipe = replace(recipe, jko=replace(recipe.jko, h=h, num_phases=num_phases))
    ends = (Analytic((len(mean),), partial(draw_from, (mean, covariance))) for mean, covariance in (source, target))
    return train_flow(recipe, ends=between(*ends, standardise=False))


def potential_r2(potential: torch.nn.Module, after: Gaussian, target: Gaussian, rng: np.random.Generator) -> float:
    """Compute the share of the exact v's variance under the marginal `after` that the learned v explains, up to constants."""
    y = draw_from(after, 20_000, rng)
    quadratic, linear, _ = optimal_potential(after, target)
    exact = ((y @ quadratic) * y).sum(1) + y @ linear
    with torch.no_grad():
        learned = potential(torch.from_numpy(y)).numpy()
    return float(1 - np.var(learned - exact) / np.var(exact))


def cases(quick: bool) -> list[Row]:
    """List the cases: dimension, h, variant and seed of a flow between two Gaussians."""
    if quick:
        return [{"d": d, "h": 0.3, "variant": "ours", "seed": 0, "num_phases": 3} for d in (2, 8)]
    grid = [(d, h, "ours") for d in reversed(DIMS) for h in STEP_SIZES]
    grid += [(d, 0.3, variant) for d in reversed(DIMS) for variant in VARIANTS if variant != "ours"]
    return [
        {"d": d, "h": h, "variant": variant, "seed": seed, "num_phases": NUM_PHASES} for d, h, variant in grid for seed in SEEDS
    ]


def measure(case: Row) -> Iterator[Row]:
    """Train a case's flow; yield a row per phase with the errors of its marginal and its potential."""
    rng = stream(case["seed"], "problem", phase=case["d"])
    source, target = (random_gaussian(case["d"], rng, centred=centred) for centred in (True, False))
    exact = source
    recipe = recipe_of(case["variant"], case["seed"])
    for k, trained in enumerate(solve(source, target, case["h"], case["num_phases"], recipe), start=1):
        previous, exact = exact, gaussian_jko_step(exact, target, case["h"])
        fresh = draw_from(exact, NUM_MOMENTS, stream(case["seed"], "evaluation_floor", phase=k))
        yield {
            "k": k,
            "uvp_percent": bures_uvp(moments_of(trained.generator.sample(NUM_MOMENTS, draw=k)), exact),
            "uvp_floor": bures_uvp(moments_of(fresh), exact),
            "uvp_of_staying": bures_uvp(previous, exact),
            "potential_r2": potential_r2(trained.potential, exact, target, stream(case["seed"], "evaluation_target", phase=k)),
            "cpu_seconds": trained.cpu_seconds,
        }


LINES = ("variant", "d", "h")
PIVOTS = [
    Pivot(LINES, "k", ("uvp_percent",), "Bures-UVP, per cent, after k steps; goal 0.5 / 1 / 3 at d = 2 / 8 / 32", ranges=False),
    Pivot(
        LINES, "k", ("potential_r2",), "R^2 of the potential; means nothing once mu_k is nu and the exact v is 0", ranges=False
    ),
    Pivot(LINES, None, ("uvp_percent", "uvp_floor", "uvp_of_staying", "potential_r2", "cpu_seconds"), "over all k and seeds"),
]

if __name__ == "__main__":
    main("gaussian", __doc__, cases=cases, measure=measure, pivots=PIVOTS)
