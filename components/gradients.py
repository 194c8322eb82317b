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


class Transported(NamedTuple):
    """Samples of one part of a batch after the frozen map and after the live one: T_{k-1}(x, z'), without a graph, and T_k(x,
    z).
    """

    frozen: Tensor
    samples: Tensor


def transport(transport_map: nn.Module, x: Tensor, z: Tensor | None) -> Tensor:
    """Map x and z to T(x, z), in the precision of x."""
    samples: Tensor = transport_map(x, z)
    return samples.to(x.dtype)


def push_through(maps: Sequence[nn.Module], x: Tensor, z: Tensor | None) -> Tensor:
    """Push x through frozen maps in order; no map at all is the identity T_{-1}."""
    with torch.no_grad():
        for transport_map in maps:
            x = transport(transport_map, x, z)
    return x


def potential_gradients(
    potential: nn.Module, objective: Objective, target: Tensor, transported: Transported, *, penalty_weight: int
) -> tuple[Gradients, Tensor]:
    """Compute the gradient of L_v + penalty_weight * penalty by the potential's parameters; and (L_v, penalty).

    The potential sees target and transported samples in one forward pass, the latter detached. A penalty on the target alone is
    cheaper in two passes: its second derivative then leaves the transported samples out.
    """
    n, samples, dtype = len(target), transported.samples.detach(), target.dtype
    penalised = penalty_weight > 0
    alone = penalised and objective.r2 == 0
    inputs = (target.detach() if alone else torch.cat([target, samples])).requires_grad_(penalised)
    outputs = potential(inputs).to(dtype)
    on_transported = potential(samples).to(dtype) if alone else outputs[n:]
    loss = potential_loss(objective, outputs[:n], on_transported, _cost(objective, transported.frozen, samples))
    penalty = gradient_penalty(objective, outputs, inputs, num_target=n) if penalised else torch.zeros_like(loss)
    gradients = torch.autograd.grad(loss + penalty_weight * penalty, tuple(potential.parameters()))
    return gradients, torch.stack([loss.detach(), penalty.detach()])


def sample_gradients(
    potential: nn.Module, objective: Objective, target: Tensor, transported: Transported
) -> tuple[Tensor, Tensor]:
    """Compute the gradient of L_T by the transported samples; and (L_T, mean transport cost)."""
    samples = transported.samples.detach().requires_grad_()
    on_target = None
    if objective.divergence.paired:
        with torch.no_grad():
            on_target = potential(target).to(samples.dtype)
    cost = _cost(objective, transported.frozen, samples)
    loss = map_loss(objective, potential(samples).to(samples.dtype), on_target, cost)
    (gradient,) = torch.autograd.grad(loss, samples)
    return gradient, torch.stack([loss.detach(), cost.mean().detach()])


def _cost(objective: Objective, frozen: Tensor, samples: Tensor) -> Tensor:
    return transport_cost(frozen, samples, h=objective.h, cost=objective.cost)
