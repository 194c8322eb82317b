"""The steps of a phase, with its own parts watched: one that fails is named, and one that draws does so by number of step."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext

from torch import nn

from components.gradients import Batch
from components.jko import Losses, Steps, train_phase
from components.state import State
from components.streams import seeded, stream
from pipeline.parts.faults import OwnParts
from pipeline.phase import Phase
from pipeline.training.ranks import Share


def losses_of(
    phase: Phase,
    state: State,
    steps: Steps,
    anchor: Sequence[nn.Module],
    draw: Callable[[int], Batch],
    *,
    share: Share,
    own_parts: OwnParts,
) -> Iterator[Losses]:
    """Take the steps of a phase from `state.step` to its end, and give the losses of each; who asks no more ends it.

    Args:
        draw: (step) -> this rank's slice of the step's batch.
        own_parts: what may fail in a step, or draw random numbers in it.

    Raises:
        PartFailed: an own part failed in a step.
    """
    losses = train_phase(state, steps, anchor, draw, share.mean_in_place)
    device = next(state.transport_map.parameters()).device
    while True:
        numbers: AbstractContextManager[None] = nullcontext()
        if own_parts.draw_in_steps:  # what the step and the worker's first row decide
            rng = stream(phase.seed, "own_parts", phase=phase.k, step=state.step)
            numbers = seeded(int(rng.integers(2**31 - 1 - share.n)) + (share.rows.start or 0), device)
        with own_parts.told(f"in step {state.step} of phase {phase.k}", alone=share.weight == 1), numbers:
            of_step = next(losses, None)
        if of_step is None:
            return
        yield of_step
