"""The state that a job begins with: new networks for phase 0, else what the phase before has left."""

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import nn

from components import state as states
from components.state import State, Tensors
from components.streams import stream
from pipeline.phase import Phase
from pipeline.training.solving.setting import Setting

NUM_TO_START_FROM = 65_536
"""Samples of each measure that a potential may start from."""


class Parent(NamedTuple):
    """Phase k - 1 as it was kept: the files of its state, and the weights of all increments before its own."""

    files: Mapping[str, Tensors]
    earlier: Sequence[Tensors]


def new_state(phase: Phase, setting: Setting) -> State:
    """Make the state before the first step of phase 0."""
    endpoints, device = setting.endpoints, setting.device
    betas = phase.training.beta1, phase.training.beta2
    state = states.new_state(setting.spec, seed=phase.seed, betas=betas, device=device)

    def draw(end: str) -> torch.Tensor:
        """Draw samples of an end that stand for its measure."""
        measure, step = {"target": (endpoints.target, 0), "source": (endpoints.source, 1)}[end]
        return torch.from_numpy(measure.sample(NUM_TO_START_FROM, stream(0, "standardisation", step=step))).to(device)

    state.pair.start_from(state.potential, draw)
    return state


def first_state(
    phase: Phase, setting: Setting, read_parent: Callable[[Phase], Parent] | None
) -> tuple[State, Sequence[nn.Module]]:
    """Make the state that a job begins with, new for phase 0 and else the parent's; and T_{-1}, or the increments before it."""
    state = new_state(phase, setting)
    if phase.parent is None:
        return state, [network.to(setting.device) for network in setting.spec.pair.first_anchor(setting.spec)]
    if read_parent is None:
        raise ValueError(f"phase {phase.k} goes on from {phase.parent}, which was not trained here and can be read nowhere")
    parent = read_parent(phase)
    states.load_tensors(state, parent.files, step=0)
    increments = []
    for weights in parent.earlier:
        increments.append(frozen(state.transport_map))
        increments[-1].load_state_dict(weights)
    return state, increments


def frozen(module: nn.Module) -> nn.Module:
    """Copy a network, so that later steps do not change it."""
    return copy.deepcopy(module).requires_grad_(False).eval()
