"""Maps that are known: how far T is from the optimal transport map, in per cent of the target's variance (L2-UVP).

The source is a mixture of Gaussians, the target its image under the gradient of a random convex function, which is therefore
the optimal map between the two (Brenier). The measure of error is that of Korotin et al. 2021 (arXiv 2106.01954): 100 E|T(x) -
T*(x)|^2 / Var(nu). Beside it that of the best affine map, the optimal one between the Gaussians of equal moments.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from scipy.linalg import sqrtm
from scipy.special import softmax

from benchmarks.flows import shipped, train_flow
from benchmarks.harness import main
from benchmarks.rows import Pivot, Row
from components.streams import normal, stream
from pipeline.data.analytic import Analytic
from pipeline.data.endpoints import between
from pipeline.data.source import Samples
from pipeline.recipe import Recipe

DIMS, SEEDS = (2, 8, 16, 64), (0, 1, 2)
METHODS = ("otm", "points", "points_l2")
CPU_SECONDS = 120.0
NUM_MODES, NUM_PIECES = 10, 10
NUM_JUDGED, NUM_FOR_MOMENTS = 10_000, 100_000
SLOPE, SOFTNESS = 0.25, 0.5
"""Least eigenvalue of the map's derivative; width of the seams between its pieces, in standard deviations of a mode."""


@dataclass(frozen=True)
class KnownMap:
    """The gradient of a random convex function, SLOPE |x|^2 / 2 + SOFTNESS log sum exp((a_j x + b_j) / SOFTNESS).

    Example:
        >>> known_map(2, seed=0)(np.zeros((3, 2), np.float32)).shape
        (3, 2)

    Attributes:
        slopes: a_j (pieces, d).
        offsets: b_j (pieces,).
    """

    slopes: Samples
    offsets: Samples

    def __call__(self, x: Samples) -> Samples:
        """Map x (n, d) to its optimal image (n, d)."""
        share = softmax((x @ self.slopes.T + self.offsets) / SOFTNESS, axis=1)
        image: Samples = (SLOPE * x + share @ self.slopes).astype(np.float32)
        return image


def known_map(dim: int, seed: int) -> KnownMap:
    """Draw a map whose pieces each take about an equal share of the source."""
    rng = stream(seed, "problem", phase=100 + dim)
    slopes = 3 * normal(rng, NUM_PIECES, dim) / dim**0.25
    return KnownMap(slopes, -(slopes**2).sum(1) / 4)


def mixture(n: int, rng: np.random.Generator, *, centres: Samples) -> Samples:
    """Draw n samples of a mixture of round Gaussians of width 1 and equal masses about centres (modes, d)."""
    samples: Samples = centres[rng.integers(len(centres), size=n)] + normal(rng, n, centres.shape[1])
    return samples


def _pushed(n: int, rng: np.random.Generator, *, centres: Samples, exact: KnownMap) -> Samples:
    return exact(mixture(n, rng, centres=centres))


def recipe_of(method: str) -> Recipe:
    """Read the shipped recipe of a method; `points_l2` regresses on the squared distance."""
    recipe = shipped(method.removesuffix("_l2"))
    return replace(recipe, jko=replace(recipe.jko, regression="l2")) if method.endswith("_l2") else recipe


def uvp_percent(mapped: Samples, exact: Samples) -> float:
    """Compute 100 E|T(x) - T*(x)|^2 / Var(T*(x)).

    >>> uvp_percent(np.zeros((2, 1)), np.array([[1.0], [-1.0]]))
    100.0
    """
    error = np.square(mapped.astype(np.float64) - exact).sum(1).mean()
    return float(100 * error / exact.astype(np.float64).var(0).sum())


def affine(x: Samples, source: Samples, target: Samples) -> Samples:
    """Map x by the optimal map between the Gaussians with the moments of source and target."""
    covariances = [np.cov(samples.T.astype(np.float64)) for samples in (source, target)]
    root = np.real(sqrtm(covariances[0]))
    inverse = np.linalg.inv(root)
    linear = inverse @ np.real(sqrtm(root @ covariances[1] @ root)) @ inverse
    image: Samples = (target.mean(0) + (x - source.mean(0)) @ linear.T).astype(np.float32)
    return image


def cases(quick: bool) -> list[Row]:
    """List the cases: dimension, method and seed of a pair with a known map."""
    if quick:
        return [{"d": 2, "method": "otm", "seed": 0, "budget": 5.0}]
    return [{"d": d, "method": method, "seed": seed, "budget": CPU_SECONDS} for d in DIMS for seed in SEEDS for method in METHODS]


def measure(case: Row) -> Iterator[Row]:
    """Train one method on one pair; yield the errors of its map and of the best affine one."""
    exact = known_map(case["d"], case["seed"])
    centres = 2 * normal(stream(case["seed"], "problem", phase=200 + case["d"]), NUM_MODES, case["d"]) / case["d"] ** 0.25
    source = Analytic((case["d"],), partial(mixture, centres=centres))
    target = Analytic((case["d"],), partial(_pushed, centres=centres, exact=exact))
    *_, last = train_flow(recipe_of(case["method"]), case["budget"], between(source, target, standardise=True))
    x, samples = last.generator.source(NUM_JUDGED), last.generator.sample(NUM_JUDGED)
    rng = stream(case["seed"], "evaluation_floor")
    moments = (source.sample(NUM_FOR_MOMENTS, rng), target.sample(NUM_FOR_MOMENTS, rng))
    yield {
        "uvp_percent": uvp_percent(samples, exact(x)),
        "uvp_of_affine": uvp_percent(affine(x, *moments), exact(x)),
        "num_steps": last.num_steps,
        "cpu_seconds": last.cpu_seconds,
    }


PIVOTS = [
    Pivot(("d",), "method", ("uvp_percent",), "L2-UVP, per cent; goal 0.2 / 4 / 10 at d = 2 / 16 / 64"),
    Pivot(("d",), None, ("uvp_of_affine",), "the best affine map"),
    Pivot(("method", "d"), None, ("num_steps", "cpu_seconds"), "cost"),
]

if __name__ == "__main__":
    main("maps", __doc__, cases=cases, measure=measure, pivots=PIVOTS)
