"""A phase whose potential lives on points, as a flow trains it: a part of the points stands for all of the data."""

import numpy as np
import pytest
import torch

from components.points.dual import PointPotential
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


def phase_of(
    seed: int, data: Points | None = None, num_points: int = 100, *, standardise: bool = True
) -> tuple[Phase, Endpoints]:
    data = data or Points(two_parts(8000), two_parts(4000))
    ends = between(noise((2,)), data, standardise=standardise)
    jko = Jko(num_phases=1, divergence="linear", point_phases=1, num_points=num_points)
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


def masses(data: Points, seed: int = 0, *, standardise: bool = True) -> tuple[PointPotential, np.ndarray]:
    """Solve the phase, and measure what mass of the source each point gets."""
    phase, ends = phase_of(seed, data, 500, standardise=standardise)
    potential = regression_of(phase, Setting.of(phase, ends), []).potential
    x = torch.from_numpy(ends.source.sample(20_000, np.random.default_rng(1)))
    return potential, (torch.bincount(potential.nearest(x), minlength=len(potential.points)) / len(x)).numpy()


def test_rows_with_weights_have_the_masses_that_these_say_also_where_they_are_few() -> None:
    """As many draws as there are rows leave a third of them out: of 60 rows the far ones had masses off by a tenth of all."""
    rows = two_parts(60)
    far = rows[:, 0] > 6
    weights = np.where(far, 9.0, 1.0)
    for seed in range(3):
        potential, reached = masses(Points(rows, rows, weights=(weights, weights)), seed)
        there = potential.points[:, 0].numpy() > 0.5
        assert len(potential.points) > 55
        assert float(potential.weights[there].sum()) == pytest.approx(0.5, abs=0.02)
        assert reached[there].sum() == pytest.approx(0.5, abs=0.03)


def test_rows_that_come_again_and_again_are_one_point_of_their_share() -> None:
    """Ascent did not move points with four others at their place, and of equal ones the shares of cells are exact."""
    corners, shares = np.array([[0, 0], [10, 0], [0, 10], [10, 10]], np.float32), np.array([0.5, 0.3, 0.15, 0.05])
    rows = corners[np.random.default_rng(0).permutation(np.repeat(np.arange(4), (2000 * shares).astype(int)))]
    potential, reached = masses(Points(rows, rows))
    assert sorted(potential.weights.tolist()) == pytest.approx(sorted(shares), abs=1e-6)
    assert np.abs(reached - potential.weights.numpy()).sum() / 2 < 0.01


@pytest.mark.parametrize("number", [3, 5, 8, 20])
def test_a_few_rows_all_have_their_mass(number: int) -> None:
    """Steps by the distance to the fourth of five points threw the potential about: one of them got nothing."""
    rows = two_parts(200)[:number]
    potential, reached = masses(Points(rows, rows))
    assert len(potential.points) == number
    assert np.abs(reached - 1 / number).sum() / 2 < 0.03


def test_masses_are_right_far_from_zero_without_standardisation() -> None:
    """Of points about 10,000 the products of float32 have no digits left for distances."""
    rows = two_parts(2000) + np.float32(1e4)
    potential, reached = masses(Points(rows, rows), standardise=False)
    assert reached[potential.points[:, 0].numpy() > 1e4 + 6].sum() == pytest.approx(0.1, abs=0.015)
