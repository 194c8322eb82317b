"""Figures of a report as metrics of a map: measured for who asks, of rows and points alike, with the floors of the report."""

from dataclasses import dataclass
from typing import Any

import made_tables
import numpy as np
import pytest
from flows import tiny, train

from components.conditions import Conditions
from components.parts.naming import PartError
from pipeline.data import rows
from pipeline.data.endpoints import load_endpoints
from pipeline.data.source import Samples
from pipeline.data.tables.passes.asked import Asked
from pipeline.data.tables.preparing import prepared
from pipeline.evaluation.draws import Draws, OfData
from pipeline.evaluation.judging import is_valid, tag_of
from pipeline.evaluation.measure import evaluate
from pipeline.evaluation.metrics import figures, own_metric, with_figure
from pipeline.evaluation.offer import offer_of
from pipeline.evaluation.size import EvaluationSize
from pipeline.generator import load_generator
from pipeline.parts.checks.of_recipe import require_metrics, require_working
from pipeline.recipe import Data, Recipe
from pipeline.report.figures.table import FIGURES, REQUESTED
from pipeline.report.judgement import judge
from pipeline.report.metrics import Judged, judged
from pipeline.report.samples import draw
from pipeline.store.phases import Store

SIZE = EvaluationSize(200, 1, metrics=tuple(REQUESTED))
POINTS = Data(target="moons")


@dataclass(frozen=True)
class Moved(OfData):
    """The data, moved by a number, in the place of a map."""

    by: float = 0.0

    def joint(self, n: int, draw: int) -> tuple[Samples, Conditions | None]:
        samples, given = super().joint(n, draw + 1)
        return samples + np.float32(self.by), given


@pytest.mark.slow
def test_each_figure_is_that_of_the_report_with_its_floor() -> None:
    samples = draw(made_tables.HELD_OUT, made_tables.MADE["blurred"](), made_tables.TRAIN)
    expected, seen = judge(samples).metrics, Judged(samples)
    found: dict[str, float] = {}
    for name in REQUESTED:
        metric = own_metric(name)
        assert metric.floor is not None
        found |= {name: metric.measure(seen), f"{name}_floor": metric.floor(seen)}
    assert found == pytest.approx(expected, nan_ok=True)


@pytest.mark.slow
def test_points_are_judged_as_rows_and_what_is_wrong_is_told() -> None:
    ends = load_endpoints(POINTS)
    auc, copied = own_metric("c2st_auc"), own_metric("copied_share")
    right, wrong = (judged(Draws(Moved(ends, by), ends, EvaluationSize(400, 1)))[0] for by in (0.0, 1.0))
    assert abs(auc.measure(right) - 0.5) < 0.12
    assert auc.measure(wrong) > 0.9
    assert auc.floor is not None
    assert abs(auc.floor(wrong) - 0.5) < 0.12
    assert copied.measure(right) == 0
    assert np.isnan(own_metric("tv_max").measure(right)), "points have no categories"


def test_they_are_measured_where_they_are_asked_for_alone() -> None:
    plain = offer_of(POINTS)
    assert not figures(plain).keys() & REQUESTED.keys()
    asked = offer_of(POINTS, own_metrics=["c2st_auc"])
    assert list(figures(asked)) == [*figures(plain), "c2st_auc"]
    tag = tag_of(asked, SIZE)
    assert is_valid(tag, asked, SIZE)
    assert is_valid(tag, plain, SIZE), "figures that were kept beside it are what they would be"
    assert not is_valid(tag_of(plain, SIZE), asked, SIZE)
    assert not is_valid(tag.replace("c2st_auc 1", "c2st_auc 0"), asked, SIZE)
    assert with_figure(("c2st_auc",), "c2st_auc_floor") == ("c2st_auc",)
    assert with_figure((), "w2_floor") == ()
    assert {own_metric(figure.name).mode for figure in FIGURES if figure.name.startswith("c2st")} == {"min"}
    assert own_metric("recall").mode == "max"


def test_data_that_are_no_rows_have_none_and_a_name_that_is_none_is_refused() -> None:
    assert not figures(offer_of(Data(target="digits"), own_metrics=["c2st_auc"])).keys() & REQUESTED.keys()
    with pytest.raises(ValueError, match=r"evaluation\.metrics: c2st_auc has no figure for data\.target digits"):
        require_working(Recipe(data=Data(target="digits", standardise=False)), ["c2st_auc"])
    with pytest.raises(ValueError, match=r"evaluation\.metrics: usefulness is no metric that can be asked for: ks_mean"):
        require_metrics(["usefulness"])
    with pytest.raises(PartError, match="aucc is no metric"):
        own_metric("aucc")


@pytest.mark.slow
@pytest.mark.parametrize("condition", [(), ("species",)])
def test_a_map_to_a_table_has_all_of_them(condition: tuple[str, ...], shared_store: Store) -> None:
    table: Any = made_tables.real(500, 5)
    name, held = rows.hold(prepared(table, Asked(condition=condition), "t"))
    asked = {"condition": condition[0]} if condition else {}
    generator = load_generator(shared_store, train(tiny(1, num_steps=3, target=name, **asked), shared_store)[-1].ref)
    found = evaluate(generator, SIZE)
    names = [*REQUESTED, *(f"{name}_floor" for name in REQUESTED)]
    assert set(names) <= found.keys()
    assert np.isfinite([found[name] for name in names]).all()
    assert found["copied_share_floor"] < 0.05, "of other real rows, and not of the training rows themselves"
    assert found["c2st_auc"] > 0.6, "of three steps"
    assert not {name for name in evaluate(generator, SIZE, with_floors=False) if name in names and name.endswith("_floor")}
    del held
