"""The table of metrics: what is in it, what it costs to ask, and which kept figures it accepts."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from flows import QUICK

from pipeline.command import cli
from pipeline.data import table
from pipeline.evaluation import judging, metrics
from pipeline.evaluation.built_in import W2
from pipeline.evaluation.judging import is_valid, tag_of
from pipeline.evaluation.metrics import Metric, brief, figures
from pipeline.evaluation.offer import Offer, offer_of
from pipeline.evaluation.size import EvaluationSize
from pipeline.recipe import Data
from pipeline.store.phases import Store

ROOT = Path(__file__).resolve().parents[3]
SIZE = EvaluationSize(200, 1)
FLOW = ["run", "moons", "--network.width=8", "--jko.num-phases=1", "--training.num-steps=3", "--training.batch-size=16", *QUICK]


def test_figures_have_names_of_their_own_and_every_metric_is_somewhere() -> None:
    from pipeline.evaluation.extractors import EXTRACTORS

    logged = frozenset(judging.LOGGED_IN_TRAINING)
    offers = [
        Offer(True, True, each, logged, has_classes=True, has_classifier=True, has_images=True)
        for each in EXTRACTORS.values()
        if not each.takes_weights
    ]
    named = [figures(offer) for offer in offers]
    assert {metric.name for found in named for metric in found.values()} == {m.name for m in metrics.metrics()} - {"score"}
    assert all(len(found) == len({id(metric) for metric in found.values()}) for found in named)


@pytest.mark.parametrize("target", table.MEASURES)
def test_every_analytic_target_has_distances_and_those_with_modes_their_statistics(target: str) -> None:
    named = list(figures(offer_of(Data(target=target))))
    assert named in (["w2", "sliced_w2"], ["w2", "sliced_w2", "modes_covered", "on_support", "mode_kl"])


def test_images_are_looked_at_by_the_network_of_their_set_in_its_size() -> None:
    assert "lenet_frechet" in figures(offer_of(Data(target="fashion_mnist")))
    assert "lenet_digits_recall" in figures(offer_of(Data(target="digits")))
    assert list(figures(offer_of(Data(target="fashion_mnist", size=32)))) == ["w2", "sliced_w2", "detail", "near_copies"]


@pytest.mark.parametrize("name", ["", "W2", "my metric", "2d", "w2_floor", "a/b"])
def test_a_name_that_no_rule_or_floor_could_have_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="a metric's name must be"):
        replace(W2, name=name)


def test_a_line_that_names_no_metric_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "METRICS", ("pipeline.evaluation.size:FULL",))
    with pytest.raises(TypeError, match=r"pipeline\.evaluation\.size:FULL must be a Metric, not EvaluationSize"):
        metrics.metrics()


def test_the_line_of_a_phase_says_what_it_said() -> None:
    row = {"w2": 0.41234, "w2_floor": 0.3, "num_samples": 500, "modes_covered": 2, "modes": 2, "on_support": 0.976}
    row |= {"divergence": 0.12, "transport_cost": 0.034, "mode_kl": 0.1, "sliced_w2": 0.2}
    assert brief(offer_of(Data(target="two_circles"), row), row) == [
        "W2 0.4123 (floor 0.3, 500 samples)",
        "modes 2/2",
        "on support 98 %",
        "divergence >= 0.12",
        "cost 0.034",
    ]
    row = {"w2": 4.0, "w2_floor": 3.0, "num_samples": 500, "lenet_digits_frechet": 12.34, "lenet_digits_frechet_floor": 1.0}
    assert brief(offer_of(Data(target="digits")), row | {"lenet_digits_recall": 0.5}) == [
        "W2 4 (floor 3, 500 samples)",
        "lenet_digits Frechet 12.3 (floor 1)",
        "recall 0.50",
    ]


def test_the_tag_of_kept_figures_follows_from_the_metrics_and_the_size(monkeypatch: pytest.MonkeyPatch) -> None:
    offer = offer_of(Data(target="moons"))
    tag = tag_of(offer, SIZE)
    assert is_valid(tag, offer, SIZE)
    assert not is_valid(tag, offer, EvaluationSize(200, 2))
    assert not is_valid(None, offer, SIZE)
    monkeypatch.setattr("pipeline.evaluation.built_in.SLICED_W2", replace(metrics.metrics()[1], version=2))
    metrics._loaded.cache_clear()
    try:
        assert not is_valid(tag, offer, SIZE), "a figure of another version"
        assert not is_valid("version 2, 1 pairs of 200", offer, SIZE), "of which earlier runs have the first"
    finally:
        monkeypatch.undo()
        metrics._loaded.cache_clear()
    monkeypatch.setattr(metrics, "METRICS", metrics.METRICS[1:])
    assert not is_valid(tag, offer, SIZE), "another set of metrics"


@pytest.mark.usefixtures("undrawn")
def test_figures_that_an_earlier_version_kept_are_valid_until_a_metric_is_added(
    store: Store, home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Earlier versions tagged a run with one number for all metrics, and the size."""
    assert cli.main(FLOW) == 0
    (run,) = store.select("tags.`sjko.kind` = 'phase'")
    store.tag(run.info.run_id, judging.EVALUATED, "version 2, 1 pairs of 200")
    judged: list[str] = []
    judge = judging.judge
    monkeypatch.setattr(judging, "judge", lambda *arguments: judged.append("again") or judge(*arguments))
    assert cli.main(FLOW) == 0
    assert not judged
    monkeypatch.setattr(
        "pipeline.evaluation.built_in.LATER", Metric("later", "1", True, W2.needs, lambda pair: 1.0), raising=False
    )
    monkeypatch.setattr(metrics, "METRICS", (*metrics.METRICS, "pipeline.evaluation.built_in:LATER"))
    assert cli.main(FLOW) == 0
    assert judged == ["again"]
    capsys.readouterr()


HEAVY = {
    "pipeline.evaluation.extractors",
    "pipeline.evaluation.networks.lenet",
    "pipeline.evaluation.networks.train_lenet",
    "matplotlib",
}


@pytest.mark.real
@pytest.mark.parametrize(
    ("program", "absent"),
    [
        ("import deploy.service", {*HEAVY, "pipeline.evaluation.measure", "pipeline.evaluation.image_metrics"}),
        (
            "from pipeline.recipe import Data; from tune.metrics import mode_of; mode_of(Data(target='digits'), 'w2', None)",
            {"torch", "ray", "mlflow", "matplotlib", "sklearn", "pyarrow"},
        ),
    ],
    ids=["a replica of the service", "a search that checks its metric"],
)
def test_nothing_is_imported_that_is_for_measuring(program: str, absent: set[str]) -> None:
    command = [sys.executable, "-c", f"{program}; import sys; print(*sys.modules)"]
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    assert not absent & set(done.stdout.split())
