"""From a phase, which is a value, to the objects of `components` that solve it."""

import copy
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Self

import numpy as np
import torch
from torch import nn

from components import state as states
from components.conditions import Condition
from components.divergences.base import FDivergence
from components.gradients import Batch, push_through
from components.jko import Problem, Steps
from components.networks.pair import NetworkSpec
from components.points.dual import NUM_ROUNDS, PointPotential, averaged, corrected
from components.points.regression import DISTANCES, Regression
from components.semidual import Objective
from components.state import State, Tensors
from components.streams import normal, stream
from pipeline.data.endpoints import Endpoints
from pipeline.data.source import At
from pipeline.parts.faults import require_batches
from pipeline.phase import Phase
from pipeline.recipe import Network
from pipeline.training.ranks import Ranks, Share, rows_of

ALONE = Ranks()

NUM_TO_START_FROM = 65_536
"""Samples of each measure that a potential may start from."""


@dataclass(frozen=True)
class Setting:
    """All that the phases of a job are trained with beside themselves: made once, and given to each.

    Example:
        >>> from pipeline.data.endpoints import load_endpoints
        >>> from pipeline.phase import phases_of
        >>> from pipeline.recipe import Recipe
        >>> recipe = Recipe()
        >>> Setting.of(phases_of(recipe)[0], load_endpoints(recipe.data)).share.num_rows
        256

    Attributes:
        endpoints: source and target of the flow.
        spec: sizes of the two networks.
        device: where they are.
        share: this process's rows of each batch.
        num_microbatches, compiled: as `components.jko.Problem` has them.
        channels_last: keep the channels of a pixel together in memory.
    """

    endpoints: Endpoints
    spec: NetworkSpec
    device: torch.device
    share: Share
    num_microbatches: int = 1
    compiled: bool = False
    channels_last: bool = False

    @classmethod
    def of(
        cls,
        phase: Phase,
        endpoints: Endpoints,
        ranks: Ranks = ALONE,
        *,
        num_microbatches: int = 1,
        compiled: bool = False,
        channels_last: bool = False,
    ) -> Self:
        """Make the setting of a phase, which is that of all others of its flow."""
        n, unit = phase.training.batch_size, indivisible(phase.network, num_microbatches)
        share = Share(rows_of(n, unit, rank=ranks.rank, num_workers=ranks.size), n)
        spec = network_spec(phase.network, endpoints.shape, endpoints.condition)
        return cls(endpoints, spec, ranks.device, share, num_microbatches, compiled, channels_last)


class Parent(NamedTuple):
    """Phase k - 1 as it was kept: the files of its state, and the weights of all increments before its own."""

    files: Mapping[str, Tensors]
    earlier: Sequence[Tensors]


def network_spec(network: Network, sample_shape: tuple[int, ...], condition: Condition | None = None) -> NetworkSpec:
    """Collect the sizes of a recipe's two networks."""
    return NetworkSpec(
        sample_shape,
        network.width,
        network.depth,
        network.pair,
        z_dim=network.z_dim,
        num_frequencies=network.num_frequencies,
        second_order=network.second_order,
        condition=condition,
    )


def new_state(phase: Phase, setting: Setting) -> State:
    """Make the state before the first step of phase 0."""
    endpoints, device = setting.endpoints, setting.device
    betas = phase.training.beta1, phase.training.beta2
    state = states.new_state(setting.spec, seed=phase.seed, betas=betas, device=device)

    def draw(end: str) -> torch.Tensor:
        """Draw samples of an end that stand for its measure."""
        measure, step = {"target": (endpoints.target, 0), "source": (endpoints.source, 1)}[end]
        return torch.from_numpy(measure.sample(NUM_TO_START_FROM, stream(0, "standardisation", step=step))).to(device)

    state.pair.start_from(state.potential, draw)
    return state


def first_state(
    phase: Phase, setting: Setting, read_parent: Callable[[Phase], Parent] | None
) -> tuple[State, Sequence[nn.Module]]:
    """Make the state that a job begins with, new for phase 0 and else the parent's; and T_{-1}, or the increments before it."""
    state = new_state(phase, setting)
    if phase.parent is None:
        return state, [network.to(setting.device) for network in setting.spec.pair.first_anchor(setting.spec)]
    if read_parent is None:
        raise ValueError(f"phase {phase.k} goes on from {phase.parent}, which was not trained here and can be read nowhere")
    parent = read_parent(phase)
    states.load_tensors(state, parent.files, step=0)
    increments = []
    for weights in parent.earlier:
        increments.append(frozen(state.transport_map))
        increments[-1].load_state_dict(weights)
    return state, increments


def frozen(module: nn.Module) -> nn.Module:
    """Copy a network, so that later steps do not change it."""
    return copy.deepcopy(module).requires_grad_(False).eval()


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
    jko, training, ends = phase.jko, phase.training, setting.endpoints
    n, z_dim = jko.num_points, phase.network.z_dim
    objective, divergence = objective_of(phase), jko.functional
    assert isinstance(divergence, FDivergence)  # a rule of recipes
    seen = ends.data.seen(n, stream(phase.seed, "points", phase=phase.k))
    points = torch.from_numpy(ends.space.to_space(seen)).to(setting.device)

    def draw(at: int) -> torch.Tensor:
        """Draw n samples of mu_k."""
        rng = stream(phase.seed, "points_source", phase=phase.k, step=at)
        x = torch.from_numpy(ends.source.sample(n, rng)).to(setting.device)
        return push_through(anchor, x, torch.from_numpy(normal(rng, n, z_dim)).to(setting.device) if z_dim else None)

    def costs_of(number: int) -> np.ndarray:
        """Compute the costs between the points and a sample that no round sees."""
        costs = objective.cost.matrix(draw(NUM_ROUNDS + number), points) / (2 * objective.h)
        return costs.cpu().numpy()

    output, gap = averaged(divergence, costs_of)
    potential = corrected(PointPotential(objective, points, torch.from_numpy(output).to(points), gap), draw)
    schedule = SCHEDULES[training.lr_schedule]
    return Regression(
        potential,
        DISTANCES[jko.regression],
        composed=phase.composed,
        num_steps=training.num_steps,
        learning_rate=lambda step: schedule(phase, step) * training.map_lr,
        ema_decay=training.ema_decay,
        bfloat16=training.bfloat16,
        num_microbatches=setting.num_microbatches,
    )


def steps_of(phase: Phase, setting: Setting, anchor: Sequence[nn.Module]) -> Steps:
    """Make what a phase is trained by: a problem with a network for its potential, or a regression."""
    if phase.on_points:
        return regression_of(phase, setting, anchor)
    return problem_of(phase, num_microbatches=setting.num_microbatches, compiled=setting.compiled)


SCHEDULES = {"inverse": _inverse, "cosine": _cosine}
"""(phase, step) -> factor of both learning rates. None falls over all K phases: a longer flow shares those of a shorter one."""


def indivisible(network: Network, num_microbatches: int) -> int:
    """Count the rows of a batch that stay with one worker: equal microbatches, of whole groups that the potential compares."""
    return num_microbatches * network.pair.group_size


def batches_of(phase: Phase, endpoints: Endpoints, rows: slice, device: torch.device) -> Callable[[int], Batch]:
    """Make the function (step) -> one rank's rows of the step's global batch.

    Every worker draws the whole batch and keeps its own rows, so one, two or eight workers see the same numbers. Noise on the
    target is for v alone, as in the reference code: a blurred measure overlaps with what is transported.

    In a conditional flow, sample i of the source has the condition of sample i of the target. So c has the data's law on both
    sides, and L_v, a difference of two means, has no noise of two draws of c.
    """
    seed, n = phase.seed, phase.training.batch_size
    z_dim, shared = phase.network.z_dim, phase.jko.z == "shared"

    def draw(step: int) -> Batch:
        def rng(purpose: str) -> np.random.Generator:
            return stream(seed, purpose, phase=phase.k, step=step)

        def keep(samples: np.ndarray) -> torch.Tensor:
            return torch.from_numpy(samples[rows]).to(device)

        z = keep(normal(rng("z"), n, z_dim)) if z_dim else None
        anchor_z = z if shared else keep(normal(rng("anchor_z"), n, z_dim))
        drawn = endpoints.source.batch(At("source", seed, phase.k, step, n, rows))
        samples, conditions = endpoints.batch(At("target", seed, phase.k, step, n, rows))
        require_batches(phase, step, drawn, samples, (len(range(n)[rows]), *endpoints.shape))
        source = torch.from_numpy(drawn).to(device)
        target = torch.from_numpy(samples).to(device)
        condition = None if conditions is None else torch.from_numpy(conditions).to(device)
        if phase.target_noise:  # all that v sees of the target: R1 and a relativistic pairing are taken at the noised samples too
            target = target + phase.target_noise * keep(normal(rng("target_noise"), n, *endpoints.shape))
        return Batch(source, target, z, anchor_z, condition)

    return draw
