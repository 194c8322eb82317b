"""Whether an accelerator gives the CPU's numbers, its own again, and those of a phase that was not cut."""

from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor, nn

from benchmarks.accelerator_speed import Bench, Row, failure, precision
from benchmarks.variants import BETAS, CPU, OBJECTIVE, RATES, batch, fresh
from components import state as states
from components.gradients import Transported, potential_gradients, push_through, sample_gradients, transport
from components.jko import Problem, train_phase
from components.networks.pair import NetworkSpec
from components.networks.pairs import Large, Large256, Light, LightFiltered, Perceptron, Residual, Small
from components.semidual import Objective
from components.state import Tensors
from components.table import DIVERGENCES, divergence

PAIRS = {
    "perceptron": NetworkSpec((2,), 96, 3, Perceptron(), num_frequencies=32),
    "second_order": NetworkSpec((2,), 96, 3, Perceptron(), num_frequencies=32, second_order=True),
    "residual": NetworkSpec((2,), 64, 2, z_dim=2, pair=Residual()),
    "light": NetworkSpec((1, 28, 28), 32, 0, pair=Light()),
    "light_filtered": NetworkSpec((3, 32, 32), 32, 0, pair=LightFiltered()),
    "small": NetworkSpec((3, 32, 32), 64, 0, pair=Small()),
    "large": NetworkSpec((3, 32, 32), 64, 0, z_dim=100, pair=Large()),
    "large_256": NetworkSpec((3, 256, 256), 8, 0, z_dim=100, pair=Large256()),
}
"""Specifications by network pair, narrower than in recipes where float64 on a CPU would take minutes."""


def parity(bench: Bench) -> Iterator[Row]:
    """Compare the device with float64 on the CPU, with itself, and with a phase that was cut."""
    names = ["perceptron", "light"] if bench.quick else list(PAIRS)
    cases = [(names[0], divergence_name) for divergence_name in DIVERGENCES if divergence_name not in ("kl", "linear")]
    *cases, last = cases + [(name, "kl") for name in names]
    for name, of in cases:
        yield from gradient_errors(bench, name, of)
    for name in ("perceptron", "light") if bench.quick else ("perceptron", "light", "large"):
        for deterministic in (False, True):
            torch.use_deterministic_algorithms(deterministic)
            try:
                yield from repeats(bench, name, deterministic)
            except RuntimeError as error:  # an operation has no deterministic form
                yield {"check": "seed", "network": name, "deterministic": deterministic, "failed": failure(error)}
            finally:
                torch.use_deterministic_algorithms(False)
    yield from gradient_errors(bench, *last)  # may be cut: slow on few cores


def gradient_errors(bench: Bench, name: str, of: str) -> Iterator[Row]:
    """Measure relative errors of one step's losses and gradients in each precision; the CPU's in float32 are to compare with."""
    objective = replace(OBJECTIVE, divergence=divergence(of), r2=0.1)
    exact = step_gradients(PAIRS[name], objective, torch.float64, CPU)
    ways = [("cpu_float32", CPU, "float32")] + [(kind, bench.device, kind) for kind in bench.precisions]
    for label, device, kind in ways if bench.device.type != "cpu" else ways[1:]:
        if kind == "bfloat16" and PAIRS[name].second_order:
            continue  # which recipes may not ask for
        row = {"check": "gradients", "network": name, "divergence": of, "precision": label}
        try:
            with precision(kind), torch.autocast(device.type, torch.bfloat16, enabled=kind == "bfloat16"):
                measured = step_gradients(PAIRS[name], objective, torch.float32, device)
            yield row | {
                f"{quantity}_error": float((measured[quantity] - exact[quantity]).norm() / exact[quantity].norm())
                for quantity in exact
            }
        except RuntimeError as error:
            yield row | {"failed": failure(error)}


def perturbed(network: nn.Module) -> nn.Module:
    """Move all weights a little: layers that start at zero would hide those before them."""
    rng = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.02 * torch.randn(parameter.shape, generator=rng))
    return network


def step_gradients(spec: NetworkSpec, objective: Objective, dtype: torch.dtype, device: torch.device) -> dict[str, Tensor]:
    """Compute the losses and gradients of one step on four samples, and return them as float64 on the CPU."""
    drawn = batch(spec, 4, 0)
    transport_map, potential, anchor = (
        perturbed(each) for each in (states.build_map(spec), states.build_potential(spec), states.build_map(spec, 1))
    )
    many = batch(spec, 1000, 1)
    spec.pair.start_from(potential, {"source": many.source, "target": many.target}.__getitem__)
    for network in (transport_map, potential, anchor):
        network.to(device, dtype)
    source, target, z, anchor_z = (None if each is None else each.to(device, dtype) for each in drawn[:4])
    assert source is not None
    assert target is not None
    parts = Transported(push_through([anchor], source, anchor_z), transport(transport_map, source, z))
    of_potential, potential_losses = potential_gradients(potential, objective, target, parts, penalty_weight=1)
    of_samples, map_losses = sample_gradients(potential, objective, target, parts)
    of_map = torch.autograd.grad(parts.samples, list(transport_map.parameters()), of_samples)
    groups = {"loss": [potential_losses, map_losses], "potential": of_potential, "map": of_map}
    return {name: torch.cat([each.detach().cpu().double().flatten() for each in group]) for name, group in groups.items()}


def repeats(bench: Bench, name: str, deterministic: bool) -> Iterator[Row]:
    """Train twice from one seed, once cut and resumed, and carry a state from the CPU to the device and back."""
    once = short_phase(PAIRS[name], bench.device)
    comparisons = {
        "seed": (once, short_phase(PAIRS[name], bench.device)),
        "resumed": (once, short_phase(PAIRS[name], bench.device, cut=3)),
    }
    if not deterministic:
        here = short_phase(PAIRS[name], CPU)
        elsewhere = fresh(PAIRS[name], 1, device=bench.device)
        states.load_tensors(elsewhere, here, step=6)
        comparisons["carried"] = (here, states.to_tensors(elsewhere))
    for check, (a, b) in comparisons.items():
        same = all(torch.equal(a[file][key], b[file][key]) for file in a for key in a[file])
        distance = max(float((a["map"][key] - b["map"][key]).abs().max()) for key in a["map"])
        yield {"check": check, "network": name, "deterministic": deterministic, "identical": same, "largest_difference": distance}


def short_phase(spec: NetworkSpec, device: torch.device, cut: int | None = None) -> dict[str, Tensors]:
    """Train six steps of a phase; after `cut` of them its state goes through its tensors into a new state, as in a resume."""
    problem = Problem(OBJECTIVE, False, cut or 6, lambda step: RATES, penalty_every=1, ema_decay=0.99)
    anchor = states.build_map(spec, 1).requires_grad_(False).to(device)
    state = states.new_state(spec, seed=0, betas=BETAS, device=device)
    list(train_phase(state, problem, [anchor], lambda step: batch(spec, 8, step, device=device)))
    if cut:
        resumed = states.new_state(spec, seed=7, betas=BETAS, device=device)
        states.load_tensors(resumed, states.to_tensors(state), step=state.step)
        state = resumed
        list(train_phase(state, replace(problem, num_steps=6), [anchor], lambda step: batch(spec, 8, step, device=device)))
    return states.to_tensors(state)
