"""Registry, promotion, rollback and export on a real MLflow, through the command line where a person would use it."""

import json
import shutil
import subprocess
import venv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from flows import QUICK, tiny, train

from deploy.cli import main
from deploy.versions import bundle
from deploy.versions.registered import Version
from deploy.versions.registry import Registry
from pipeline.errors import FlowError
from pipeline.evaluation import judging
from pipeline.evaluation.size import EvaluationSize
from pipeline.generator import Generator, endpoints_of, load_generator
from pipeline.store.maps import MapRef
from pipeline.store.phases import Store

SITE_PACKAGES = Path(torch.__file__).parents[1]


def trained(store: Store, num_steps: int, **changes: object) -> MapRef:
    return train(tiny(num_steps=num_steps, **changes), store)[-1].ref


def expected(generator: Generator, noise: np.ndarray) -> np.ndarray:
    """T of the noise in the data's units, layer by layer as the pipeline does it."""
    with torch.no_grad():
        return generator.endpoints.to_units(generator.maps[-1](torch.from_numpy(noise), None).numpy())


def files_of(home: Path, name: str) -> list[Path]:
    return sorted((home / "artifacts").rglob(name), key=lambda path: path.stat().st_mtime)


def result_of(tmp_path: Path, *arguments: str) -> dict:
    path = tmp_path / "result.json"
    quick = QUICK if arguments[0] in ("register", "promote") else []
    assert main([*arguments, *quick, "--json", str(path)]) == 0
    return json.loads(path.read_text())


@pytest.mark.real
def test_a_version_loads_where_this_project_is_not_installed(store: Store, home: Path, tmp_path: Path) -> None:
    ref = trained(store, 12)
    result_of(tmp_path, "register", ref.run_id, "--name", "moons")
    result_of(tmp_path, "promote", "moons")
    folder = tmp_path / "elsewhere"
    venv.create(folder, with_pip=False)
    (site,) = folder.glob("lib/python*/site-packages")
    (site / "packages.pth").write_text(f"{SITE_PACKAGES}\n")
    noise = np.random.default_rng(0).standard_normal((7, 2), dtype=np.float32)
    np.save(tmp_path / "noise.npy", noise)
    script = f"""
import mlflow, numpy as np, sys
try:
    import components
except ImportError:
    pass
else:
    raise SystemExit("the project is there")
mlflow.set_tracking_uri({store.uri!r})
model = mlflow.pyfunc.load_model("models:/moons@champion")
np.save({str(tmp_path / "samples.npy")!r}, model.predict(np.load({str(tmp_path / "noise.npy")!r})))
requirements = mlflow.pyfunc.get_model_dependencies("models:/moons@champion")
print([line.strip() for line in open(requirements)])
"""
    done = subprocess.run([folder / "bin/python", "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert all(f"'{name}==" in done.stdout for name in ("torch", "numpy", "mlflow"))
    np.testing.assert_allclose(
        np.load(tmp_path / "samples.npy"), expected(load_generator(store, ref), noise), rtol=1e-5, atol=1e-6
    )


@pytest.mark.slow
def test_the_better_one_is_promoted_the_worse_one_refused_and_rollback_goes_back(
    shared_store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    worse, better = (trained(shared_store, num_steps, num_phases=1) for num_steps in (1, 150))
    registry, rule = Registry(shared_store), ("--require", "w2 <= 1.0 * champion")
    for ref, number in ((worse, 1), (better, 2)):
        assert result_of(tmp_path, "register", ref.run_id, "--name", "better")["version"] == number
        done = result_of(tmp_path, "promote", "better", *rule)
        assert (done["version"], done["before"]) == (number, number - 1 or None)
    assert done["value"] < done["bound"]

    capsys.readouterr()
    assert main(["promote", "better", "--version", "1", *rule, *QUICK]) == 3
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "must be <= " in error
    assert "@champion stays version 2" in error
    assert registry.require("better", "champion").number == 2

    assert result_of(tmp_path, "rollback", "better") == {"version": 1, "instead_of": 2}
    assert registry.require("better", "champion").number == 1
    assert registry.require("better", "2").tags["sjko.rolled_back.champion"] == "to version 1"
    assert main(["rollback", "better"]) == 2
    assert "there is none to go back to" in capsys.readouterr().err


@pytest.mark.slow
def test_rollback_goes_back_one_more_each_time_and_passes_over_what_is_gone(
    shared_store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for num_steps in (1, 2, 3):
        result_of(tmp_path, "register", trained(shared_store, num_steps).run_id, "--name", "steps")
    for number in (1, 2, 1, 1, 3):  # promoted again where it is changes nothing
        result_of(tmp_path, "promote", "steps", "--version", str(number))
    for number, instead_of in ((1, 3), (2, 1), (1, 2)):
        assert result_of(tmp_path, "rollback", "steps") == {"version": number, "instead_of": instead_of}
    assert main(["rollback", "steps"]) == 2
    assert "steps version 1 is the first @champion of steps" in capsys.readouterr().err
    for number in (2, 3):
        result_of(tmp_path, "promote", "steps", "--version", str(number))
    result_of(tmp_path, "unregister", "steps", "2")
    assert result_of(tmp_path, "rollback", "steps") == {"version": 1, "instead_of": 3}
    shared_store.client.set_registered_model_alias("steps", "champion", "3")  # as MLflow's page does
    assert result_of(tmp_path, "rollback", "steps") == {"version": 1, "instead_of": 3}
    result_of(tmp_path, "promote", "steps", "--version", "3")
    result_of(tmp_path, "unregister", "steps", "3", "--drop-aliases")
    again = result_of(tmp_path, "register", trained(shared_store, 3).run_id, "--name", "steps")["version"]
    result_of(tmp_path, "promote", "steps")
    assert result_of(tmp_path, "rollback", "steps") == {"version": 1, "instead_of": again}, "an alias that is gone keeps its way"


@pytest.mark.slow
def test_rollback_knows_what_earlier_releases_have_promoted(shared_store: Store, tmp_path: Path) -> None:
    """They wrote the version before as a tag of the version."""
    for num_steps in (1, 2):
        result_of(tmp_path, "register", trained(shared_store, num_steps).run_id, "--name", "older")
    shared_store.client.set_registered_model_alias("older", "champion", "2")
    shared_store.client.set_model_version_tag("older", "2", "sjko.before.champion", "1")
    assert result_of(tmp_path, "rollback", "older") == {"version": 1, "instead_of": 2}
    result_of(tmp_path, "promote", "older", "--version", "2")
    assert result_of(tmp_path, "rollback", "older") == {"version": 1, "instead_of": 2}


def test_a_version_holds_card_picture_tensors_and_lineage(shared_store: Store, tmp_path: Path) -> None:
    ref = trained(shared_store, 12)
    result_of(tmp_path, "register", ref.run_id, "--name", "card")
    registry = Registry(shared_store)
    version = registry.require("card", "candidate")
    with registry.folder(version) as folder:
        names = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
        assert {
            "MLmodel",
            "README.md",
            "samples.png",
            "requirements.txt",
            "sjko/manifest.json",
            "sjko/map_0.safetensors",
        } <= names
        assert not [name for name in names if name.endswith((".pkl", ".pth"))]
        card = (folder / "README.md").read_text()
    for part in (ref.fingerprint, "| w2 |", '"target": "moons"', *(link.run_id for link in shared_store.ancestors(ref))):
        assert part in card
    generator = registry.load(version)
    np.testing.assert_array_equal(generator.sample(32), load_generator(shared_store, ref).sample(32))


@pytest.mark.slow
def test_a_map_registered_twice_stays_one_version_and_is_the_candidate_again(
    store: Store, home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, other = trained(store, 12), trained(store, 13)
    for ref, number in ((first, 1), (other, 2), (first, 1)):
        capsys.readouterr()
        assert result_of(tmp_path, "register", ref.run_id, "--name", "moons")["version"] == number
        assert Registry(store).require("moons", "candidate").number == number
    assert "moons version 1 holds this very map already, so no other is made" in capsys.readouterr().out
    assert len(store.client.search_model_versions("name = 'moons'")) == 2
    for path in files_of(home, "map_0.safetensors"):
        path.write_bytes(b"")
    assert result_of(tmp_path, "register", first.run_id, "--name", "moons")["version"] == 3, "the one that was there is damaged"
    assert Registry(store).load(Registry(store).require("moons", "candidate")).phase.fingerprint == first.fingerprint


@pytest.mark.slow
def test_a_version_names_the_flow_that_was_registered_not_the_one_that_trained_its_phases(
    shared_store: Store, tmp_path: Path
) -> None:
    longer = train(tiny(num_phases=2), shared_store)
    (shorter,) = train(tiny(num_phases=1), shared_store)
    assert shorter.cached
    of_both, of_one = (shared_store.flow_run_id(result.ref.fingerprint) for result in (longer[-1], shorter))
    for reference in (of_one, shorter.ref.run_id, shorter.ref.fingerprint[:10], str(shorter.ref)):
        name = f"moons-{reference[:5].strip(':/')}"
        number = result_of(tmp_path, "register", reference, "--name", name)["version"]
        version = Registry(shared_store).require(name, str(number))
        description = shared_store.client.get_model_version(name, str(number)).description
        assert version.tags["sjko.flow_run_id"] == Registry(shared_store).lineage(version).flow_run_id == of_one
        assert of_one in description
        assert of_both not in description


def test_models_of_another_program_are_left_alone(
    shared_store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ref = trained(shared_store, 12)
    shared_store.client.create_registered_model("theirs")
    folder = tmp_path / "theirs"
    folder.mkdir()
    (folder / "MLmodel").write_text("flavors: {}")
    shared_store.client.create_model_version("theirs", folder.as_uri(), ref.run_id)
    assert main(["register", ref.run_id, "--name", "theirs", *QUICK]) == 2
    assert "theirs version 1 in this registry is another program's: choose another --name" in capsys.readouterr().err
    assert main(["promote", "theirs", "--version", "1"]) == 2
    assert "theirs version 1 is another program's: it was not made by" in capsys.readouterr().err
    shared_store.client.create_registered_model("empty")
    assert result_of(tmp_path, "register", ref.run_id, "--name", "empty")["version"] == 1


@pytest.mark.slow
def test_a_version_whose_files_are_gone_is_one_sentence(
    store: Store, home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ref = trained(store, 3)
    result_of(tmp_path, "register", ref.run_id, "--name", "moons")
    for folder in files_of(home, "generator-*"):
        shutil.rmtree(folder)
    for command in (["promote", "moons", *QUICK], ["export", "moons@candidate", "--to", str(tmp_path / "m.pt2")]):
        assert main(command) == 1
        error = capsys.readouterr().err
        assert error.count("\n") == 1
        assert "the files of moons version 1 cannot be read" in error
        assert "Where they are gone, register its flow again" in error
    assert result_of(tmp_path, "register", ref.run_id, "--name", "moons")["version"] == 2
    store.client.delete_model_version("moons", "2")
    store.client.delete_registered_model("moons")
    assert main(["promote", "moons", *QUICK]) == 2
    assert "no models yet" in capsys.readouterr().err


def test_registering_measures_a_map_once(shared_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ref = trained(shared_store, 12)
    measured = judging.judge(shared_store, ref, load_generator(shared_store, ref), EvaluationSize(200, 1))
    monkeypatch.setattr("pipeline.evaluation.measure.evaluate", None)
    found = result_of(tmp_path, "register", ref.run_id, "--name", "measured_once")["metrics"]
    assert found == pytest.approx(measured, rel=1e-5)


def corrupted(home: Path, name: str) -> None:
    path = files_of(home, name)[-1]
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


@pytest.mark.slow
def test_a_version_with_a_flipped_bit_is_not_promoted(
    store: Store, home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result_of(tmp_path, "register", trained(store, 12).run_id, "--name", "moons")
    result_of(tmp_path, "promote", "moons")
    result_of(tmp_path, "register", trained(store, 13).run_id, "--name", "moons")
    corrupted(home, "map_0.safetensors")
    assert main(["promote", "moons", *QUICK]) == 1
    assert "map_0.safetensors is corrupt" in capsys.readouterr().err
    assert Registry(store).require("moons", "champion").number == 1


def test_a_map_that_gives_nan_is_not_promoted(shared_store: Store, tmp_path: Path) -> None:
    ref = trained(shared_store, 12)
    generator = load_generator(shared_store, ref)
    with torch.no_grad():
        next(generator.maps[0].parameters()).fill_(torch.nan)
    bundle.write(tmp_path / "broken", generator, {}, bundle.Lineage("flow", ["phase"], "commit"))
    with pytest.raises(bundle.Corrupt, match="not finite"):
        bundle.read(tmp_path / "broken", "it")


@pytest.mark.slow
def test_a_stochastic_map_and_a_composed_flow_can_be_registered(shared_store: Store, tmp_path: Path) -> None:
    for changes in ({"z_dim": 3}, {"parametrization": "composed"}):
        ref = trained(shared_store, 12, **changes)
        number = result_of(tmp_path, "register", ref.run_id, "--name", "kinds")["version"]
        generator = Registry(shared_store).load(Version("kinds", number, {}))
        np.testing.assert_array_equal(generator.sample(16), load_generator(shared_store, ref).sample(16))


@pytest.mark.parametrize(("file", "flags"), [("moons.pt2", []), ("moons.onnx", []), ("moons", ["--format", "onnx"])])
@pytest.mark.thorough
def test_an_exported_graph_gives_the_same_numbers_at_any_batch_size(
    file: str, flags: list[str], store: Store, tmp_path: Path
) -> None:
    ref = trained(store, 12)
    result_of(tmp_path, "register", ref.run_id, "--name", "moons")
    path = tmp_path / file
    result_of(tmp_path, "export", "moons@candidate", "--to", str(path), *flags)
    run = torch_program(path) if path.suffix == ".pt2" else onnx_program(path)
    for n in (1, 2, 33):
        noise = np.random.default_rng(n).standard_normal((n, 2), dtype=np.float32)
        np.testing.assert_allclose(run(noise), expected(load_generator(store, ref), noise), rtol=1e-5, atol=1e-6)
    assert [file.name for file in tmp_path.glob("*partial*")] == []


def torch_program(path: Path) -> Callable[[np.ndarray], np.ndarray]:
    module = torch.export.load(path).module()
    return lambda noise: module(torch.from_numpy(noise)).detach().numpy()


def onnx_program(path: Path) -> Callable[[np.ndarray], np.ndarray]:
    session = onnxruntime.InferenceSession(path)
    return lambda noise: session.run(["samples"], {"noise": noise})[0]


@pytest.mark.slow
def test_drawing_needs_no_data_set(shared_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ref = trained(shared_store, 3, target="digits", num_frequencies=0)
    result_of(tmp_path, "register", ref.run_id, "--name", "digits")
    expected_samples = load_generator(shared_store, ref).sample(32)

    def absent() -> None:
        raise AssertionError("the data set was read")

    monkeypatch.setattr("sklearn.datasets.load_digits", absent)
    endpoints_of.cache_clear()
    generator = Registry(shared_store).load(Version("digits", 1, {}))
    np.testing.assert_array_equal(generator.sample(32), expected_samples)
    assert generator.endpoints.shape == (1, 8, 8)
    with pytest.raises(FlowError, match="was not loaded"):
        generator.endpoints.target.sample(1, np.random.default_rng(0))


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["register", "abcdef12", "--name", "../x"], ("NAME must be", "../x")),
        (["register", "abcdef12", "--name", "moons", *QUICK], ("abcdef12 is not in the store",)),
        (["promote", "moons", *QUICK], ("moons@candidate is not in the registry", "no models yet")),
        (["promote", "moons", "--require", "w2 is good"], ("--require must be like", "w2 is good")),
        (["promote", "moons", "--version", "x"], ("version", "x")),
        (["export", "moons", "--to", "m.pt2"], ("NAME@ALIAS", "moons")),
        (["export", "moons@champion", "--to", "m.bin"], ("--to must end in .pt2 or .onnx", "m.bin")),
        (["export", "moons@champion", "--to", "/no/such/m.pt2"], ("--to must be a file", "/no/such")),
        (["export", "moons@champion", "--to", "/dev/null", "--format", "onnx"], ("--to must be a file", "/dev/null")),
        (["export", "moons@99999999999999999999", "--to", "m.pt2"], ("moons@99999999999999999999 is not in the registry",)),
        (["promote", "moons", "--version", "99999999999999999999"], ("moons@99999999999999999999 is not in the registry",)),
        (["promote", "moons", "--version", "1", "--alias", "3"], ("--alias must be", "which names a version", "'3'")),
        (["rollback", "moons", "--alias", "3"], ("--alias must be", "'3'")),
        (["promote", "moons", "--alias", "Latest"], ("--alias must be", "Latest")),
        (["promote", "moons", "--alias", "v12"], ("--alias must be", "v12")),
        (["promote", "moons", "--alias", "a b"], ("--alias must be", "a b")),
        (["rollback", "moons", "--store.tracking-uri", "foo://x"], ("tracking_uri", "foo://x")),
        (["sell", "moons"], ("sell",)),
    ],
)
def test_a_mistake_is_one_line(
    arguments: list[str], parts: tuple[str, ...], store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert error.startswith("error: ")
    for part in parts:
        assert part in error


def test_help_teaches(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main([])
    assert stopped.value.code == 0
    printed = capsys.readouterr().out
    assert all(word in printed for word in ("register", "promote", "rollback", "export"))


def test_ctrl_c_ends_a_command_without_a_trace(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(command: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("deploy.actions.rolled_back", interrupted)
    assert main(["rollback", "moons"]) == 130
