"""A flow in scaled or whitened coordinates all the way: whatever is asked of it comes in the data's own units."""

import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import mlflow
import numpy as np
import onnxruntime
import pyarrow.parquet as pq
import pytest
import torch
from asgi import Client, answers_of
from flows import QUICK, tiny, train
from homes import home_of_file

from components.streams import stream
from deploy.answers import Settings
from deploy.bulk.generate import generation_of
from deploy.bulk.parts import PartWriter, path_of
from deploy.bulk.travelling import Travelling
from deploy.cli import main
from deploy.export import export
from deploy.models import Models
from deploy.versions.graph import GeneratorGraph
from deploy.web.app import web_app
from deploy.web.door import Access
from pipeline.data.endpoints import load_endpoints
from pipeline.generator import Generator, load_generator, push_in_blocks
from pipeline.recipe import Data, Scaling
from pipeline.store.maps import MapRef
from pipeline.store.phases import Store

POINTS = load_endpoints(Data(target="spiral")).data.sample(20, stream(0, "source"))
"""Points of the source in its own units."""


@dataclass(frozen=True)
class Registered:
    store: Store
    ref: MapRef
    generator: Generator
    client: Client
    models: Models


@pytest.fixture(scope="module", params=["axes", "whitened"])
def moons(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registered]:
    """A flow from data to data, given the mode, with a latent z."""
    scaling: Scaling = request.param
    with home_of_file(tmp_path_factory.mktemp("scaled")) as store:
        ref = train(tiny(source="spiral", standardise=scaling, condition="mode", z_dim=1), store)[-1].ref
        assert main(["register", ref.run_id, "--name", "moons", *QUICK]) == 0
        models = Models(store.uri, "moons", "1")
        client = Client(web_app(answers_of(models, Settings("", "moons", "1")), Access(None, ()), lambda status: None))
        yield Registered(store, ref, load_generator(store, ref), client, models)


def test_samples_lie_where_the_data_do(moons: Registered) -> None:
    """After a dozen steps the map is still near the identity of the space, which takes the spiral where it lies."""
    generator = moons.generator
    np.testing.assert_allclose(generator.source(500), load_endpoints(Data(target="spiral")).data.sample(500, draws()), atol=1e-4)
    np.testing.assert_allclose(generator.transport(POINTS, condition=1), POINTS, atol=0.5)
    inside = (POINTS - generator.endpoints.space.shift) / generator.endpoints.space.scale
    assert np.abs(inside - POINTS).max() > 1, "units and space are far apart here"


def draws() -> np.random.Generator:
    return stream(0, "evaluation_source", step=0)


def test_a_version_holds_the_way_to_units(moons: Registered) -> None:
    served = moons.models.current.last
    np.testing.assert_array_equal(served.sample(64), moons.generator.sample(64))
    np.testing.assert_array_equal(served.transport(POINTS, seed=3), moons.generator.transport(POINTS, seed=3))
    assert served.num_far(POINTS) == moons.generator.num_far(POINTS) == 0
    assert served.num_far(POINTS + 100) == len(POINTS)


@pytest.mark.slow
def test_a_worker_gets_the_way_to_units(moons: Registered, tmp_path: Path) -> None:
    there = Travelling.of(moons.generator).generator()
    np.testing.assert_array_equal(there.transport(POINTS, seed=3), moons.generator.transport(POINTS, seed=3))
    PartWriter(generation_of(moons.generator, seed=3, num_samples=100, url=str(tmp_path), condition="1")).write({"id": 0})
    written = np.stack(pq.read_table(path_of(str(tmp_path), 0))["sample"].to_numpy())
    np.testing.assert_array_equal(written, push_in_blocks(moons.generator, moons.generator.noise_at(100, 3, 0, "1")))


def test_the_service_answers_in_units(moons: Registered) -> None:
    body = {"rows": POINTS.tolist(), "seed": 3, "condition": 1, "format": "npy"}
    answer = moons.client.request("POST", "/v1/transport", json.dumps(body).encode(), content_type="application/json")
    expected = moons.generator.transport(POINTS, seed=3, condition=1)
    np.testing.assert_array_equal(np.load(io.BytesIO(answer.content)), expected)
    resting = json.dumps({**body, "phase": -1}).encode()
    answer = moons.client.request("POST", "/v1/transport", resting, content_type="application/json")
    np.testing.assert_allclose(np.load(io.BytesIO(answer.content)), POINTS, atol=1e-5)


@pytest.mark.slow
def test_the_graph_and_mlflow_s_model_answer_in_units(moons: Registered, tmp_path: Path) -> None:
    generator = moons.generator
    noise = generator.noise_at(9, 3, 0, 1)
    assert noise.condition is not None
    columns = np.concatenate([noise.x, noise.z, noise.condition[:, None]], axis=1).astype(np.float32)
    expected = generator.push(*noise)
    graph = GeneratorGraph(generator).eval()
    with torch.no_grad():
        np.testing.assert_allclose(graph(torch.from_numpy(columns)).numpy(), expected, rtol=1e-5, atol=1e-5)
    export(generator, tmp_path / "moons.onnx", "onnx")
    session = onnxruntime.InferenceSession(tmp_path / "moons.onnx")
    np.testing.assert_allclose(session.run(None, {"noise": columns})[0], expected, rtol=1e-5, atol=1e-5)
    mlflow.set_tracking_uri(moons.store.uri)
    model = mlflow.pyfunc.load_model("models:/moons@candidate")
    answer = model.predict(POINTS, params={"seed": 3, "condition": "1"})
    np.testing.assert_allclose(answer, generator.transport(POINTS, seed=3, condition=1), rtol=1e-5, atol=1e-5)
