"""Own parts that fail in the middle of a flow: one sentence with part, field, phase and step; what is finished stays."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from flows import tiny, train
from own_parts import HELPER, MODULE
from torch import nn

from components.costs import Squared
from components.divergences.kl import KL
from components.networks.pair import NetworkPair, NetworkSpec
from pipeline.cluster import Cluster
from pipeline.command import cli
from pipeline.data.points import Points
from pipeline.data.source import At
from pipeline.errors import PartFailed
from pipeline.evaluation.built_in import PAIRS
from pipeline.evaluation.metrics import Metric
from pipeline.parts.faults import OwnParts
from pipeline.phase import phases_of
from pipeline.recipes.loading import load_recipe
from pipeline.store.phases import Store
from sjko import Diverged, Flow, FlowError, PartError

X = np.random.default_rng(0).normal(size=(300, 2)).astype(np.float32)
ROWS = 16
"""Rows of a batch of these flows, which no check of a part has."""
ENOUGH = 14
"""Steps after which parts fail: two in the second phase. A cost is asked for twice in each."""


class LateCost(Squared):
    calls = 0

    def between(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        self.calls += len(x) == ROWS
        if self.calls > 2 * ENOUGH:
            raise ZeroDivisionError("no cost\ntoday")
        return super().between(x, y)


class LateDivergence(KL):
    def __init__(self, how: Callable[[], object]) -> None:
        self.how, self.calls = how, 0

    def map_loss(self, *outputs: Any) -> torch.Tensor:
        self.calls += len(outputs[1]) == ROWS
        return super().map_loss(*outputs) * (self.how() if self.calls > ENOUGH else 1)  # type: ignore[operator,no-any-return]


class LateMap(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Linear(2, 2)
        self.calls = 0

    def forward(self, x: torch.Tensor, z: None) -> torch.Tensor:
        self.calls += self.training and len(x) == ROWS
        return x + self.net(x if self.calls < 3 else x[:, :1])


class LatePair(NetworkPair):
    takes = frozenset({"width"})

    def build_map(self, spec: NetworkSpec) -> nn.Module:
        return LateMap()

    def build_potential(self, spec: NetworkSpec) -> nn.Module:
        return nn.Sequential(nn.Linear(2, 8), nn.SiLU(), nn.Linear(8, 1), nn.Flatten(0))


@dataclass(frozen=True)
class LateSource(Points):
    how: Callable[[np.ndarray], np.ndarray] = lambda samples: samples

    def batch(self, at: At) -> np.ndarray:
        samples = super().batch(at)
        return self.how(samples) if (at.phase, at.step) == (1, 2) else samples


def source(how: Callable[[np.ndarray], np.ndarray]) -> LateSource:
    return LateSource(X[60:], X[:60], how=how)


def stop() -> int:
    raise SystemExit(0)


HERE = r"\(test_failing_parts\.py, line \d+, in \S+\)$"
FAILING: dict[str, tuple[Callable[[], Flow], Any, str, int]] = {
    "a cost that raises": (
        lambda: Flow(tiny(2), cost=LateCost()),
        X,
        r"^jko\.cost: (test_failing_parts:)?LateCost failed in step 2 of phase 1: ZeroDivisionError: no cost today " + HERE,
        1,
    ),
    "a divergence that raises": (
        lambda: Flow(tiny(2), divergence=LateDivergence(lambda: list[int]()[1])),
        X,
        r"^jko\.divergence: LateDivergence failed in step \d of phase 1: IndexError: list index out of range " + HERE,
        1,
    ),
    "a divergence that ends the program": (
        lambda: Flow(tiny(2), divergence=LateDivergence(stop)),
        X,
        r"^jko\.divergence: LateDivergence failed in step \d of phase 1: SystemExit: 0 " + HERE,
        1,
    ),
    "a map that changes shapes": (
        lambda: Flow(tiny(2, num_frequencies=0), network=LatePair()),
        X,
        r"^network\.kind: (test_failing_parts:)?LatePair failed in step 2 of phase 0: RuntimeError: mat1 and mat2 shapes .* "
        + HERE,
        0,
    ),
    "a source that has no more": (
        lambda: Flow(tiny(2)),
        source(lambda samples: next(iter(()))),
        r"^data\.target: LateSource failed in step 2 of phase 1: StopIteration: " + HERE,
        1,
    ),
    "a source of other shapes": (
        lambda: Flow(tiny(2)),
        source(lambda samples: samples[1:]),
        r"^data\.target: LateSource failed in step 2 of phase 1: it gives samples of the shape \(15, 2\) and not \(16, 2\)$",
        1,
    ),
    "a source with what is no number": (
        lambda: Flow(tiny(2)),
        source(lambda samples: samples * np.float32("nan")),
        r"^data\.target: LateSource failed in step 2 of phase 1: it gives samples with numbers that are not finite$",
        1,
    ),
}


@pytest.mark.parametrize("case", FAILING)
def test_a_part_that_fails_in_training_is_named_and_finished_phases_stay(case: str) -> None:
    make, x, message, num_finished = FAILING[case]
    flow = make()
    with pytest.raises(PartFailed, match=message) as caught:
        flow.fit(x)
    assert isinstance(caught.value, FlowError)
    assert isinstance(caught.value, PartError)
    assert caught.value.exit_code == 2
    assert (caught.value.__cause__ is None) == ("it gives samples" in str(caught.value)), "its own traceback is kept"
    assert len(flow.phases) == num_finished
    if num_finished:
        assert flow.sample(3).shape == (3, 2)


def test_numbers_that_are_not_finite_may_be_of_a_part() -> None:
    flow = Flow(tiny(2), divergence=LateDivergence(lambda: float("nan")))
    with pytest.raises(
        Diverged, match=r"phase 1 diverged at step \d: .* Own parts at work: jko\.divergence LateDivergence; `python"
    ):
        flow.fit(X)
    assert len(flow.phases) == 1
    assert OwnParts.of(phases_of(tiny(1))[0]).suspected() == ""


def test_a_metric_that_fails_is_named() -> None:
    armed: list[int] = []

    def measure(pair: Any) -> float:
        return float([1.0, *armed][len(armed)] / (1 - len(armed)))

    flow = Flow(tiny(1), metrics=[Metric("late", "units", True, PAIRS, measure, has_floor=False)]).fit(X)
    armed.append(1)
    with pytest.raises(
        PartFailed, match=r"^evaluation\.metrics\[0\]: late failed while phase 0 was measured: ZeroDivisionError: "
    ):
        _ = flow.metrics
    armed.clear()
    assert flow.metrics["late"] == 1.0


def test_an_error_of_nobodys_part_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.training.solving.steps.train_phase", lambda *given: map(open, ["/nowhere/at/all"]))
    for flow in (Flow(tiny(1)), Flow(tiny(1), cost=LateCost())):
        with pytest.raises(FileNotFoundError, match="/nowhere/at/all"):
            flow.fit(X)


class Forgetful(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(2, 8), nn.Dropout(0.5), nn.Linear(8, 2))

    def forward(self, x: torch.Tensor, z: None) -> torch.Tensor:
        return x + self.net(x)


class ForgetfulPair(LatePair):
    def build_map(self, spec: NetworkSpec) -> nn.Module:
        return Forgetful()


def test_what_a_step_draws_as_dropout_does_depends_on_the_recipes_seed_alone() -> None:
    def samples(seed: int = 0) -> np.ndarray:
        flow = Flow(tiny(2, num_frequencies=0, seed=seed), network=ForgetfulPair()).fit(X)
        return np.asarray(flow.sample(5))

    torch.manual_seed(1)
    first = samples()
    torch.manual_seed(2)
    state = torch.random.get_rng_state()
    np.testing.assert_array_equal(samples(), first)
    assert torch.equal(torch.random.get_rng_state(), state), "the notebook's own numbers go on as if nothing had been drawn"
    assert (samples(1) != first).any()


LATE = """

class Late(Huber):
    calls = 0

    def between(self, x, y):
        self.calls += len(x) in (16, 32)
        if self.calls > 6:
            raise KeyError("no cost today")
        return super().between(x, y)
"""


def late_recipe(folder: Path, module: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    (folder / f"{module}.py").write_text(
        MODULE.replace("of_mine", f"{module}_powers").replace("from torch", "import torch\nfrom torch") + LATE
    )
    (folder / f"{module}_powers.py").write_text(HELPER)
    monkeypatch.syspath_prepend(folder)
    path = folder / "late.yaml"
    path.write_text(
        f"data: {{target: '{module}:windows'}}\njko: {{cost: '{module}:Late', num_phases: 4}}\n"
        "network: {width: 8, depth: 1}\ntraining: {num_steps: 4, batch_size: 32}\n"
    )
    return path


def test_a_command_ends_with_the_sentence_and_keeps_what_is_finished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    path = late_recipe(tmp_path, "late_command", monkeypatch)
    assert cli.main(["run", str(path), "--evaluation.num-samples=50", "--evaluation.num-pairs=1"]) == 2
    told = capsys.readouterr().err
    assert "error: jko.cost: late_command:Late failed in step " in told
    assert "KeyError: 'no cost today' (late_command.py, line" in told
    assert "Traceback" not in told
    runs = store.select("tags.`sjko.kind` = 'phase'")
    assert sorted(run.info.status for run in runs).count("FAILED") == 1


@pytest.mark.thorough
@pytest.mark.usefixtures("no_ray")
@pytest.mark.filterwarnings("ignore:subprocess .* is still running:ResourceWarning")  # Ray does not wait for what it has lost
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_the_sentence_comes_from_workers_at_the_first_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, store: Store
) -> None:
    recipe = load_recipe(str(late_recipe(tmp_path, "late_workers", monkeypatch)))
    with pytest.raises(
        PartFailed, match=r"^jko\.cost: late_workers:Late failed in step \d of phase \d: KeyError: 'no cost today' \("
    ) as caught:
        train(recipe, store, Cluster(num_workers=2, max_failures=3))
    assert caught.value.exit_code == 2
