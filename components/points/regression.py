"""The step of a phase whose potential lives on points: T_k is regressed on the points that its anchor's samples go to."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from components.adam import Gradients, Reduce, adam_of, update
from components.costs import transport_cost
from components.gradients import Batch, push_through, transport
from components.jko import Losses, average, mixed
from components.points.dual import PointPotential
from components.state import State

Distance = Callable[[Float[Tensor, "n *shape"], Float[Tensor, "n *shape"]], Float[Tensor, " n"]]


def _l1(x: Float[Tensor, "n *shape"], y: Float[Tensor, "n *shape"]) -> Float[Tensor, " n"]:
    return (x - y).flatten(1).norm(dim=1)


def _l2(x: Float[Tensor, "n *shape"], y: Float[Tensor, "n *shape"]) -> Float[Tensor, " n"]:
    return (x - y).flatten(1).square().sum(1)


DISTANCES: dict[str, Distance] = {"l1": _l1, "l2": _l2}
"""What regression lowers: the distance, whose minimiser is a median and lies in the data, or its square, and that a mean."""


@dataclass(frozen=True)
class Regression:
    """The minimisation of a phase of points: E|T_k(x) - y_j(x)|, j(x) the point that T_{k-1}(x) goes to. Nothing is adversarial.

    Attributes:
        potential: of the step, solved before its first optimizer step.
        distance: what is lowered.
        learning_rate: (step of this phase) -> the map's.
        composed, num_steps, ema_decay, bfloat16, num_microbatches: as `components.jko.Problem` has them.
    """

    potential: PointPotential
    distance: Distance
    composed: bool
    num_steps: int
    learning_rate: Callable[[int], float]
    ema_decay: float
    bfloat16: bool = False
    num_microbatches: int = 1

    @property
    def solved(self) -> Mapping[str, float]:
        """Give the dual gap of the potential, in nats."""
        return {"dual_gap": self.potential.gap}

    def step(self, state: State, batch: Batch, anchor: Sequence[nn.Module], reduce: Reduce) -> Losses:
        """Update the map once; `potential_loss` is that of the potential on points, `map_loss` the mean distance."""
        adam = adam_of(state.map_optimizer, self.learning_rate(state.step))
        count = self.num_microbatches
        columns = [[None] * count if tensor is None else tensor.chunk(count) for tensor in batch]
        parts = [Batch(*row) for row in zip(*columns, strict=True)]
        with mixed(batch.source.device, bfloat16=self.bfloat16):
            report = update(adam, (self._term(state, part, anchor) for part in parts), reduce)
        average(state, self.ema_decay, adam.steps[0])
        return Losses(report[0], report[1], report[2], torch.zeros_like(report[0]))

    def _term(self, state: State, part: Batch, anchor: Sequence[nn.Module]) -> tuple[Gradients, Tensor]:
        """Compute the gradient of the distance by the map's parameters, and what is reported."""
        frozen = push_through(anchor, part.source, part.anchor_z)
        with torch.no_grad():
            reached = self.potential.nearest(frozen)
        samples = transport(state.transport_map, frozen if self.composed else part.source, part.z)
        loss = self.distance(samples, self.potential.points[reached]).mean()
        gradients = torch.autograd.grad(loss, list(state.transport_map.parameters()))
        objective = self.potential.objective
        cost = transport_cost(frozen, samples.detach(), h=objective.h, cost=objective.cost).mean()
        return gradients, torch.stack([self.potential.loss(reached), loss.detach(), cost])
