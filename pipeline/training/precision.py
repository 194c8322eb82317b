"""Whether a machine is slow at the precision that a recipe asks for, measured in a fraction of a second."""

import time
from collections.abc import Callable

import torch
from torch import nn

from components.gradients import outputs_at, transport
from components.networks.pair import NetworkSpec
from components.state import build_map, build_potential
from components.streams import seeded
from pipeline.phase import Phase
from pipeline.provenance import processor
from pipeline.training.solving.setting import Setting

SLOW_BY = 1.2
"""Times as long, from which on it is worth a word."""
NUM_TIMINGS, NUM_SAMPLES = 3, 32
MOST_PARAMETERS = 5_000_000
"""A pass through a pair with more takes seconds: one convolution of its width stands for it."""


def slow_bfloat16(phase: Phase, setting: Setting) -> str | None:
    """Say that this CPU trains these networks slower in bfloat16 than in float32; None where it does not, or none is asked
    for.

    Only processors with AMX or AVX512-BF16 multiply in 16 bits; the others convert, and may take many times as long.
    """
    if setting.device.type != "cpu" or not phase.training.bfloat16:
        return None
    factor = slowdown(setting.spec, min(setting.share.num_rows, NUM_SAMPLES))
    if factor <= SLOW_BY:
        return None
    return (
        f"training.bfloat16: {processor()} takes {factor:.1f} x as long for these networks in bfloat16 as in float32. "
        "--training.no-bfloat16 trains them in float32, as another flow."
    )


def slowdown(spec: NetworkSpec, n: int) -> float:
    """Measure the CPU time of a pass forward and back in bfloat16, over that in float32; each the least of a few."""
    step = _pass(spec, n)
    seconds: dict[bool, list[float]] = {False: [], True: []}
    for turn in range(NUM_TIMINGS + 1):
        for bfloat16, timings in seconds.items():
            began = time.process_time()
            with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
                outputs = step()
            torch.autograd.backward(outputs.float().sum())
            if turn:  # the first prepares
                timings.append(time.process_time() - began)
    return min(seconds[True]) / min(seconds[False])


def _pass(spec: NetworkSpec, n: int) -> Callable[[], torch.Tensor]:
    """Make a pass forward through the pair on n samples, or through one convolution of its width on one."""
    with torch.device("meta"):
        num_parameters = sum(p.numel() for p in build_map(spec).parameters())
    if num_parameters > MOST_PARAMETERS:
        with seeded(0):  # the global generator stays as it is
            convolution = nn.Conv2d(spec.width, spec.width, 3, padding=1)
        images = torch.ones(1, spec.width, 16, 16)
        return lambda: convolution(images)
    transport_map, potential = build_map(spec), build_potential(spec)
    x, z = torch.ones(n, *spec.sample_shape), torch.ones(n, spec.z_dim) if spec.z_dim else None
    c = torch.from_numpy(spec.condition.empty(n)) if spec.condition else None
    return lambda: outputs_at(potential, transport(transport_map, x, z, c), c)
