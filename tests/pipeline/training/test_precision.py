"""A recipe that asks for 16 bits of a processor that has none is told so, with the factor; what ships for CPUs does not ask."""

import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from flows import ROOT, command_environment, tiny

from benchmarks.flows import shipped
from components.networks.pair import NetworkSpec
from components.table import network_pair
from pipeline.data.endpoints import load_endpoints
from pipeline.phase import phases_of
from pipeline.recipes.reading import RECIPES
from pipeline.training.precision import slow_bfloat16, slowdown
from pipeline.training.solving.setting import Setting

FLAGS = ["--network.kind", "light", "--network.width", "32", "--data.no-standardise", "--jko.num-phases", "2"]


def test_recipes_for_processors_are_in_float32_and_those_for_gpus_may_not_be() -> None:
    kinds = {shipped(path.stem).network.kind for path in RECIPES.glob("*.yaml") if shipped(path.stem).training.bfloat16}
    assert kinds == {"large", "large_256"}


@pytest.mark.parametrize("kind", ["light", "large", "large_256", "perceptron"])
def test_the_measurement_is_quick_for_every_pair_and_draws_no_random_number(kind: str) -> None:
    sides = {"light": (1, 28, 28), "large": (3, 32, 32), "large_256": (3, 256, 256), "perceptron": (2,)}
    spec = NetworkSpec(sides[kind], width=128 if kind == "large" else 64, depth=3, z_dim=4, pair=network_pair(kind))
    before, began = torch.random.get_rng_state(), time.process_time()
    assert slowdown(spec, 8) > 0
    assert time.process_time() - began < 20, "far less than a second, but for processors without 16 bits"
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.thorough
def test_a_machine_that_is_slow_in_16_bits_is_named_with_the_factor_once(home: Path) -> None:
    """oneDNN is told to make do with AVX2, as on a processor that has no more."""
    arguments = ["run", "digits", *FLAGS, "--training.bfloat16", "--training.num-steps", "3", "--training.batch-size", "32"]
    done = subprocess.run(
        [sys.executable, "-m", "pipeline", *arguments],
        cwd=ROOT,
        env={**command_environment(home), "ONEDNN_MAX_CPU_ISA": "AVX2"},
        capture_output=True,
        text=True,
        check=False,
    )
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    assert said.count(" x as long for these networks in bfloat16 as in float32") == 1, said
    factor = float(said.partition(" x as long")[0].rpartition("takes ")[2])
    assert 1.2 < factor < 200


def test_where_16_bits_are_as_fast_nothing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.training.precision.SLOW_BY", 1e9)
    phase, *_ = phases_of(tiny(bfloat16=True))
    assert slow_bfloat16(phase, Setting.of(phase, load_endpoints(phase.data))) is None
    monkeypatch.setattr("pipeline.training.precision.SLOW_BY", 0.0)
    assert "training.bfloat16" in str(slow_bfloat16(phase, Setting.of(phase, load_endpoints(phase.data))))
    without, *_ = phases_of(tiny())
    assert slow_bfloat16(without, Setting.of(without, load_endpoints(without.data))) is None
