"""The batches of a step: noise on the target is a function of seed, phase and step, and touches nothing else."""

import numpy as np
import pytest
import torch
from builders import CPU
from flows import tiny

from components.gradients import Batch
from components.streams import stream
from pipeline.data.endpoints import load_endpoints
from pipeline.phase import phases_of
from pipeline.recipe import Recipe
from pipeline.training.solving.batches import batches_of

WHOLE = slice(None)


def batch(recipe: Recipe, k: int = 0, step: int = 3, rows: slice = WHOLE) -> Batch:
    return batches_of(phases_of(recipe)[k], load_endpoints(recipe.data), rows, CPU)(step)


@pytest.mark.parametrize("target", ["moons", "digits"])
@pytest.mark.parametrize("k", [0, 1, 2])
def test_noise_on_the_target_is_gaussian_falls_with_the_phase_and_leaves_the_rest_as_it_is(target: str, k: int) -> None:
    sizes = {"target": target, "num_phases": 3, "batch_size": 2000, "z_dim": 2}
    clean, noised = (batch(tiny(target_noise=noise, **sizes), k) for noise in (0.0, 0.6))
    noise = (noised.target - clean.target).flatten(1).double()
    expected, n = 0.6 / (k + 1), noise.numel()
    assert noise.std().item() == pytest.approx(expected, rel=5 / np.sqrt(2 * n))
    assert noise.mean().item() == pytest.approx(0, abs=5 * expected / np.sqrt(n))
    assert (noise**4).mean().item() == pytest.approx(3 * expected**4, rel=5 * np.sqrt(96 / 9 / n)), "the tails of a normal"
    for name in ("source", "z", "anchor_z"):
        assert torch.equal(getattr(clean, name), getattr(noised, name))
        values = getattr(clean, name).flatten(1)[:, :2].double()
        correlation = torch.corrcoef(torch.stack([values.flatten(), noise[:, :2].flatten()]))[0, 1]
        assert abs(correlation) < 5 / np.sqrt(values.numel()), "numbers of its own"


def test_noise_is_drawn_for_the_whole_batch_and_each_worker_keeps_its_rows() -> None:
    recipe = tiny(target_noise=0.5, batch_size=33)
    whole = batch(recipe).target
    shares = [batch(recipe, rows=rows).target for rows in (slice(0, 10), slice(10, 11), slice(11, 33))]
    assert torch.equal(torch.cat(shares), whole)


def test_noise_differs_between_steps_phases_and_seeds() -> None:
    def noise(k: int, step: int, seed: int) -> torch.Tensor:
        clean, noised = (batch(tiny(target_noise=at, seed=seed), k, step).target for at in (0.0, 0.5))
        return (noised - clean) * (k + 1)

    drawn = [noise(0, 0, 0), noise(0, 1, 0), noise(1, 0, 0), noise(0, 0, 1)]
    assert all((a - b).abs().max() > 0.1 for i, a in enumerate(drawn) for b in drawn[:i])


def test_without_noise_a_target_is_what_the_measure_gives() -> None:
    recipe = tiny()
    ends = load_endpoints(recipe.data)
    drawn = ends.target.sample(recipe.training.batch_size, stream(recipe.seed, "target", phase=1, step=3))
    assert np.array_equal(batch(recipe, k=1).target.numpy(), drawn)
