"""One JKO phase as plain torch: one step, and the loop.

The frozen T_{k-1} is the *anchor*. Parametrised directly, T_k maps the source straight to mu_{k+1} (Eq. 20-21), so a step costs
one evaluation of the anchor and one of T_k whatever k is. Parametrised as composed increments, the source is pushed through
all k earlier maps first.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
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
    """

    objective: Objective
    composed: bool
    num_steps: int
    learning_rates: Callable[[int], tuple[float, float]]
    penalty_every: int
    ema_decay: float


def push_through(maps: Sequence[nn.Module], x: Tensor, z: Tensor | None) -> Tensor:
    """x pushed through frozen maps in order; no map at all is the identity T_{-1}."""
    with torch.no_grad():
        for transport_map in maps:
            x = transport_map(x, z)
    return x


def update(optimizer: torch.optim.Adam, loss: Tensor, learning_rate: float, reduce: Reduce) -> None:
    """One Adam step on the parameters of `optimizer` alone: the gradients of other networks are never computed.

    `autograd.grad` returns gradients in whatever memory layout the graph ended with, and fused Adam on CPU (torch 2.14) reads
    memory in order, strides unseen: a gradient is first put into its parameter's layout.
    """
    (group,) = optimizer.param_groups
    group["lr"] = learning_rate
    for parameter, gradient in zip(group["params"], torch.autograd.grad(loss, group["params"]), strict=True):
        same_layout = gradient.stride() == parameter.stride()
        parameter.grad = gradient if same_layout else torch.empty_like(parameter).copy_(gradient)
    reduce([parameter.grad for parameter in group["params"]])
    optimizer.step()


def train_step(state: State, problem: Problem, batch: Batch, anchor: Sequence[nn.Module], reduce: Reduce) -> Losses:
    """One update of the potential, then one of the map on the same transported samples.

    The potential sees target and transported samples in one forward pass, the latter detached; the map is evaluated once.
    """
    objective = problem.objective
    map_lr, potential_lr = problem.learning_rates(state.step)
    frozen = push_through(anchor, batch.source, batch.anchor_z)
    transported = state.transport_map(frozen if problem.composed else batch.source, batch.z)
    cost = transport_cost(frozen, transported, h=objective.h, cost=objective.cost)

    if isinstance(state.potential, PerceptronPotential) and state.potential.second_order:
        state.potential.track(transported.detach(), reduce)
    n = len(batch.target)
    both = torch.cat([batch.target, transported.detach()])
    penalised = (objective.r1 > 0 or objective.r2 > 0) and state.step % problem.penalty_every == 0
    outputs = state.potential(both.requires_grad_(penalised))
    loss_v = potential_loss(objective, outputs[:n], outputs[n:], cost.detach())
    penalty = gradient_penalty(objective, outputs, both, num_target=n) if penalised else torch.zeros_like(loss_v)
    update(state.potential_optimizer, loss_v + problem.penalty_every * penalty, potential_lr, reduce)

    on_target = None
    if objective.divergence == RELATIVISTIC:
        with torch.no_grad():
            on_target = state.potential(batch.target)
    loss_t = map_loss(objective, state.potential(transported), on_target, cost)
    update(state.map_optimizer, loss_t, map_lr, reduce)
    average(state, problem.ema_decay)
    return Losses(loss_v.detach(), loss_t.detach(), cost.detach().mean(), penalty.detach())


def average(state: State, decay: float) -> None:
    """averaged <- decay * averaged + (1 - decay) * live."""
    averaged: list[Tensor] = list(state.averaged_map.parameters())
    live: list[Tensor] = list(state.transport_map.parameters())
    with torch.no_grad():
        torch._foreach_lerp_(averaged, live, 1 - decay)


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
