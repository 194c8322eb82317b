"""Versions of flows to tables: what they give has the columns of the table, by request and in bulk."""

import io
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from asgi import Client, answers_of
from flows import QUICK
from homes import home_of_file, nothing_drawn

from deploy import cli as deploy
from deploy.answers import Settings
from deploy.models import Models
from deploy.versions.graph import GeneratorGraph
from deploy.versions.points import source_arrays
from deploy.web.app import web_app
from deploy.web.door import Access
from pipeline.cluster import Cluster, tracking_uri
from pipeline.command import cli
from pipeline.generator import load_generator
from pipeline.store.phases import Store

RNG = np.random.default_rng(0)
N = 300
TABLE = pa.table(
    {
        "height": RNG.normal(170, 8, N).round(1),
        "children": pa.array(RNG.poisson(1.5, N), pa.int16()),
        "colour": np.array(["red", "green"])[RNG.integers(2, size=N)],
        "seen": pa.array([None if i % 7 == 0 else i * 86_400_000 for i in range(N)], pa.timestamp("ms")),
    }
)
SHORT = ["--jko.num-phases", "1", "--training.num-steps", "3", "--training.batch-size", "16", *QUICK]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Models]:
    with home_of_file(tmp_path_factory.mktemp("table")) as store, nothing_drawn():
        path = tmp_path_factory.mktemp("cells") / "cells.parquet"
        pq.write_table(TABLE, path)
        result = path.with_name("result.json")
        assert (
            cli.PROGRAM.main(["run", "--data.target", str(path), "--data.condition", "colour", *SHORT, "--json", str(result)])
            == 0
        )
        ref = json.loads(result.read_text())["phases"][-1]["map_ref"]
        assert deploy.PROGRAM.main(["register", ref, "--name", "cells", *QUICK]) == 0
        yield Models(store.uri, "cells", "1")


@pytest.fixture
def client(models: Models) -> Client:
    answers = answers_of(models, Settings("unused", "cells", "1"))
    return Client(web_app(answers, Access(None, ()), lambda status: None))


def asked(client: Client, body: bytes) -> bytes:
    answer = client.request("POST", "/v1/samples", body, content_type="application/json")
    assert answer.status == 200, answer.content
    return answer.content


@pytest.mark.slow
def test_samples_by_request_have_the_columns_of_the_table(client: Client) -> None:
    answer = client.request("POST", "/v1/samples", b'{"num_samples": 40, "seed": 1}', content_type="application/json").json()
    assert list(answer["columns"]) == TABLE.column_names
    assert answer["seed"] == 1
    assert set(answer["columns"]["colour"]) == {"red", "green"}
    assert all(isinstance(each, int) and each >= 0 for each in answer["columns"]["children"])
    assert None in answer["columns"]["seen"]
    stream = pa.ipc.open_stream(asked(client, b'{"num_samples": 40, "seed": 1, "format": "arrow"}')).read_all()
    assert stream.schema.remove_metadata() == TABLE.schema
    assert stream["children"].to_pylist() == answer["columns"]["children"]
    given = asked(client, b'{"num_samples": 9, "seed": 1, "format": "arrow", "condition": "green"}')
    assert set(pa.ipc.open_stream(given).read_all()["colour"].to_pylist()) == {"green"}
    coordinates = np.load(io.BytesIO(asked(client, b'{"num_samples": 40, "seed": 1, "format": "npy"}')))
    assert coordinates.shape == (40, client.request("GET", "/v1/model").json()["shape"][0])
    assert client.request("GET", "/v1/model").json()["columns"] == TABLE.column_names


@pytest.mark.slow
def test_the_graph_of_a_version_takes_values_of_a_condition_in_their_own_units(models: Models, tmp_path: Path) -> None:
    pq.write_table(TABLE, tmp_path / "cells.parquet")
    result = tmp_path / "result.json"
    words = ["run", "--data.target", str(tmp_path / "cells.parquet"), "--data.condition", "height", *SHORT]
    assert cli.PROGRAM.main([*words, "--json", str(result)]) == 0
    store = Store(tracking_uri(Cluster()))
    generator = load_generator(store, store.resolve(json.loads(result.read_text())["phases"][-1]["map_ref"]))
    condition, x = generator.endpoints.condition, np.random.default_rng(0).normal(size=(5, generator.dim)).astype(np.float32)
    assert condition is not None
    tall = np.tile(condition.read("190"), (5, 1))
    noise = torch.from_numpy(np.concatenate([x, np.full((5, 1), 190, np.float32)], axis=1))
    with torch.no_grad():
        drawn = GeneratorGraph(generator)(noise).numpy()
    np.testing.assert_allclose(drawn, generator.push(x, np.zeros((5, 0), np.float32), tall), rtol=1e-4, atol=1e-4)
    assert 150 < source_arrays(generator)["law"].mean() < 190


@pytest.mark.real
@pytest.mark.usefixtures("one_ray")
def test_samples_in_bulk_have_the_columns_of_the_table_and_are_gone_on_with(models: Models, tmp_path: Path) -> None:
    command = ["generate", "cells@candidate", "--num-samples", "70000", "--to", str(tmp_path / "rows")]
    assert deploy.PROGRAM.main(command) == 0
    made = pq.read_table(tmp_path / "rows")
    assert made.num_rows == 70_000
    assert made.schema.remove_metadata() == TABLE.schema
    manifest = (tmp_path / "rows" / "_samples.json").read_text()
    (tmp_path / "rows" / "part-000001.parquet").write_bytes(b"PAR1 cut")
    (tmp_path / "rows" / "_samples.json").unlink()
    assert deploy.PROGRAM.main(command) == 0
    assert (tmp_path / "rows" / "_samples.json").read_text() == manifest
    assert pq.read_table(tmp_path / "rows").equals(made)
