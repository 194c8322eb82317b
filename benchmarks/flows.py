"""A recipe's flow trained in this process, without Ray and store: the same phases and numbers as the pipeline's."""

import copy
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import torch
from torch import nn

from components import state as states
from components.jko import train_phase
from pipeline.command import cli
from pipeline.command.flags import Run
from pipeline.data.endpoints import Endpoints, load_endpoints
from pipeline.generator import Generator
from pipeline.phase import phases_of
from pipeline.recipe import Recipe
from pipeline.recipes.rules import validate
from pipeline.training.build import batches_of, first_anchor, new_state, problem_of, shape_of

CPU = torch.device("cpu")
NO_LIMIT = 10**9


@dataclass(frozen=True)
class Trained:
    """A phase's generator and what it has cost since the flow began.

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
    """The recipe of that name."""
    command = cli.parse(["run", name])
    assert isinstance(command, Run)
    return cli.recipe_of(command)


def train_flow(
    recipe: Recipe, cpu_seconds: float | None = None, ends: Endpoints | None = None, looks: Iterable[float] = ()
) -> Iterator[Trained]:
    """Every phase of a recipe's flow, in order.

    Args:
        cpu_seconds: budget of the whole flow; every phase takes an equal share of it instead of its `num_steps`.
        ends: source and target in place of the recipe's.
        looks: seconds, rising, after which a phase that is not over is yielded too.
    """
    validate(recipe)
    endpoints = ends or load_endpoints(recipe.data)
    state: states.State | None = None
    anchor: list[nn.Module] = []
    averaged: list[nn.Module] = []
    num_steps, spent, marks = 0, 0.0, [*looks]
    for k, identity in enumerate(phases_of(recipe)):
        phase = identity
        if cpu_seconds is not None:
            training = replace(identity.training, num_steps=NO_LIMIT)
            phase = replace(identity, training=training, steps_before=num_steps)
        if state is None:
            state = new_state(phase, endpoints, CPU)
            anchor = first_anchor(shape_of(phase, endpoints))
        elif phase.composed:
            states.fresh_map(state, shape_of(phase, endpoints), seed=recipe.seed)
        state.step = 0
        share = None if cpu_seconds is None else cpu_seconds * (k + 1) / recipe.jko.num_phases
        draw = batches_of(phase, endpoints, slice(None), CPU)
        kept = slice(None) if phase.composed else slice(0, 0)
        began = time.process_time() - spent
        for _ in train_phase(state, problem_of(phase), anchor, draw):
            spent = time.process_time() - began
            if share is not None and spent >= share:
                break
            if marks and spent >= marks[0]:
                marks = [mark for mark in marks if mark > spent]
                maps = [*averaged[kept], frozen(state.averaged_map)]
                yield Trained(Generator(phase, endpoints, maps), frozen(state.potential), num_steps + state.step, spent)
                began = time.process_time() - spent
        spent = time.process_time() - began
        num_steps += state.step
        anchor = [*anchor[kept], frozen(state.transport_map)]
        averaged = [*averaged[kept], frozen(state.averaged_map)]
        yield Trained(Generator(phase, endpoints, averaged), frozen(state.potential), num_steps, spent)


def frozen(module: nn.Module) -> nn.Module:
    """A copy that later steps do not change."""
    return copy.deepcopy(module).requires_grad_(False).eval()
