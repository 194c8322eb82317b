"""Metrics of one's own in Python: objects, functions and names; measured, shown, stored with a flow, or refused."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flows import tiny

from pipeline.evaluation.built_in import PAIRS
from pipeline.evaluation.metrics import Metric
from pipeline.evaluation.size import EvaluationSize
from pipeline.store.phases import Store
from sjko import Flow
from sjko.fitted import Fitted

MODULE = """
from pipeline.evaluation.built_in import PAIRS
from pipeline.evaluation.metrics import Metric


def measure(pair):
    return float(abs(pair.x.mean() - pair.y.mean()))


SHIFT = Metric("shift", "units", True, PAIRS, measure)


def scaled(scale: float = 2.0):
    return Metric("scaled", "units", True, PAIRS, lambda pair: scale * measure(pair))
"""
X = np.random.default_rng(0).normal(size=(300, 2))


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures on few samples: the full ones take seconds."""
    monkeypatch.setattr(Fitted, "_size", lambda self, bound, k: EvaluationSize(50, 1, self._metrics))


def widest(pair: Any) -> float:
    return float(np.ptp(pair.x))


def test_a_metric_of_a_notebook_is_measured_and_shown_but_not_stored(store: Store, tmp_path: Path) -> None:
    metric = Metric("widest", "units", False, PAIRS, widest)
    flow = Flow(tiny(1), metrics=[metric, lambda: Metric("again", "units", False, PAIRS, widest)]).fit(X)
    assert flow.metrics["widest"] == flow.metrics["again"] > 0
    assert flow.metrics["widest_floor"] > 0
    assert list(flow.fit().metrics) == list(flow.metrics)
    assert "<td>widest</td>" in flow.report(tmp_path / "report.html").read_text()
    assert "widest" not in Flow(tiny(1)).fit(X).metrics
    for act in (lambda: flow.fit(store=store), lambda: flow.register("m", store=store)):
        with pytest.raises(ValueError, match=r"metrics\[0\] is the object widest, which has no import name"):
            act()
    assert store.flows() == []


@pytest.mark.slow
def test_a_metric_that_a_module_has_is_stored_with_the_flow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, store: Store
) -> None:
    (tmp_path / "metrics_of_python.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    import metrics_of_python as mine

    flow = Flow(tiny(1), metrics=[mine.SHIFT, mine.scaled, "metrics_of_python:scaled(scale=3.0)"][:2]).fit(X, store=store)
    assert flow._metrics == ("metrics_of_python:SHIFT", "metrics_of_python:scaled")
    assert flow.metrics["scaled"] == pytest.approx(2 * flow.metrics["shift"])
    loaded = Flow.load(flow.register("mine"))
    assert {"shift", "shift_floor", "scaled"} <= set(loaded.metrics)
    plain = Flow(tiny(1)).fit(X, store=store)
    assert plain.phases[0].fingerprint == flow.phases[0].fingerprint, "metrics are no part of what a flow is"


@pytest.mark.parametrize(
    ("metrics", "message"),
    [
        (["nowhere:metric"], r"evaluation\.metrics: nowhere:metric: there is no module nowhere|no module nowhere"),
        ([widest], "widest"),
        ([3], r"must make a pipeline\.evaluation\.metrics\.Metric, and makes a int"),
        ([Metric("w2", "units", True, PAIRS, widest)], "a metric w2 is there already; give yours another name"),
        (Metric("nan", "units", True, PAIRS, lambda pair: float("nan")), r"^evaluation\.metrics: nan: "),
    ],
)
def test_what_is_no_metric_is_one_sentence(metrics: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        Flow(tiny(1), metrics=metrics).fit(X)
    assert "\n" not in str(caught.value)
