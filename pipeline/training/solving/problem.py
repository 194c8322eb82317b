"""What a phase is trained by: the problem of one step with a network for its potential, or a regression onto a solved dual."""

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import nn

from components.divergences.base import FDivergence
from components.gradients import push_through
from components.jko import Problem, Steps
from components.points.dual import potential_on
from components.points.regression import DISTANCES, Regression
from components.points.weights import merged, poststratified
from components.semidual import Objective
from components.streams import normal, stream
from pipeline.data.space import MOST_NUMBERS, MOST_ROWS
from pipeline.phase import Phase
from pipeline.training.solving.setting import Setting


def objective_of(phase: Phase) -> Objective:
    """Make the semi-dual of the phase's step."""
    jko, training = phase.jko, phase.training
    source = jko.source_functional
    assert isinstance(source, FDivergence)  # a rule of recipes
    return Objective(jko.functional, source, jko.transport_cost, jko.h, training.r1, training.r2, jko.fit)


def problem_of(phase: Phase, *, num_microbatches: int = 1, compiled: bool = False) -> Problem:
    """Make the objective and the schedule of a phase."""
    training = phase.training
    objective, schedule = objective_of(phase), SCHEDULES[training.lr_schedule]

    def learning_rates(step: int) -> tuple[float, float]:
        factor = schedule(phase, step)
        return factor * training.map_lr, factor * training.potential_lr

    return Problem(
        objective=objective,
        composed=phase.composed,
        num_steps=training.num_steps,
        learning_rates=learning_rates,
        penalty_every=training.penalty_every,
        ema_decay=training.ema_decay,
        bfloat16=training.bfloat16,
        num_microbatches=num_microbatches,
        compiled=compiled,
    )


def _inverse(phase: Phase, step: int) -> float:
    """Let rates fall over the steps of the whole flow."""
    return 1 / (1 + (phase.steps_before + step) / phase.training.lr_decay_steps)


def _cosine(phase: Phase, step: int) -> float:
    """Let rates fall to 0 within the phase."""
    return (1 + math.cos(math.pi * step / phase.num_steps)) / 2


def regression_of(phase: Phase, setting: Setting, anchor: Sequence[nn.Module]) -> Regression:
    """Solve the dual of a phase of points, a function of the phase and its anchor alone, and say how its map is regressed.

    All there are of the target's points where they are fewer than `num_points`; each worker solves the same.
    """
    objective, training, ends = objective_of(phase), phase.training, setting.endpoints
    n, z_dim, many = phase.jko.num_points, phase.network.z_dim, min(MOST_ROWS, MOST_NUMBERS // math.prod(ends.shape))

    def seen(rows: int, step: int) -> torch.Tensor:
        """Draw so many samples, or all there are; where that are fewer, again, since draws of rows with weights differ."""
        rng = stream(phase.seed, "points", phase=phase.k, step=step)
        drawn = [ends.target.seen(rows, rng)]
        drawn += [ends.target.seen(rows, rng) for _ in range(rows // len(drawn[0]) - 1)]
        return torch.from_numpy(np.concatenate(drawn)).to(setting.device)

    def draw(at: int) -> torch.Tensor:
        """Draw n samples of mu_k."""
        rng = stream(phase.seed, "points_source", phase=phase.k, step=at)
        x = torch.from_numpy(ends.source.sample(n, rng)).to(setting.device)
        z = torch.from_numpy(normal(rng, n, z_dim)).to(setting.device) if z_dim else None
        return push_through(anchor, x, z)

    points, counts = merged(seen(n, step=0))
    potential = potential_on(points, poststratified(points, seen(max(n, many), step=1), counts), objective, draw)
    schedule = SCHEDULES[training.lr_schedule]
    return Regression(
        potential,
        DISTANCES[phase.jko.regression],
        composed=phase.composed,
        num_steps=training.num_steps,
        learning_rate=lambda step: schedule(phase, step) * training.map_lr,
        ema_decay=training.ema_decay,
        bfloat16=training.bfloat16,
        num_microbatches=setting.num_microbatches,
    )


def steps_of(phase: Phase, setting: Setting, anchor: Sequence[nn.Module]) -> Steps:
    """Make what a phase is trained by: a problem with a network for its potential, or a regression."""
    if not phase.on_points:
        return problem_of(phase, num_microbatches=setting.num_microbatches, compiled=setting.compiled)
    return regression_of(phase, setting, anchor)


SCHEDULES = {"inverse": _inverse, "cosine": _cosine}
"""(phase, step) -> factor of both learning rates. None falls over all K phases: a longer flow shares those of a shorter one."""
