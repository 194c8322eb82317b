"""Ornstein-Uhlenbeck: does the flow of maps follow the true gradient flow of KL?

The benchmark of Mokrov et al. (2021): start N(0, I), target N(b, A^-1) with A from scikit-learn's `make_spd_matrix` and b from
N(0, I), JKO step 0.05; log10 of the symmetric KL between the exact marginal of the process at t = 0.5 and 0.9 and the Gaussian
fit of 100,000 samples of ours. `floor` is the exact JKO recursion's own error; a fit of that many samples adds about 6e-4 at
d = 10 to the error of a perfect solver (-3.0 instead of -3.5 at t = 0.9).
"""

from collections.abc import Iterator

import numpy as np
from sklearn.datasets import make_spd_matrix

from benchmarks.gaussian import NUM_MOMENTS, moments_of, recipe_of, solve
from benchmarks.harness import main
from benchmarks.rows import Pivot, Row
from components.streams import stream
from tests.closed_forms import Gaussian, gaussian_jko_step, gaussian_kl, ornstein_uhlenbeck

DIMS, NUM_SEEDS, H, TIMES = (2, 4, 6, 10), 15, 0.05, {0.5: 10, 0.9: 18}
PUBLISHED = {  # log10 SymKL at t = 0.5 and 0.9, as quoted by the S-JKO paper
    "sjko": {2: (-2.3, -2.4), 4: (-0.9, -1.2), 6: (-1.8, -0.8), 10: (-0.1, -0.1)},
    "icnn": {2: (-2.6, -2.4), 4: (-2.1, -2.1), 6: (-1.8, -2.2), 10: (-1.8, -1.8)},
}


def cases(quick: bool) -> list[Row]:
    """List the cases: dimension and seed of an Ornstein-Uhlenbeck process."""
    dims, seeds = ((2,), range(1)) if quick else (DIMS[::-1], range(NUM_SEEDS))
    return [{"d": d, "seed": seed} for d in dims for seed in seeds]


def problem(dim: int, seed: int) -> tuple[Gaussian, Gaussian]:
    """Draw an Ornstein-Uhlenbeck problem of a dimension: its start N(0, I) and its target."""
    precision = make_spd_matrix(dim, random_state=seed)
    shift = stream(seed, "problem", phase=dim).standard_normal(dim)
    return (np.zeros(dim), np.eye(dim)), (shift, np.linalg.inv(precision))


def symmetric_kl(p: Gaussian, q: Gaussian) -> float:
    """Compute KL(p | q) + KL(q | p) between two Gaussians, in nats.

    >>> symmetric_kl((np.zeros(1), np.eye(1)), (np.ones(1), np.eye(1)))
    1.0
    """
    return gaussian_kl(p, q) + gaussian_kl(q, p)


def measure(case: Row) -> Iterator[Row]:
    """Train a case's flow; yield a row per time t with the distance to the exact marginal."""
    start, target = problem(case["d"], case["seed"])
    exact = start
    recipe = recipe_of("ours", case["seed"])
    for k, trained in enumerate(solve(start, target, H, max(TIMES.values()), recipe), start=1):
        exact = gaussian_jko_step(exact, target, H)
        for number, (t, last) in enumerate(TIMES.items()):
            if k == last:
                fit = moments_of(trained.generator.sample(NUM_MOMENTS))
                truth = ornstein_uhlenbeck(start, target, t)
                yield {
                    "t": t,
                    "log10_symkl": float(np.log10(symmetric_kl(fit, truth))),
                    "log10_symkl_floor": float(np.log10(symmetric_kl(exact, truth))),
                    "published_sjko": PUBLISHED["sjko"][case["d"]][number],
                    "published_icnn": PUBLISHED["icnn"][case["d"]][number],
                    "cpu_seconds": trained.cpu_seconds,
                }


PIVOTS = [
    Pivot(
        ("d", "t"),
        None,
        ("log10_symkl", "log10_symkl_floor", "published_sjko", "published_icnn", "cpu_seconds"),
        "log10 SymKL to the exact Ornstein-Uhlenbeck marginal; below both published columns is the goal",
    )
]

if __name__ == "__main__":
    main("ou", __doc__, cases=cases, measure=measure, pivots=PIVOTS)
