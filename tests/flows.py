"""Flows small enough to train in seconds, and what tests ask of them."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from components import state as states
from pipeline.cluster import Cluster
from pipeline.data.resolution import resolve
from pipeline.phase import Phase
from pipeline.recipe import Data, Jko, Network, Recipe, Training
from pipeline.store.maps import MapRef
from pipeline.store.phases import Store
from pipeline.training.flow import run_flow
from pipeline.training.group import PhaseResult

X = np.random.default_rng(0).normal(size=(300, 3)) * [1, 2, 3] + 5
"""Rows of three columns, for flows of Python."""
ROOT = Path(__file__).resolve().parents[1]
FILES = states.FILES


QUICK = ["--evaluation.num-samples=200", "--evaluation.num-pairs=1"]
"""Flags of commands whose figures do not matter to a test: the full ones take seconds of every core."""


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
    cluster = cluster or Cluster()
    flow = run_flow(resolve(recipe, cluster), name="test", store=store, cluster=cluster, observer=observer or Quiet())
    return list(flow)


def weights(store: Store, ref: MapRef) -> dict[str, torch.Tensor]:
    """Every tensor that a phase published, by file and name."""
    return {f"{file}/{name}": tensor for file, tensors in store.load(ref, FILES).items() for name, tensor in tensors.items()}


STILL = {"map_lr": 1e-12, "potential_lr": 1e-12, "beta1": 0.0, "beta2": 0.9999}
"""Fields of a recipe whose networks stay where they are, so that Adam's second moments record the gradient of every step.

Two programs that add up in another order (workers, microbatches, layouts, compiled code) agree in the gradients of equal networks
to rounding. In weights after several steps of Adam they agree to nothing: a gradient near zero is all rounding, and Adam makes a
full step of it.
"""
ROUNDING = 2.0**-23 * 1000
"""Relative error of a float32 gradient that a thousand additions and products may have; the smallest fault, a row of a batch that
is lost or counted twice, makes a hundred times as much."""


def assert_same_gradients(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> None:
    """Two published phases of STILL saw the same gradients at every step, but for ROUNDING of their norm."""
    for network in ("map", "potential"):
        moments = [name for name in a if name.startswith(f"{network}_optimizer/") and name.endswith("exp_avg_sq")]
        first, second = (torch.cat([phase[name].flatten() for name in moments]).double().sqrt() for phase in (a, b))
        assert first.norm() > 0
        assert (first - second).norm() <= ROUNDING * first.norm(), network


def assert_identical(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> None:
    assert a.keys() == b.keys()
    different = [name for name in a if not torch.equal(a[name], b[name])]
    assert not different


def command_environment(home: Path) -> dict[str, str]:
    return {**os.environ, "SJKO_HOME": str(home), "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
