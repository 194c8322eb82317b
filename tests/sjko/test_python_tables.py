"""Frames and tables with words, dates and missing values in Python: they come back with their columns and types."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from flows import tiny

from deploy.versions.registry import Registry
from pipeline.errors import Unusable
from pipeline.evaluation.size import EvaluationSize
from pipeline.store.phases import Store
from sjko import Flow

RNG = np.random.default_rng(0)
N = 200
FRAME = pd.DataFrame(
    {
        "height": RNG.normal(170, 8, N).round(1),
        "children": RNG.poisson(1.5, N).astype(np.int16),
        "colour": pd.Categorical(np.array(["red", "green"])[RNG.integers(2, size=N)]),
        "seen": pd.to_datetime(np.where(np.arange(N) % 7, "2024-03-01", None)),
    }
)
TABLE = pa.Table.from_pandas(FRAME, preserve_index=False)


def fitted(x: Any, **others: Any) -> Flow:
    return Flow(tiny(1, num_steps=3)).fit(x, progress=False, **others)


def test_a_frame_comes_back_with_its_columns_and_types() -> None:
    flow = fitted(FRAME)
    made = flow.sample(50, seed=1)
    assert isinstance(made, pd.DataFrame)
    assert list(made.columns) == list(FRAME.columns)
    assert made["children"].dtype == np.int16
    assert set(made["colour"]) <= {"red", "green"}
    assert made["seen"].isna().any()
    assert (made["height"] * 10 % 1).abs().round(6).isin([0, 1]).all(), "on the grid of a tenth"
    pd.testing.assert_frame_equal(made, fitted(FRAME).sample(50, seed=1))
    pd.testing.assert_frame_equal(flow.sample(9, seed=1), made[:9])
    assert flow.metrics["w2_floor"] > 0


def test_a_whitened_table_keeps_its_correlations_where_the_map_does_nothing() -> None:
    weight = 0.9 * FRAME["height"] + RNG.normal(0, 1, N)
    frame = FRAME.assign(weight=weight.round(1))
    made = {
        scaling: Flow(tiny(1, num_steps=1, map_lr=1e-12, standardise=scaling)).fit(frame, progress=False).sample(2000)
        for scaling in ("axes", "whitened")
    }
    kept = {scaling: samples["weight"].corr(samples["height"]) for scaling, samples in made.items()}
    assert abs(kept["axes"]) < 0.1
    assert kept["whitened"] > 0.85, "0.99 in the data, whose 200 rows shrink correlations"
    assert list(made["whitened"].columns) == list(frame.columns)
    assert set(made["whitened"]["colour"]) == {"red", "green"}


def test_a_table_of_arrow_and_a_file_come_back_as_tables(tmp_path: Path) -> None:
    made = fitted(TABLE).sample(20)
    assert isinstance(made, pa.Table)
    assert made.column_names == TABLE.column_names
    FRAME.to_csv(tmp_path / "cells.csv", index=False)
    assert fitted(tmp_path / "cells.csv").sample(3).column_names == TABLE.column_names


@pytest.mark.parametrize("condition", ["colour", ["colour"]])
def test_a_column_is_the_condition_and_comes_back(condition: Any) -> None:
    flow = fitted(FRAME, condition=condition)
    assert flow.recipe.data.condition == "colour"
    made = flow.sample(30, condition="green")
    assert list(made.columns) == list(FRAME.columns)
    assert set(made["colour"]) == {"green"}
    assert set(flow.sample(60)["colour"]) == {"green", "red"}


def test_conditions_of_each_row_become_a_column() -> None:
    flow = fitted(FRAME, condition=np.where(FRAME["height"] > 170, "tall", "small"))
    assert set(flow.sample(30, condition="tall")["condition"]) == {"tall"}


def test_points_far_outside_the_source_are_counted(caplog: pytest.LogCaptureFixture) -> None:
    flow = fitted(FRAME)
    noise = np.random.default_rng(0).normal(size=(6, flow.phases[0].generator.dim))
    far = np.where(np.arange(6)[:, None] < 2, 50 * noise, noise)
    for points, told in ((noise, False), (far, True), (pd.DataFrame(far), True)):
        caplog.clear()
        flow.transport(points)
        assert ("2 of 6 points lie far outside the source" in caplog.text) is told


def test_noise_is_transported_to_rows_and_keeps_what_stands_beside_it() -> None:
    flow = fitted(FRAME)
    width = flow.phases[0].generator.dim
    noise = np.random.default_rng(0).normal(size=(6, width)).astype(np.float32)
    made = flow.transport(noise)
    assert list(made.columns) == list(FRAME.columns)
    named = pd.DataFrame(noise, columns=[str(i) for i in range(width)], index=list("abcdef")).assign(id=range(6))
    beside = flow.transport(named)
    assert beside["id"].tolist() == list(range(6))
    assert beside.index.tolist() == list("abcdef")
    pd.testing.assert_frame_equal(beside[list(FRAME.columns)].reset_index(drop=True), made)


def test_held_out_rows_are_those_that_are_given() -> None:
    flow = fitted(FRAME[:150], held_out=FRAME[150:])
    (points,) = flow._bound.held.values()
    assert (len(points.train), len(points.test)) == (150, 50)
    with pytest.raises(Unusable, match="held_out: its columns are height, those of x height, children"):
        fitted(FRAME, held_out=FRAME[["height"]].assign(height=None))


def test_a_flow_of_a_table_is_stored_registered_and_loaded(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sjko.versions.FULL", EvaluationSize(64, 1), raising=False)
    flow = fitted(FRAME, store=store)
    reference = flow.register("cells", store=store)
    loaded = Flow.load(reference, store=store)
    pd.testing.assert_frame_equal(loaded.sample(20, seed=3), flow.sample(20, seed=3))
    assert Registry(store).load(Registry(store).require("cells", "1")).table(flow.phases[0].generator.sample(2)).num_rows == 2


def test_numbers_alone_are_a_table_too_and_arrays_are_points() -> None:
    numbers = FRAME[["height", "children"]]
    made = fitted(numbers).sample(50)
    assert made.dtypes.tolist() == numbers.dtypes.tolist()
    assert set(made["children"]) <= set(numbers["children"])
    points = fitted(numbers.to_numpy()).sample(5)
    assert (type(points), points.dtype) == (np.ndarray, np.float32)


def test_types_of_pandas_that_arrow_has_not_come_back() -> None:
    frame = pd.DataFrame(
        {
            "whole": pd.array([1, None, 3, 4] * 20, "Int64"),
            "truth": pd.array([True, None, False, True] * 20, "boolean"),
            "word": pd.Series(["a", "b"] * 40, dtype=object),
            "size": pd.Categorical(["S", "L"] * 40, ["S", "M", "L"], ordered=True),
            "grade": pd.Categorical([1, 2, None, 2] * 20),
            "share": pd.Categorical([0.5, 1.5] * 40),
            "answer": pd.Categorical([True, False] * 40),
            "one": pd.Categorical([1] * 80),
            "swapped": np.arange(80.0).astype(">f8"),
            "sparse": pd.arrays.SparseArray([0, 0, 1, 2] * 20),
            7: np.arange(80.0, dtype=np.float32),
        }
    )
    made = fitted(frame).sample(60)
    assert list(made.columns) == list(frame.columns)
    assert made.dtypes.tolist() == frame.dtypes.tolist()
    assert made["whole"].isna().any()
    assert set(made["grade"].dropna()) == {1, 2}
    given = fitted(frame, condition="answer").sample(9, condition="true")
    assert set(given["answer"]) == {True}


def test_a_frame_is_the_source_of_a_frame() -> None:
    control = FRAME.assign(height=FRAME["height"] - 5)[FRAME.columns[::-1]]
    flow = Flow(tiny(1, num_steps=3), source=control).fit(FRAME, progress=False)
    moved = flow.transport(control[:6])
    assert list(moved.columns) == list(control.columns), "as the points have them"
    assert moved.index.tolist() == control.index[:6].tolist()
    assert set(moved["colour"]) <= {"red", "green"}
    with pytest.raises(Unusable, match="points must be a frame or a table with the columns height, children, colour, seen"):
        flow.transport(np.zeros((2, flow.phases[0].generator.dim)))
    with pytest.raises(Unusable, match="source lacks the columns colour, seen of the other end"):
        Flow(tiny(1), source=control[["height", "children"]]).fit(FRAME, progress=False)
    with pytest.raises(Unusable, match="source: its columns hold more than numbers, so that x must be a table"):
        Flow(tiny(1), source=control).fit(RNG.normal(size=(30, 4)), progress=False)


def test_rows_keep_the_condition_that_they_have_unless_another_is_asked_for() -> None:
    flow = Flow(tiny(1, num_steps=3), source=FRAME).fit(FRAME, condition="colour", progress=False)
    assert flow.transport(FRAME[:20])["colour"].tolist() == FRAME["colour"][:20].tolist()
    assert set(flow.transport(FRAME[:20], condition="red")["colour"]) == {"red"}


@pytest.mark.parametrize(
    ("x", "others", "told"),
    [
        (FRAME.assign(id=[f"id {i}" for i in range(N)]), {}, "id"),
        (FRAME, {"condition": "color"}, "there is no column 'color'; there are height, children"),
        (FRAME, {"condition": ["red"] * 5}, "there is no column 'red'"),
        (FRAME, {"condition": np.arange(5.0)}, "condition must be one for each of 200 rows, not 5"),
        (FRAME, {"held_out": np.zeros((3, 4))}, "held_out must be a table like x"),
        (FRAME, {"held_out": FRAME[:0]}, "held_out has no rows"),
        (
            FRAME.dropna(),
            {"condition": "seen"},
            "column 'seen' holds timestamp.*and a condition is numbers, text, or true and false",
        ),
        (
            FRAME.assign(tall=pd.cut(FRAME["height"], 3)),
            {},
            r"'tall' holds intervals: write them as text, with x\['tall'\].astype",
        ),
        (FRAME.assign(what=[object()] * N), {}, "a column holds what no table can"),
        (FRAME[:1], {}, "1 row"),
    ],
)
def test_what_cannot_be_a_table_is_one_sentence(x: Any, others: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=told) as refused:
        fitted(x, **others)
    assert "\n" not in str(refused.value)
