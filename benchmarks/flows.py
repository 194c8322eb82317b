"""A recipe's flow trained in this process, by the pipeline's own loop, under a budget of CPU-seconds and looked at on the way."""

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import nn

from pipeline.data.endpoints import Endpoints, load_endpoints
from pipeline.generator import Generator
from pipeline.phase import Phase, phases_of
from pipeline.recipe import Recipe
from pipeline.recipes.loading import load_recipe
from pipeline.recipes.rules import validate
from pipeline.training import loop
from pipeline.training.solving.setting import Setting
from pipeline.training.solving.start import frozen

CPU = torch.device("cpu")
NUM_TRIED = 40
"""Steps by which a phase's speed is known."""


@dataclass(frozen=True)
class Trained:
    """A trained phase: its generator, its potential, and what the flow has cost so far.

    Attributes:
        num_steps: optimizer steps.
        cpu_seconds: of this process, evaluation not included.
        potential: the network D of v.
    """

    generator: Generator
    potential: nn.Module
    num_steps: int
    cpu_seconds: float


def shipped(name: str) -> Recipe:
    """Read the shipped recipe of a name."""
    return load_recipe(name)


def train_flow(
    recipe: Recipe, cpu_seconds: float | None = None, ends: Endpoints | None = None, looks: Iterable[float] = ()
) -> Iterator[Trained]:
    """Train a recipe's flow in this process; yield each phase as it ends.

    Args:
        cpu_seconds: budget of the whole flow; every phase takes an equal share of it instead of its `num_steps`, which are as
            many as a short flow before it says that there is time for: a schedule within the phase has to know.
        ends: source and target in place of the recipe's.
        looks: rising CPU-seconds, at each of which a phase that is not over is yielded too.
    """
    validate(recipe)
    phases, endpoints = phases_of(recipe), ends or load_endpoints(recipe.data)
    setting = Setting.of(phases[0], endpoints)
    if cpu_seconds is not None:
        phases = [*_with_steps(phases, _afforded(phases, setting, cpu_seconds / len(phases)))]
    averaged: list[nn.Module] = []
    num_steps, spent, marks = 0, 0.0, [*looks]
    began = time.process_time()
    for underway in loop.train_flow(phases, setting):
        phase, state = underway.phase, underway.state
        share = None if cpu_seconds is None else cpu_seconds * (phase.k + 1) / len(phases)
        earlier = averaged if phase.composed else []
        for _ in underway.losses:
            spent = time.process_time() - began
            if share is not None and spent >= share:
                break
            if marks and spent >= marks[0]:
                marks = [mark for mark in marks if mark > spent]
                maps = [*earlier, frozen(state.averaged_map)]
                yield Trained(Generator(phase, endpoints, maps), frozen(state.potential), num_steps + state.step, spent)
                began = time.process_time() - spent
        spent = time.process_time() - began
        num_steps += state.step
        averaged = [*earlier, frozen(state.averaged_map)]
        yield Trained(Generator(phase, endpoints, averaged), frozen(state.potential), num_steps, spent)
        began = time.process_time() - spent


def _afforded(phases: Sequence[Phase], setting: Setting, cpu_seconds: float) -> list[int]:
    """Find how many steps of each phase there are CPU-seconds for, from the first steps of each."""
    counts, began = [], time.process_time()
    for underway in loop.train_flow(_with_steps(phases, [NUM_TRIED] * len(phases)), setting):
        times = [time.process_time() for _ in underway.losses]
        per_step = (times[-1] - times[NUM_TRIED // 2]) / (NUM_TRIED - 1 - NUM_TRIED // 2)
        before_steps = times[0] - began
        counts.append(max(1, int((cpu_seconds - before_steps) / per_step)))
        began = time.process_time()
    return counts


def _with_steps(phases: Sequence[Phase], counts: Sequence[int]) -> Iterator[Phase]:
    """Give each phase its own number of steps."""
    parent: str | None = None
    for phase, count in zip(phases, counts, strict=True):
        training = replace(phase.training, num_steps=count)
        changed = replace(
            phase, parent=parent, training=training, steps_before=sum(counts[: phase.k]) if phase.steps_before else 0
        )
        parent = changed.fingerprint
        yield changed
