"""The loop over the phases of a flow, as a plain function: whoever calls it adds workers, a store and checkpoints around it."""

import copy
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import nn

from components import state as states
from components.jko import Losses, train_phase
from components.state import State, Tensors
from pipeline.phase import Phase
from pipeline.training.build import Setting, batches_of, first_anchor, new_state, problem_of


@dataclass(frozen=True)
class Underway:
    """A phase that is being trained.

    Attributes:
        state: what its steps change; the next phase goes on from it.
        anchor: T_{k-1}, frozen: one map, or all increments so far.
        losses: of each step. A step is made when its losses are asked for, and who asks no more ends the phase.
        began: when the loop turned to it, by `time.monotonic`.
    """

    phase: Phase
    state: State
    anchor: Sequence[nn.Module]
    losses: Iterator[Losses]
    began: float


class Parent(NamedTuple):
    """Phase k - 1 as it was kept: the files of its state, and the weights of all increments before its own."""

    files: Mapping[str, Tensors]
    earlier: Sequence[Tensors]


def train_flow(
    phases: Iterable[Phase], setting: Setting, read_parent: Callable[[Phase], Parent] | None = None
) -> Iterator[Underway]:
    """Turn to each phase in order: what is yielded has made no step yet, and its losses are there to be asked for.

        for underway in train_flow(phases_of(recipe), Setting.of(phases_of(recipe)[0], load_endpoints(recipe.data))):
            for losses in underway.losses:
                ...

    Args:
        phases: asked for one after the other, so that a caller may decide on the next when the one before has ended.
        read_parent: what is known of a phase's parent, where that is not the phase before.
    """
    before: Underway | None = None
    for phase in phases:
        began = time.monotonic()
        if before is not None and before.phase.fingerprint == phase.parent:
            state, earlier = before.state, before.anchor
        else:
            state, earlier = first_state(phase, setting, read_parent)
        if phase.parent is None:
            anchor = [network.to(setting.device) for network in first_anchor(setting.spec)]
        else:
            anchor = [*(earlier if phase.composed else ()), frozen(state.transport_map)]
        if phase.composed:  # an increment starts as the identity
            states.fresh_map(state, setting.spec, seed=phase.seed)
        state.step = 0
        if setting.channels_last:
            states.channels_last(state)
            anchor = [network.to(memory_format=torch.channels_last) for network in anchor]
        problem = problem_of(phase, num_microbatches=setting.num_microbatches, compiled=setting.compiled)
        draw = batches_of(phase, setting.endpoints, setting.share.rows, setting.device)
        losses = train_phase(state, problem, anchor, draw, setting.share.mean_in_place)
        before = Underway(phase, state, anchor, losses, began)
        yield before


def first_state(
    phase: Phase, setting: Setting, read_parent: Callable[[Phase], Parent] | None
) -> tuple[State, Sequence[nn.Module]]:
    """The state that a loop begins with, and the increments before it: new for phase 0, the parent's for all others."""
    state = new_state(phase, setting)
    if phase.parent is None:
        return state, ()
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
    """A copy that later steps do not change."""
    return copy.deepcopy(module).requires_grad_(False).eval()
