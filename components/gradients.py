"""The gradients of one step, as functions of networks and tensors."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from components.adam import Gradients
from components.costs import transport_cost
from components.semidual import Objective, gradient_penalty, map_loss, potential_loss


class Batch(NamedTuple):
    """One rank's slice of the global batch of a step: n samples each, in the space the flow lives in."""

    source: Tensor
    target: Tensor
    z: Tensor | None
    anchor_z: Tensor | None
    condition: Tensor | None = None
    """c of both the source's and the target's sample of a row: c has one law on both sides, and the step keeps it fixed"""


class Transported(NamedTuple):
    """Samples of one part of a batch after the frozen map and after the live one: T_{k-1}(x, z'), without a graph, and T_k(x,
    z).
    """

    frozen: Tensor
    samples: Tensor


def transport(transport_map: nn.Module, x: Tensor, z: Tensor | None, condition: Tensor | None = None) -> Tensor:
    """Map x and z to T(x, z), or T(x, z, c), in the precision of x."""
    samples: Tensor = transport_map(x, z) if condition is None else transport_map(x, z, condition)
    return samples.to(x.dtype)


def outputs_at(potential: nn.Module, x: Tensor, condition: Tensor | None = None) -> Tensor:
    """Evaluate a potential's network D(x), or D(x, c), in the precision of x."""
    outputs: Tensor = potential(x) if condition is None else potential(x, condition)
    return outputs.to(x.dtype)


def push_through(maps: Sequence[nn.Module], x: Tensor, z: Tensor | None, condition: Tensor | None = None) -> Tensor:
    """Push x through frozen maps in order, c the same for all; no map at all is the identity T_{-1}."""
    with torch.no_grad():
        for transport_map in maps:
            x = transport(transport_map, x, z, condition)
    return x


def potential_gradients(
    potential: nn.Module,
    objective: Objective,
    target: Tensor,
    transported: Transported,
    *,
    penalty_weight: int,
    condition: Tensor | None = None,
) -> tuple[Gradients, Tensor]:
    """Compute the gradient of L_v + penalty_weight * penalty by the potential's parameters; and (L_v, penalty).

    The potential sees target and transported samples in one forward pass, the latter detached. A penalty on the target alone is
    cheaper in two passes: its second derivative then leaves the transported samples out.
    """
    n, samples = len(target), transported.samples.detach()
    penalised = penalty_weight > 0
    alone = penalised and objective.r2 == 0
    inputs = (target.detach() if alone else torch.cat([target, samples])).requires_grad_(penalised)
    given = condition if alone or condition is None else torch.cat([condition, condition])
    outputs = outputs_at(potential, inputs, given)
    on_transported = outputs_at(potential, samples, condition) if alone else outputs[n:]
    loss = potential_loss(objective, outputs[:n], on_transported, _cost(objective, transported.frozen, samples))
    penalty = gradient_penalty(objective, outputs, inputs, num_target=n) if penalised else torch.zeros_like(loss)
    gradients = torch.autograd.grad(loss + penalty_weight * penalty, tuple(potential.parameters()))
    return gradients, torch.stack([loss.detach(), penalty.detach()])


def sample_gradients(
    potential: nn.Module, objective: Objective, target: Tensor, transported: Transported, condition: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Compute the gradient of L_T by the transported samples; and (L_T, mean transport cost)."""
    samples = transported.samples.detach().requires_grad_()
    on_target = None
    if objective.divergence.paired:
        with torch.no_grad():
            on_target = outputs_at(potential, target, condition)
    cost = _cost(objective, transported.frozen, samples)
    loss = map_loss(objective, outputs_at(potential, samples, condition), on_target, cost)
    (gradient,) = torch.autograd.grad(loss, samples)
    return gradient, torch.stack([loss.detach(), cost.mean().detach()])


def _cost(objective: Objective, frozen: Tensor, samples: Tensor) -> Tensor:
    return transport_cost(frozen, samples, h=objective.h, cost=objective.cost)
