"""The loop over the phases of a flow, as a plain function: whoever calls it adds workers, a store and checkpoints around it."""

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch
from torch import nn

from components import state as states
from components.jko import Losses, train_phase
from components.state import State
from components.streams import stream
from pipeline.errors import Diverged
from pipeline.parts.faults import OwnParts
from pipeline.phase import Phase
from pipeline.training.ranks import Share
from pipeline.training.solving.batches import batches_of
from pipeline.training.solving.problem import steps_of
from pipeline.training.solving.setting import Setting
from pipeline.training.solving.start import Parent, first_state, frozen

NUM_WINDOWS = 100
"""Step losses are averaged over a hundredth of a phase: what the curves show, and how late a divergence is noticed at most."""


@dataclass(frozen=True)
class Underway:
    """A phase that is being trained: its state, and its losses step after step.

    Attributes:
        state: what its steps change; the next phase goes on from it.
        anchor: T_{k-1}, frozen: one map, or all increments so far.
        losses: of each step. A step is made when its losses are asked for, and who asks no more ends the phase.
        began: when the loop turned to it, by `time.monotonic`.
        solved: figures of what was solved before the first step, by name.
        own_parts: what may fail in a step, or spoil its losses.
    """

    phase: Phase
    state: State
    anchor: Sequence[nn.Module]
    losses: Iterator[Losses]
    began: float
    solved: Mapping[str, float]
    own_parts: OwnParts


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
        losses = train_phase(state, steps, anchor, draw, setting.share.mean_in_place)
        return Underway(phase, state, anchor, losses, began, steps.solved, own_parts)


def windows(underway: Underway, share: Share, every: int = 0) -> Iterator[dict[str, float]]:
    """Take the steps of a phase, and give the mean losses of each hundredth of it, over all processes.

    Args:
        every: a window ends at multiples of so many steps as well; 0: at none.

    Raises:
        Diverged: a loss of the window, or the map in the end, is not finite.
    """
    state, num_steps = underway.state, underway.phase.num_steps
    full = math.ceil(num_steps / NUM_WINDOWS)
    window: list[Losses] = []
    last_finite: dict[str, float] = {}
    for losses in _watched(underway, share):
        window.append(losses)
        if len(window) == full or state.step == num_steps or (every and state.step % every == 0):
            last_finite = mean_losses(window, underway, last_finite, share)
            window.clear()
            yield last_finite
    if not all(bool(parameter.isfinite().all()) for parameter in state.transport_map.parameters()):
        raise _diverged(underway, state.step, "the map's last update", last_finite)


def _watched(underway: Underway, share: Share) -> Iterator[Losses]:
    """Give the losses of each step; an own part that fails in one is named."""
    phase, state, own_parts = underway.phase, underway.state, underway.own_parts
    device = next(state.transport_map.parameters()).device
    while True:
        with (
            own_parts.told(f"in step {state.step} of phase {phase.k}", alone=share.weight == 1),
            _own_numbers(phase, state.step, share, device) if own_parts.draw_in_steps else nullcontext(),
        ):
            losses = next(underway.losses, None)
        if losses is None:
            return
        yield losses


def _own_numbers(phase: Phase, step: int, share: Share, device: torch.device) -> AbstractContextManager[None]:
    """Let own parts draw from torch's global generator what the step and the worker's first row decide."""
    number = int(stream(phase.seed, "own_parts", phase=phase.k, step=step).integers(2**31 - 1 - share.n))
    return states.seeded(number + (share.rows.start or 0), device)


def mean_losses(window: list[Losses], underway: Underway, last_finite: dict[str, float], share: Share) -> dict[str, float]:
    """Average the losses of a window's steps, the last ones that were taken, over all processes.

    Raises:
        Diverged: on every rank alike, at the first step of the window with a loss that is not finite.
    """
    step = underway.state.step
    rows = torch.stack([torch.stack(losses) for losses in window])
    share.mean_in_place([rows])
    for row, at in zip(rows.tolist(), range(step - len(window), step), strict=True):
        for name, value in zip(Losses._fields, row, strict=True):
            if not math.isfinite(value):
                raise _diverged(underway, at, name, last_finite)
        last_finite = dict(zip(Losses._fields, row, strict=True))
    means = dict(zip(Losses._fields, rows.mean(0).tolist(), strict=True))
    source_fixed = underway.phase.jko.source_functional.fixes_marginal  # otherwise L_v contains the cost
    return {**means, "divergence": -means["potential_loss"]} if source_fixed else means


def _diverged(underway: Underway, step: int, what: str, last_finite: dict[str, float]) -> Diverged:
    return Diverged(underway.phase.k, step, what, last_finite, underway.own_parts.suspected())
