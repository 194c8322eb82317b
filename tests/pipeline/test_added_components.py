"""A divergence and a pair of networks that are added: one file, one line in the table, and a recipe that names it trains."""

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

import pytest
import torch

from components.jko import Losses
from components.state import State
from components.table import DIVERGENCES, NETWORK_PAIRS
from pipeline.data.endpoints import load_endpoints
from pipeline.phase import phases_of
from pipeline.recipe import Recipe
from pipeline.recipes import reading
from pipeline.recipes.resolution import resolve
from pipeline.training.loop import train_flow
from pipeline.training.solving.setting import Setting

HELLINGER = '''
import torch

from components.divergences.base import FDivergence


class Hellinger(FDivergence):
    """f(t) = (sqrt(t) - 1)^2, whose f*(s) = s / (1 - s) is finite for s < 1: v = exp(D) - 1."""

    curvature = 0.5
    finite_conjugate = False

    def generator(self, t):
        return (t.sqrt() - 1).square()

    def conjugate(self, s):
        return s / (1 - s)

    def conjugate_gradient(self, s):
        return (1 - s) ** -2

    def potential(self, output):
        return torch.expm1(output)
'''
SHIFTS = """
import torch
from torch import nn

from components.networks.pair import NetworkPair, Rule


class Shift(nn.Module):
    def __init__(self, spec):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(2, spec.width), nn.Tanh(), nn.Linear(spec.width, 2))

    def forward(self, x, z):
        return x + self.net(x)


class Bowl(nn.Module):
    def __init__(self, spec):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(2, spec.width), nn.Tanh(), nn.Linear(spec.width, 1))
        self.register_buffer("centre", torch.zeros(2))
        self.register_buffer("num_seen", torch.zeros(()))

    def forward(self, x):
        return self.net(x - self.centre).squeeze(1)


class Shifts(NetworkPair):
    takes = frozenset({"width"})
    defaults = {"network.width": 8}

    def build_map(self, spec):
        return Shift(spec)

    def build_potential(self, spec):
        return Bowl(spec)

    def start_from(self, potential, draw):
        potential.centre.copy_((draw("source").mean(0) + draw("target").mean(0)) / 2)

    def track(self, potential, source, transported, reduce):
        potential.num_seen += sum(len(part) for part in transported)

    def rules(self, fields):
        yield Rule("network.width", fields["network.width"] % 2 == 0, "even")
"""
NUM_PHASES, NUM_STEPS, BATCH = 2, 3, 8
REST = f"training: {{num_steps: {NUM_STEPS}, batch_size: {BATCH}, penalty_every: 2}}\n"


Add = Callable[..., None]


@pytest.fixture
def add(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Add:
    """Write a file, and the line that a table of components would have."""

    def write(code: str, table: dict[str, str], *, name: str, where: str, fields: Sequence[str]) -> None:
        (tmp_path / f"{where.partition(':')[0]}.py").write_text(code)
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.setitem(table, name, where)
        for field in fields:  # as they are where the line stands from the start
            monkeypatch.setitem(reading.KINDS, field, Literal[tuple(table)])

    return write


def recipe_of(folder: Path, text: str) -> Recipe:
    path = folder / "mine.yaml"
    path.write_text(text)
    return resolve(reading.read(path), {}).recipe


def trained(recipe: Recipe) -> tuple[State, list[Losses]]:
    """The state after the last phase, and the losses of all steps."""
    phases = phases_of(recipe)
    steps, state = [], None
    for underway in train_flow(phases, Setting.of(phases[0], load_endpoints(recipe.data))):
        steps += list(underway.losses)
        state = underway.state
    assert state is not None
    return state, steps


def test_a_divergence_is_one_file_and_one_line(tmp_path: Path, add: Add) -> None:
    text = f"jko: {{divergence: hellinger, num_phases: {NUM_PHASES}, h: .inf}}\n{REST}"
    with pytest.raises(ValueError, match=r"jko\.divergence must be one of kl, jsd, .*, not hellinger"):
        recipe_of(tmp_path, text)
    fields = "jko.divergence", "jko.source_divergence"
    add(HELLINGER, DIVERGENCES, name="hellinger", where="hellinger_of_mine:Hellinger", fields=fields)
    recipe = recipe_of(tmp_path, text)
    state, steps = trained(recipe)
    assert len(steps) == NUM_PHASES * NUM_STEPS
    assert torch.stack([torch.stack(losses) for losses in steps]).isfinite().all()
    other, _ = trained(recipe_of(tmp_path, text.replace("hellinger", "forward_kl")))
    assert not torch.equal(state.transport_map.net[0].weight, other.transport_map.net[0].weight)
    with pytest.raises(ValueError, match=r"jko\.source_divergence must be one of kl, jsd, chi2, softplus, linear, not hellinger"):
        recipe_of(tmp_path, text.replace("divergence: hellinger", "source_divergence: hellinger"))


def test_a_pair_of_networks_is_one_file_and_one_line(tmp_path: Path, add: Add) -> None:
    text = f"network: {{kind: shifts}}\njko: {{num_phases: {NUM_PHASES}}}\n{REST}"
    with pytest.raises(ValueError, match=r"network\.kind must be one of perceptron, residual, .*, not shifts"):
        recipe_of(tmp_path, text)
    add(SHIFTS, NETWORK_PAIRS, name="shifts", where="shifts_of_mine:Shifts", fields=["network.kind"])
    recipe = recipe_of(tmp_path, text)
    assert (recipe.network.width, recipe.network.num_frequencies) == (8, 0)
    state, steps = trained(recipe)
    assert len(steps) == NUM_PHASES * NUM_STEPS
    assert state.potential.num_seen == NUM_PHASES * NUM_STEPS * BATCH
    assert 0 < state.potential.centre.norm() < math.inf
    assert type(state.averaged_map).__module__ == "shifts_of_mine"

    deeper = recipe_of(tmp_path, text.replace("shifts", "shifts, depth: 7"))
    assert phases_of(deeper)[-1].fingerprint == phases_of(recipe)[-1].fingerprint, "a depth that is not taken has no influence"
    with pytest.raises(ValueError, match=r"network\.z_dim must be 0 when network\.kind is shifts, not 2"):
        recipe_of(tmp_path, text.replace("shifts", "shifts, z_dim: 2"))
    with pytest.raises(ValueError, match=r"network\.width must be even when network\.kind is shifts, not 5"):
        recipe_of(tmp_path, text.replace("shifts", "shifts, width: 5"))
