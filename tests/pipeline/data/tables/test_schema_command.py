"""The command `schema`, and what it refuses: one sentence, exit code 2, nothing written."""

import datetime
import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from terminals import Terminal

from pipeline.command import cli
from pipeline.data.tables.encoding import Encoding
from pipeline.data.tables.inference import infer
from pipeline.data.tables.schema import Schema
from pipeline.errors import Corrupt, Unusable

RNG = np.random.default_rng(0)
X = RNG.normal(size=60)
GERMAN = "Größe (cm);Straße;Fälle\n" + "\n".join(f"{170 + i / 2:.1f};{'ÄÖÜß'[i % 4]};{i % 7}" for i in range(60)) + "\n"
REFUSED = {
    "all missing": ({"x": X, "gap": np.full(60, np.nan)}, "the column gap has no value that is there"),
    "nothing but nulls": ({"x": X, "gap": pa.nulls(60)}, "the column gap has no value"),
    "infinite": ({"x": np.append(X[1:], np.inf)}, "the column x has infinite values"),
    "a mark": ({"x": np.append(X[1:], 1e308)}, "has numbers beyond 1e\\+150, such as 1e\\+308"),
    "one row": ({"x": [1.5]}, "at least two rows, not 1"),
    "no rows": ({"x": pa.array([], pa.float64())}, "at least two rows, not 0"),
    "identifiers": ({"x": X, "n": RNG.permutation(60)}, "the column n is an identifier: no whole number comes twice"),
    "hashes": ({"x": X, "n": RNG.integers(-(2**62), 2**62, 60)}, "the column n is an identifier"),
    "words": ({"x": X, "n": [f"u{i}" for i in range(60)]}, "is an identifier: 60 different values in 60 rows, such as u0"),
    "free text": ({"x": X, "n": [f"this is row {i}" for i in range(60)]}, "is free text, such as this is row 0"),
    "categories": (
        {"c": pd.Categorical([f"{i % 40} kg or so" for i in range(60)])},
        "40 categories in 60 rows",
    ),
    "thousands": ({"n": [f"{1000 * i:,.2f}" for i in range(60)]}, "numbers that are written as text, such as 0.00"),
    "day or month": ({"d": ["01/02/2020", "03/04/2020"] * 30}, "read as %d/%m/%Y or as %m/%d/%Y"),
    "lists": ({"x": X, "l": [[1, 2]] * 60}, "values of the type list<.*>, which are no numbers"),
    "structs": ({"x": X, "s": [{"a": 1}] * 60}, "values of the type struct<a: int64>"),
    "bytes": ({"x": X, "b": [b"ab"] * 60}, "values of the type binary"),
    "two at once": (
        {"x": X, "l": [[1]] * 60, "n": np.arange(60)},
        "the column l .*; the column n .*--drop l n",
    ),
    "nothing to learn": ({"a": [1] * 60, "b": ["k"] * 60}, "nothing to learn"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_learnt_is_one_sentence(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    columns, sentence = REFUSED[name]
    with pytest.raises(Unusable, match=sentence):
        infer(pa.table(columns))
    pq.write_table(pa.table(columns), tmp_path / "my.parquet")
    assert cli.main(["schema", str(tmp_path / "my.parquet"), "--to", str(tmp_path / "schema.yaml")]) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: ")
    assert said.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["my.parquet"]


def test_a_table_is_shown_written_corrected_and_used(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "my.csv").write_text(GERMAN, encoding="utf-8-sig")
    written, result = tmp_path / "schema.yaml", tmp_path / "result.json"
    words = ["schema", str(tmp_path / "my.csv"), "--to", str(written), "--json", str(result)]
    assert cli.main(words) == 0
    shown = capsys.readouterr().out
    assert "Größe (cm)" in shown
    assert "3 columns become 6 coordinates" in shown
    assert json.loads(result.read_text())["width"] == 6
    schema = Schema.from_yaml(written.read_text())
    assert [column.kind for column in schema.columns] == ["number", "category", "integer"]
    assert schema.column("Größe (cm)").grid == 0.5
    corrected = written.read_text().replace("kind: integer", "kind: number").replace("transform: one_hot", "transform: rank")
    table = pa.table({"Größe (cm)": [170.0, 171.5], "Straße": ["Ä", "Ü"], "Fälle": [3, 4]})
    encoding = Encoding.fit(Schema.from_yaml(corrected), table)
    assert encoding.names == ("Größe (cm)", "Straße", "Fälle")
    assert cli.main(words) == 2
    assert "is there already" in capsys.readouterr().err


def test_a_column_can_be_dropped(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pq.write_table(pa.table({"x": X, "id": np.arange(60)}), tmp_path / "my.parquet")
    assert cli.main(["schema", str(tmp_path / "my.parquet"), "--drop", "id"]) == 0
    assert "1 columns become 1 coordinates" in capsys.readouterr().out
    assert cli.main(["schema", str(tmp_path / "my.parquet"), "--drop", "ID"]) == 2
    assert "did you mean id?" in capsys.readouterr().err


WRONG = {
    "kind: number\n  type: double": (
        "kind: nummer\n  type: double",
        "line 3: kind must be one of .*; did you mean number?",
    ),
    "grid: 0.5": ("grid: -1", "line 6: grid must be a number above 0, not -1"),
    "transform: power": ("transform: one_hot", "line 5: transform of a column of the kind number must be one of quantile, power"),
    "low: 0.0": ("low: ten", "line 7: low does not suit the type double"),
    "high: 29.5": ("high: -3.0", "line 8: high must not be below low, which is 0.0"),
    "type: double": ("type: doubel", "line 4: doubel is no type of Arrow"),
    "kind: category": ("kind: datetime", "a column of the type string cannot be of the kind datetime: give its format"),
    "- b\n": ("- a\n", "categories must be a list of at least two different values"),
    "  low: 0.0\n": ("", "line 2: a column of the kind number needs the field low"),
    "columns:": ("colums:", "line 1: colums is no field of a schema; did you mean columns?"),
    "name: c": ("name: x", "a second column is called x, as the one of line 2"),
    "nullable": ("nullable: {", "cannot be read as YAML"),
}


@pytest.mark.parametrize("right", WRONG)
def test_a_wrong_field_is_one_sentence_with_its_line(right: str) -> None:
    table = pa.table({"x": pa.array([i / 2 for i in range(60)]), "c": ["a", "b", "b"] * 20})
    text = infer(table).to_yaml().replace("  transform: rank", "  transform: rank\n  nullable: false")
    assert right in text
    wrong, sentence = WRONG[right]
    with pytest.raises(Unusable, match=sentence):
        Schema.from_yaml(text.replace(right, wrong, 1))


LATER: dict[str, tuple[Callable[[pa.Table], pa.Table], str]] = {
    "a column less": (lambda table: table.drop_columns("c"), "no column c"),
    "text": (lambda table: table.set_column(0, "x", pa.array(["a"] * 60)), "the column x must be double, and is string"),
    "a gap": (lambda table: table.set_column(0, "x", pa.array([None, *X[1:]])), "a missing value in row 1"),
    "a category": (lambda table: table.set_column(1, "c", pa.array(["z"] * 60)), "the value z, which is none of its categories"),
    "an infinity": (lambda table: table.set_column(0, "x", pa.array([np.inf, *X[1:]])), "an infinite value in row 1"),
}


@pytest.mark.parametrize("name", LATER)
def test_another_table_must_have_the_columns_that_were_fitted(name: str) -> None:
    table = pa.table({"x": X, "c": ["a", "b", "b"] * 20})
    encoding = Encoding.fit(infer(table), table)
    change, sentence = LATER[name]
    with pytest.raises(Unusable, match=sentence):
        encoding.encode(change(table), np.random.default_rng(0))


def test_files_of_another_encoding_are_refused() -> None:
    table = pa.table({"x": X})
    files = Encoding.fit(infer(table), table).to_files()
    with pytest.raises(Corrupt):
        Encoding.from_files(files | {"encoding.json": files["encoding.json"].replace(b'"format": 1', b'"format": 2')})
    with pytest.raises(Corrupt):
        Encoding.from_files(files | {"encoding.npz": b"PK"})


def test_dates_in_many_forms_are_dates() -> None:
    days = [datetime.date(2024, 1, 1) + datetime.timedelta(int(i)) for i in RNG.integers(0, 400, 60)]
    for form in ("%Y-%m-%d", "%d.%m.%Y", "%m/%d/%Y", "%d %b %Y", "%Y-%m-%dT12:30:00Z"):
        column = infer(pa.table({"d": [day.strftime(form) for day in days]})).column("d")
        assert (column.kind, column.grid) == ("datetime", 86_400)


@pytest.mark.real
def test_a_person_sees_the_columns_on_a_terminal(tmp_path: Path) -> None:
    (tmp_path / "my.csv").write_text(GERMAN)
    terminal = Terminal(["-m", "pipeline", "schema", str(tmp_path / "my.csv")], dict(os.environ), columns=60)
    assert terminal.wait() == 0
    assert "Größe (cm)" in terminal.text()
    assert all(len(line) <= 60 for line in terminal.lines())
