"""The loop over the phases of a flow, as a plain function: whoever calls it adds workers, a store and checkpoints around it."""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import nn

from components import state as states
from components.jko import Losses
from components.state import State
from pipeline.parts.faults import OwnParts
from pipeline.phase import Phase
from pipeline.training.solving.batches import batches_of
from pipeline.training.solving.problem import steps_of
from pipeline.training.solving.setting import Setting
from pipeline.training.solving.start import Parent, first_state, frozen
from pipeline.training.solving.steps import losses_of


@dataclass(frozen=True)
class Underway:
    """A phase that is being trained: its state, and its losses step after step.

    Attributes:
        state: what its steps change; the next phase goes on from it.
        anchor: T_{k-1}, frozen: one map, or all increments so far.
        losses: of each step. A step is made when its losses are asked for, and who asks no more ends the phase.
        began: when the loop turned to it, by `time.monotonic`.
        solved: figures of what was solved before the first step, by name.
        suspects: own parts that may spoil its losses, as the end of a sentence.
    """

    phase: Phase
    state: State
    anchor: Sequence[nn.Module]
    losses: Iterator[Losses]
    began: float
    solved: Mapping[str, float]
    suspects: str


def train_flow(
    phases: Iterable[Phase], setting: Setting, read_parent: Callable[[Phase], Parent] | None = None
) -> Iterator[Underway]:
    """Turn to each phase in order: what is yielded has made no step yet, and its losses are there to be asked for.

    Example:
        >>> from pipeline.data.endpoints import load_endpoints
        >>> from pipeline.phase import phases_of
        >>> from pipeline.recipe import Jko, Recipe, Training
        >>> recipe = Recipe(jko=Jko(num_phases=2), training=Training(num_steps=3, batch_size=8))
        >>> setting = Setting.of(phases_of(recipe)[0], load_endpoints(recipe.data))
        >>> [len(list(underway.losses)) for underway in train_flow(phases_of(recipe), setting)]
        [3, 3]

    Args:
        phases: asked for one after the other, so that a caller may decide on the next when the one before has ended.
        read_parent: what is known of a phase's parent, where that is not the phase before.
    """
    before: Underway | None = None
    for phase in phases:
        before = _begun(phase, before, setting, read_parent)
        yield before


def _begun(phase: Phase, before: Underway | None, setting: Setting, read_parent: Callable[[Phase], Parent] | None) -> Underway:
    """Turn to a phase, after the one before it where that is its parent."""
    began, own_parts = time.monotonic(), OwnParts.of(phase)
    with own_parts.told(f"before the first step of phase {phase.k}"):
        if before is not None and before.phase.fingerprint == phase.parent:
            state, earlier = before.state, before.anchor
        else:
            state, earlier = first_state(phase, setting, read_parent)
        anchor = [*earlier]
        if phase.parent is not None:
            anchor = [*(earlier if phase.composed else ()), frozen(state.transport_map)]
        if phase.composed:  # an increment starts as the identity
            states.fresh_map(state, setting.spec, seed=phase.seed)
        state.step = 0
        if setting.channels_last:
            states.channels_last(state)
            anchor = [network.to(memory_format=torch.channels_last) for network in anchor]
        steps = steps_of(phase, setting, anchor)
        draw = batches_of(phase, setting.endpoints, setting.share.rows, setting.device)
        losses = losses_of(phase, state, steps, anchor, draw, share=setting.share, own_parts=own_parts)
        return Underway(phase, state, anchor, losses, began, steps.solved, own_parts.suspected())
