"""A registered version in MLflow's own hands: whatever numpy, pandas and torch make by default goes in, nothing else does."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest
import requests
import services
import torch
from flows import QUICK, command_environment, tiny, train
from mlflow.exceptions import MlflowException

from components.streams import PURPOSES
from deploy.cli import main
from deploy.flavour import sjko_sampler
from deploy.flavour.sjko_sampler import Sampler, Source
from deploy.versions import points
from deploy.versions.graph import GeneratorGraph
from pipeline.generator import Generator, load_generator
from pipeline.store.phases import Store

NOISE = np.array([[0.5, -1.25, 2.0], [0.0, 1.0, -0.75]])
"""Exact in half precision."""
WAYS: dict[str, Callable[[np.ndarray], object]] = {
    "float64": lambda noise: noise,
    "float32": lambda noise: noise.astype(np.float32),
    "float16": lambda noise: noise.astype(np.float16),
    "big endian": lambda noise: noise.astype(">f8"),
    "Fortran order": np.asfortranarray,
    "objects": lambda noise: noise.astype(object),
    "lists": lambda noise: noise.tolist(),
    "tuples": lambda noise: tuple(map(tuple, noise.tolist())),
    "list of arrays": list,
    "list of tensors": lambda noise: [torch.from_numpy(row) for row in noise],
    "tensor": torch.from_numpy,
    "bfloat16 tensor": lambda noise: torch.from_numpy(noise).bfloat16(),
    "tensor with gradient": lambda noise: torch.from_numpy(noise).requires_grad_(),
    "frame": pd.DataFrame,
    "frame with names": lambda noise: pd.DataFrame(noise, columns=["c", "b", "a"]),
    "frame whose columns are turned round": lambda noise: pd.DataFrame(noise)[[2, 1, 0]],
    "frame of rows": lambda noise: pd.DataFrame({"noise": noise.tolist()}),
    "frame that was filtered": lambda noise: pd.DataFrame(np.vstack([noise[:1], noise]))[1:],
    "columns": lambda noise: {str(number): noise[:, number].tolist() for number in (1, 0, 2)},
    "named columns": lambda noise: {name: noise[:, number] for number, name in enumerate("cba")},
    "one name": lambda noise: {"inputs": noise.tolist()},
}


@pytest.fixture
def identity() -> Sampler:
    """Gives its noise back."""
    return Sampler(torch.nn.Identity(), 3, "three normal columns", "cpu")


@pytest.mark.parametrize("way", WAYS)
def test_noise_may_come_in_any_form_that_keeps_its_numbers(way: str, identity: Sampler) -> None:
    given = WAYS[way](NOISE)
    samples = identity.predict(given)
    assert isinstance(samples, pd.DataFrame) == isinstance(given, pd.DataFrame)
    np.testing.assert_array_equal(np.asarray(samples), NOISE.astype(np.float32))
    if isinstance(given, pd.DataFrame):
        assert list(samples.index) == list(given.index)


def test_integers_one_sample_and_none_are_noise_too(identity: Sampler) -> None:
    np.testing.assert_array_equal(identity.predict(np.arange(6).reshape(2, 3)), [[0, 1, 2], [3, 4, 5]])
    np.testing.assert_array_equal(identity.predict([1, 2.5, 3]), [[1, 2.5, 3]])
    assert identity.predict(np.zeros((0, 3))).shape == (0, 3)
    assert identity.predict([]).shape == (0, 3)
    one = Sampler(torch.nn.Identity(), 1, "one column", "cpu")
    for given in ([1.0, 2.0], [[1.0], [2.0]], pd.DataFrame({"x": [1.0, 2.0]}), {"x": [1.0, 2.0]}, pd.Series([1.0, 2.0])):
        np.testing.assert_array_equal(np.asarray(one.predict(given)), [[1.0], [2.0]])


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ([[1.0, 2.0, 3.0], [1.0, np.nan, 3.0]], "noise must be finite numbers within float32, and row 1 is not"),
        (np.array([[1.0, np.inf, 3.0]]), "and row 0 is not"),
        (np.array([[1.0, 1e300, 3.0]]), "and row 0 is not"),
        ([[1.0, None, 3.0]], "and row 0 is not"),
        (pd.DataFrame([[1.0, None, 3.0]]), "and row 0 is not"),
        (np.zeros((2, 4)), r"the shape \(n, 3\), three normal columns, not \(2, 4\)"),
        (pd.DataFrame(np.zeros((2, 2))), r"not \(2, 2\)"),
        (np.zeros((1, 2, 3)), r"not \(1, 2, 3\)"),
        ([1.0, 2.0], r"not \(1, 2\)"),
        (5.0, r"not \(\)"),
        ([[1.0, 2.0, 3.0], [1.0]], "rows of numbers, all of one length"),
        ({"a": [1.0], "b": [1.0, 2.0], "c": [1.0]}, "columns of equal length"),
        ([["1", "2", "3"]], "noise must be numbers, not"),
        (pd.DataFrame([["1", 2.0, 3.0]]), "noise must be numbers, not"),
        (np.array([[True, False, True]]), "noise must be numbers, not bool"),
        (np.array([[1j, 0, 0]]), "noise must be numbers, not complex128"),
        ("noise", "noise must be numbers, not"),
        (None, "finite|shape"),
    ],
)
def test_what_is_no_noise_is_refused_in_a_sentence(given: object, reason: str, identity: Sampler) -> None:
    with pytest.raises(MlflowException, match=reason):
        identity.predict(given)


@pytest.mark.thorough
def test_a_version_takes_what_numpy_and_pandas_make_and_mlflow_serves_its_example(
    store: Store, home: Path, tmp_path: Path
) -> None:
    ref = train(tiny(), store)[-1].ref
    assert main(["register", ref.run_id, "--name", "moons", *QUICK]) == 0
    mlflow.set_tracking_uri(store.uri)
    uri = "models:/moons@candidate"
    model, noise = mlflow.pyfunc.load_model(uri), np.random.default_rng(0).standard_normal((5, 2))
    with torch.no_grad():
        generator = load_generator(store, ref)
        expected = generator.endpoints.to_units(generator.maps[-1](torch.from_numpy(noise).float(), None).numpy())
    as_columns = {"x": noise[:, 0].tolist(), "y": noise[:, 1].astype(np.float32).tolist()}
    frames = (pd.DataFrame(noise), pd.DataFrame(noise, columns=["x", "y"]), pd.DataFrame(noise.astype(np.float32)))
    for given in (noise, noise.astype(np.float32), noise.tolist(), torch.from_numpy(noise), as_columns, *frames):
        np.testing.assert_allclose(np.asarray(model.predict(given)), expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(model.predict(noise[:1]), expected[:1], rtol=1e-5, atol=1e-6)
    with pytest.raises(MlflowException, match=r"the shape \(n, 2\), normal in its first 2 columns, not \(5, 3\)"):
        model.predict(np.zeros((5, 3)))
    signature = model.metadata.signature
    assert signature.outputs.to_dict()[0]["tensor-spec"] == {"dtype": "float32", "shape": (-1, 2)}
    assert [each["name"] for each in signature.params.to_dict()] == ["seed", "condition"]
    with pytest.warns(UserWarning, match="1 of 5 points lie far outside the source: their distance to its mean"):
        model.predict(np.concatenate([noise[:4], [[60.0, 0.0]]]))
    graph = mlflow.pytorch.load_model(uri)
    np.testing.assert_allclose(graph(torch.from_numpy(noise).float()).detach().numpy(), expected, rtol=1e-5, atol=1e-6)

    folder = Path(mlflow.artifacts.download_artifacts(uri, dst_path=str(tmp_path / "version")))
    example, port = (folder / "serving_input_example.json").read_text(), services.free_port()
    command = [sys.executable, "-m", "mlflow", "models", "serve", "-m", str(folder), "--env-manager", "local", "-p", str(port)]
    url, environment = f"http://127.0.0.1:{port}", {**command_environment(home), "MLFLOW_TRACKING_URI": store.uri}
    environment["PATH"] = f"{Path(sys.executable).parent}:{environment['PATH']}"  # of uvicorn
    del environment["PYTHONPATH"]
    with services.process([*command, "-h", "127.0.0.1"], f"{url}/ping", environment, tmp_path / "log"):

        def post(body: str) -> requests.Response:
            return requests.post(f"{url}/invocations", body, headers={"Content-Type": "application/json"}, timeout=60)

        answer = post(example)
        assert answer.status_code == 200, answer.text
        shown = np.array(json.loads(example)["inputs"])
        np.testing.assert_allclose(answer.json()["predictions"], model.predict(shown), rtol=1e-5, atol=1e-6)
        for body in (
            {"inputs": noise.tolist()},
            {"instances": noise.tolist()},
            {"inputs": as_columns},
            {"dataframe_split": {"columns": ["x", "y"], "data": noise.tolist()}},
            {"inputs": noise.tolist(), "params": {"seed": 3}},
        ):
            answer = post(json.dumps(body))
            assert answer.status_code == 200, answer.text
            assert len(answer.json()["predictions"]) == 5
        refused = post(json.dumps({"inputs": [[1.0, 2.0, 3.0]]}))
        assert refused.status_code == 400
        assert "noise must have the shape (n, 2)" in refused.text


def sampler_of(generator: Generator) -> Sampler:
    """The sampler as a version loads it, but for its graph, which is not exported."""
    about, arrays = points.described(generator), points.source_arrays(generator)
    graph, classes = GeneratorGraph(generator).eval(), len(about["classes"])
    return Sampler(graph, about["width"], about["what"], "cpu", num_classes=classes, source=Source(about, arrays))


@pytest.mark.parametrize(
    "changes",
    [
        {"z_dim": 2},
        {"z_dim": 0},
        {"z_dim": 2, "source": "two_circles"},
        {"z_dim": 1, "target": "two_circles", "condition": "mode"},
    ],
    ids=str,
)
def test_points_get_the_z_and_the_condition_that_the_service_gives_them(changes: dict, shared_store: Store) -> None:
    generator = load_generator(shared_store, train(tiny(num_phases=1, num_steps=5, **changes), shared_store)[-1].ref)
    given = points.points_of(generator, 300).astype(np.float64)
    sampler = sampler_of(generator)
    for seed in (0, 5):
        expected = generator.transport(given.astype(np.float32), seed)
        np.testing.assert_allclose(sampler.predict(given, {"seed": seed}), expected, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(sampler.predict(given[:7], {"seed": seed}), expected[:7], rtol=1e-4, atol=1e-5)
    if generator.endpoints.law is None:
        with pytest.raises(MlflowException, match="condition must be left out"):
            sampler.predict(given, {"condition": "1"})
        return
    expected = generator.transport(given.astype(np.float32), 0, "1")
    np.testing.assert_allclose(sampler.predict(given, {"condition": "1"}), expected, rtol=1e-4, atol=1e-5)
    with pytest.raises(MlflowException, match="condition must be one of 0, 1, not '7'"):
        sampler.predict(given, {"condition": "7"})


def test_the_streams_that_travel_are_those_of_the_project() -> None:
    assert (PURPOSES["generation_z"], PURPOSES["generation_condition"]) == (sjko_sampler.Z, sjko_sampler.CONDITION)


@pytest.mark.thorough
def test_the_file_that_travels_needs_nothing_of_this_project() -> None:
    script = "import runpy, sys; runpy.run_path(sys.argv[1]); print(*{name.split('.')[0] for name in sys.modules})"
    done = subprocess.run(
        [sys.executable, "-c", script, sjko_sampler.__file__], capture_output=True, text=True, check=True, cwd="/"
    )
    assert not {"components", "pipeline", "deploy", "ray"} & set(done.stdout.split())
