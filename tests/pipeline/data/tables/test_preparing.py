"""From a table to rows that a flow trains on: held out by a hash, weighted, conditioned on columns, and back to a table."""

import itertools
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from pipeline.data import rows
from pipeline.data.tables.codes.cells import Cells
from pipeline.data.tables.coding import MOST_CLASSES
from pipeline.data.tables.inference import infer
from pipeline.data.tables.passes import split
from pipeline.data.tables.passes.asked import Asked
from pipeline.data.tables.passes.split import ByHash, hashes
from pipeline.data.tables.preparing import alike, prepared
from pipeline.data.tables.schema import Schema
from pipeline.data.tables.source import TableRows
from pipeline.errors import Unusable

RNG = np.random.default_rng(0)
N = 400
COLOURS = np.array(["red", "green", "blue"])
TABLE = pa.table(
    {
        "height": RNG.normal(170, 8, N).round(1),
        "children": pa.array(RNG.poisson(1.5, N), pa.int16()),
        "colour": COLOURS[RNG.integers(3, size=N)],
        "label": pa.array(RNG.choice([1, 3, 7], N), pa.int8()),
        "weight": RNG.uniform(0, 2, N),
        "part": np.where(np.arange(N) % 4, "train", "test"),
    }
)


def row_tuples(table: pa.Table) -> list[tuple]:
    """Rows of cells, numbers as 32 bits have them."""
    cells = [[round(cell, 4) if isinstance(cell, float) else cell for cell in row.values()] for row in table.to_pylist()]
    return [tuple(row) for row in cells]


def test_rows_come_back_with_the_columns_types_and_order_of_the_table() -> None:
    made = prepared(TABLE, Asked(weights="weight", split="part"), "t")
    assert (len(made.train), len(made.test)) == (300, 100)
    back = made.coding.table(made.train)
    expected = TABLE.drop_columns(["weight", "part"])
    assert back.schema.remove_metadata() == expected.schema
    assert row_tuples(back) == row_tuples(expected.filter(pa.array(np.arange(N) % 4 != 0)))
    assert made.weights is not None
    np.testing.assert_array_equal(made.weights[1], TABLE["weight"].to_numpy()[::4])


def test_a_row_stays_on_its_side_when_rows_are_added_and_columns_change_their_places_and_types() -> None:
    table = TABLE.drop_columns(["weight", "part"])
    before = hashes(table)
    np.testing.assert_array_equal(hashes(table.slice(100, 50)), before[100:150])
    turned = table.select(table.column_names[::-1]).set_column(1, "colour", table["colour"].dictionary_encode())
    turned = turned.set_column(2, "children", table["children"].cast(pa.float64()))
    np.testing.assert_array_equal(hashes(turned), before)
    assert len(np.unique(before)) == len({*row_tuples(table)})
    assert 0.1 < (before % 5 == 0).mean() < 0.3
    days = pa.table({"day": pa.array([19000, None, 20000], pa.date32())})
    for unit in ("s", "ms", "ns"):
        moments = days.set_column(0, "day", days["day"].cast(pa.timestamp(unit)))
        np.testing.assert_array_equal(hashes(moments), hashes(days))
    missing = pa.table({"x": pa.array([None, 0.0, -0.0, float("nan")]), "y": pa.array([None, "", "", None])})
    assert len(np.unique(hashes(missing))) == 2, "a missing value is no zero and no empty text"


@pytest.mark.parametrize("most", [2**20, 30])
def test_one_in_five_of_equal_rows_is_held_out_whatever_their_order_and_batches(
    most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(split, "MOST_COUNTED", most)
    rng = np.random.default_rng(0)
    table = pa.table({"x": rng.integers(4, size=2000), "y": np.array(["a", "b", "c"])[rng.integers(3, size=2000)]})
    train = ByHash().trained(table)
    for value in ("a", "b", "c"):
        of_value = train[np.array(table["y"].to_pylist()) == value]
        assert 0.75 < of_value.mean() < 0.85, "each kind of row is on both sides, in the same shares"
    in_batches, parts = ByHash(), (0, 1, 700, 701, 2000)
    again = [in_batches.trained(table.slice(start, end - start)) for start, end in itertools.pairwise(parts)]
    np.testing.assert_array_equal(np.concatenate(again), train)
    turned = table.take(rng.permutation(2000))
    assert sorted(row_tuples(turned.filter(pa.array(ByHash().trained(turned))))) == sorted(
        row_tuples(table.filter(pa.array(train)))
    )
    once = pa.table({"x": np.arange(500.0)})
    np.testing.assert_array_equal(ByHash().trained(once), hashes(once) % 5 != 0)


def test_a_nested_column_is_refused_or_left_out_by_a_schema() -> None:
    table = TABLE.drop_columns(["weight", "part"]).append_column("places", pa.array([[i] for i in range(N)]))
    with pytest.raises(Unusable, match=r"column places has values of the type list<.*>, which are no numbers"):
        prepared(table, Asked(), "t")
    made = prepared(table, Asked(schema=infer(table, drop=["places"])), "t")
    assert "places" not in made.coding.table(made.test).column_names


@pytest.mark.parametrize(
    ("column", "asked", "value"),
    [("colour", "green", "green"), ("label", 7, 7), ("label", "7", 7), ("children", 2, 2)],
)
def test_a_column_of_classes_is_a_condition_and_comes_back(column: str, asked: object, value: object) -> None:
    made = prepared(TABLE, Asked(condition=(column,), weights="weight", split="part"), "t")
    assert made.coding.encoding.schema.names == tuple(name for name in TABLE.column_names[:4] if name != column)
    condition, train, _ = made.given[column]
    back = made.coding.table(made.train, train)
    assert back.column_names == TABLE.column_names[:4]
    assert back[column].equals(TABLE.filter(pa.array(np.arange(N) % 4 != 0))[column])
    law = made.joint(condition).law().at(asked)
    assert set(made.coding.table(made.train[:5], law.draw(5, RNG))[column].to_pylist()) == {value}


def test_columns_of_numbers_are_a_condition_in_units_of_their_own() -> None:
    made = prepared(TABLE, Asked(condition=("height", "weight"), split="part"), "t")
    condition, train, _ = made.given["height,weight"]
    np.testing.assert_allclose(train.mean(0), 0, atol=0.2)
    asked = made.joint(condition).law().at("180, 1.5").draw(3, RNG)
    back = made.coding.table(made.train[:3], asked)
    np.testing.assert_allclose(back["height"].to_numpy(), 180, rtol=1e-6)
    np.testing.assert_allclose(back["weight"].to_numpy(), 1.5, rtol=1e-6)
    many = pa.table({"x": np.arange(200.0), "n": np.arange(200) % (MOST_CLASSES + 1)})
    assert prepared(many, Asked(condition=("n",)), "t").given["n"][0].num_values == 1, "so many whole numbers are values"


def test_another_table_is_coded_like_the_first_and_must_have_its_columns() -> None:
    made = prepared(TABLE, Asked(columns=("height", "colour")), "t")
    other = alike(TABLE.slice(0, 100), Asked(), made.coding, "other")
    assert other.shape == made.shape
    assert {*row_tuples(made.coding.table(np.concatenate([other.train, other.test])))} <= {
        *row_tuples(TABLE.select(["height", "colour"]))
    }
    with pytest.raises(Unusable, match="other lacks the columns colour of the other end; it has height"):
        alike(TABLE.select(["height"]), Asked(), made.coding, "other")


def test_what_rows_are_has_their_coding_in_it() -> None:
    first, again = (prepared(TABLE, Asked(columns=("height", "colour")), "t") for _ in range(2))
    assert first.digest == again.digest
    name, held = rows.hold(first)
    assert rows.known(name) is held
    other = TABLE.set_column(0, "size", TABLE["height"]).rename_columns(["size", *TABLE.column_names[1:]])
    renamed = prepared(other, Asked(columns=("size", "colour")), "t")
    assert renamed.digest != first.digest


def test_rows_are_read_again_from_their_files(tmp_path) -> None:
    from pipeline.data.tables import kept

    made = prepared(TABLE, Asked(condition=("colour",), weights="weight", split="part"), "t")
    name = rows.name_of(made)
    kept.write(name, made, str(tmp_path))
    read = kept.read(name, str(tmp_path))
    assert isinstance(read, TableRows)
    assert read.digest == made.digest
    conditions = read.given["colour"][1][:5]
    assert read.coding.table(read.train[:5], conditions).equals(made.coding.table(made.train[:5], conditions))


RARE = pa.table(
    {
        "pair": ["a", "b"] * 40 + ["c"] * 2,
        "many": [*"abcde"] * 16 + ["f"] * 2,
        "sure": [True] * 80 + [False] * 2,
        "die": [1, 2, 3, 4, 5] * 16 + [6, 9],
        "hole": [1.5, 2.5] * 40 + [None, 2.0],
        "length": [*np.round(RNG.normal(50, 3, 80), 1), 70.1, 33.3],
        "day": pa.array([*RNG.integers(100, 160, 80), 300, 5], pa.int32()).cast(pa.date32()),
        "part": ["train"] * 80 + ["test"] * 2,
    }
)
"""Whose two held-out rows have values that no other row has."""


@pytest.mark.parametrize("weights", [None, "weight"])
def test_what_only_held_out_rows_have_comes_back_as_what_it_is(weights: str | None) -> None:
    table = RARE.append_column("weight", pa.array(RNG.uniform(0.1, 9, len(RARE))))
    made = prepared(table, Asked(weights=weights, split="part", columns=tuple(RARE.column_names[:-1])), "t")
    back = made.coding.table(made.test)
    assert back.to_pylist() == RARE.drop_columns(["part"]).slice(80).to_pylist()
    assert made.coding.table(made.train).to_pylist() == RARE.drop_columns(["part"]).slice(0, 80).to_pylist()
    drawn = made.coding.table(np.random.default_rng(0).standard_normal((4000, made.shape[0])))
    assert 0 < sum(each == "c" for each in drawn["pair"].to_pylist()) < 80, "as rare as half a row, or so"


def test_codes_are_fitted_to_rows_by_their_weights() -> None:
    rng = np.random.default_rng(1)
    x = rng.normal(size=4000)
    columns = {
        "power": np.exp(x),
        "quantile": np.where(x > 0.3, 0.0, x**3),
        "whole": rng.poisson(np.exp(x)),
        "kind": np.array([*"abc"])[np.digitize(x, [-0.5, 0.5])],
        "hole": pa.array(x, mask=x > 0.8),
        "w": np.exp(x),
    }
    made = prepared(pa.table(columns), Asked(weights="w"), "t")
    assert made.weights is not None
    assert {column.transform for column in made.coding.encoding.schema.columns} == {"power", "quantile", "rank"}
    some = [name != "hole" for name in made.coding.encoding.names]  # there, noise stands in place of missing values
    coordinates, weights = made.train[:, some].astype(np.float64), made.weights[0] / made.weights[0].sum()
    mean = weights @ coordinates
    error = 4 * np.sqrt((weights**2).sum())
    np.testing.assert_allclose(mean, 0, atol=error)
    np.testing.assert_allclose(weights @ (coordinates - mean) ** 2, 1, atol=2 * error)
    assert (np.abs(coordinates.mean(0)) > 0.5).any(), "by rows alone they are far from it"


def test_rows_of_weight_zero_are_no_rows() -> None:
    weights = np.where(np.arange(N) % 3, 1.0, 0.0)
    table = TABLE.set_column(TABLE.column_names.index("weight"), "weight", pa.array(weights))
    table = table.set_column(0, "height", pa.array(np.where(weights > 0, TABLE["height"].to_numpy(), 9999.0)))
    made = prepared(table, Asked(weights="weight", split="part"), "t")
    assert len(made.train) + len(made.test) == (weights > 0).sum()
    assert made.coding.encoding.schema.column("height").high < 300


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ({"kind": "c"}, "the column kind has the value c, which no row has that its code was fitted to"),
        ({"many": "f"}, "the column many has the value f, which no row has"),
        ({"kind": "d"}, "the column kind has the value d, which is none of its categories"),
        ({"x": None}, "the column x has a missing value in row 3, and no row that its code was fitted to has one"),
    ],
)
def test_rows_of_another_table_with_what_no_fitted_row_has_are_refused(row: dict, told: str) -> None:
    kinds = pa.DictionaryArray.from_arrays(pa.array([0, 1] * 30), ["a", "b", "c"])
    many = pa.DictionaryArray.from_arrays(pa.array([*range(5)] * 12), [*"abcdef"])
    table = pa.table({"kind": kinds, "many": many, "x": RNG.normal(size=60)})
    schema = infer(table)
    columns = tuple(replace(each, nullable=each.name == "x") for each in schema.columns)
    coding = prepared(table, Asked(schema=Schema(columns)), "t").coding
    other = pa.Table.from_pylist([{"kind": "a", "many": "a", "x": 0.5}] * 2 + [{"kind": "a", "many": "a", "x": 0.5, **row}])
    with pytest.raises(Unusable, match=told) as refused:
        coding.encoding.encode(other, np.random.default_rng(0))
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("counts", [[10**7, 1, 3], [1, 10**9, 1], [5, 5, 10**6, 1, 10**7]])
def test_a_choice_that_hardly_any_row_of_many_has_comes_back(counts: list[int]) -> None:
    cells = Cells.of(np.array(counts))
    choices = np.repeat(np.arange(len(counts)), 20_000)
    coordinates = cells.to_normal(choices, np.random.default_rng(0)).astype(np.float32)
    np.testing.assert_array_equal(cells.from_normal(coordinates.astype(np.float64)), choices)


BAD = {
    "no such weights": (TABLE, Asked(weights="wieght"), "t has no column 'wieght'; it has .*did you mean weight"),
    "weights of words": (TABLE, Asked(weights="colour"), "weights must be numbers, and column 'colour' holds string"),
    "a negative weight": (pa.table({"x": [1.0, 2, 3], "w": [1.0, -1, 1]}), Asked(weights="w"), "row 1 has -1"),
    "no weight": (pa.table({"x": [1.0, 2, 3], "w": [0, 0, 0]}), Asked(weights="w"), "all are 0"),
    "a split of numbers": (TABLE, Asked(split="children"), "column 'children' must say train or test of each row, and has"),
    "one side only": (pa.table({"x": [1.0, 2, 3], "s": ["train"] * 3}), Asked(split="s"), "too few, or too alike"),
    "no rows": (TABLE.slice(0, 0), Asked(), "t has no rows: a flow needs some"),
    "one row": (TABLE.slice(0, 1), Asked(), "t has 1 row: a flow needs some"),
    "equal rows": (pa.table({"x": [1.0] * 9}), Asked(), "there is nothing to learn"),
    "only the condition": (TABLE.select(["height"]), Asked(condition=("height",)), "no column beside those of data.condition"),
    "no such condition": (TABLE, Asked(condition=("color",)), "no column 'color'.* did you mean colour"),
    "a condition that is missing": (
        pa.table({"x": np.arange(9.0), "c": ["a", None] * 4 + ["a"]}),
        Asked(condition=("c",)),
        "column 'c' has missing values",
    ),
    "a schema of other columns": (
        TABLE,
        Asked(columns=("height", "colour"), schema=infer(TABLE.select(["height"]))),
        "data.schema says nothing of the columns colour of t: add them",
    ),
    "a schema of nothing": (
        TABLE,
        Asked(columns=("height",), schema=infer(TABLE, drop=["height"])),
        "data.schema leaves out all",
    ),
    "classes beside numbers": (
        TABLE,
        Asked(condition=("colour", "height")),
        "'colour' is a column of classes, which stands alone",
    ),
}


@pytest.mark.parametrize("fault", BAD)
def test_what_cannot_be_prepared_is_one_sentence(fault: str) -> None:
    table, asked, told = BAD[fault]
    with pytest.raises(Unusable, match=told) as refused:
        prepared(table, asked, "t")
    assert "\n" not in str(refused.value)
