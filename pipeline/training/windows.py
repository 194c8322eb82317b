"""The mean losses of a phase under way: what its curves show, and where a divergence is noticed."""

import math
from collections.abc import Iterator

import torch

from components.jko import Losses
from pipeline.errors import Diverged
from pipeline.training.loop import Underway
from pipeline.training.ranks import Share

NUM_WINDOWS = 100
"""Step losses are averaged over a hundredth of a phase: what the curves show, and how late a divergence is noticed at most."""


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
    for losses in underway.losses:
        window.append(losses)
        if len(window) == full or state.step == num_steps or (every and state.step % every == 0):
            last_finite = mean_losses(window, underway, last_finite, share)
            window.clear()
            yield last_finite
    if not all(bool(parameter.isfinite().all()) for parameter in state.transport_map.parameters()):
        raise _diverged(underway, state.step, "the map's last update", last_finite)


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
    return Diverged(underway.phase.k, step, what, last_finite, underway.suspects)
