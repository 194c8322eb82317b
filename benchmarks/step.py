"""Seconds per step: ours against the plain textbook update, on the same batches, with the same losses.

The textbook update is that of the reference code: separate passes of the potential for real and for generated images, the latter
not detached, so that its backward pass goes through the map for nothing; the map is evaluated again for its own update; Adam as
torch has it by default. Both do the arithmetic of the recipe's step, with R1 at each.
"""

import copy
import time
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from benchmarks.harness import Pivot, Row, main
from components import state as states
from components.costs import transport_cost
from components.jko import Batch, Problem, push_through, train_step
from components.semidual import Objective, map_loss, potential_loss
from components.shape import Shape
from components.state import State

NETWORKS = {
    "light": (Shape((1, 28, 28), 32, 0, kind="light"), 64),
    "small": (Shape((3, 32, 32), 64, 0, kind="small"), 64),
    "large": (Shape((3, 32, 32), 128, 0, z_dim=100, kind="large"), 8),
}
"""And the batch size that is measured."""
OBJECTIVE = Objective("kl", "linear", "mean_squared", h=0.1, r1=0.2, r2=0.0)
RATES, BETAS, NUM_COMPARED = (2e-4, 1e-4), (0.5, 0.9), 20
"""The paper's."""
Step = Callable[[Batch], tuple[float, float]]


def cases(quick: bool) -> list[Row]:
    """What to measure."""
    names, seeds = (["light"], (0,)) if quick else (list(NETWORKS), (0, 1, 2))
    return [{"network": name, "threads": 1, "seed": seed, "steps": 3 if quick else 10} for name in names for seed in seeds]


def measure(case: Row) -> Iterator[Row]:
    """Both variants in turns, so that the machine's moods meet both."""
    shape, n = NETWORKS[case["network"]]
    anchor = states.build_map(shape, seed=case["seed"]).requires_grad_(False)
    variants = {name: make(fresh(shape, case["seed"]), anchor) for name, make in (("textbook", textbook), ("ours_eager", ours))}
    difference = max(
        abs(a - b)
        for i in range(NUM_COMPARED if case["network"] != "large" else 3)
        for a, b in zip(*(step(batch(shape, n, i)) for step in variants.values()), strict=True)
    )
    seconds = dict.fromkeys(variants, 0.0)
    began = time.process_time()
    for i in range(case["steps"]):
        for name, step in variants.items():
            drawn, start = batch(shape, n, i), time.process_time()
            step(drawn)
            seconds[name] += (time.process_time() - start) / case["steps"]
    for name, value in seconds.items():
        yield {
            "variant": name,
            "batch_size": n,
            "seconds_per_step": value,
            "speedup": seconds["textbook"] / value,
            "loss_difference": difference,
            "cpu_seconds": time.process_time() - began,
        }


def fresh(shape: Shape, seed: int) -> State:
    """New networks."""
    return states.new_state(shape, seed=seed, betas=BETAS, device=torch.device("cpu"))


def batch(shape: Shape, n: int, step: int) -> Batch:
    """Noise in the place of images."""
    rng = torch.Generator().manual_seed(step)
    x, y = (torch.randn(n, *shape.sample_shape, generator=rng) for _ in range(2))
    z, anchor_z = (torch.randn(n, shape.z_dim, generator=rng) if shape.z_dim else None for _ in range(2))
    return Batch(x, y.tanh(), z, anchor_z)


def ours(state: State, anchor: torch.nn.Module) -> Step:
    """The project's step."""
    problem = Problem(OBJECTIVE, False, 10**9, lambda step: RATES, penalty_every=1, ema_decay=0.9999)

    def step(batch: Batch) -> tuple[float, float]:
        losses = train_step(state, problem, batch, [anchor], lambda gradients: None)
        return float(losses.potential_loss), float(losses.map_loss)

    return step


def textbook(state: State, anchor: torch.nn.Module) -> Step:
    """The reference code's step."""
    transport_map, potential, averaged = state.transport_map, state.potential, copy.deepcopy(state.averaged_map)
    map_optimizer = torch.optim.Adam(transport_map.parameters(), lr=RATES[0], betas=BETAS)
    potential_optimizer = torch.optim.Adam(potential.parameters(), lr=RATES[1], betas=BETAS)

    def step(batch: Batch) -> tuple[float, float]:
        potential_optimizer.zero_grad()
        real = batch.target.clone().requires_grad_()
        on_real = potential(real)
        (gradient,) = torch.autograd.grad(on_real.sum(), real, create_graph=True)
        penalty = OBJECTIVE.r1 / 2 * gradient.flatten(1).square().sum(1).mean()
        generated: Tensor = transport_map(batch.source, batch.z)
        nothing = torch.zeros(len(real))
        loss_v = potential_loss(OBJECTIVE, on_real, potential(generated), nothing)
        (loss_v + penalty).backward()  # type: ignore[no-untyped-call]
        potential_optimizer.step()

        map_optimizer.zero_grad()
        potential.requires_grad_(False)
        frozen = push_through([anchor], batch.source, batch.anchor_z)
        generated = transport_map(batch.source, batch.z)
        cost = transport_cost(frozen, generated, h=OBJECTIVE.h, cost=OBJECTIVE.cost)
        loss_t = map_loss(OBJECTIVE, potential(generated), None, cost)
        loss_t.backward()  # type: ignore[no-untyped-call]
        map_optimizer.step()
        potential.requires_grad_(True)
        with torch.no_grad():
            for old, new in zip(averaged.parameters(), transport_map.parameters(), strict=True):
                old.mul_(0.9999).add_(new, alpha=0.0001)
        return float(loss_v.detach()), float(loss_t.detach())

    return step


PIVOTS = [
    Pivot(("network", "batch_size"), "variant", ("seconds_per_step",), "CPU-seconds per step"),
    Pivot(("network",), "variant", ("speedup",), "textbook / variant; goals: small 1.5, large 1.4"),
    Pivot(("network",), None, ("loss_difference",), "largest difference of a loss over 20 steps (large: 3)"),
]

if __name__ == "__main__":
    main("step", __doc__, cases=cases, measure=measure, pivots=PIVOTS, processes=1)
