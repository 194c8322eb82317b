"""A phase whose potential lives on points, as a flow trains it: a part of the points stands for all of the data."""

import numpy as np
import torch

from pipeline.data.analytic import noise
from pipeline.data.endpoints import Endpoints, between
from pipeline.data.points import Points
from pipeline.phase import Phase, phases_of
from pipeline.recipe import Data, Jko, Recipe
from pipeline.training.solving.problem import regression_of
from pipeline.training.solving.setting import Setting


def two_parts(n: int) -> np.ndarray:
    """Draw points of the plane, one in ten of them far to the right."""
    rng = np.random.default_rng(n)
    samples: np.ndarray = rng.normal(size=(n, 2)).astype(np.float32)
    samples[: n // 10, 0] += 12
    return rng.permutation(samples)


def phase_of(seed: int) -> tuple[Phase, Endpoints]:
    ends = between(noise((2,)), Points(two_parts(8000), two_parts(4000)), standardise=True)
    jko = Jko(num_phases=1, divergence="linear", point_phases=1, num_points=100)
    return phases_of(Recipe(data=Data(target="gaussian"), jko=jko, seed=seed))[0], ends


def test_a_few_points_of_many_rows_have_the_masses_of_all_rows() -> None:
    """Of 100 points 10 are far, give or take 3; of 8,000 rows a tenth."""
    by_count, by_weight = [], []
    for seed in range(4):
        phase, ends = phase_of(seed)
        potential = regression_of(phase, Setting.of(phase, ends), []).potential
        far = potential.points[:, 0] > 1
        by_count.append(abs(float(far.float().mean()) - 0.1))
        by_weight.append(abs(float(potential.weights[far].sum()) - 0.1))
        x = torch.from_numpy(ends.source.sample(20_000, np.random.default_rng(1)))
        reached = far[potential.nearest(x)].float().mean()
        assert abs(float(reached) - 0.1) < 0.015, "as many samples of the source go there"
    assert max(by_weight) < 0.002 < np.mean(by_count)
