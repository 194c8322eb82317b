"""A registered version of a flow to a table in MLflow's own hands: rows in, rows out, where this project is not installed."""

import ast
import importlib
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import requests
import services
from flows import QUICK, command_environment
from homes import home_of_file, nothing_drawn
from mlflow.exceptions import MlflowException

from components.streams import PURPOSES
from deploy import cli as deploy
from deploy.flavour import sjko_rows
from deploy.flavour.sjko_rows import RowSampler
from deploy.flavour.sjko_sampler import Sampler, Source
from deploy.versions import points, table
from deploy.versions.graph import GeneratorGraph
from pipeline.command import cli
from pipeline.data.given import ways
from pipeline.data.given.ways import Where, way_of
from pipeline.generator import Generator, load_generator, push_in_blocks
from pipeline.store.phases import Store

RNG = np.random.default_rng(0)
N = 200
TABLE = pa.table(
    {
        "height": RNG.normal(170, 8, N).round(1),
        "children": pa.array(RNG.poisson(1.5, N), pa.int16()),
        "colour": np.array(["red", "green"])[RNG.integers(2, size=N)],
        "seen": pa.array([None if i % 7 == 0 else i * 86_400_000 for i in range(N)], pa.timestamp("ms")),
        "born": pa.array(RNG.integers(0, 9000, N).astype(np.int32)).cast(pa.date32()),
        "cars": pa.array([None if i % 5 == 0 else i % 3 for i in range(N)]),
    }
)
FRAME = TABLE.to_pandas()[:70].set_axis([f"row {i}" for i in range(70)])
SHORT = ["--jko.num-phases", "1", "--training.num-steps", "3", "--training.batch-size", "16", *QUICK]


def trained(store: Store, folder: Path, *words: str) -> Generator:
    pq.write_table(TABLE, folder / "cells.parquet")
    words = tuple(word.format(folder / "cells.parquet") for word in words)
    result = folder / "result.json"
    assert cli.PROGRAM.main(["run", "--data.target", f"{folder}/cells.parquet", *words, *SHORT, "--json", str(result)]) == 0
    return load_generator(store, store.resolve(json.loads(result.read_text())["phases"][-1]["map_ref"]))


@pytest.fixture(scope="module")
def generator_of(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Generator]]:
    """(words) -> the flow to the table that a command with these words trains, once."""
    folder = tmp_path_factory.mktemp("flows")
    with home_of_file(folder / "home") as store, nothing_drawn():
        yield cache(lambda *words: trained(store, folder, *words))


def rows_of(generator: Generator) -> RowSampler:
    """The sampler as a version loads it, but for its graph, which is not exported, and for its code, which is that of here."""
    about, coding = points.described(generator), generator.endpoints.coding
    source, classes = Source(about, points.source_arrays(generator)), len(about["classes"])
    sampler = Sampler(GeneratorGraph(generator).eval(), about["width"], about["what"], "cpu", num_classes=classes, source=source)
    return RowSampler(sampler, source, coding, starts_from_rows=generator.endpoints.starts_from_rows)


def moved(generator: Generator, given: pd.DataFrame, seed: int = 0, condition: str | None = None) -> pd.DataFrame:
    """What `Flow.transport` makes of rows."""
    as_table = pa.Table.from_pandas(given, preserve_index=False)
    way = way_of(generator.endpoints, as_table.schema, "x", condition="condition" if condition is None else None)
    own = way.conditions(as_table)
    noise = generator.given_noise(way.samples(as_table, Where("x", seed=seed)), seed, condition, row_conditions=own)
    parts = list(noise)
    conditions = None if parts[0].condition is None else np.concatenate([each.condition for each in parts])
    made, _ = way.back(as_table, np.concatenate([push_in_blocks(generator, each) for each in parts]), conditions)
    return sjko_rows.frame_of(made).set_axis(given.index)


def require_close(made: pd.DataFrame, expected: pd.DataFrame) -> None:
    """Equal but for the last digits of a graph in another order of additions, which a step of a grid can follow from."""
    assert list(made.columns) == list(expected.columns)
    assert made.index.equals(expected.index)
    for name in made:
        equal = [str(one) == str(other) for one, other in zip(made[name], expected[name], strict=True)]
        assert np.mean(equal) > 0.95, name


@pytest.mark.parametrize("condition", [(), ("--data.condition", "colour"), ("--data.condition", "height")], ids=str)
def test_rows_become_the_rows_that_transport_makes_of_them(
    condition: tuple[str, ...], generator_of: Callable[..., Generator]
) -> None:
    generator = generator_of("--data.source={}", *condition)
    sampler = rows_of(generator)
    for seed in (0, 3):
        require_close(sampler.predict(FRAME, {"seed": seed}), moved(generator, FRAME, seed))
    others = sampler.predict(FRAME[FRAME.columns[::-1]].assign(id=range(70)))
    assert list(others.columns) == [*FRAME.columns[::-1], "id"]
    assert others["height"].equals(sampler.predict(FRAME)["height"]), "columns go by their names"
    if not condition:
        with pytest.raises(MlflowException, match="condition must be left out"):
            sampler.predict(FRAME, {"condition": "red"})
        return
    (name,) = condition[1:]
    asked = {"colour": "green", "height": "171"}[name]
    made = sampler.predict(FRAME, {"condition": asked})
    assert set(made[name].astype(str)) == {asked if name == "colour" else "171.0"}
    assert sampler.predict(FRAME)[name].equals(FRAME[name]), "each row keeps the condition that it has"
    assert set(sampler.predict(FRAME.drop(columns=name)).columns) == set(FRAME.columns)


def test_noise_becomes_rows_of_the_table(generator_of: Callable[..., Generator]) -> None:
    generator = generator_of("--data.condition", "colour")
    sampler, noise = rows_of(generator), np.random.default_rng(1).normal(size=(50, generator.dim))
    made = sampler.predict(noise, {"seed": 2})
    assert list(made.columns) == TABLE.column_names
    require_close(
        made, moved(generator, pd.DataFrame(noise.astype(np.float32), columns=generator.endpoints.coding.encoding.names), 2)
    )
    frame = pd.DataFrame(noise, columns=[str(i) for i in range(generator.dim)], index=[f"r{i}" for i in range(50)])
    beside = sampler.predict(frame.assign(id=range(50), colour="red"))
    assert list(beside.columns) == ["id", *TABLE.column_names]
    assert set(beside["colour"]) == {"red"}
    assert beside["id"].tolist() == list(range(50))
    for given in (noise.tolist(), frame, frame[frame.columns[::-1]], {name: frame[name].tolist() for name in frame}):
        require_close(sampler.predict(given).set_axis(range(50)), sampler.predict(noise))


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (lambda: np.zeros((2, 5)), "rows must be given by their columns height, children, colour"),
        (lambda: FRAME.drop(columns="height"), "the table has no column height"),
        (lambda: FRAME.assign(height="tall"), "the column height must be double, and is"),
        (lambda: FRAME.assign(colour="blue"), "the column colour has the value blue, which is none of its categories"),
        (lambda: FRAME.assign(height=np.inf), "the column height has an infinite value in row 1"),
        (lambda: FRAME.assign(height=[object()] * 70), "a column holds what no table can"),
    ],
)
def test_what_is_no_row_is_refused_in_a_sentence(given, told: str, generator_of: Callable[..., Generator]) -> None:
    sampler = rows_of(generator_of("--data.source={}"))
    with pytest.raises(MlflowException, match=told) as refused:
        sampler.predict(given())
    assert refused.value.error_code == "INVALID_PARAMETER_VALUE"


def test_the_streams_and_blocks_that_travel_are_those_of_the_project() -> None:
    assert (PURPOSES["given_table"], ways.BLOCK) == (sjko_rows.GIVEN_TABLE, sjko_rows.BLOCK)


def test_the_package_that_travels_stands_alone_and_is_called_by_what_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, files = table.package()
    assert table.package() == (name, files)
    for path, source in files.items():
        for node in ast.walk(ast.parse(source)):
            taken = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            taken += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not {each.partition(".")[0] for each in taken} & {"components", "pipeline", "deploy", "torch", "ray"}, path
        (tmp_path / name / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name / path).write_text(source)
    monkeypatch.syspath_prepend(str(tmp_path))
    coding = importlib.import_module(f"{name}.{sjko_rows.MODULE}")
    assert coding.Coding.__module__.startswith(name)


@pytest.mark.thorough
def test_a_version_takes_and_gives_rows_where_nothing_of_this_project_is_and_mlflow_serves_it(
    store: Store, home: Path, tmp_path: Path
) -> None:
    generator = trained(store, tmp_path, "--data.source={}", "--data.condition", "colour")
    ref = json.loads((tmp_path / "result.json").read_text())["phases"][-1]["map_ref"]
    assert deploy.PROGRAM.main(["register", ref, "--name", "cells", *QUICK]) == 0
    mlflow.set_tracking_uri(store.uri)
    folder = Path(mlflow.artifacts.download_artifacts("models:/cells@candidate", dst_path=str(tmp_path / "version")))
    FRAME.to_pickle(tmp_path / "frame.pkl")
    script = (
        "import sys, mlflow, pandas as pd; model = mlflow.pyfunc.load_model(sys.argv[1]);"
        "made = model.predict(pd.read_pickle(sys.argv[2])); made.to_pickle(sys.argv[3]);"
        "print(*{name.split('.')[0] for name in sys.modules})"
    )
    words = [str(folder), str(tmp_path / "frame.pkl"), str(tmp_path / "made.pkl")]
    environment = command_environment(home)
    environment.pop("PYTHONPATH", None)
    done = subprocess.run(
        [sys.executable, "-c", script, *words], capture_output=True, text=True, cwd="/", env=environment, check=True
    )
    assert not {"components", "pipeline", "deploy", "ray"} & set(done.stdout.split())
    require_close(pd.read_pickle(tmp_path / "made.pkl"), moved(generator, FRAME))
    model = mlflow.pyfunc.load_model(str(folder))
    assert [each["name"] for each in model.metadata.signature.inputs.to_dict()] == TABLE.column_names
    assert {each["name"]: each["type"] for each in model.metadata.signature.outputs.to_dict()}["children"] == "long"

    example, port = (folder / "serving_input_example.json").read_text(), services.free_port()
    command = [sys.executable, "-m", "mlflow", "models", "serve", "-m", str(folder), "--env-manager", "local", "-p", str(port)]
    url, environment = f"http://127.0.0.1:{port}", {**environment, "MLFLOW_TRACKING_URI": store.uri}
    environment["PATH"] = f"{Path(sys.executable).parent}:{environment['PATH']}"  # of uvicorn
    with services.process([*command, "-h", "127.0.0.1"], f"{url}/ping", environment, tmp_path / "log"):

        def post(body: str) -> requests.Response:
            return requests.post(f"{url}/invocations", body, headers={"Content-Type": "application/json"}, timeout=60)

        for body in (
            example,
            json.dumps({"dataframe_split": json.loads(FRAME.to_json(orient="split", date_format="iso"))}),
            json.dumps(
                {"dataframe_records": json.loads(FRAME.to_json(orient="records", date_format="iso")), "params": {"seed": 4}}
            ),
        ):
            answer = post(body)
            assert answer.status_code == 200, answer.text
            assert "NaN" not in answer.text.replace("NaNa", "")
            assert list(answer.json()["predictions"][0]) == TABLE.column_names
        refused = post(json.dumps({"dataframe_records": [{"height": 1.0}]}))
        assert refused.status_code == 400
        assert "children" in refused.text
