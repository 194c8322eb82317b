"""A recipe's flow trained in this process, by the pipeline's own loop, under a budget of CPU-seconds and looked at on the way."""

import time
from collections.abc import Iterable, Iterator
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
from pipeline.training.build import Setting, frozen

CPU = torch.device("cpu")
NO_LIMIT = 10**9


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
        cpu_seconds: budget of the whole flow; every phase takes an equal share of it instead of its `num_steps`.
        ends: source and target in place of the recipe's.
        looks: rising CPU-seconds, at each of which a phase that is not over is yielded too.
    """
    validate(recipe)
    phases, endpoints = phases_of(recipe), ends or load_endpoints(recipe.data)
    averaged: list[nn.Module] = []
    num_steps, spent, marks = 0, 0.0, [*looks]

    def unlimited() -> Iterator[Phase]:
        parent: str | None = None
        for phase in phases:
            training = replace(phase.training, num_steps=NO_LIMIT)
            without_end = replace(phase, parent=parent, training=training, steps_before=num_steps)
            parent = without_end.fingerprint
            yield without_end

    for underway in loop.train_flow(phases if cpu_seconds is None else unlimited(), Setting.of(phases[0], endpoints)):
        phase, state = underway.phase, underway.state
        share = None if cpu_seconds is None else cpu_seconds * (phase.k + 1) / len(phases)
        earlier = averaged if phase.composed else []
        began = time.process_time() - spent
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
