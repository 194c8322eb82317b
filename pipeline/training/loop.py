"""The loop over the phases of a flow, as a plain function: whoever calls it adds workers, a store and checkpoints around it."""

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass

import torch
from torch import nn

from components import state as states
from components.jko import Losses, train_phase
from components.state import State
from components.streams import stream
from pipeline.errors import Diverged
from pipeline.parts.faults import own_fields, suspects, told
from pipeline.phase import Phase
from pipeline.training.build import Parent, Setting, batches_of, first_state, frozen, steps_of
from pipeline.training.ranks import Share

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
    """

    phase: Phase
    state: State
    anchor: Sequence[nn.Module]
    losses: Iterator[Losses]
    began: float
    solved: Mapping[str, float]


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
        with told(phase, lambda phase=phase: f"before the first step of phase {phase.k}"):  # type: ignore[misc]  # mypy cannot infer a lambda with a default
            before = _begun(phase, before, setting, read_parent)
        yield before


def _begun(phase: Phase, before: Underway | None, setting: Setting, read_parent: Callable[[Phase], Parent] | None) -> Underway:
    """Turn to a phase, after the one before it where that is its parent."""
    began = time.monotonic()
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
    return Underway(phase, state, anchor, losses, began, steps.solved)


def windows(underway: Underway, share: Share, every: int = 0) -> Iterator[dict[str, float]]:
    """Take the steps of a phase, and give the mean losses of each hundredth of it, over all processes.

    Args:
        every: a window ends at multiples of so many steps as well; 0: at none.

    Raises:
        Diverged: a loss of the window, or the map in the end, is not finite.
    """
    phase, state = underway.phase, underway.state
    full = math.ceil(phase.num_steps / NUM_WINDOWS)
    window: list[Losses] = []
    last_finite: dict[str, float] = {}
    for losses in _watched(underway, share):
        window.append(losses)
        if len(window) == full or state.step == phase.num_steps or (every and state.step % every == 0):
            last_finite = mean_losses(window, phase, state.step, last_finite, share)
            window.clear()
            yield last_finite
    if not all(bool(parameter.isfinite().all()) for parameter in state.transport_map.parameters()):
        raise Diverged(phase.k, state.step, "the map's last update", last_finite, suspects(phase))


def _watched(underway: Underway, share: Share) -> Iterator[Losses]:
    """Give the losses of each step; an own part that fails in one is named."""
    phase, state = underway.phase, underway.state
    draws = own_fields(phase).keys() - {"data.source", "data.target"}  # what is built in draws nothing in a step
    device = next(state.transport_map.parameters()).device
    while True:
        numbers = stream(phase.seed, "own_parts", phase=phase.k, step=state.step).integers(2**31 - 1 - share.n)
        with (
            told(phase, lambda: f"in step {state.step} of phase {phase.k}", alone=share.weight == 1),
            states.seeded(int(numbers) + (share.rows.start or 0), device) if draws else nullcontext(),
        ):
            losses = next(underway.losses, None)
        if losses is None:
            return
        yield losses


def mean_losses(window: list[Losses], phase: Phase, step: int, last_finite: dict[str, float], share: Share) -> dict[str, float]:
    """Average the losses of a window's steps over all processes.

    Raises:
        Diverged: on every rank alike, at the first step of the window with a loss that is not finite.
    """
    rows = torch.stack([torch.stack(losses) for losses in window])
    share.mean_in_place([rows])
    for row, at in zip(rows.tolist(), range(step - len(window), step), strict=True):
        for name, value in zip(Losses._fields, row, strict=True):
            if not math.isfinite(value):
                raise Diverged(phase.k, at, name, last_finite, suspects(phase))
        last_finite = dict(zip(Losses._fields, row, strict=True))
    means = dict(zip(Losses._fields, rows.mean(0).tolist(), strict=True))
    source_fixed = phase.jko.source_functional.fixes_marginal  # otherwise L_v contains the cost
    return {**means, "divergence": -means["potential_loss"]} if source_fixed else means
