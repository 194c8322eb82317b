"""A table as ForestFlow takes it, and back: every kind of column, without ForestFlow."""

import numpy as np
import pyarrow as pa

from benchmarks.table_forest import Columns
from benchmarks.table_sets import TABLES, Halves
from pipeline.data.tables.inference import infer

MIXED = pa.table(
    {
        "x": [0.5, 1.0, None, 4.0, 2.0, 3.5, 1.5],
        "kind": ["a", None, "b", "c", "a", "b", "c"],
        "n": [3, 1, 2, 3, 2, 1, 1],
        "flag": [True, False, True, True, False, False, True],
    }
)


def test_columns_come_back_from_numbers() -> None:
    columns = Columns(infer(MIXED))
    numbers = columns.numbers(MIXED)
    assert numbers.shape == (7, 4)
    assert np.isnan(numbers).sum() == 1, "a missing category is one more category"
    assert (columns.of("category"), columns.of("integer", "boolean")) == ([1], [2, 3])
    low, high = columns.bounds()
    assert (np.nanmin(numbers, axis=0) == low).all()
    assert (np.nanmax(numbers, axis=0) == high).all()
    there = np.flatnonzero(~np.isnan(numbers).any(axis=1))
    back = columns.table(numbers[there])
    assert back.equals(MIXED.take(there))


def test_generated_numbers_become_values_of_the_columns() -> None:
    columns = Columns(infer(MIXED))
    made = columns.table(np.array([[9.0, 2.6, 2.4, 0.4], [0.7, 0.1, 1.9, 1.0]]))
    assert made.to_pylist() == [
        {"x": 4.0, "kind": None, "n": 3, "flag": False},
        {"x": 0.5, "kind": "a", "n": 3, "flag": True},
    ]


def test_a_table_has_two_halves_that_a_seed_chooses() -> None:
    one, same, other = Halves.of("quakes", 0), Halves.of("quakes", 0), Halves.of("quakes", 1)
    assert one.train.equals(same.train)
    assert not one.train.equals(other.train)
    assert one.train.num_rows == one.held_out.num_rows == one.is_train.sum() == TABLES["quakes"]().num_rows // 2
    assert sorted(one.table.filter(pa.array(one.is_train)).to_pylist(), key=str) == sorted(one.train.to_pylist(), key=str)
