"""One JKO phase as plain torch: one step, and the loop.

The frozen T_{k-1} is the *anchor*. Parametrised directly, T_k maps the source straight to mu_{k+1} (Eq. 20-21), so a step costs
one evaluation of the anchor and one of T_k whatever k is. Parametrised as composed increments, the source is pushed through
all k earlier maps first.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple, Protocol, TypeVar, cast, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from components.adam import Adam, Reduce, Terms, adam_of, update
from components.gradients import Batch, Transported, potential_gradients, push_through, sample_gradients, transport
from components.semidual import Objective
from components.state import State

Function = TypeVar("Function", bound=Callable[..., Any])
Graphs = Iterable[Transported]
WARM_UP = 9
"""One over the share of all updates that the averaged map spans while its decay is not reached."""
BACKEND = "inductor"
"""What makes machine code of a traced step; `aot_eager` shows in seconds whether it can be traced."""
NUM_GRAPHS = 64
"""One per objective, penalty weight, number of frozen maps and shape of a worker's share: a search in one process has many."""


class Losses(NamedTuple):
    """The losses of one step, averaged over this rank's slice: nats for f-divergences."""

    potential_loss: Tensor
    map_loss: Tensor
    transport_cost: Tensor
    gradient_penalty: Tensor


@runtime_checkable
class Steps(Protocol):
    """What a phase is trained by: so many optimizer steps, each of a batch."""

    @property
    def num_steps(self) -> int:
        """Count the optimizer steps of the phase."""

    @property
    def solved(self) -> Mapping[str, float]:
        """Give the figures of what was solved before the first step, by name."""

    def step(self, state: State, batch: Batch, anchor: Sequence[nn.Module], reduce: Reduce) -> Losses:
        """Take one step; `reduce` averages gradients over the workers in place."""


@dataclass(frozen=True)
class Problem:
    """The minimisation of one phase: its objective, and how it is solved.

    Attributes:
        objective: the semi-dual of the step.
        composed: T_k is an increment applied to the anchor's samples.
        num_steps: optimizer steps of the phase.
        learning_rates: (step of this phase) -> learning rates of the map and of the potential.
        penalty_every: steps between gradient penalties, each weighted by this number.
        ema_decay: decay per step of the averaged map, after a warm-up (`averaging_weight`).
        bfloat16: networks run under autocast; weights, losses and penalties stay in float32.
        num_microbatches: equal parts in which a rank takes its batch, one after the other, to need less memory: the same
            gradients but for rounding, for one more evaluation of the map.
        compiled: steps are compiled code.
    """

    objective: Objective
    composed: bool
    num_steps: int
    learning_rates: Callable[[int], tuple[float, float]]
    penalty_every: int
    ema_decay: float
    bfloat16: bool = False
    num_microbatches: int = 1
    compiled: bool = False

    @property
    def solved(self) -> Mapping[str, float]:
        """Give no figures: nothing is solved before the first step."""
        return {}

    def step(self, state: State, batch: Batch, anchor: Sequence[nn.Module], reduce: Reduce) -> Losses:
        """Update the potential once, then the map on the same transported samples."""
        return train_step(state, self, batch, anchor, reduce)


def train_step(state: State, problem: Problem, batch: Batch, anchor: Sequence[nn.Module], reduce: Reduce) -> Losses:
    """Update the potential once, then the map on the same transported samples.

    In one part the map is evaluated once. Of several, each is transported again for the map's loss: one graph at a time.
    """
    objective = problem.objective
    penalised = (objective.r1 > 0 or objective.r2 > 0) and state.step % problem.penalty_every == 0
    map_rate, potential_rate = problem.learning_rates(state.step)
    run = compiled(updates) if problem.compiled else updates
    return run(
        state,
        problem,
        batch,
        anchor,
        reduce,
        potential_adam=adam_of(state.potential_optimizer, potential_rate, compiled=problem.compiled),
        map_adam=adam_of(state.map_optimizer, map_rate, compiled=problem.compiled),
        penalty_weight=problem.penalty_every if penalised else 0,
    )


def updates(
    state: State,
    problem: Problem,
    batch: Batch,
    anchor: Sequence[nn.Module],
    reduce: Reduce,
    *,
    potential_adam: Adam,
    map_adam: Adam,
    penalty_weight: int,
) -> Losses:
    """Do both updates and the average, as one function of networks and tensors that torch.compile can trace whole."""
    count = problem.num_microbatches
    columns = [[None] * count if tensor is None else tensor.chunk(count) for tensor in batch]
    parts = [Batch(*row) for row in zip(*columns, strict=True)]
    device = batch.source.device
    with mixed(device, bfloat16=problem.bfloat16, compiled=problem.compiled):
        with torch.set_grad_enabled(count == 1):
            first = [transported(state, problem, anchor, part) for part in parts]
        state.pair.track(state.potential, [part.source for part in parts], [each.samples.detach() for each in first], reduce)
        terms = potential_terms(state, problem.objective, parts, first, penalty_weight)
        on_potential = update(potential_adam, terms, reduce)
    with mixed(device, bfloat16=problem.bfloat16, compiled=problem.compiled):
        graphs = first if count == 1 else (transported(state, problem, anchor, part) for part in parts)
        on_map = update(map_adam, map_terms(state, problem.objective, parts, graphs), reduce)
    average(state, problem.ema_decay, map_adam.steps[0])
    return Losses(on_potential[0], on_map[0], on_map[1], on_potential[1])


def transported(state: State, problem: Problem, anchor: Sequence[nn.Module], part: Batch) -> Transported:
    """Push the samples of a part of the batch through the frozen maps and through the live one."""
    frozen = push_through(anchor, part.source, part.anchor_z, part.condition)
    x = frozen if problem.composed else part.source
    return Transported(frozen, transport(state.transport_map, x, part.z, part.condition))


def potential_terms(state: State, objective: Objective, parts: Sequence[Batch], graphs: Graphs, penalty_weight: int) -> Terms:
    """Yield each part's gradients of the potential, and what is reported of them."""
    for part, each in zip(parts, graphs, strict=True):
        condition = part.condition
        yield potential_gradients(
            state.potential, objective, part.target, each, penalty_weight=penalty_weight, condition=condition
        )


def map_terms(state: State, objective: Objective, parts: Sequence[Batch], graphs: Graphs) -> Terms:
    """Yield each part's gradients of the map, through its samples, and what is reported of them."""
    for part, each in zip(parts, graphs, strict=True):
        gradient, report = sample_gradients(state.potential, objective, part.target, each, part.condition)
        yield torch.autograd.grad(each.samples, list(state.transport_map.parameters()), gradient), report


def mixed(device: torch.device, *, bfloat16: bool, compiled: bool = False) -> torch.autocast:
    """Open autocast for one update: it keeps 16-bit copies of the weights until it ends, whatever becomes of the weights.

    No copies where the step is compiled: parts of a batch that share one cannot be traced, and the compiler shares by itself.
    """
    return torch.autocast(device.type, torch.bfloat16, enabled=bfloat16, cache_enabled=not compiled)


@cache
def compiled(function: Function) -> Function:
    """Compile a function: the same numbers but for rounding, after up to minutes at the first calls.

    Second derivatives included: `autograd.grad` is traced, and so are the workers' collectives. torch keeps settings per thread,
    so they are made at every call; beyond NUM_GRAPHS a process goes on uncompiled.
    """
    settings = torch._dynamo.config.patch(trace_autograd_ops=True, recompile_limit=NUM_GRAPHS)
    return cast(Function, settings(torch.compile(function, dynamic=False, backend=BACKEND)))


def averaging_weight(num_updates: Float[Tensor, "*n"], decay: float) -> Float[Tensor, "*n"]:
    """Weigh the live weights in the average after the map's n-th update: max(1 - decay, 9 / (n + 8)).

    That is a decay of min(decay, (n - 1) / (n + 8)). With `decay` from the start the initial weights would keep decay^n: 22 % of
    what fashion_mnist's first phase publishes. This is the warm-up of TensorFlow's ExponentialMovingAverage, (1 + n) / (10 + n),
    begun two updates earlier, so that the initial weights get no share at all (as in Karras et al. 2024, section 3.1): about the
    newest ninth of all updates is averaged until 1 / (1 - decay) of them are fewer.

    Written without a difference of numbers near 1, a quotient of whole numbers, it is the nearest float32 (MPS has no float64);
    where Adam's count would stop, at 2^24, the decay has long been reached.
    """
    warm_up = torch.full_like(num_updates, WARM_UP)  # torch takes a number over a tensor for its reciprocal, rounded twice
    return (warm_up / (num_updates + (WARM_UP - 1))).clamp(min=1 - decay)


def average(state: State, decay: float, num_updates: Float[Tensor, ""]) -> None:
    """Move the averaged map towards the live one; what is not learned, such as running moments, is copied.

    Args:
        num_updates: of the live map, over all phases that have trained it. Adam's own count: it is kept with the moments, begins
            anew where the map does, and is a tensor, so that a compiled step need not be compiled again.
    """
    averaged: list[Tensor] = list(state.averaged_map.parameters())
    live: list[Tensor] = list(state.transport_map.parameters())
    with torch.no_grad():
        weight = averaging_weight(num_updates.to(averaged[0].dtype), decay)
        torch._foreach_lerp_(averaged, live, [weight] * len(averaged))
        for averaged_buffer, buffer in zip(state.averaged_map.buffers(), state.transport_map.buffers(), strict=True):
            averaged_buffer.copy_(buffer)


def train_phase(
    state: State,
    problem: Steps,
    anchor: Sequence[nn.Module],
    draw: Callable[[int], Batch],
    reduce: Reduce = lambda gradients: None,
) -> Iterator[Losses]:
    """Go on from `state.step` to the end of the phase, one step and its losses at a time.

    Args:
        draw: (step) -> this rank's slice of the step's batch; a pure function, so that a phase can be cut anywhere.
        reduce: averages gradients over the workers in place.
    """
    for module in (state.transport_map, state.potential):
        module.train()
    while state.step < problem.num_steps:
        losses = problem.step(state, draw(state.step), anchor, reduce)
        state.step += 1
        yield losses
