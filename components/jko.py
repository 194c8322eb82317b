"""One JKO phase as plain torch: one step, and the loop.

The frozen T_{k-1} is the *anchor*. Parametrised directly, T_k maps the source straight to mu_{k+1} (Eq. 20-21), so a step costs
one evaluation of the anchor and one of T_k whatever k is. Parametrised as composed increments, the source is pushed through
all k earlier maps first.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from components.costs import transport_cost
from components.networks import PerceptronPotential
from components.semidual import RELATIVISTIC, Objective, gradient_penalty, map_loss, potential_loss
from components.state import State

Reduce = Callable[[Sequence[Tensor]], None]


class Batch(NamedTuple):
    """One rank's slice of the global batch of a step: n samples each, in the space the flow lives in."""

    source: Tensor
    target: Tensor
    z: Tensor | None
    anchor_z: Tensor | None


class Losses(NamedTuple):
    """Scalars of one step, averaged over this rank's slice: nats for f-divergences."""

    potential_loss: Tensor
    map_loss: Tensor
    transport_cost: Tensor
    gradient_penalty: Tensor


@dataclass(frozen=True)
class Problem:
    """What a phase solves and how.

    Attributes:
        objective: the semi-dual of the step.
        composed: T_k is an increment applied to the anchor's samples.
        num_steps: optimizer steps of the phase.
        learning_rates: (step of this phase) -> learning rates of the map and of the potential.
        penalty_every: steps between gradient penalties, each weighted by this number.
        ema_decay: decay per step of the averaged map.
        bfloat16: networks run under autocast; weights, losses and penalties stay in float32.
        num_microbatches: equal parts in which a rank takes its batch, one after the other, to need less memory: the same
            gradients but for rounding, for one more evaluation of the map.
    """

    objective: Objective
    composed: bool
    num_steps: int
    learning_rates: Callable[[int], tuple[float, float]]
    penalty_every: int
    ema_decay: float
    bfloat16: bool = False
    num_microbatches: int = 1


def push_through(maps: Sequence[nn.Module], x: Tensor, z: Tensor | None) -> Tensor:
    """x pushed through frozen maps in order; no map at all is the identity T_{-1}."""
    with torch.no_grad():
        for transport_map in maps:
            x = transport_map(x, z)
    return x


def update(
    optimizer: torch.optim.Adam, terms: Iterable[tuple[Tensor, Tensor]], learning_rate: float, reduce: Reduce
) -> Float[Tensor, " m"]:
    """One Adam step on the parameters of `optimizer` alone: the gradients of other networks are never computed.

    `autograd.grad` returns gradients in whatever memory layout the graph ended with, and fused Adam on CPU (torch 2.14) reads
    memory in order, strides unseen: a gradient is first put into its parameter's layout.

    Args:
        terms: (loss, what to report) of each part of the batch, made when it is asked for; their mean is what is minimised.

    Returns:
        The mean of what was to be reported.
    """
    (group,) = optimizer.param_groups
    group["lr"] = learning_rate
    gradients: list[Tensor] = []
    reports: list[Tensor] = []
    for loss, report in terms:
        more = list(torch.autograd.grad(loss, group["params"]))
        if gradients:
            torch._foreach_add_(gradients, more)
        else:
            gradients = more
        reports.append(report.detach())
    if len(reports) > 1:
        torch._foreach_div_(gradients, len(reports))
    for parameter, gradient in zip(group["params"], gradients, strict=True):
        same_layout = gradient.stride() == parameter.stride()
        parameter.grad = gradient if same_layout else torch.empty_like(parameter).copy_(gradient)
    reduce([parameter.grad for parameter in group["params"]])
    optimizer.step()
    return torch.stack(reports).mean(0)


class Transported(NamedTuple):
    """T(x, z) of one part of a batch, and the cost of each sample against T_{k-1}(x, z')."""

    samples: Tensor
    cost: Tensor


def transport(state: State, problem: Problem, part: Batch, anchor: Sequence[nn.Module]) -> Transported:
    """This phase's map, and the cost of its way from the anchor."""
    frozen = push_through(anchor, part.source, part.anchor_z).to(part.source.dtype)
    samples = state.transport_map(frozen if problem.composed else part.source, part.z).to(part.source.dtype)
    return Transported(samples, transport_cost(frozen, samples, h=problem.objective.h, cost=problem.objective.cost))


def potential_terms(
    state: State, problem: Problem, parts: Sequence[Batch], transported: Sequence[Transported]
) -> Iterator[tuple[Tensor, Tensor]]:
    """L_v with penalty. The potential sees target and transported samples in one forward pass, the latter detached.

    A penalty on the target alone is cheaper in two passes: its second derivative then leaves the transported samples out.
    """
    objective = problem.objective
    penalised = (objective.r1 > 0 or objective.r2 > 0) and state.step % problem.penalty_every == 0
    network = state.potential.forward if penalised else state.potential  # what is compiled cannot be differentiated twice
    for part, (attached, cost) in zip(parts, transported, strict=True):
        n, samples = len(part.target), attached.detach()
        alone = penalised and objective.r2 == 0
        inputs = (part.target.detach() if alone else torch.cat([part.target, samples])).requires_grad_(penalised)
        outputs = network(inputs).to(inputs.dtype)
        on_transported = state.potential(samples).to(inputs.dtype) if alone else outputs[n:]
        loss = potential_loss(objective, outputs[:n], on_transported, cost.detach())
        penalty = gradient_penalty(objective, outputs, inputs, num_target=n) if penalised else torch.zeros_like(loss)
        yield loss + problem.penalty_every * penalty, torch.stack([loss, penalty])


def map_terms(
    state: State, problem: Problem, parts: Sequence[Batch], transported: Iterable[Transported]
) -> Iterator[tuple[Tensor, Tensor]]:
    """L_T on the samples that the potential has just been fitted to."""
    for part, (samples, cost) in zip(parts, transported, strict=True):
        on_target = None
        if problem.objective.divergence == RELATIVISTIC:
            with torch.no_grad():
                on_target = state.potential(part.target).to(samples.dtype)
        loss = map_loss(problem.objective, state.potential(samples).to(samples.dtype), on_target, cost)
        yield loss, torch.stack([loss, cost.mean()])


def train_step(state: State, problem: Problem, batch: Batch, anchor: Sequence[nn.Module], reduce: Reduce) -> Losses:
    """One update of the potential, then one of the map on the same transported samples.

    In one part the map is evaluated once. Of several, each is transported again for the map's loss: one graph at a time.
    """
    count = problem.num_microbatches
    columns = [[None] * count if tensor is None else tensor.chunk(count) for tensor in batch]
    parts = [Batch(*row) for row in zip(*columns, strict=True)]
    map_lr, potential_lr = problem.learning_rates(state.step)
    with torch.autocast(batch.source.device.type, torch.bfloat16, enabled=problem.bfloat16):
        with torch.set_grad_enabled(count == 1):
            transported = [transport(state, problem, part, anchor) for part in parts]
        if isinstance(state.potential, PerceptronPotential) and state.potential.second_order:
            state.potential.track(torch.cat([each.samples.detach() for each in transported]), reduce)
        on_potential = update(
            state.potential_optimizer, potential_terms(state, problem, parts, transported), potential_lr, reduce
        )
        graphs = transported if count == 1 else (transport(state, problem, part, anchor) for part in parts)
        on_map = update(state.map_optimizer, map_terms(state, problem, parts, graphs), map_lr, reduce)
    average(state, problem.ema_decay)
    return Losses(on_potential[0], on_map[0], on_map[1], on_potential[1])


def average(state: State, decay: float) -> None:
    """averaged <- decay * averaged + (1 - decay) * live; what is not learned, such as running moments, is copied."""
    averaged: list[Tensor] = list(state.averaged_map.parameters())
    live: list[Tensor] = list(state.transport_map.parameters())
    with torch.no_grad():
        torch._foreach_lerp_(averaged, live, 1 - decay)
        for averaged_buffer, buffer in zip(state.averaged_map.buffers(), state.transport_map.buffers(), strict=True):
            averaged_buffer.copy_(buffer)


def train_phase(
    state: State,
    problem: Problem,
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
        losses = train_step(state, problem, draw(state.step), anchor, reduce)
        state.step += 1
        yield losses
