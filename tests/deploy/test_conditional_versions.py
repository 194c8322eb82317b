"""A conditional map as a registered version: what its service, its files and bulk generation make of a condition."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from asgi import Client, answers_of
from flows import QUICK, tiny, train
from homes import home_of_file

from components.conditions import asked_of
from deploy.answers import Settings
from deploy.bulk.generate import generation_of
from deploy.bulk.parts import PartWriter, path_of
from deploy.cli import main
from deploy.flavour.sjko_sampler import Sampler
from deploy.models import Models
from deploy.versions.graph import GeneratorGraph, example_of, input_of
from deploy.web.app import web_app
from deploy.web.door import Access
from pipeline.generator import load_generator, push_in_blocks
from pipeline.store.maps import MapRef
from pipeline.store.phases import Store

CIRCLES = {"target": "two_circles", "condition": "mode"}


@dataclass
class Registered:
    """A conditional version with the map that it was made of, and what answers from it."""

    ref: MapRef
    store: Store
    models: Models
    client: Client


@pytest.fixture(scope="module")
def circles(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registered]:
    with home_of_file(tmp_path_factory.mktemp("conditional")) as store:
        ref = train(tiny(num_steps=40, width=32, **CIRCLES), store)[-1].ref
        assert main(["register", ref.run_id, "--name", "circles", *QUICK]) == 0
        models = Models(store.uri, "circles", "1")
        answers = answers_of(models, Settings(store.uri, "circles", "1"))
        yield Registered(ref, store, models, Client(web_app(answers, Access(None, ()), lambda status: None)))


def asked(circles: Registered, **body: object) -> np.ndarray:
    content = json.dumps({"num_samples": 64, "seed": 1, "format": "json", **body}).encode()
    answer = circles.client.request("POST", "/v1/samples", content, content_type="application/json")
    assert answer.status == 200, answer.detail
    return np.asarray(json.loads(answer.content)["samples"])


def test_a_request_may_ask_for_a_class(circles: Registered) -> None:
    inner, outer, drawn = (asked(circles, **body) for body in ({"condition": 0}, {"condition": "1"}, {}))
    assert (inner != outer).any(1).all()
    is_inner, is_outer = ((drawn == each).all(1) for each in (inner, outer))
    assert (is_inner ^ is_outer).all(), "the same x and z, given either class"
    assert 16 < is_inner.sum() < 48
    np.testing.assert_array_equal(asked(circles, condition=0, num_samples=5), inner[:5])
    np.testing.assert_array_equal(asked(circles, condition=None), drawn)
    assert (asked(circles, condition=0, phase=0) != inner).any()
    np.testing.assert_array_equal(asked(circles, condition=0, phase=-1), asked(circles, condition=1, phase=-1))


@pytest.mark.parametrize(
    ("condition", "sentence"),
    [
        (2, "condition mode must be one of 0, 1, not 2"),
        ("inner", "condition mode must be one of 0, 1, not 'inner'"),
        (0.5, "condition mode must be one of 0, 1, not 0.5"),
        ([1], r"condition mode must be one of 0, 1, not \[1\]"),
        (True, "condition must be the number or name of a class, or a list of numbers, not true"),
        ({"mode": 1}, "condition must be the number or name of a class, or a list of numbers, not"),
        ([], "condition must be the number or name of a class, or a list of numbers, not"),
        ("x" * 201, "condition must be the number or name of a class, or a list of numbers, not"),
    ],
)
def test_a_condition_that_there_is_not_is_one_sentence(circles: Registered, condition: object, sentence: str) -> None:
    content = json.dumps({"condition": condition}).encode()
    answer = circles.client.request("POST", "/v1/samples", content, content_type="application/json")
    assert answer.status == 422
    assert sentence.replace("\\", "") in answer.detail


def test_a_version_tells_its_classes_and_keeps_how_often_each_is(circles: Registered) -> None:
    described = json.loads(circles.client.request("GET", "/v1/model").content)
    assert described["condition"] == {"name": "mode", "classes": ["0", "1"]}
    assert "| 1 | 1 | 0.5 |" in described["card"]
    assert "then the number of the class that is given, mode" in described["card"]
    served, trained = circles.models.current.last, load_generator(circles.store, circles.ref)
    assert served.endpoints.law is not None
    assert served.endpoints.law.weights.tolist() == [0.5, 0.5]
    for condition in (None, 1):
        np.testing.assert_array_equal(served.sample(32, condition=condition), trained.sample(32, condition=condition))
    assert served.joint(32)[1].tolist() == trained.joint(32)[1].tolist()


def test_the_exported_graph_takes_the_class_in_a_further_column(circles: Registered) -> None:
    generator = circles.models.current.last
    example = example_of(generator)
    assert example.shape == (2, 3)
    noise = np.concatenate([np.random.default_rng(0).normal(size=(8, 2)), np.arange(8)[:, None] % 2], 1).astype(np.float32)
    program = torch.export.export(
        GeneratorGraph(generator).eval(), (torch.from_numpy(example),), dynamic_shapes=({0: torch.export.Dim("n", min=1)},)
    )
    sampler = Sampler(program.module(), 3, input_of(generator), "cpu", num_classes=2)
    expected = generator.push(noise[:, :2], np.zeros((8, 0), np.float32), noise[:, 2].astype(np.int64))
    np.testing.assert_allclose(sampler.predict(noise), expected, rtol=1e-5, atol=1e-5)
    for wrong in (2, -1, 0.5):
        noise[3, 2] = wrong
        with pytest.raises(Exception, match=rf"the last column must be a class, a number from 0 to 1, and row 3 has {wrong:g}"):
            sampler.predict(noise)


def test_bulk_generation_writes_the_condition_beside_the_sample(circles: Registered, tmp_path: Path) -> None:
    generator = load_generator(circles.store, circles.ref)
    for condition in (None, "1"):
        folder = tmp_path / str(condition)
        generation = generation_of(generator, seed=3, num_samples=100, url=str(folder), condition=condition)
        PartWriter(generation).write({"id": 0})
        table = pq.read_table(path_of(str(folder), 0))
        noise = generator.noise_at(100, 3, 0, condition)
        samples, given = push_in_blocks(generator, noise), noise.condition
        assert given is not None
        assert table.column_names == ["sample", "condition"]
        assert table["condition"].to_pylist() == given.tolist()
        np.testing.assert_array_equal(np.stack(table["sample"].to_numpy()), samples)
        assert set(given.tolist()) == ({0, 1} if condition is None else {1})
    with pytest.raises(ValueError, match="condition mode must be one of 0, 1, not '7'"):
        generation_of(generator, seed=3, num_samples=100, url=str(tmp_path), condition="7")


def test_a_map_without_condition_refuses_one() -> None:
    with pytest.raises(ValueError, match=r"--condition must be left out: this flow was trained without data\.condition"):
        asked_of(None, "label=3")


@pytest.mark.real
@pytest.mark.usefixtures("one_ray")
def test_bulk_generation_of_one_class_by_command(circles: Registered, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["generate", "circles@1", "--num-samples", "300", "--to", str(tmp_path / "out")]
    for wrong, sentence in {
        "mode=2": "condition mode must be one of 0, 1, not '2'",
        "label=1": "--condition must be mode=CLASS",
    }.items():
        assert main([*command, "--condition", wrong]) == 2
        assert sentence in capsys.readouterr().err
        assert not (tmp_path / "out").exists()
    assert main([*command, "--condition", "mode=1"]) == 0
    assert set(pq.read_table(tmp_path / "out", columns=["condition"])["condition"].to_pylist()) == {1}
    assert main([*command, "--condition", "mode=0"]) == 2
    assert "condition or number: choose another folder" in capsys.readouterr().err
