"""Rows of a table, transported by the model of a table: the same columns and types come back, beside all others."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from asgi import Client, answers_of
from flows import QUICK

from deploy.answers import Settings
from deploy.bulk.inputs import inputs_at
from deploy.bulk.parts import PartWriter, finished, path_of
from deploy.bulk.transport import require_points, transport_of
from deploy.cli import main
from deploy.models import Models
from deploy.web.app import web_app
from deploy.web.door import Access
from pipeline.command import cli
from pipeline.errors import Unusable
from pipeline.store.phases import Store

SHORT = ["--jko.num-phases", "1", "--training.num-steps", "3", "--training.batch-size", "16", *QUICK]


def cells(mean: float, seed: int, num: int = 200) -> pa.Table:
    rng = np.random.default_rng(seed)
    return pa.table(
        {
            "height": rng.normal(mean, 8, num).round(1),
            "children": pa.array(rng.poisson(1.5, num), pa.int16()),
            "colour": np.array(["red", "green"])[rng.integers(2, size=num)],
        }
    )


CONTROL, TREATED = cells(150, 1), cells(170, 2)
GIVEN = CONTROL.slice(0, 70).append_column("id", pa.array([f"{number:03d}" for number in range(70)])).select([3, 2, 0, 1])


def model_of(store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str], *words: str) -> Models:
    """A registered model from words of a recipe."""
    for name, table in {"control": CONTROL, "treated": TREATED}.items():
        pq.write_table(table, tmp_path / f"{name}.parquet")
    assert cli.PROGRAM.main(["run", f"--data.target={tmp_path}/treated.parquet", *words, *SHORT]) == 0
    ref = next(line.split()[2].rstrip(",") for line in capsys.readouterr().out.splitlines() if line.startswith("T_0 is"))
    assert main(["register", ref, "--name", "cells", *QUICK]) == 0
    return Models(store.uri, "cells", "1")


def transported(models: Models, table: pa.Table, folder: Path) -> pa.Table:
    """What the command writes for a table."""
    folder.mkdir()
    pq.write_table(table, folder / "in.parquet")
    inputs = inputs_at(str(folder / "in.parquet"))
    plan = transport_of(models.current.last, inputs, seed=3, url=str(folder / "out"))
    require_points(plan, inputs, [0])
    PartWriter(plan).write({"id": 0, "rows": b""})
    assert finished(plan).keys() == {0}
    return pq.read_table(path_of(str(folder / "out"), 0)).replace_schema_metadata()


@pytest.mark.slow
@pytest.mark.usefixtures("home")
def test_rows_become_rows_of_the_target_whichever_stand_beside_them(
    store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    models = model_of(store, tmp_path, capsys, f"--data.source={tmp_path}/control.parquet")
    moved = transported(models, GIVEN, tmp_path / "all")
    assert moved.schema == GIVEN.schema
    assert moved["id"].equals(GIVEN["id"])
    assert set(moved["colour"].to_pylist()) <= {"red", "green"}
    assert not moved["height"].equals(GIVEN["height"])
    assert transported(models, GIVEN.slice(0, 7), tmp_path / "seven").equals(moved.slice(0, 7))
    client = Client(web_app(answers_of(models, Settings("", "cells", "1")), Access(None, ()), lambda status: None))
    body = json.dumps({"columns": GIVEN.slice(0, 9).to_pydict(), "seed": 3}).encode()
    answer = client.request("POST", "/v1/transport", body, content_type="application/json")
    assert answer.status == 200, answer.detail
    assert pa.table(json.loads(answer.content)["columns"]).to_pylist() == moved.slice(0, 9).to_pylist()
    with pytest.raises(Unusable, match=r"in\.parquet lacks the columns colour of the source; it has id, height, children"):
        transported(models, GIVEN.drop_columns(["colour"]), tmp_path / "lacking")
    odd = pa.array(["blue", *GIVEN["colour"].to_pylist()[1:]])
    with pytest.raises(Unusable, match=r"in\.parquet, rows 0 to 63: .*colour"):
        transported(models, GIVEN.set_column(1, "colour", odd), tmp_path / "odd")


@pytest.mark.slow
@pytest.mark.usefixtures("home", "undrawn")
def test_rows_keep_the_condition_that_they_have(store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    models = model_of(store, tmp_path, capsys, f"--data.source={tmp_path}/control.parquet", "--data.condition=colour")
    moved = transported(models, GIVEN, tmp_path / "own")
    assert moved["colour"].equals(GIVEN["colour"])
    assert not moved["height"].equals(GIVEN["height"])
    without = transported(models, GIVEN.drop_columns(["colour"]), tmp_path / "drawn")
    assert without.column_names == ["id", "height", "children", "colour"]
    assert set(without["colour"].to_pylist()) == {"red", "green"}
    odd = pa.array(["blue", *GIVEN["colour"].to_pylist()[1:]])
    with pytest.raises(Unusable, match="'colour' has 'blue', which no training row has"):
        transported(models, GIVEN.set_column(1, "colour", odd), tmp_path / "odd")


@pytest.mark.slow
@pytest.mark.usefixtures("home", "undrawn")
def test_noise_becomes_rows_of_the_table_beside_what_was_no_coordinate(
    store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    models = model_of(store, tmp_path, capsys, "--data.condition=colour")
    generator = models.current.last
    noise = np.random.default_rng(0).standard_normal((20, generator.dim))
    given = pa.table({"id": [f"n{number}" for number in range(20)], "x": noise.tolist()})
    moved = transported(models, given, tmp_path / "noise")
    assert moved.column_names == ["id", *TREATED.column_names]
    (part,) = generator.given_noise(noise.astype(np.float32), 3)
    expected = generator.table(generator.transport(noise.astype(np.float32), 3), part.condition)
    assert moved.drop_columns(["id"]).equals(expected.replace_schema_metadata())
    with pytest.raises(Unusable, match="has the columns height beside the coordinates"):
        transported(models, given.rename_columns(["height", "x"]), tmp_path / "both")
    colours = pa.array(["red", "green"] * 10)
    asked = transported(models, given.append_column("colour", colours), tmp_path / "asked")
    assert asked["colour"].to_pylist() == colours.to_pylist(), "each row has the condition that it brings"
    named = pa.table({name: noise[:, i] for i, name in enumerate(generator.endpoints.coding.encoding.names)})
    turned = named.select(named.column_names[::-1])
    assert transported(models, turned, tmp_path / "turned").equals(transported(models, named, tmp_path / "named"))
