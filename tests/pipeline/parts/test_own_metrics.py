"""Metrics and extractors from outside, by name: measured, kept with their code, searched for, required."""

import json
from pathlib import Path

import pytest
from flows import QUICK

from deploy.cli import main as deploy
from pipeline.command import cli
from pipeline.evaluation import judging
from pipeline.store.phases import Store
from tune import cli as tune
from tune.definition import Search

FLOW = ["run", "moons", "--network.width=8", "--jko.num-phases=1", "--training.num-steps=3", "--training.batch-size=16", *QUICK]
MODULE = """
import numpy as np

from pipeline.evaluation.built_in import MODES, PAIRS
from pipeline.evaluation.extractors import Extractor
from pipeline.evaluation.metrics import Metric


def shift(power=1.0, scale=SCALE):
    def measure(pair):
        return float(scale * np.linalg.norm(pair.x.mean(0) - pair.y.mean(0)) ** power)

    return Metric("shift", "the data's units", True, PAIRS, measure, brief="shift {value:.3g}")


SHARE = Metric("share", "share", False, PAIRS, lambda pair: float((pair.x > 0).mean()), has_floor=False)
W2 = Metric("w2", "units", True, PAIRS, lambda pair: 1.0)
NONE = Metric("none", "units", True, PAIRS, lambda pair: float("nan"))
LABELS = Metric("labels", "number", True, MODES, lambda seen: 1.0)


def raising(pair):
    raise ValueError("no such pair")


RAISING = Metric("raising", "units", True, PAIRS, raising)


def means():
    def read(weights):
        return lambda pixels: (pixels.float().flatten(2).mean(2).repeat(1, 3) , None), "0123456789"

    return Extractor("means", read)


def rows():
    return Extractor("rows", lambda weights: (lambda pixels: (pixels.float().mean((1, 2, 3)), None), "0123456789"))


LENET = Extractor("lenet", None)
"""


def write(folder: Path, monkeypatch: pytest.MonkeyPatch, module: str, scale: float = 1.0) -> str:
    (folder / f"{module}.py").write_text(MODULE.replace("SCALE", str(scale)))
    monkeypatch.syspath_prepend(folder)
    return module


@pytest.mark.slow
@pytest.mark.usefixtures("undrawn")
def test_an_own_metric_is_measured_shown_kept_searched_for_and_required(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    module = write(tmp_path, monkeypatch, "metrics_of_mine")
    to, both = tmp_path / "out.json", ["--evaluation.metrics", f"{module}:shift", f"{module}:SHARE"]
    assert cli.main([*FLOW, "--json", str(to)]) == 0
    (before,) = json.loads(to.read_text())["phases"]
    assert cli.main([*FLOW, *both, "--json", str(to)]) == 0
    (row,) = json.loads(to.read_text())["phases"]
    assert row["cached"]
    assert row["fingerprint"] == before["fingerprint"], "a metric is no part of a phase"
    figures = row["metrics"]
    assert {name: figures[name] for name in before["metrics"]} == before["metrics"]
    assert figures.keys() - before["metrics"].keys() == {"shift", "shift_floor", "share"}
    assert f"shift {figures['shift']:.3g}" in capsys.readouterr().out
    phase = store.run(row["map_ref"].split("/")[1])
    assert phase.data.metrics["shift"] == figures["shift"]
    assert f"{module}:shift@" in phase.data.tags[judging.EVALUATED], "it is written down with the figures"

    judged: list[object] = []
    judge = judging.judge
    monkeypatch.setattr(judging, "judge", lambda *arguments: judged.append(arguments) or judge(*arguments))
    for words in ([], both, both[:2], [both[0], both[2], both[1]]):
        assert cli.main([*FLOW, *words]) == 0
    assert not judged, "all these figures are kept"
    assert cli.main([*FLOW, "--evaluation.metrics", f"{module}:shift(power=2.0)", "--json", str(to)]) == 0
    assert len(judged) == 1
    squared = json.loads(to.read_text())["phases"][0]["metrics"]
    assert squared["shift"] == pytest.approx(figures["shift"] ** 2)

    capsys.readouterr()
    assert cli.main(["evaluate", row["fingerprint"], *QUICK, *both]) == 0
    assert capsys.readouterr().out.count("shift") == 1
    assert cli.main(["show", row["fingerprint"]]) == 0
    assert "shift_floor" in capsys.readouterr().out
    assert deploy(["register", row["fingerprint"], "--name", "moons", *QUICK, *both]) == 0
    assert "shift_floor" in capsys.readouterr().out
    assert deploy(["promote", "moons", "--require", "shift <= 1e6 * floor", *QUICK]) == 2
    assert "--require must name one of " in capsys.readouterr().err
    assert deploy(["promote", "moons", "--require", "shift <= 0 * floor", *QUICK, *both]) == 3
    assert deploy(["promote", "moons", "--require", "shift <= 1e6 * floor", *QUICK, *both]) == 0
    capsys.readouterr()


def test_a_search_judges_by_an_own_metric(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    module = write(tmp_path, monkeypatch, "metrics_of_search")
    words = ["run", "moons", "--metric", "shift"]
    assert tune.main(words) == 2
    assert capsys.readouterr().err.startswith("error: --metric must be one of w2, sliced_w2, ")
    command = tune.PROGRAM.read([*words, "--evaluation.metrics", f"{module}:shift"])
    search = Search("a", command.resolved(), command.axes, 3, "shift", evaluation=command.evaluation)
    assert Search.from_json(search.to_json(), None) == search


REFUSED = {
    "W2": "evaluation.metrics: metrics_refused:W2: a metric w2 is there already; give yours another name",
    "NONE": "evaluation.metrics: metrics_refused:NONE: measure must give one finite number for a view, ",
    "RAISING": "it raises ValueError: no such pair",
    "shift(power=0.5) metrics_refused:shift": "both have the name shift",
    "np": "must make a pipeline.evaluation.metrics.Metric, and makes a module",
    "raising": "could not be made: TypeError: raising() missing 1 required positional argument: 'pair'",
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_metric_that_cannot_work_is_refused_by_every_command(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    module = write(tmp_path, monkeypatch, "metrics_refused")
    monkeypatch.setenv("SJKO_HOME", str(tmp_path / "home"))
    flag = ["--evaluation.metrics", *f"{module}:{name}".split()]
    assert cli.main(["run", "moons", *flag]) == 2
    assert REFUSED[name] in capsys.readouterr().err
    assert cli.main(["evaluate", "abcdefgh", *flag]) == 2
    assert REFUSED[name] in capsys.readouterr().err
    assert deploy(["promote", "moons", *flag]) == 2
    assert REFUSED[name] in capsys.readouterr().err
    assert tune.main(["run", "moons", *flag]) == 2
    assert REFUSED[name] in capsys.readouterr().err
    assert not (tmp_path / "home").exists()


def test_a_metric_without_a_figure_of_these_data_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    module = write(tmp_path, monkeypatch, "metrics_of_modes")
    monkeypatch.setenv("SJKO_HOME", str(tmp_path / "home"))
    assert cli.main(["run", "pinwheel.yaml", "--evaluation.metrics", f"{module}:LABELS"]) == 2
    capsys.readouterr()
    words = ["run", "moons", "--data.target", "pinwheel", "--evaluation.metrics", f"{module}:LABELS", "--dry-run"]
    assert cli.main(words) == 2
    assert capsys.readouterr().err == f"error: evaluation.metrics: {module}:LABELS has no figure for data.target pinwheel\n"
    assert cli.main(["run", "moons", "--evaluation.metrics"]) == 2
    assert "or package.module:name of your own, one or several, and nothing follows" in capsys.readouterr().err
    assert cli.main(["run", "moons", "--evaluation.metrics", "w2"]) == 2
    assert "or package.module:name of your own, not w2" in capsys.readouterr().err


def test_an_own_extractor_is_tried_named_and_refused_like_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from pipeline.evaluation.extractors import extractor
    from pipeline.evaluation.metrics import figures
    from pipeline.evaluation.offer import Offer

    module = write(tmp_path, monkeypatch, "nets_of_mine")
    assert cli.main(["check-part", "lenet_digits"]) == 0
    assert cli.main(["check-part", f"{module}:rows"]) == 2
    assert (
        f"{module}:rows: describe must give finite features of each image, one row each: features have" in capsys.readouterr().err
    )
    assert cli.main(["check-part", f"{module}:means"]) == 0
    named = list(figures(Offer(extractor=extractor(f"{module}:means"))))
    assert named == ["means_frechet", "means_kid", "means_precision", "means_recall"]
    for name, told in {
        "LENET": "an extractor lenet is there already",
        "shift": "must make a pipeline.evaluation.extractors.Extractor, and makes a Metric",
        "nothing": "has no nothing; it has ",
    }.items():
        assert cli.main(["evaluate", "abcdefgh", "--extractor", f"{module}:{name}"]) == 2
        told_err = capsys.readouterr().err
        assert told in told_err
        assert told_err.startswith("error: --extractor")
    assert cli.main(["evaluate", "abcdefgh", "--extractor", "vgg"]) == 2
    assert "or package.module:name of your own, not vgg" in capsys.readouterr().err
