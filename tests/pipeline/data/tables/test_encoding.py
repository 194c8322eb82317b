"""Tables become coordinates and come back."""

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from pipeline.data.tables.coding import Given
from pipeline.data.tables.encoding import Encoding
from pipeline.data.tables.inference import infer
from pipeline.data.tables.schema import Schema
from pipeline.errors import Unusable


def mixed(rows: int = 200) -> pa.Table:
    rng = np.random.default_rng(1)
    holes = rng.random(rows) < 0.2
    return pa.table(
        {
            "count": pa.array(rng.poisson(3, rows), pa.int16()),
            "weight": pa.array(rng.normal(70, 9, rows), pa.float64(), mask=holes),
            "size": pa.array(rng.normal(size=rows), pa.float32()),
            "big": pa.array(2**62 + rng.integers(0, 1000, rows), pa.int64()),
            "sold": rng.random(rows) < 0.3,
            "island": pa.array(rng.choice(["Biscoe", "Dream", "Torgersen"], rows), mask=holes),
            "grade": pa.array(rng.choice(["a", "b"], rows)).dictionary_encode().cast(pa.dictionary(pa.int8(), pa.string())),
            "when": pa.array(1_700_000_000 + rng.integers(0, 10**6, rows), pa.timestamp("s", "Europe/Berlin")),
            "day": pa.array(rng.integers(19000, 20000, rows).astype(np.int32)).cast(pa.date32()),
            "unit": ["kg"] * rows,
        }
    )


def test_a_table_comes_back_with_its_columns_types_categories_and_missing_values() -> None:
    table = mixed()
    encoding = Encoding.fit(infer(table), table)
    coordinates = encoding.encode(table, np.random.default_rng(0))
    assert coordinates.shape == (table.num_rows, encoding.width)
    assert coordinates.dtype == np.float32
    back = encoding.decode(coordinates)
    assert back.schema == table.schema
    for name in ("count", "big", "sold", "island", "grade", "when", "day", "unit"):
        assert back[name].to_pylist() == table[name].to_pylist(), name
    assert back["weight"].is_null().equals(table["weight"].is_null())


def test_generated_tables_have_the_types_and_stay_within_the_bounds() -> None:
    table = mixed()
    encoding = Encoding.fit(infer(table), table)
    back = encoding.decode(np.random.default_rng(0).normal(size=(500, encoding.width)) * 3)
    assert back.schema == table.schema
    assert min(back["count"].to_pylist()) >= 0
    assert set(back["island"].to_pylist()) <= {None, "Biscoe", "Dream", "Torgersen"}


def test_files_give_back_the_encoding() -> None:
    table = mixed()
    encoding = Encoding.fit(infer(table), table)
    files = encoding.to_files()
    assert files == Encoding.fit(infer(table), table).to_files()
    again = Encoding.from_files(files)
    assert again.names == encoding.names
    samples = np.random.default_rng(0).normal(size=(50, encoding.width))
    assert again.decode(samples).equals(encoding.decode(samples))


def test_a_schema_is_read_as_it_was_written() -> None:
    schema = infer(mixed())
    assert Schema.from_yaml(schema.to_yaml()) == schema


def test_what_cannot_be_decoded_is_refused() -> None:
    table = mixed()
    encoding = Encoding.fit(infer(table), table)
    with pytest.raises(Unusable, match="finite numbers"):
        encoding.decode(np.full((2, encoding.width), np.nan))
    with pytest.raises(Unusable, match="of the shape"):
        encoding.decode(np.zeros((2, 1)))


@pytest.mark.parametrize("cells", [[1, 3, 1], ["b", "a", "b"], [True, False, True]])
def test_conditions_come_back_with_all_categories_that_there_are(cells: list[Any]) -> None:
    """Rows of one class had that category alone, so that files of several classes had columns of different types."""
    table = pa.table({"k": pa.array(cells).dictionary_encode().cast(pa.dictionary(pa.int8(), pa.array(cells).type))})
    given = Given.of(table, ["k"])
    assert given.decode(given.encode(table))["k"].to_pylist() == cells
    one = given.decode(given.encode(table)[:1])["k"]
    assert (one.type, one.to_pylist()) == (table["k"].type, cells[:1])
    assert sorted(one.dictionary.to_pylist()) == sorted(set(cells))
    if cells[1] == 3:
        assert given.decode(np.array([2, 3]))["k"].to_pylist() == [None, 3], "no row has 2"
