"""OT-CFM (Tong et al. 2024, package torchcfm) trained under our conditions, to compare with."""

import copy
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from components.jko import averaging_weight
from components.streams import stream
from pipeline.data.endpoints import Endpoints
from pipeline.recipe import Training

EULER_STEPS = (10, 100)


@dataclass(frozen=True)
class Flow:
    """A trained velocity field (x, t) -> dx/dt, the number of its steps, and its CPU-seconds."""

    velocity: nn.Module
    num_steps: int
    cpu_seconds: float


class EulerMap(nn.Module):
    """The map from x at time 0 to x at time 1 along a velocity field, in `num_steps` Euler steps.

    >>> EulerMap(lambda x, t: x, num_steps=2)(torch.ones(1, 1), None)
    tensor([[2.2500]])
    """

    def __init__(self, velocity: nn.Module, num_steps: int) -> None:
        super().__init__()
        self.velocity, self.num_steps = velocity, num_steps

    def forward(self, x: Tensor, z: None) -> Tensor:
        """Move x along the field from time 0 to time 1; z is there for maps that take one."""
        for step in range(self.num_steps):
            x = x + self.velocity(x, torch.full((len(x),), step / self.num_steps)) / self.num_steps
        return x


def maps_of(flow: Flow) -> Iterator[tuple[int, nn.Module]]:
    """Make the map of a velocity field for each number of Euler steps in `EULER_STEPS`."""
    for num_steps in EULER_STEPS:
        yield num_steps, EulerMap(flow.velocity, num_steps)


def train(
    velocity: Callable[[], nn.Module], endpoints: Endpoints, training: Training, *, lr: float, seed: int, looks: Iterable[float]
) -> Iterator[Flow]:
    """Train a velocity field under our conditions; yield its average after each of `looks` CPU-seconds."""
    from torchcfm.conditional_flow_matching import ExactOptimalTransportConditionalFlowMatcher

    torch.manual_seed(seed)
    np.random.seed(seed)  # torchcfm's own
    matcher = ExactOptimalTransportConditionalFlowMatcher(sigma=0.0)
    live = velocity()
    averaged = copy.deepcopy(live).requires_grad_(False)
    optimizer = torch.optim.Adam(live.parameters(), fused=True)

    def train_step(step: int) -> None:
        optimizer.param_groups[0]["lr"] = lr / (1 + step / training.lr_decay_steps)
        x0, x1 = (
            torch.from_numpy(end.sample(training.batch_size, stream(seed, purpose, step=step)))
            for end, purpose in ((endpoints.source, "source"), (endpoints.target, "target"))
        )
        t, x, u = matcher.sample_location_and_conditional_flow(x0, x1)
        with torch.autocast("cpu", torch.bfloat16, enabled=training.bfloat16):
            predicted = live(x, t)
        loss = (predicted - u).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        with torch.no_grad():
            weight = averaging_weight(torch.tensor(step + 1.0), training.ema_decay).item()
            torch._foreach_lerp_(list(averaged.parameters()), list(live.parameters()), weight)

    step, spent = 0, 0.0
    for look in looks:
        began = time.process_time() - spent
        while time.process_time() - began < look:
            train_step(step)
            step += 1
        spent = time.process_time() - began
        yield Flow(copy.deepcopy(averaged), step, spent)
