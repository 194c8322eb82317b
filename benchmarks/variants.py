"""One step in several ways on any device, ours and the textbook's, as `benchmarks.step` and `benchmarks.accelerator` time it."""

import copy
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from components import state as states
from components.costs import MeanSquared, transport_cost
from components.divergences.kl import KL
from components.divergences.linear import Linear
from components.gradients import Batch, push_through
from components.jko import Problem, train_step
from components.networks.pair import NetworkSpec
from components.semidual import Objective, map_loss, potential_loss
from components.state import State

CPU = torch.device("cpu")
OBJECTIVE = Objective(KL(), Linear(), MeanSquared(), h=0.1, r1=0.2, r2=0.0)
RATES, BETAS = (2e-4, 1e-4), (0.5, 0.9)
"""Learning rates of map and potential, and Adam's betas, as in the paper."""
Step = Callable[[Batch], tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class Switches:
    """The ways to run our step: its layout, precision and program, and how often it has its penalty.

    >>> Switches(compile=True).bfloat16
    False
    """

    channels_last: bool = False
    compile: bool = False
    bfloat16: bool = False
    default_adam: bool = False
    penalty_every: int = 1


def fresh(spec: NetworkSpec, seed: int, dtype: torch.dtype = torch.float32, device: torch.device = CPU) -> State:
    """Build the state of a new pair of networks with its optimizers, from a seed."""
    state = states.new_state(spec, seed=seed, betas=BETAS, device=device)
    for network in state.modules().values():
        network.to(dtype)
    return state


def batch(spec: NetworkSpec, n: int, step: int, dtype: torch.dtype = torch.float32, device: torch.device = CPU) -> Batch:
    """Draw a batch of noise in place of images, the same numbers on every device."""
    rng = torch.Generator().manual_seed(step)
    x, y = (torch.randn(n, *spec.sample_shape, generator=rng).to(device, dtype) for _ in range(2))
    z, anchor_z = (torch.randn(n, spec.z_dim, generator=rng).to(device, dtype) if spec.z_dim else None for _ in range(2))
    return Batch(x, y.tanh(), z, anchor_z)


def ours(state: State, anchor: torch.nn.Module, switches: Switches) -> Step:
    """Make the project's step a function of a batch that gives the two losses."""
    problem = Problem(
        OBJECTIVE,
        composed=False,
        num_steps=10**9,
        learning_rates=lambda step: RATES,
        penalty_every=switches.penalty_every,
        ema_decay=0.9999,
        bfloat16=switches.bfloat16,
        compiled=switches.compile,
    )
    anchor = copy.deepcopy(anchor)
    if switches.channels_last:
        states.channels_last(state)
        anchor.to(memory_format=torch.channels_last)
    if switches.default_adam:
        for optimizer in (state.map_optimizer, state.potential_optimizer):
            optimizer.fused = False

    def step(batch: Batch) -> tuple[Tensor, Tensor]:
        losses = train_step(state, problem, batch, [anchor], lambda gradients: None)
        state.step += 1
        return losses.potential_loss, losses.map_loss

    return step


def textbook(state: State, anchor: torch.nn.Module) -> Step:
    """Make the reference code's step a function of a batch that gives the two losses."""
    transport_map, potential, averaged = state.transport_map, state.potential, copy.deepcopy(state.averaged_map)
    map_optimizer = torch.optim.Adam(transport_map.parameters(), lr=RATES[0], betas=BETAS)
    potential_optimizer = torch.optim.Adam(potential.parameters(), lr=RATES[1], betas=BETAS)

    def step(batch: Batch) -> tuple[Tensor, Tensor]:
        potential_optimizer.zero_grad()
        real = batch.target.clone().requires_grad_()
        on_real = potential(real)
        (gradient,) = torch.autograd.grad(on_real.sum(), real, create_graph=True)
        penalty = OBJECTIVE.r1 / 2 * gradient.flatten(1).square().sum(1).mean()
        generated: Tensor = transport_map(batch.source, batch.z)
        nothing = torch.zeros(len(real), dtype=real.dtype, device=real.device)
        loss_v = potential_loss(OBJECTIVE, on_real, potential(generated), nothing)
        (loss_v + penalty).backward()  # type: ignore[no-untyped-call]  # torch has no types for it
        potential_optimizer.step()

        map_optimizer.zero_grad()
        potential.requires_grad_(False)
        frozen = push_through([anchor], batch.source, batch.anchor_z)
        generated = transport_map(batch.source, batch.z)
        cost = transport_cost(frozen, generated, h=OBJECTIVE.h, cost=OBJECTIVE.cost)
        loss_t = map_loss(OBJECTIVE, potential(generated), None, cost)
        loss_t.backward()  # type: ignore[no-untyped-call]  # torch has no types for it
        map_optimizer.step()
        potential.requires_grad_(True)
        with torch.no_grad():
            for old, new in zip(averaged.parameters(), transport_map.parameters(), strict=True):
                old.mul_(0.9999).add_(new, alpha=0.0001)
        return loss_v.detach(), loss_t.detach()

    return step
