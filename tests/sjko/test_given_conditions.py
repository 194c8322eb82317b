"""Conditions that a person gives beside rows: read, kept with the rows, asked for, stored, or refused in one sentence."""

import logging
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch
from flows import QUICK, tiny
from torch.utils.data import TensorDataset

from components.conditions import Condition
from pipeline.command import cli
from pipeline.data import rows
from pipeline.data.joint import Conditioned
from pipeline.data.tables import kept
from pipeline.errors import Unusable
from pipeline.evaluation.measure import floors
from pipeline.evaluation.size import EvaluationSize
from pipeline.generator import endpoints_of
from pipeline.store.phases import Store
from sjko import Data, Flow, Recipe
from sjko.data.conditions import arranged, condition_of, each_of, numbers_of, read
from sjko.data.joined import joined_of, points_of
from sjko.fitted import Fitted

X = np.random.default_rng(0).normal(size=(300, 3)) * [1, 2, 3] + 5
NUMBERS = np.arange(300) % 3
WORDS = np.array(["low", "mid", "top"])[NUMBERS]
FRAME = pd.DataFrame(X, columns=list("abc")).assign(kind=WORDS)


def conditions(condition: Any, x: Any = X) -> tuple[Condition, np.ndarray, np.ndarray]:
    points = points_of(joined_of(x, condition))
    assert isinstance(points, Conditioned)
    (given,) = points.given.values()
    return given


CLASSES: dict[str, tuple[Callable[[], Any], tuple[str, ...]]] = {
    "whole numbers": (lambda: NUMBERS, ("0", "1", "2")),
    "numbers that begin at 1": ((NUMBERS + 1).tolist, ("3", "1", "2")),
    "negative numbers": (lambda: NUMBERS - 1, ("0", "1", "-1")),
    "years": (lambda: NUMBERS.astype(np.int16) + 1990, ("1990", "1991", "1992")),
    "words": (lambda: WORDS, ("low", "mid", "top")),
    "objects": (lambda: WORDS.astype(object), ("low", "mid", "top")),
    "booleans": (lambda: NUMBERS > 0, ("False", "True")),
    "categories": (lambda: pd.Categorical(WORDS, ["top", "mid", "low", "never"]), ("low", "mid", "top")),
    "categories that are numbers": (lambda: pd.Series(NUMBERS / 2).astype("category"), ("0.0", "0.5", "1.0")),
    "a series of nullable numbers": (lambda: pd.Series(NUMBERS).convert_dtypes(), ("0", "1", "2")),
    "a series of words": (lambda: pd.Series(WORDS), ("low", "mid", "top")),
    "an array of arrow": (lambda: pa.array(WORDS).dictionary_encode(), ("low", "mid", "top")),
    "a tensor": (lambda: torch.tensor(NUMBERS, dtype=torch.uint8), ("0", "1", "2")),
}


@pytest.mark.parametrize("case", CLASSES)
def test_classes_are_read_in_whatever_form_they_are(case: str) -> None:
    make, names = CLASSES[case]
    condition, train, test = conditions(make())
    assert condition == Condition("condition", names)
    assert train.dtype == test.dtype == np.int64
    assert len(train) + len(test) == 300
    x_train = points_of(joined_of(X)).train
    by_row = {row.tobytes(): each for row, each in zip(X.astype(np.float32), read(make(), 300), strict=True)}
    assert [names[number] for number in train] == [by_row[row.tobytes()] for row in x_train], "each row keeps its own"


VALUES: dict[str, tuple[Callable[[], Any], int]] = {
    "numbers with a fraction": (lambda: X[:, 0], 1),
    "rows of numbers": (lambda: X[:, :2], 2),
    "rows of whole numbers": (lambda: np.eye(3, dtype=int)[NUMBERS], 3),
    "a tensor": (lambda: torch.tensor(X[:, :1], dtype=torch.bfloat16), 1),
    "a frame": (lambda: FRAME[["a", "b"]], 2),
    "numbers of two types": (lambda: [0, 0.5] * 150, 1),
}


@pytest.mark.parametrize("case", VALUES)
def test_values_are_read_in_whatever_form_they_are(case: str) -> None:
    make, num_values = VALUES[case]
    condition, train, test = conditions(make())
    assert (condition.name, condition.classes, condition.num_values) == ("condition", (), num_values)
    assert np.abs(train.mean(0)).max() < 1e-5
    assert np.abs(train.std(0) - 1).max() < 1e-5
    together = np.sort(condition.in_units(np.concatenate([train, test])), axis=0)
    np.testing.assert_allclose(together, np.sort(read(make(), 300), axis=0), rtol=1e-4, atol=1e-5)
    assert train.dtype == test.dtype == np.float32
    assert train.shape[1] == test.shape[1] == num_values


WRONG: dict[str, tuple[Callable[[], Any], str]] = {
    "too few": (lambda: (X, NUMBERS[:5]), r"condition must be one for each of 300 rows, not of the shape \(5,\)"),
    "one number": (lambda: (X, 3), "condition must be one for each row, or the name of a column of x, not 3"),
    "a cube": (lambda: (X, np.zeros((300, 2, 2))), "condition must be one for each of 300 rows, not of the shape"),
    "a missing word": (lambda: (X, [None, *WORDS[1:]]), "condition: row 0 is missing"),
    "a missing category": (lambda: (X, pd.Categorical([*WORDS[:299], None])), "condition: row 299 is missing"),
    "a missing value": (lambda: (X, [*X[:299, 0], np.nan]), "condition: row 299 is missing; leave such rows out"),
    "an infinite value": (
        lambda: (X, np.where(X[:, 0] == X[299, 0], np.inf, X[:, 0])),
        "condition: row 299 is missing or infinite",
    ),
    "dates": (lambda: (X, pd.date_range("2026-01-01", periods=300)), "condition takes classes .* or values .*, not object"),
    "words and numbers": (
        lambda: (X, ["a", 1] * 150),
        "condition must be all classes of one type, or all values, not int and str",
    ),
    "as many classes as rows": (
        lambda: (X, np.arange(300)),
        r"different classes in 2\d\d rows .*; where they are values, write .asty",
    ),
    "no such column": (lambda: (FRAME, "sort"), "condition: x has no column 'sort'; it has a, b, c, kind"),
    "a column of an array": (lambda: (X, "kind"), "condition: x has no columns, and so none named 'kind'"),
    "a column twice": (lambda: (pd.concat([FRAME, FRAME.kind], axis=1), "kind"), "x: 2 columns have the name 'kind'"),
    "words in several columns": (lambda: (FRAME, ["a", "kind"]), "x: column 'kind' holds (str|object), and a flow takes numbers"),
    "another index": (lambda: (FRAME[["a"]], FRAME.kind[::-1]), "condition: its index is not that of x: write condition.loc"),
    "items without a label": (
        lambda: (TensorDataset(torch.tensor(X)), "label"),
        "condition: items of x must be pairs of a sample",
    ),
    "a class of one row": (
        lambda: (X, np.where(points_of(joined_of(X)).test[:1] == X.astype(np.float32), 1, 0)[:, 0]),
        "condition: the 1 rows of class '1' are all among the one in five that are held out",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_no_condition_is_one_sentence(case: str) -> None:
    make, message = WRONG[case]
    with pytest.raises(Unusable, match=message) as caught:
        points_of(joined_of(*make()))
    assert "\n" not in str(caught.value)


def test_a_number_that_names_a_class_is_that_class_or_none() -> None:
    names = arranged(["10", "2", "1", "-1"])
    condition = Condition("digit", names)
    assert [names[condition.read(name)] for name in names] == list(names)
    assert [condition.read(int(name)) for name in names] == [condition.read(name) for name in names]
    for refuse, unknown in (
        (condition.require_named, 0),
        (condition.require_named, 3),
        (condition.read, "0"),
        (condition.read, 4),
    ):
        with pytest.raises(ValueError, match="must be one of -1, 1, 2, 10, not"):
            refuse(unknown)
    assert each_of(condition, [10, -1], 2).tolist() == [names.index("10"), names.index("-1")]
    truth = condition_of(read([True, False, True, False], 4), "is_dog")
    assert (truth.read(True), truth.read(np.bool_(False)), truth.read("True")) == (1, 0, 1)
    with pytest.raises(Unusable, match="row 1 is 'x', a class that no row to train on has"):
        numbers_of(condition, np.array(["1", "x"]))


def test_a_flow_is_fitted_to_classes_and_asked_for_them() -> None:
    flow = Flow(tiny(1)).fit(X, condition=NUMBERS + 1)
    first = flow.sample(40, condition=1)
    third = flow.sample(40, condition=3)
    assert (first != third).any(1).all()
    mixed = flow.sample(40, condition=[1, 3] * 20)
    np.testing.assert_array_equal(mixed[::2], first[::2])
    np.testing.assert_array_equal(mixed[1::2], third[1::2])
    drawn = flow.sample(40)
    assert ((drawn == first).all(1) | (drawn == third).all(1) | (drawn == flow.sample(40, condition=2)).all(1)).all()
    moved = flow.transport(np.zeros((4, 3)), condition=[1, 1, 2, 3])
    np.testing.assert_array_equal(moved[0], moved[1])
    assert (moved[1:3] != moved[2:]).all()
    for wrong, message in (
        (0, "condition condition must be one of 1, 2, 3, not 0"),
        ("top", "must be one of 1, 2, 3, not 'top'"),
        ([1, 2], r"must be one for each of 5 rows, not of the shape \(2,\)"),
        ([1, 2, 3, 4, 1], "must be one of 1, 2, 3, not '4'"),
    ):
        with pytest.raises(ValueError, match=message):
            flow.sample(5, condition=wrong)
    with pytest.raises(ValueError, match=r"condition must be left out: this flow was trained without data\.condition"):
        Flow(tiny(1)).fit(X).sample(2, condition=[1, 2])


def test_a_column_is_taken_out_and_gives_the_condition_of_points() -> None:
    flow = Flow(tiny(1)).fit(FRAME, condition="kind")
    assert flow.recipe.data.condition == "kind"
    assert list(flow.sample(3).columns) == list(FRAME.columns)
    moved = flow.transport(FRAME[:6])
    assert moved["kind"].tolist() == FRAME["kind"][:6].tolist()
    of_each = flow.transport(FRAME[list("abc")][:6], condition=FRAME.kind[:6])
    pd.testing.assert_frame_equal(moved[list("abc")], of_each[list("abc")])
    pd.testing.assert_frame_equal(moved, flow.transport(FRAME[:6], condition="kind"))
    pd.testing.assert_frame_equal(moved, flow.transport(FRAME[:6], condition=["kind"]))
    low = flow.transport(FRAME[:6], condition="low")
    assert set(low["kind"]) == {"low"}
    assert (low == moved).all(axis=1).sum() == 2
    table = Flow(tiny(1)).fit(pa.table(FRAME), condition="kind")
    assert [phase.fingerprint for phase in table.phases] == [phase.fingerprint for phase in flow.phases]
    assert table.sample(3).column_names == list(FRAME.columns)
    recipe = tiny(1)
    asked = Flow(Recipe(Data(condition="kind"), recipe.network, recipe.jko, recipe.training)).fit(FRAME)
    assert asked.recipe.data.condition == "kind"
    with pytest.raises(Unusable, match="condition: there is no column 'kind'; there are a, b"):
        asked.fit(FRAME[["a", "b"]])


def test_values_of_columns_are_asked_for_one_by_one_or_for_all(caplog: pytest.LogCaptureFixture) -> None:
    flow = Flow(tiny(1)).fit(FRAME[list("abc")], condition=["a", "b"])
    assert flow.recipe.data.target.endswith("-values-2")
    one = flow.sample(4, condition=[5, 5])
    np.testing.assert_array_equal(flow.sample(4, condition=np.full((4, 2), 5.0)), one)
    np.testing.assert_array_equal(flow.sample(4, condition="5,5"), one)
    assert flow.transport(FRAME[list("abc")][:2])[["a", "b"]].equals(FRAME[["a", "b"]][:2]), "the condition of each row"
    with caplog.at_level(logging.WARNING):
        flow.sample(4, condition=[500, 5])
    assert "condition: values beyond those of the data, which go from" in caplog.text
    assert pickle.loads(pickle.dumps(flow)).sample(2, condition=[5, 5]).equals(flow.sample(2, condition=[5, 5]))
    single = Flow(tiny(1)).fit(X, condition=X[:, 0] - 5)
    np.testing.assert_array_equal(single.sample(3, condition=[0.5] * 3), single.sample(3, condition=0.5))
    np.testing.assert_array_equal(single.sample(3, condition=[0, 0, 1])[:2], single.sample(2, condition=[0.0]))
    wide = Flow(tiny(1)).fit(X, condition=1e6 * (X[:, 0] - 5) + 1.7e9)
    np.testing.assert_allclose(wide.sample(3, condition=1.7e9), single.sample(3, condition=0.0), rtol=1e-4, atol=1e-4)
    assert wide.phases[0].fingerprint != single.phases[0].fingerprint


def test_conditions_are_part_of_what_a_flow_is(caplog: pytest.LogCaptureFixture) -> None:
    flow = Flow(tiny(1))
    prints = []
    for condition in (None, NUMBERS, NUMBERS[::-1].copy(), WORDS, NUMBERS.astype(float)):
        with caplog.at_level(logging.WARNING):
            prints.append(flow.fit(X, condition=condition).phases[0].fingerprint)
    assert len(set(prints)) == 5
    assert "condition is taken for values, of which only 3 differ; for classes write .ravel().astype(int)" in caplog.text
    assert flow.fit().phases[0].fingerprint == prints[-1], "the data of the last fit, with their conditions"
    assert flow.fit(X).phases[0].fingerprint == prints[0], "rows that are given anew come with conditions or have none"
    for wrong in ({"condition": NUMBERS}, {"condition": "kind"}):
        with pytest.raises(ValueError, match="condition is of x, which is not given"):
            flow.fit(**wrong)


def test_held_out_rows_bring_their_own_conditions() -> None:
    flow = Flow(tiny(1)).fit(FRAME[:200], condition="kind", held_out=FRAME[200:])
    beside = Flow(tiny(1)).fit(X[:200], condition=WORDS[:200], held_out=(X[200:], WORDS[200:]))
    for each, name in ((flow, "kind"), (beside, "condition")):
        (held,) = each._bound.held.values()
        assert isinstance(held, Conditioned)
        assert held.given[name][2].tolist() == NUMBERS[200:].tolist()
    for held_out, message in (
        (X[200:], r"held_out must be a pair, \(rows, conditions\)"),
        ((X[200:], WORDS[:3]), "held_out: condition must be one for each of 100 rows"),
        ((X[200:], ["new"] * 100), "held_out: condition: row 0 is 'new', a class that no row to train on has"),
        ((X[200:], X[200:, 0]), "held_out: condition must be classes, as condition of the data to train on is"),
    ):
        with pytest.raises(ValueError, match=message):
            Flow(tiny(1)).fit(X[:200], condition=WORDS[:200], held_out=held_out)


def test_labels_of_a_data_set_are_conditions_where_they_are_asked_for(caplog: pytest.LogCaptureFixture) -> None:
    pairs = TensorDataset(torch.tensor(X), torch.tensor(NUMBERS))
    with caplog.at_level(logging.WARNING):
        plain = Flow(tiny(1)).fit(pairs)
    assert "the first part of each item is trained on, and what comes after it is left out; condition='label'" in caplog.text
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        given = Flow(tiny(1)).fit(pairs, condition="label")
    assert caplog.text == ""
    assert plain.recipe.data.target == Flow(tiny(1)).fit(X).recipe.data.target
    assert given.recipe.data.condition == "label"
    assert given.sample(3, condition=1).shape == (3, 3)


@pytest.mark.slow
def test_a_conditional_flow_of_rows_is_stored_registered_and_copied(
    store: Store, home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(Fitted, "_size", lambda self, bound, k: EvaluationSize(50, 1))
    flow = Flow(tiny(1), name="given").fit(X, condition=NUMBERS + 1)
    assert {"class_w2", "class_w2_floor"} <= set(flow.metrics)
    again = Flow(tiny(1), name="given").fit(X, condition=NUMBERS + 1, store=store)
    assert again.phases[0].fingerprint == flow.phases[0].fingerprint
    copy = pickle.loads(pickle.dumps(flow))
    samples = flow.sample(6, condition=3)
    for other in (again, copy):
        np.testing.assert_array_equal(other.sample(6, condition=3), samples)
    assert copy.fit().phases[0].fingerprint == flow.phases[0].fingerprint
    uri, reference, target = again.register("given"), again.phases[0].fingerprint, again.recipe.data.target
    del flow, again, copy, other
    endpoints_of.cache_clear()
    assert target not in rows._held
    assert cli.main(["evaluate", reference, "--condition=condition=3", *QUICK]) == 0, "the data are kept beside the store"
    endpoints_of.cache_clear()
    rows._read.cache_clear()
    floors.cache_clear()
    shutil.rmtree(home / "data" / "rows")
    assert cli.main(["show", reference]) == 0
    assert cli.main(["list"]) == 0
    assert cli.main(["evaluate", reference]) == 2
    assert "were in the memory of another process" in capsys.readouterr().err
    loaded = Flow.load(uri)
    np.testing.assert_array_equal(loaded.sample(6, condition=3), samples)
    np.testing.assert_array_equal(loaded.sample(6, condition=[3] * 6), samples)
    with pytest.raises(ValueError, match="must be one of 1, 2, 3, not 0"):
        loaded.sample(1, condition=0)
    assert loaded.recipe.data.condition == "condition"


def test_workers_read_rows_with_their_conditions_from_a_file(tmp_path: Path) -> None:
    for condition in (WORDS, X[:, :2]):
        name, points = rows.hold(points_of(joined_of(X, condition)))
        kept.write(name, points, str(tmp_path))
        digest = points.digest
        del points
        assert name not in rows._held
        read_again = rows.opened(name, str(tmp_path))
        assert isinstance(read_again, Conditioned)
        assert read_again.digest == digest
        assert list(read_again.conditions) == ["condition"]
