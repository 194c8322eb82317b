"""Flows in local mode: resume, reuse, corruption, divergence, two drivers."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from flows import FILES, QUICK, ROOT, Quiet, assert_identical, command_environment, tiny, train, weights
from homes import Sound
from mlflow.exceptions import MlflowException

from benchmarks.flows import train_flow
from components.gradients import push_through
from pipeline import cluster as clusters
from pipeline import places, ray_session
from pipeline.cluster import Cluster
from pipeline.command import cli
from pipeline.data.resolution import resolve
from pipeline.errors import Diverged, IndivisibleBatch, StoreUnavailable, Unschedulable
from pipeline.generator import load_generator
from pipeline.phase import phases_of
from pipeline.store import claims
from pipeline.store.maps import CORRUPT
from pipeline.store.phases import Store
from pipeline.training.flow import run_flow


def artifact(home: Path, run_id: str, name: str) -> Path:
    (path,) = (home / "artifacts").rglob(f"{run_id}/artifacts/phase/{name}")
    return path


def test_the_same_command_again_trains_nothing(store: Store) -> None:
    first = train(tiny(), store)
    observer = Quiet()
    second = train(tiny(), store, observer=observer)
    assert [r.cached for r in first] == [False, False]
    assert [r.cached for r in second] == [True, True]
    assert [r.ref for r in second] == [r.ref for r in first]
    assert observer.trained == []


def test_a_longer_flow_trains_only_the_new_phases(store: Store) -> None:
    short = train(tiny(num_phases=2), store)
    observer = Quiet()
    longer = train(tiny(num_phases=4), store, observer=observer)
    assert observer.trained == [2, 3]
    assert [r.ref for r in longer[:2]] == [r.ref for r in short]


def test_phases_of_one_job_equal_those_of_jobs_of_their_own(store: Store, sound: Sound) -> None:
    together = train(tiny(num_phases=3), store, Cluster(phases_per_job=3))
    for result, alone in zip(together, sound(tiny(num_phases=3)), strict=True):
        assert_identical(weights(store, result.ref), alone)


def test_training_changes_the_map_and_goes_on_from_the_parent(home: Path, sound: Sound) -> None:
    first, second = sound(tiny())
    assert not torch.equal(first["map/net.0.weight"], second["map/net.0.weight"])
    steps = [w["map_optimizer/net.0.weight/step"].item() for w in (first, second)]
    assert steps == [12, 24], "Adam's state is handed on"


@pytest.mark.slow
def test_an_interrupted_flow_ends_like_an_uninterrupted_one(store: Store, sound: Sound) -> None:
    flow = run_flow(resolve(tiny(num_phases=3), Cluster()), name="test", store=store, cluster=Cluster(), observer=Quiet())
    next(flow)
    flow.close()
    assert store.flows()[0].info.status == "KILLED"
    resumed = train(tiny(num_phases=3), store)
    assert [r.cached for r in resumed] == [True, False, False]
    assert len(store.flows()) == 1, "the same flow goes on in the same run"
    assert store.flows()[0].info.status == "FINISHED"
    for result, whole in zip(resumed, sound(tiny(num_phases=3)), strict=True):
        assert_identical(weights(store, result.ref), whole)


@pytest.mark.slow
def test_a_job_with_a_gap_reads_the_parent_behind_it(store: Store, home: Path, sound: Sound) -> None:
    """Phase 0 is broken, 1 is published, 2 and 3 are new: in one job 2 must go on from 1, not from the 0 just trained."""
    first, _ = train(tiny(), store)
    artifact(home, first.ref.run_id, "map.safetensors").unlink()
    repaired = train(tiny(num_phases=4), store, Cluster(phases_per_job=4))
    assert [result.cached for result in repaired] == [False, True, False, False]
    for result, clean in zip(repaired, sound(tiny(num_phases=4)), strict=True):
        assert_identical(weights(store, result.ref), clean)


def test_benchmarks_train_the_flows_of_the_pipeline(home: Path, sound: Sound) -> None:
    for published, trained in zip(sound(tiny()), train_flow(tiny()), strict=True):
        (averaged_map,) = trained.generator.maps
        expected = {f"averaged_map/{name}": tensor for name, tensor in averaged_map.state_dict().items()}
        assert_identical({name: tensor for name, tensor in published.items() if name.startswith("averaged_map/")}, expected)


@pytest.mark.slow
@pytest.mark.parametrize("damage", ["flip", *(pytest.param(name, marks=pytest.mark.thorough) for name in ("remove", "half"))])
def test_a_damaged_phase_is_named_and_trained_again_never_used(
    store: Store, home: Path, damage: str, sound: Sound, caplog: pytest.LogCaptureFixture
) -> None:
    first = train(tiny(num_phases=3), store)
    name = {"flip": "map.safetensors", "remove": "potential.safetensors", "half": "manifest.json"}[damage]
    path = artifact(home, first[1].ref.run_id, name)
    if damage == "flip":
        content = bytearray(path.read_bytes())
        content[-1] ^= 1
        path.write_bytes(content)
    else:
        path.unlink()
    again = train(tiny(num_phases=3), store)
    assert [r.cached for r in again] == [True, False, True]
    assert name in caplog.text
    assert name in store.run(first[1].ref.run_id).data.tags[CORRUPT]
    assert again[1].ref != first[1].ref
    assert_identical(weights(store, again[1].ref), sound(tiny(num_phases=3))[1])


def test_a_phase_killed_between_its_manifest_and_its_end_is_published(store: Store) -> None:
    (result,) = train(tiny(num_phases=1), store)
    store.set_status(result.ref.run_id, "KILLED")
    assert [r.cached for r in train(tiny(num_phases=1), store)] == [True]


def test_a_divergence_says_phase_step_loss_and_last_values_and_keeps_earlier_phases(store: Store) -> None:
    recipe = tiny(num_phases=2, num_steps=200, map_lr=1e18, potential_lr=1e18)
    with pytest.raises(Diverged, match=r"phase 0 diverged at step \d+: \w+_\w+ is not finite .*last finite values") as caught:
        train(recipe, store)
    assert "training.map_lr" in str(caught.value)
    statuses = {run.info.status for run in store.runs_of(phases_of(recipe)[0].fingerprint)}
    assert statuses == {"FAILED"}


def test_a_composed_flow_pushes_samples_through_all_increments(store: Store) -> None:
    results = train(tiny(num_phases=3, parametrization="composed"), store)
    generators = [load_generator(store, r.ref) for r in results]
    assert [len(g.maps) for g in generators] == [1, 2, 3]
    x = torch.randn(50, 2)
    by_hand = generators[0].maps[0](x, None)
    for generator in generators[1:]:
        by_hand = generator.maps[-1](by_hand, None)
    assert torch.equal(push_through(generators[2].maps, x, None), by_hand)
    assert not torch.equal(by_hand, x)


def test_a_batch_that_workers_cannot_share_is_refused_before_anything_starts(store: Store) -> None:
    with pytest.raises(IndivisibleBatch, match=r"training\.batch_size must be .*at least 17, with 17 workers, .*not 16"):
        train(tiny(), store, Cluster(num_workers=17))


def test_steps_are_streamed_to_mlflow_with_parameters_commit_and_versions(store: Store) -> None:
    (result,) = train(tiny(num_phases=1, num_steps=40), store)
    run = store.run(result.ref.run_id)
    history = store.metric_history(result.ref.run_id, "map_loss")
    assert [step for step, _ in history] == list(range(1, 41))
    assert run.data.params["jko.h"] == "3.0"
    assert len(run.data.tags["mlflow.source.git.commit"]) == 40
    assert (
        run.data.tags["version.torch"] == torch.__version__.split("+")[0] or run.data.tags["version.torch"] == torch.__version__
    )
    assert run.data.tags["mlflow.parentRunId"] == store.flows()[0].info.run_id
    assert run.data.metrics["divergence"] == -run.data.metrics["potential_loss"]


def start(home: Path, *arguments: str) -> subprocess.Popen[str]:
    """A driver that Ctrl-C reaches, also under `make test &`, where the shell has SIGINT ignored and children inherit that."""
    return subprocess.Popen(
        ["env", "--default-signal=INT", sys.executable, "-m", "pipeline", *arguments],
        cwd=ROOT,
        env=command_environment(home),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


SMALL = [*QUICK, "--network.width", "16", "--training.batch-size", "32", "--training.num-steps"]


@pytest.mark.thorough
def test_two_drivers_at_once_on_one_recipe_both_end_well_and_train_each_phase_once(home: Path, tmp_path: Path) -> None:
    arguments = ["run", "two_circles", *SMALL, "400", "--jko.num-phases", "3"]
    drivers = [start(home, *arguments, "--json", str(tmp_path / f"{i}.json")) for i in range(2)]
    printed = [driver.communicate(timeout=240)[0] for driver in drivers]
    assert [driver.returncode for driver in drivers] == [0, 0], printed
    assert not any("INFO" in text for text in printed), "libraries speak up for warnings only"
    rows = [json.loads((tmp_path / f"{i}.json").read_text())["phases"] for i in range(2)]
    assert [row["map_ref"] for row in rows[0]] == [row["map_ref"] for row in rows[1]]
    assert all(a["cached"] != b["cached"] for a, b in zip(*rows, strict=True)), "each phase was trained by exactly one"


@pytest.mark.real
def test_ctrl_c_leaves_everything_resumable_and_says_how(home: Path, tmp_path: Path) -> None:
    arguments = ["run", "two_circles", *SMALL, "3000", "--jko.num-phases", "2"]
    driver = start(home, *arguments)
    store = Store(f"sqlite:///{home / 'mlflow.db'}")
    deadline = time.monotonic() + 120
    while not any(run.data.metrics.get("step") for run in store.select("tags.`sjko.kind` = 'phase'")):
        assert time.monotonic() < deadline
        assert driver.poll() is None
        time.sleep(0.2)
    os.kill(driver.pid, signal.SIGINT)
    printed, _ = driver.communicate(timeout=60)
    assert driver.returncode == 130, printed
    assert "the same command goes on" in printed
    assert "python -m pipeline run two_circles" in printed
    assert "Traceback" not in printed
    assert {run.info.status for run in store.select("tags.`sjko.kind` = 'phase'")} <= {"KILLED", "FINISHED"}
    quick = start(home, *arguments, "--json", str(tmp_path / "o.json"))
    printed, _ = quick.communicate(timeout=240)
    assert quick.returncode == 0, printed


@pytest.mark.thorough
def test_a_driver_killed_without_a_word_does_not_hold_its_claim(home: Path, store: Store) -> None:
    arguments = ["run", "two_circles", *SMALL, "100000", "--jko.num-phases", "1"]
    driver = start(home, *arguments)
    deadline = time.monotonic() + 120
    while not store.select("tags.`sjko.kind` = 'phase'"):
        assert time.monotonic() < deadline
        time.sleep(0.2)
    os.killpg(driver.pid, signal.SIGKILL)
    driver.communicate()
    command = cli.PROGRAM.read(arguments)
    assert isinstance(command, cli.Run)
    (phase,) = phases_of(command.resolved())
    run_id = claims.try_claim(store, phase, store.flows()[0].info.run_id, claims.Drivers())
    assert run_id is not None
    assert sorted(run.info.status for run in store.runs_of(phase.fingerprint)) == ["KILLED", "RUNNING"]


def test_every_file_of_a_phase_is_listed_in_its_manifest(store: Store, home: Path) -> None:
    (result,) = train(tiny(num_phases=1), store)
    manifest = json.loads(artifact(home, result.ref.run_id, "manifest.json").read_text())
    assert set(manifest["sha256"]) == {*(f"{name}.safetensors" for name in FILES), "phase.json"}


def test_a_flow_that_is_wholly_in_the_store_never_starts_ray(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    train(tiny(), store)
    monkeypatch.setattr(ray_session, "connected", None)
    assert all(result.cached for result in train(tiny(), store, Cluster(num_workers=2)))


def test_paths_are_absolute_whatever_the_user_wrote(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SJKO_HOME", "here")
    cluster = Cluster(tracking_uri="sqlite:///db/mlflow.db", checkpoints="runs")
    assert places.home() == tmp_path / "here"
    assert clusters.tracking_uri(cluster) == f"sqlite:///{tmp_path}/db/mlflow.db"
    assert clusters.checkpoints(cluster) == str(tmp_path / "runs")
    assert clusters.checkpoints(Cluster(checkpoints="s3://bucket/runs")) == "s3://bucket/runs"


@pytest.mark.parametrize("address", ["127.0.0.1:1", "ray://127.0.0.1:1"])
@pytest.mark.usefixtures("no_ray")
def test_a_cluster_that_does_not_answer_is_one_sentence_at_once(address: str) -> None:
    cluster = Cluster(num_workers=1, address=address)
    with pytest.raises(Unschedulable, match=f"at cluster.address {address}: .*refused"), ray_session.connected(cluster):
        pass


def test_a_phase_that_verifies_again_is_used_again(store: Store, home: Path) -> None:
    (result,) = train(tiny(num_phases=1), store)
    path = artifact(home, result.ref.run_id, "map.safetensors")
    away = path.rename(path.with_name("away"))
    assert store.find(result.phase, mark=False) is None
    assert CORRUPT not in store.run(result.ref.run_id).data.tags, "who only looks changes nothing"
    assert store.find(result.phase) is None
    assert CORRUPT in store.run(result.ref.run_id).data.tags
    away.rename(path)
    assert store.find(result.phase) == result.ref
    assert CORRUPT not in store.run(result.ref.run_id).data.tags


def test_a_home_that_was_moved_is_refused_and_moved_back_is_whole(store: Store, home: Path, tmp_path: Path) -> None:
    (result,) = train(tiny(num_phases=1), store)
    moved = home.rename(tmp_path / "moved")
    with pytest.raises(StoreUnavailable, match="move its folder back"):
        Store(f"sqlite:///{moved / 'mlflow.db'}")
    moved.rename(home)
    assert Store(store.uri).find(result.phase) == result.ref


def test_a_database_that_is_none_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "mlflow.db"
    path.write_bytes(b"these are no pages of a database " * 100)
    assert cli.main(["list", "--store.tracking-uri", f"sqlite:///{path}"]) == 1
    error = capsys.readouterr().err
    assert "error: " in error
    assert "cannot be read as MLflow's database" in error
    assert "Traceback" not in error


def test_a_phase_published_while_it_is_claimed_is_not_trained_again(store: Store) -> None:
    (result,) = train(tiny(num_phases=1), store)
    assert claims.try_claim(store, result.phase, store.flows()[0].info.run_id, claims.Drivers()) is None
    assert len(store.runs_of(result.phase.fingerprint)) == 1


@pytest.mark.parametrize("write", ["set_tag", "log_batch"])
def test_what_two_drivers_write_at_once_is_written(write: str, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """As PostgreSQL and sqlite refuse the second of two that add one row; MLflow tells it as a bad request."""
    (result,) = train(tiny(num_phases=1), store)
    original, refusals = getattr(store.client, write), ['(psycopg.errors.UniqueViolation) ... unique constraint "tag_pk"'] * 2

    def refused_twice(*arguments: object, **more: object) -> None:
        if refusals:
            raise MlflowException(refusals.pop())
        original(*arguments, **more)

    monkeypatch.setattr(store.client, write, refused_twice)
    store.tag(result.ref.run_id, "sjko.evaluated", "twice")
    store.log_metrics(result.ref.run_id, {1: {"w2": 0.5}})
    run = store.run(result.ref.run_id)
    assert (run.data.tags["sjko.evaluated"], run.data.metrics["w2"]) == ("twice", 0.5)
    assert not refusals
    refusals.append("something else")
    with pytest.raises(StoreUnavailable):
        store.tag(result.ref.run_id, "a", "b") if write == "set_tag" else store.log_metrics(result.ref.run_id, {2: {"w2": 1.0}})


def test_a_driver_elsewhere_is_alive_while_its_heartbeat_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr(claims.time, "monotonic", lambda: now[0])
    drivers, owner = claims.Drivers(), "another-host:1:2.00"
    assert drivers.is_alive("run", owner, "1")
    now[0] += 50
    assert drivers.is_alive("run", owner, "2")
    now[0] += 50
    assert drivers.is_alive("run", owner, "2")
    now[0] += 50
    assert not drivers.is_alive("run", owner, "2")
    assert not drivers.is_alive("other", f"{socket.gethostname()}:{os.getpid()}:1.00", "1"), "another process had this pid"
    assert drivers.is_alive("other", claims.this_process(), "1")
