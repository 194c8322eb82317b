"""A metric is one object and one line: every place that shows, keeps, searches for or requires a figure knows it."""

import importlib
import json
from pathlib import Path

import pytest
from flows import QUICK

from deploy.cli import main as deploy
from pipeline.command import cli
from pipeline.data.endpoints import load_endpoints
from pipeline.evaluation import judging, metrics
from pipeline.evaluation.metrics import Metric
from pipeline.evaluation.size import EvaluationSize
from pipeline.recipe import Data
from pipeline.store.phases import Store
from tune import cli as tune
from tune.metrics import mode_of

FLOW = ["run", "moons", "--network.width=8", "--jko.num-phases=1", "--training.num-steps=3", "--training.batch-size=16", *QUICK]
FILE = '''
"""How far the mean of samples is from the mean of the data."""

import numpy as np

from pipeline.evaluation.built_in import PAIRS
from pipeline.evaluation.metrics import Metric


def shift(pair):
    return float(np.linalg.norm(pair.x.mean(0) - pair.y.mean(0)))


MEAN_SHIFT = Metric("mean_shift", "the data's units", True, PAIRS, shift, version={version}, brief="shift {{value:.3g}}")
'''


@pytest.fixture
def table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """A folder from which modules are imported, and a table of metrics that one can add a line to."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(metrics, "METRICS", metrics.METRICS)
    return monkeypatch


def add(folder: Path, module: str, version: int = 1) -> Metric:
    """Write the file and the line."""
    (folder / f"{module}.py").write_text(FILE.format(version=version))
    importlib.invalidate_caches()
    metrics.METRICS = (*metrics.METRICS, f"{module}:MEAN_SHIFT")
    return metrics.metrics()[-1]


def row_of(tmp_path: Path) -> dict:
    assert cli.main([*FLOW, "--json", str(tmp_path / "out.json")]) == 0
    (row,) = json.loads((tmp_path / "out.json").read_text())["phases"]
    return row


@pytest.mark.slow
@pytest.mark.usefixtures("undrawn")
def test_an_added_metric_is_measured_shown_kept_searched_for_and_required(
    store: Store, home: Path, tmp_path: Path, table: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = row_of(tmp_path)
    assert "mean_shift" not in before["metrics"]
    with pytest.raises(ValueError, match="--metric must be one of w2, "):
        mode_of(Data(target="moons"), "mean_shift", None)

    metric = add(tmp_path, "mean_shift_1")
    capsys.readouterr()
    row = row_of(tmp_path)
    assert row["cached"], "the phase is the same, and its figures are measured again"
    figures = row["metrics"]
    endpoints = load_endpoints(Data(target="moons"))
    (pair,) = metrics.views_of({"": metric}, metrics_draws(endpoints)).popitem()[1]
    assert figures["mean_shift_floor"] == metric.measure(pair), "its floor is what the data themselves have"
    assert figures["mean_shift"] > 0
    assert {name: figures[name] for name in before["metrics"]} == before["metrics"]
    assert f"shift {figures['mean_shift']:.3g}" in capsys.readouterr().out, "the line of the phase"

    flow, phase = store.flows()[0], store.run(row["map_ref"].split("/")[1])
    for run in (flow, phase):
        assert run.data.metrics["mean_shift"] == figures["mean_shift"]
        assert run.data.metrics["mean_shift_floor"] == figures["mean_shift_floor"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(judging, "judge", None)
        assert row_of(tmp_path)["metrics"] == figures, "kept, and measured no more"

    assert cli.main(["evaluate", row["fingerprint"], *QUICK, "--json", str(tmp_path / "evaluated.json")]) == 0
    assert json.loads((tmp_path / "evaluated.json").read_text())["metrics"]["mean_shift"] == figures["mean_shift"]
    assert cli.main(["show", row["fingerprint"]]) == 0
    assert capsys.readouterr().out.count("mean_shift") >= 2

    tune.PROGRAM.read(["run", "moons", "--metric", "mean_shift"])
    assert mode_of(Data(target="moons"), "mean_shift", None) == "min"
    with pytest.raises(ValueError, match="--mode must be min for mean_shift"):
        mode_of(Data(target="moons"), "mean_shift", "max")

    assert deploy(["register", row["fingerprint"], "--name", "moons", *QUICK]) == 0
    assert "mean_shift" in capsys.readouterr().out
    assert deploy(["promote", "moons", "--require", "mean_shift <= 0 * floor", *QUICK]) == 3
    assert deploy(["promote", "moons", "--require", "mean_shift <= 1e6 * floor", *QUICK]) == 0
    capsys.readouterr()

    metrics.METRICS = metrics.METRICS[:-1]
    add(tmp_path, "mean_shift_2", version=2)
    judged: list[object] = []
    table.setattr(judging, "judge", lambda *arguments: judged.append(arguments) or figures)
    row_of(tmp_path)
    assert judged, "another version is measured again"


def metrics_draws(endpoints: object) -> object:
    """The samples of the data that stand in the place of a map's for the floors of FLOW."""
    from pipeline.evaluation.draws import Draws, OfData

    return Draws(OfData(endpoints), endpoints, EvaluationSize(200, 1))
