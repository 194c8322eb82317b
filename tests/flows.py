"""Flows small enough to train in seconds, and what tests ask of them."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import torch

from components import state as states
from pipeline.cluster import Cluster
from pipeline.flow import PhaseResult, run_flow
from pipeline.phase import Phase
from pipeline.recipe import Data, Jko, Network, Recipe, Training
from pipeline.store import MapRef, Store

ROOT = Path(__file__).resolve().parents[1]
FILES = states.FILES


class Quiet:
    """An observer that remembers what it was told."""

    def __init__(self) -> None:
        self.trained: list[int] = []
        self.waited: list[int] = []

    @contextmanager
    def training(self, runs: dict[Phase, str]) -> Iterator[None]:
        self.trained += [phase.k for phase in runs]
        yield

    def waiting(self, phase: Phase) -> None:
        self.waited.append(phase.k)


def tiny(num_phases: int = 2, num_steps: int = 12, **changes: object) -> Recipe:
    """A flow of milliseconds per phase; `changes` replace fields of any group by name."""
    recipe = Recipe(
        data=Data(target="moons"),
        network=Network(width=8, depth=1, num_frequencies=2),
        jko=Jko(num_phases=num_phases),
        training=Training(num_steps=num_steps, batch_size=16),
    )
    for name, value in changes.items():
        if name == "seed":
            recipe = replace(recipe, seed=value)
            continue
        group = next(g for g in ("data", "network", "jko", "training") if hasattr(getattr(recipe, g), name))
        recipe = replace(recipe, **{group: replace(getattr(recipe, group), **{name: value})})
    return recipe


def train(recipe: Recipe, store: Store, cluster: Cluster | None = None, observer: Quiet | None = None) -> list[PhaseResult]:
    """The whole flow."""
    flow = run_flow(recipe, name="test", store=store, cluster=cluster or Cluster(), observer=observer or Quiet())
    return list(flow)


def weights(store: Store, ref: MapRef) -> dict[str, torch.Tensor]:
    """Every tensor that a phase published, by file and name."""
    return {f"{file}/{name}": tensor for file, tensors in store.load(ref, FILES).items() for name, tensor in tensors.items()}


def assert_identical(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> None:
    assert a.keys() == b.keys()
    different = [name for name in a if not torch.equal(a[name], b[name])]
    assert not different


def command_environment(home: Path) -> dict[str, str]:
    return {**os.environ, "SJKO_HOME": str(home), "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
