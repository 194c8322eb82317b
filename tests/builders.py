"""Short constructors that the tests of `components` share; every default is the simplest case."""

import copy
import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from components.adam import Moments
from components.costs import Squared
from components.gradients import Batch
from components.jko import Problem
from components.networks.pair import NetworkSpec
from components.networks.pairs import Perceptron
from components.semidual import Objective
from components.state import State, new_state
from components.table import divergence

CPU = torch.device("cpu")
VECTOR = NetworkSpec((2,), width=16, depth=2, pair=Perceptron(), z_dim=3, num_frequencies=4)
IMAGE = NetworkSpec((2, 4, 4), width=16, depth=2, pair=Perceptron(), z_dim=3)
BOTH_SPECS = [VECTOR, IMAGE]
SECOND_ORDER = NetworkSpec((2,), width=16, depth=2, pair=Perceptron(), second_order=True)


def name_of(spec: NetworkSpec) -> str:
    """Name of a parametrized case."""
    return "image" if len(spec.sample_shape) > 1 else "second order" if spec.second_order else "vector"


EACH_SPEC = pytest.mark.parametrize("spec", BOTH_SPECS, ids=name_of)
LOSSES = {  # L_v and L_T from v's outputs on target and transported samples and the cost, without the cost of L_T
    "kl": (lambda y, t, c: (-y).exp().mean() - 1 + t.mean(), lambda y, t: -t.mean()),
    "kl against kl": (lambda y, t, c: (-y).exp().mean() - 1 + (t - c).exp().mean() - 1, lambda y, t: -t.mean()),
    "jsd": (
        lambda y, t, c: functional.softplus(-y).mean() + functional.softplus(t).mean() - 2 * np.log(2),
        lambda y, t: functional.softplus(-t).mean() - np.log(2),
    ),
    "relativistic": (
        lambda y, t, c: functional.softplus(t - y).mean() - np.log(2),
        lambda y, t: functional.softplus(y - t).mean(),
    ),
}
EACH_LOSS = pytest.mark.parametrize("losses", LOSSES)


def objective(name: str = "kl", source_divergence: str = "linear", **changes) -> Objective:
    """A source-fixed objective without cost or penalty, but for `changes`."""
    fields = {"cost": Squared(), "h": math.inf, "r1": 0.0, "r2": 0.0}
    return Objective(divergence(name), divergence(source_divergence), **fields | changes)


def objective_of(losses, **changes):
    """The objective that a row of LOSSES writes out; with two names the second is the divergence on the source side."""
    divergence, _, source = losses.partition(" against ")
    return objective(divergence, source_divergence=source or "linear", **changes)


def nothing(gradients):
    """What one worker alone does to its gradients."""


def constant(map_lr: float, potential_lr: float) -> Callable[[int], tuple[float, float]]:
    """Learning rates that do not change."""
    return lambda step: (map_lr, potential_lr)


def problem(of: Objective, **changes) -> Problem:
    """Four steps of `of` in the direct parametrisation, but for `changes`."""
    fields = {
        "composed": False,
        "num_steps": 4,
        "learning_rates": constant(1e-3, 2e-3),
        "penalty_every": 1,
        "ema_decay": 0.9,
    }
    return Problem(of, **fields | changes)


def state_of(transport_map: nn.Module, potential: nn.Module, betas: tuple[float, float]) -> State:
    """A state around two given networks."""
    return State(
        transport_map,
        copy.deepcopy(transport_map).requires_grad_(False),
        potential,
        Moments(list(transport_map.parameters()), betas),
        Moments(list(potential.parameters()), betas),
    )


def double_state(spec: NetworkSpec, seed: int = 0) -> State:
    """A new state in double precision, its map moved off the identity so that every gradient is in play."""
    state = new_state(spec, seed=seed, betas=(0.5, 0.9), device=CPU)
    rng = np.random.default_rng(seed)
    with torch.no_grad():
        for live, averaged in zip(state.transport_map.parameters(), state.averaged_map.parameters(), strict=True):
            live.add_(0.1 * torch.from_numpy(rng.standard_normal(live.shape)).float())
            averaged.copy_(live)
    for module in state.modules().values():
        module.double()
    return state


def random_batches(spec: NetworkSpec, n: int, dtype: torch.dtype = torch.float32) -> Callable[[int], Batch]:
    """(step) -> a batch of normal numbers, target shifted by 1; a pure function of the step."""

    def draw(step: int) -> Batch:
        rng = np.random.default_rng(step)

        def normal(*sizes: int) -> Tensor:
            return torch.from_numpy(rng.standard_normal((n, *sizes))).to(dtype)

        return Batch(normal(*spec.sample_shape), normal(*spec.sample_shape) + 1, normal(spec.z_dim), normal(spec.z_dim))

    return draw
