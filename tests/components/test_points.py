"""A potential on points against exact solutions: optimal transport, the band law, and its own certificate."""

import math
from typing import Any

import numpy as np
import ot
import pytest
import torch
from scipy.optimize import minimize
from threadpoolctl import threadpool_info, threadpool_limits

from components.costs import Cost, MeanSquared, Squared
from components.divergences.base import FDivergence
from components.points.dual import NUM_SOLVED, SMOOTHING, PointPotential, averaged, corrected, solve
from components.points.weights import poststratified
from components.semidual import Objective
from components.table import DIVERGENCES, cost, divergence

F_DIVERGENCES = [name for name in DIVERGENCES if isinstance(divergence(name), FDivergence)]
SOFT = [name for name in F_DIVERGENCES if not divergence(name).fixes_marginal]


def f_divergence(name: str) -> FDivergence:
    found = divergence(name)
    assert isinstance(found, FDivergence)
    return found


def two_clouds(m: int = 60, n: int = 50) -> np.ndarray:
    """Squared distances from noise to two far clouds of unequal masses."""
    rng = np.random.default_rng(0)
    y = np.concatenate([rng.normal(4, 0.3, (n - n // 5, 2)), rng.normal(-4, 0.3, (n // 5, 2))])
    return np.asarray(ot.dist(rng.normal(size=(m, 2)), y))


@pytest.mark.parametrize("h", [0.1, 3.0, 1000.0])
def test_a_hard_marginal_is_optimal_transport(h: float) -> None:
    costs = two_clouds() / (2 * h)
    values, gap = solve(f_divergence("linear"), costs)
    dual = (costs - values).min(1).mean() + values.mean()
    exact = ot.emd2(np.full(60, 1 / 60), np.full(50, 1 / 50), costs)
    assert dual == pytest.approx(exact, rel=1e-9)
    assert abs(gap) <= 1e-9 * exact


@pytest.mark.parametrize("name", F_DIVERGENCES)
def test_a_point_of_twice_the_weight_is_two_points(name: str) -> None:
    costs = two_clouds(24, 18) / 6
    weights = np.where(np.arange(18) < 6, 2.0, 1.0) / 24
    twice = np.concatenate([costs, costs[:, :6]], 1)
    one, two = solve(f_divergence(name), costs, weights), solve(f_divergence(name), twice)
    duals = [
        (each - f_divergence(name).potential(torch.from_numpy(found.output)).numpy()).min(1).mean()
        - (w * f_divergence(name).target_term(torch.from_numpy(found.output)).numpy()).sum()
        for each, found, w in ((costs, one, weights), (twice, two, np.full(24, 1 / 24)))
    ]
    assert duals[0] == pytest.approx(duals[1], abs=max(1e-9, one.gap + two.gap))
    assert one.gap <= two.gap + 1e-3 * costs.std()


def test_weights_of_points_give_far_parts_the_masses_that_many_samples_have() -> None:
    """Masses of 10 % and 90 %: 400 points have the one off by chance, up to 1.5 % twice out of three times."""
    rng = np.random.default_rng(0)

    def samples(n: int) -> torch.Tensor:
        far = np.where(rng.random(n) < 0.1, 8.0, 0.0)
        return torch.from_numpy(rng.normal(size=(n, 16)) + far[:, None]).float()

    def share(x: torch.Tensor, weights: torch.Tensor) -> float:
        return float(weights[x.mean(1) > 4].sum())

    many, off, left = samples(40_000), [], []
    for _ in range(5):
        points = samples(400)
        weights = poststratified(points, many)
        assert (weights > 0).all()
        assert float(weights.sum()) == pytest.approx(1, abs=1e-5)
        equal, whole = torch.full((400,), 1 / 400), torch.full((40_000,), 1 / 40_000)
        off.append(abs(share(points, equal) - share(many, whole)))
        left.append(abs(share(points, weights) - share(many, whole)))
        spread = [float(w @ (x - w @ x).square().sum(1)) for x, w in ((points, weights), (many, whole))]
        assert spread[0] == pytest.approx(spread[1], rel=0.05), "the points are not drawn to the middle"
    assert max(left) < 1e-3 < np.mean(off)
    torch.testing.assert_close(poststratified(points, points), equal)


@pytest.mark.parametrize("h", [0.3, 3.0, 100.0])
@pytest.mark.parametrize("name", SOFT)
def test_the_dual_gap_is_what_the_smoothing_leaves(name: str, h: float) -> None:
    """A smoothing of s leaves a gap of at most s log n."""
    costs = two_clouds() / (2 * h)
    output, gap = solve(f_divergence(name), costs)
    assert np.isfinite(output).all()
    assert 0 <= gap <= SMOOTHING[-1] * costs.std() * math.log(50) * 1.05


def test_a_soft_dual_is_solved_in_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Threads of short vector products wait for each other at full speed."""
    numbers: list[int] = []

    def watched(*given: Any, **settings: Any) -> Any:
        numbers.extend(pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas")
        return minimize(*given, **settings)

    monkeypatch.setattr("scipy.optimize.minimize", watched)
    with threadpool_limits(2, user_api="blas"):
        solve(f_divergence("kl"), two_clouds())
        after = [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]
    assert set(numbers) == {1}
    assert set(after) == {2}


@pytest.mark.parametrize(("h", "log_ratio"), [(1.0, math.log(4)), (4.0, 0.5), (40.0, 0.05)])
def test_masses_of_far_parts_stop_at_the_band(h: float, log_ratio: float) -> None:
    """Four fifths of the source at one of two atoms of equal mass, a gap of 2 away: kl stops at |log ratio| = gap^2 / 2h."""
    costs = np.where(np.arange(100)[:, None] < 80, [0.0, 4.0], [4.0, 0.0]) / (2 * h)
    values, _ = solve(f_divergence("kl"), costs)
    ratios = np.exp(-values)
    assert math.log(ratios[0] / ratios[1]) == pytest.approx(log_ratio, abs=0.01)


class Cubed(Cost):
    """A cost that has no matrix of its own."""

    def between(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return (x - y).flatten(1).norm(dim=1) ** 3


@pytest.mark.parametrize("each", [Squared(), MeanSquared(), Cubed()])
def test_a_matrix_of_costs_has_the_cost_of_every_pair(each: Cost) -> None:
    x, y = torch.randn(70, 3, 2, dtype=torch.float64), torch.randn(5, 3, 2, dtype=torch.float64)
    one_by_one = torch.stack([torch.stack([each.between(a[None], b[None])[0] for b in y]) for a in x])
    torch.testing.assert_close(each.matrix(x, y), one_by_one)


@pytest.mark.parametrize("each", [Squared(), MeanSquared(), Cubed()])
def test_the_nearest_point_is_that_of_the_matrix(each: Cost) -> None:
    x, y, less = (torch.randn(shape, dtype=torch.float64) for shape in ((70, 3, 2), (50, 3, 2), (50,)))
    torch.testing.assert_close(each.nearest(x, y, less), (each.matrix(x, y) - less).argmin(1))


def test_a_sample_goes_to_the_point_of_least_cost_less_potential() -> None:
    objective = Objective(f_divergence("linear"), f_divergence("linear"), cost("squared"), h=2.0, r1=0.0, r2=0.0)
    x, y, values = torch.randn(40, 3), torch.randn(30, 3), torch.randn(30)
    found = PointPotential(objective, y, torch.full((30,), 1 / 30), values, gap=0.0).nearest(x)
    assert found.tolist() == [min(range(30), key=lambda j: float((a - y[j]).square().sum() / 4 - values[j])) for a in x]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["linear", "kl", "jsd", "forward_kl"])
def test_the_correction_gives_fresh_samples_the_masses_of_the_exact_step(name: str) -> None:
    """Fresh samples of noise towards 100 points: their masses are (f*)'(-v) / n, which fitted ones miss."""
    rng = np.random.default_rng(0)
    objective = Objective(f_divergence(name), f_divergence("linear"), cost("squared"), h=3.0, r1=0.0, r2=0.0)
    y = torch.from_numpy(rng.normal(size=(100, 2))).float()

    def draw(at: int) -> torch.Tensor:
        return torch.from_numpy(np.random.default_rng(at).normal(size=(1000, 2))).float()

    def off(potential: PointPotential) -> float:
        reached = potential.nearest(torch.cat([draw(1000 + at) for at in range(50)]))
        masses = torch.bincount(reached, minlength=100) / len(reached)
        return float((masses - f_divergence(name).conjugate_gradient(-potential.values) / 100).abs().sum() / 2)

    costs = cost("squared").matrix(draw(0)[:100], y) / 6
    output, gap = solve(f_divergence(name), costs.numpy())
    fitted = PointPotential(objective, y, torch.full((100,), 0.01), torch.from_numpy(output).float(), gap)
    found = corrected(fitted, draw)
    assert found.output.isfinite().all()
    assert off(found) < off(fitted) / 2


@pytest.mark.slow
def test_a_potential_of_several_samples_is_nearer_to_that_of_all_of_them() -> None:
    """Points of a line: v of many samples is known from one large one, and what one small sample has is off over long ways."""
    y = torch.linspace(-2, 2, 60)[:, None]

    def costs_of(number: int, n: int = 120) -> np.ndarray:
        x = torch.from_numpy(np.random.default_rng(number).normal(size=(n, 1))).float()
        return cost("squared").matrix(x, y).numpy() / 2

    linear = f_divergence("linear")
    exact = solve(linear, costs_of(1000, 6000)).output
    equal = np.full(60, 1 / 60)
    one, several = solve(linear, costs_of(0)), averaged(linear, costs_of, equal)
    assert len(several.output) == 60
    assert 0 <= several.gap < 1e-6
    assert np.square(several.output - exact).mean() < np.square(one.output - exact).mean()
    mean = np.mean([solve(linear, costs_of(number)).output for number in range(NUM_SOLVED)], axis=0)
    np.testing.assert_array_equal(several.output, mean)
    soft = f_divergence("softplus")
    np.testing.assert_array_equal(averaged(soft, costs_of, equal).output, solve(soft, costs_of(0)).output)
