"""Tables as a person brings them: trained on by one command, registered, and drawn from as tables of the same columns."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from flows import QUICK

from deploy import cli as deploy
from deploy.versions.registry import Registry
from pipeline.cluster import Cluster
from pipeline.command import cli
from pipeline.command.flags import Run
from pipeline.data import rows
from pipeline.data.resolution import resolve
from pipeline.data.tables.reading import read
from pipeline.data.tables.source import TableRows
from pipeline.recipe import Data, Recipe
from pipeline.store.phases import Store

pytestmark = pytest.mark.usefixtures("undrawn")
SHORT = ["--jko.num-phases", "1", "--training.num-steps", "3", "--training.batch-size", "16", *QUICK]
RNG = np.random.default_rng(0)
TABLE = pa.table(
    {
        "height": RNG.normal(170, 8, 300).round(1),
        "children": pa.array(RNG.poisson(1.5, 300), pa.int16()),
        "colour": np.array(["red", "green"])[RNG.integers(2, size=300)],
    }
)


def run(*words: str) -> int:
    return cli.PROGRAM.main(["run", *words, *SHORT])


@pytest.fixture
def cells(tmp_path: Path) -> Path:
    pq.write_table(TABLE, tmp_path / "cells.parquet")
    return tmp_path / "cells.parquet"


def test_a_table_trains_without_a_recipe_and_what_is_trained_on_does_not_depend_on_where_it_lies(
    cells: Path, home: Path, store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("--data.target", str(cells)) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("cells: 1 phase, flow")
    moved = cells.rename(cells.with_name("moved.parquet"))
    assert run("table", f"--data.target={moved}", "--data.columns", "height,children,colour") == 0
    assert "from the store" in capsys.readouterr().out
    moved.unlink()
    ref = next(line.split()[2].rstrip(",") for line in shown.splitlines() if line.startswith("T_0 is"))
    phase = store.phase_of(store.resolve(ref))
    assert rows.are_rows(phase.data.target)
    assert str(cells.parent) not in phase.to_json()
    assert cli.PROGRAM.main(["evaluate", ref]) == 0, "the rows are kept: the file is not needed any more"


@pytest.mark.slow
def test_figures_of_a_handful_of_rows_are_told_with_how_little_they_say(
    cells: Path, home: Path, store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    few = tmp_path / "few.parquet"
    pq.write_table(TABLE.slice(0, 10), few)
    assert run("--data.target", str(few)) == 0
    printed = capsys.readouterr()
    assert "note: W2 and its floor are of 2 samples alone and say little" in printed.err
    ref = next(line.split()[2].rstrip(",") for line in printed.out.splitlines() if line.startswith("T_0 is"))
    for program, words in (
        (cli, ["evaluate", ref]),
        (deploy, ["register", ref, "--name", "few", *QUICK]),
        (deploy, ["promote", "few", *QUICK]),
    ):
        assert program.main(words) == 0
        assert "say little" in capsys.readouterr().err
    assert run("--data.target", str(cells)) == 0
    assert "say little" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("target", "name"),
    [("cells.csv.gz", "cells"), ("s3://bucket/cells/*.parquet", "cells"), ("shards/", "shards"), ("day=*/part-*.csv", "table")],
)
def test_a_flow_is_called_after_its_table(target: str, name: str) -> None:
    assert Run(recipe="table", data=Data(target=target)).stem == name


def test_samples_of_a_version_are_rows_with_the_columns_and_types_of_the_table(
    cells: Path, home: Path, store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("--data.target", str(cells), "--data.condition", "colour") == 0
    ref = next(line.split()[2].rstrip(",") for line in capsys.readouterr().out.splitlines() if line.startswith("T_0 is"))
    assert deploy.PROGRAM.main(["register", ref, "--name", "cells", *QUICK]) == 0
    for folder in (home / "data").glob("*"):
        folder.rename(tmp_path / "elsewhere")
    registry = Registry(store)
    generator = registry.load(registry.require("cells", "1"))
    samples, conditions = generator.joint(50, condition="green")
    made = generator.table(samples, conditions)
    assert made.schema.remove_metadata() == TABLE.schema
    assert set(made["colour"].to_pylist()) == {"green"}
    assert made["height"].to_numpy().min() >= TABLE["height"].to_numpy().min()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["cells.parquet"], "a table is a target: --data.target cells.parquet"),
        (["--data.target", "nowhere.csv"], "there is no file"),
        (["--data.target", "cells.xlsx"], "RECIPE must come right after `run`"),
        (["--data.target=cells"], "a table alone needs none, and cells is none such as cells.csv or ./folder"),
        (["table", "--data.target", "cells.xlsx"], "data.target must be one of"),
        (["table", "--data.target", "{}", "--data.columns", "height,weight"], "has no column 'weight'; it has height, children"),
        (["table", "--data.target", "{}", "--data.columns", "height,height"], "data.columns must be different names of columns"),
        (["table", "--data.target", "{}", "--data.weights", "colour"], "weights must be numbers"),
        (["table", "--data.target", "{}", "--data.condition", "color"], "did you mean colour"),
        (
            ["table", "--data.target", "{}", "--data.schema", "no.yaml"],
            "data.schema must be the file that python -m pipeline schema",
        ),
        (["two_circles", "--data.columns", "x"], "data.columns must be left out for data.target two_circles"),
        (["two_circles", "--data.source", "{}"], "data.source must be no table where data.target is two_circles"),
        (["table", "--data.target", "{}", "--data.digest", "a" * 64], "data.digest must be"),
    ],
)
def test_a_mistake_is_one_sentence_and_nothing_is_written(
    words: list[str], told: str, cells: Path, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*(word.format(cells) for word in words)) == 2
    error = capsys.readouterr().err
    assert told in error
    assert "Traceback" not in error
    assert not (home / "data").exists()
    assert not list(home.glob("flows/*"))


def test_the_split_and_the_schema_that_are_said_make_another_flow(cells: Path, home: Path, tmp_path: Path) -> None:
    parts = np.where(np.arange(len(TABLE)) % 3, "train", "test")
    pq.write_table(TABLE.append_column("part", pa.array(parts)), cells)
    assert cli.PROGRAM.main(["schema", str(cells), "--drop", "part", "--to", str(tmp_path / "schema.yaml")]) == 0
    written = (tmp_path / "schema.yaml").read_text()
    assert "low: 0\n" in written
    (tmp_path / "corrected.yaml").write_text(written.replace("low: 0\n", "low: -1\n", 1))

    def rows_of(**fields: str) -> TableRows:
        data = resolve(Recipe(data=Data(target=str(cells), **fields)), Cluster()).data
        assert (data.split, data.schema) == (None, None), "they are in the name of the rows"
        found = rows.known(data.target)
        assert isinstance(found, TableRows)
        return found

    hashed = rows_of(columns="height,children,colour")
    split = rows_of(split="part")
    assert len(split.test) == (parts == "test").sum() != len(hashed.test)
    said, corrected = (rows_of(split="part", schema=str(tmp_path / name)) for name in ("schema.yaml", "corrected.yaml"))
    assert said.digest == split.digest, "what is inferred is what the file says"
    assert corrected.digest != said.digest


def test_a_look_at_what_would_be_trained_writes_nothing(cells: Path, home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--data.target", str(cells), "--dry-run") == 0
    assert ":rows-" in capsys.readouterr().out
    assert not (home / "data").exists()


@pytest.mark.slow
def test_a_report_on_a_map_compares_its_rows_with_those_that_its_flow_held_out(
    cells: Path, store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("--data.target", str(cells), "--data.condition", "colour") == 0
    ref = next(line.split()[2].rstrip(",") for line in capsys.readouterr().out.splitlines() if line.startswith("T_0 is"))
    page, result = tmp_path / "report.html", tmp_path / "report.json"
    assert cli.PROGRAM.main(["report", ref, "--to", str(page), "--json", str(result)]) == 0
    judged = json.loads(result.read_text())
    assert [column["name"] for column in judged["columns"]] == TABLE.column_names
    assert judged["rows"]["--train"] + judged["rows"]["--real"] == len(TABLE)
    kept = store.metric_history(store.resolve(ref).run_id, "c2st_auc")
    assert kept == [(0, judged["metrics"]["c2st_auc"])]
    assert "samples of runs:/" in page.read_text()
    other = ["--data", str(cells), "--to", str(tmp_path / "other.html"), "--json", str(result)]
    assert cli.PROGRAM.main(["report", ref, *other]) == 0
    assert json.loads(result.read_text())["rows"]["--real"] == len(TABLE)


@pytest.mark.slow
def test_a_report_on_a_version_takes_other_rows_by_their_columns_and_what_a_schema_says(
    cells: Path, store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("--data.target", str(cells)) == 0
    ref = next(line.split()[2].rstrip(",") for line in capsys.readouterr().out.splitlines() if line.startswith("T_0 is"))
    assert deploy.PROGRAM.main(["register", ref, "--name", "cells", *QUICK]) == 0
    assert store.resolve("cells@candidate") == store.resolve("models:/cells/1") == store.resolve("cells@1") == store.resolve(ref)
    held_out = tmp_path / "held_out.csv"
    lines = ["id,colour,height,children", *(f"{i:04},{'red' if i % 2 else 'green'},{150 + i % 40}.5,{i % 4}" for i in range(200))]
    held_out.write_text("\n".join(lines) + "\n")
    result = tmp_path / "report.json"
    words = ["report", "cells@candidate", "--data", str(held_out), "--to", str(tmp_path / "r.html"), "--json", str(result)]
    assert cli.PROGRAM.main(words) == 0, capsys.readouterr().err
    judged = json.loads(result.read_text())
    assert [column["name"] for column in judged["columns"]] == TABLE.column_names
    assert judged["rows"]["--real"] == 200
    assert "held_out.csv" in (tmp_path / "r.html").read_text()
    assert cli.PROGRAM.main(["schema", str(cells), "--to", str(tmp_path / "schema.yaml")]) == 0
    written = (tmp_path / "schema.yaml").read_text()
    as_category = "kind: category\n  type: int16\n  transform: rank\n  categories: [0, 1, 2, 3, 4, 5, 6, 7, 8]\n"
    number = written[written.index("name: children") : written.index("- name: colour")]
    (tmp_path / "schema.yaml").write_text(written.replace(number, f"name: children\n  {as_category}"))
    assert cli.PROGRAM.main([*words, "--schema", str(tmp_path / "schema.yaml")]) == 0, capsys.readouterr().err
    measures = {column["name"]: column["measure"] for column in json.loads(result.read_text())["columns"]}
    assert measures == {"height": "ks", "children": "tv", "colour": "tv"}
    (tmp_path / "schema.yaml").write_text(written.replace("- name: colour", "- name: color"))
    assert cli.PROGRAM.main([*words, "--schema", str(tmp_path / "schema.yaml")]) == 2
    assert "the schema says nothing of the columns colour of --real: add them" in capsys.readouterr().err
    held_out.write_text("height,children\n" + "1.5,2\n" * 30)
    assert cli.PROGRAM.main(words) == 2
    assert "held_out.csv has no column 'colour'; it has height, children" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--generated", "{}"], "--real must be given, or the map of a flow right after `report`"),
        (["--real", "{}"], "--generated must be given, or the map"),
        (["abcdef0123", "--train", "{}"], "--train must be left out where a map is judged"),
        (["abcdef0123", "--real", "{}"], "--real must be left out where a map is judged: write --data"),
        (["--data", "{}", "--generated", "{}"], "--data is of a map, which comes right after `report`"),
        (["--real", "{}", "--generated", "{}", "--schema", "no.yaml"], "--schema must be the file that python -m"),
        (["cells@champion"], "cells@champion is not in the registry"),
        (["abcdef0123"], "abcdef0123"),
    ],
)
@pytest.mark.usefixtures("home")
def test_a_report_of_nothing_is_one_sentence(
    words: list[str], told: str, cells: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.PROGRAM.main(["report", *(word.format(cells) for word in words), "--to", str(tmp_path / "r.html")]) == 2
    assert told in capsys.readouterr().err
    assert not (tmp_path / "r.html").exists()


def test_two_tables_are_the_ends_of_a_flow(cells: Path, home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    control = tmp_path / "control.csv"
    control.write_text("height,children,colour\n" + "".join(f"{150 + i % 17}.5,{i % 3},red\n" for i in range(100)))
    assert run("--data.target", str(cells), "--data.source", str(control)) == 0, capsys.readouterr().err
    control.write_text("height,children\n" + "".join(f"{150 + i}.5,{i % 3}\n" for i in range(100)))
    assert run("--data.target", str(cells), "--data.source", str(control)) == 2
    assert "lacks the columns colour of the other end; it has height, children" in capsys.readouterr().err


def test_the_shipped_table_has_words_and_missing_values() -> None:
    from pipeline.data.sets.penguins import PENGUINS

    table = read(PENGUINS.location)
    assert (table.num_rows, table.num_columns) == (344, 8)
    assert table["sex"].null_count == 11
    assert table["body_mass_g"].type == pa.int64()
