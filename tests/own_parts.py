"""Parts of one's own, as somebody outside this repository writes them."""

from pathlib import Path

import pytest

MODULE = '''
import numpy as np
from torch import nn

from components.costs import Cost
from components.divergences.base import FDivergence
from components.networks.pair import NetworkPair
from of_mine import power


class Alpha(FDivergence):
    """f(t) = (t^a - a t + a - 1) / (a (a - 1)), a > 1 (Amari)."""

    curvature = 1.0

    def __init__(self, alpha: float = 2.0):
        self.alpha = alpha

    def generator(self, t):
        a = self.alpha
        return (t**a - a * t + a - 1) / (a * (a - 1))

    def conjugate(self, s):
        a = self.alpha
        return (power(1 + (a - 1) * s, a / (a - 1)) - 1) / a

    def conjugate_gradient(self, s):
        return power(1 + (self.alpha - 1) * s, 1 / (self.alpha - 1))


class Huber(Cost):
    def __init__(self, delta=1.0):
        self.delta = delta

    def between(self, x, y):
        squared = (x - y).flatten(1).square().sum(1)
        return 2 * self.delta**2 * ((1 + squared / self.delta**2).sqrt() - 1)


def windows(length=8, n=200):
    walk = np.cumsum(np.random.default_rng(0).normal(size=n + length))
    return np.stack([walk[i : i + length] for i in range(n)])


class Shift(nn.Module):
    def __init__(self, spec):
        super().__init__()
        dim = spec.sample_shape[0]
        self.net = nn.Sequential(nn.Linear(dim, spec.width), nn.SiLU(), nn.Linear(spec.width, dim))

    def forward(self, x, z):
        return x + self.net(x)


class Score(nn.Module):
    def __init__(self, spec):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(spec.sample_shape[0], spec.width), nn.SiLU(), nn.Linear(spec.width, 1))

    def forward(self, x):
        return self.net(x).squeeze(1)


class Plain(NetworkPair):
    takes = frozenset({"width"})

    def build_map(self, spec):
        return Shift(spec)

    def build_potential(self, spec):
        return Score(spec)
'''
HELPER = """
def power(base, exponent):
    return base.clamp(min=0) ** exponent
"""
RECIPE = """
data: {target: {use: MODULE:windows, length: 6}}
network: {kind: "MODULE:Plain", width: 32}
jko: {divergence: {use: MODULE:Alpha, alpha: 3}, cost: "MODULE:Huber( delta=2.0 )", num_phases: 2}
training: {num_steps: 4, batch_size: 16}
"""


def written(folder: Path, monkeypatch: pytest.MonkeyPatch, module: str) -> Path:
    """The path of a recipe whose parts are in a module of this name beside it, and so within reach of Python."""
    (folder / f"{module}.py").write_text(MODULE.replace("of_mine", f"{module}_powers"))
    (folder / f"{module}_powers.py").write_text(HELPER)
    path = folder / "mine.yaml"
    path.write_text(RECIPE.replace("MODULE", module))
    monkeypatch.syspath_prepend(folder)
    return path
