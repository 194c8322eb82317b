"""Real Ray Train workers on a real local Ray: the same numbers as in this process, and nothing lost when one dies."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import picture_sets as sets
import psutil
import pytest
import torch
from flows import ROOT, STILL, Quiet, assert_identical, assert_same_gradients, command_environment, tiny, train, weights
from homes import new_store

from pipeline.cluster import Cluster
from pipeline.data.resolution import resolve
from pipeline.errors import (
    Corrupt,
    Diverged,
    IndivisibleBatch,
    MapNotFound,
    StoreUnavailable,
    TrainingFailed,
    Unreachable,
    Unschedulable,
    Unusable,
)
from pipeline.phase import phases_of
from pipeline.recipe import Recipe
from pipeline.store.phases import Store
from pipeline.training import jobs

THOROUGH = pytest.mark.thorough
LONG = {"num_steps": 1200, "batch_size": 64, "width": 32}
"""Long enough to be caught in the middle."""


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> dict[str, torch.Tensor]:
    """The weights that every cut and resumed run of LONG must end with."""
    store = new_store(tmp_path_factory.mktemp("uninterrupted"))
    (result,) = train(tiny(num_phases=1, **LONG), store, Cluster(tracking_uri=store.uri))
    return weights(store, result.ref)


@pytest.mark.usefixtures("one_ray")
@pytest.mark.thorough
def test_ray_started_here_is_heard_by_this_machine_alone_and_its_token_read_by_this_user_alone() -> None:
    listening = [
        (process.name(), connection.laddr)
        for process in ray_processes()
        for connection in process.net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    ]
    assert len(listening) > 3
    assert not [(name, at) for name, at in listening if at.ip not in ("127.0.0.1", "::1", "::ffff:127.0.0.1")]
    if "RAY_AUTH_TOKEN" not in os.environ:
        token = Path(os.environ.get("RAY_AUTH_TOKEN_PATH", Path.home() / ".ray" / "auth_token"))
        assert token.stat().st_mode & 0o777 == 0o600


@pytest.mark.usefixtures("one_ray")
@pytest.mark.parametrize(
    ("num_workers", "min_workers"),
    [pytest.param(1, None, marks=THOROUGH), (2, None), pytest.param(2, 1, marks=THOROUGH)],
)
def test_any_number_of_workers_and_local_mode_compute_the_same(
    num_workers: int, min_workers: int | None, store: Store, tmp_path: Path
) -> None:
    """Also where the batch is no multiple of the workers, and where as many are taken as there are.

    One worker runs the same program as local mode: every bit is the same. Two add up in another order.
    """
    changes = {"num_phases": 2, "num_steps": 50, "z_dim": 2, "batch_size": 33}
    recipe = tiny(**changes, **({} if num_workers == 1 else STILL))
    local = [weights(store, r.ref) for r in train(recipe, store)]
    other = new_store(tmp_path / "other")
    cluster = Cluster(num_workers=num_workers, min_workers=min_workers, phases_per_job=2, tracking_uri=other.uri)
    there = [weights(other, r.ref) for r in train(recipe, other, cluster)]
    for a, b in zip(local, there, strict=True):
        assert_identical(a, b) if num_workers == 1 else assert_same_gradients(a, b)


@pytest.mark.usefixtures("one_ray")
def test_a_worker_killed_in_mid_phase_is_replaced_and_goes_on_from_its_checkpoint(
    store: Store, home: Path, uninterrupted: dict[str, torch.Tensor]
) -> None:
    killed: list[float] = []

    def kill_after_a_checkpoint() -> None:
        until(lambda: a_checkpoint_is_committed(home))
        (worker,) = [p for p in ray_processes() if "RayTrainWorker" in p.name() or "RayTrainWorker" in " ".join(p.cmdline())]
        os.kill(worker.pid, signal.SIGKILL)
        killed.append(time.time())

    killer = threading.Thread(target=kill_after_a_checkpoint)
    killer.start()
    (result,) = train(tiny(num_phases=1, **LONG), store, Cluster(num_workers=1, checkpoint_every=100))
    killer.join()
    assert_identical(weights(store, result.ref), uninterrupted)
    points = store.client.get_metric_history(result.ref.run_id, "step")
    assert min(point.step for point in points if point.timestamp / 1000 > killed[0] + 1) > 100, "not from the beginning"
    assert not list((home / "checkpoints").rglob("manifest.json")), "checkpoints of a published phase are removed"


@pytest.mark.thorough
def test_a_driver_killed_in_mid_phase_goes_on_from_its_last_checkpoint(
    store: Store, home: Path, uninterrupted: dict[str, torch.Tensor]
) -> None:
    recipe = tiny(num_phases=1, **LONG)
    cluster = Cluster(num_workers=1, checkpoint_every=100)
    driver = subprocess.Popen(
        [sys.executable, "-c", DRIVER, json.dumps(LONG)], cwd=ROOT, env=command_environment(home), start_new_session=True
    )
    until(lambda: a_checkpoint_is_committed(home))
    kill_tree(driver.pid)
    driver.wait()
    assert store.find(phases_of(recipe)[0]) is None
    (result,) = train(recipe, store, cluster)
    assert_identical(weights(store, result.ref), uninterrupted)
    assert first_step(store, result.ref.run_id) > 100, "the first steps were not trained again"


RECORD_DAMAGES: dict[str, Callable[[Path], object]] = {
    "cut": lambda path: path.write_bytes(path.read_bytes()[:300]),
    "its checkpoints are gone": lambda path: [shutil.rmtree(folder) for folder in path.parent.glob("checkpoint_2*")],
}


@pytest.mark.usefixtures("one_ray")
@pytest.mark.parametrize("damage", RECORD_DAMAGES)
@pytest.mark.thorough
def test_a_damaged_record_of_checkpoints_lets_the_phase_begin_again_with_a_sentence(
    damage: str, store: Store, home: Path, uninterrupted: dict[str, torch.Tensor], caplog: pytest.LogCaptureFixture
) -> None:
    recipe, cluster = trained_and_not_published(store, home)
    (record,) = (home / "checkpoints").rglob("checkpoint_manager_snapshot.json")
    RECORD_DAMAGES[damage](record)
    (result,) = train(recipe, store, cluster)
    assert_identical(weights(store, result.ref), uninterrupted)
    assert "phase 0 begins again from its first step: Ray Train's record of the job's checkpoints is damaged" in caplog.messages


DRIVER = """
import json, sys
sys.path.insert(0, "tests")
from flows import tiny, train
from pipeline import cluster as clusters
from pipeline.cluster import Cluster
from pipeline.store.phases import Store
store = Store(clusters.tracking_uri(Cluster()))
train(tiny(num_phases=1, **json.loads(sys.argv[1])), store, Cluster(num_workers=1, checkpoint_every=100))
"""


@pytest.mark.usefixtures("one_ray")
@pytest.mark.thorough
def test_a_phase_that_died_after_its_last_step_is_published_without_another_step(
    store: Store, home: Path, uninterrupted: dict[str, torch.Tensor]
) -> None:
    recipe, cluster = trained_and_not_published(store, home)
    (result,) = train(recipe, store, cluster)
    assert_identical(weights(store, result.ref), uninterrupted)
    assert first_step(store, result.ref.run_id) == LONG["num_steps"]


@pytest.mark.usefixtures("one_ray")
@pytest.mark.thorough
def test_a_divergence_on_workers_is_not_trained_again(store: Store) -> None:
    with pytest.raises(Diverged, match="phase 0 diverged at step"):
        train(tiny(num_steps=200, map_lr=1e18, potential_lr=1e18), store, Cluster(num_workers=2))
    assert len(store.flows()) == 1


@pytest.mark.usefixtures("one_ray")
@pytest.mark.thorough
def test_a_folder_of_images_is_the_driver_s_and_a_mistake_about_it_is_not_tried_again(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A million failures are allowed, so only the first can end the job."""
    monkeypatch.chdir(tmp_path)
    sets.prepared("mnist", sets.mnist(tmp_path / "mnist"), tmp_path / "sets")
    recipe = tiny(num_phases=1, num_steps=2, target="mnist", num_frequencies=0, cost="mean_squared")
    cluster = Cluster(num_workers=1, data="file://sets", max_failures=1_000_000)
    (result,) = train(recipe, store, cluster)
    assert not result.cached
    (phase,) = phases_of(resolve(replace(recipe, seed=1), cluster))
    run_id = store.create_phase_run(phase, store.flow_run_id(result.phase.fingerprint), "test")
    elsewhere = replace(cluster, data=str(tmp_path / "elsewhere"))
    with pytest.raises(Unusable, match=f"{tmp_path}/elsewhere/mnist-28 holds no prepared images"):
        jobs.run_job({phase: run_id}, name="elsewhere", cluster=elsewhere)


@pytest.mark.parametrize(
    ("error", "final"),
    [
        (Unusable("no such folder"), True),
        (IndivisibleBatch("another digest"), True),
        (MapNotFound("no parent"), True),
        (Corrupt("train-00000.parquet", "it is missing"), True),
        (StoreUnavailable("no answer"), False),
        (Unreachable("no answer"), False),
        (ValueError("a shape"), True),
        (ModuleNotFoundError("no module"), True),
        (ZeroDivisionError(), True),
        (RuntimeError("connection closed by peer"), False),
        (OSError(28, "No space left on device"), False),
        (MemoryError(), False),
    ],
)
def test_an_error_of_a_worker_is_tried_again_only_where_that_can_help(error: Exception, final: bool) -> None:
    assert jobs.is_final(error) == final
    if final:
        with pytest.raises(type(error)):
            jobs.NoRetry().after_exception(None, {0: RuntimeError("closed by peer"), 1: error})
    else:
        jobs.NoRetry().after_exception(None, {0: error})


@pytest.mark.usefixtures("one_ray")
@pytest.mark.parametrize("asked", [Cluster(num_workers=1, use_gpu=True), Cluster(num_workers=8, cpus_per_worker=64)])
@pytest.mark.thorough
def test_a_job_that_can_never_be_scheduled_says_what_was_asked_and_what_there_is(store: Store, asked: Cluster) -> None:
    with pytest.raises(Unschedulable, match=r"were asked for and the cluster has \{'CPU': ") as caught:
        train(tiny(), store, asked)
    assert f"{asked.num_workers} workers of {{'CPU': {asked.cpus_per_worker}" in str(caught.value)


@pytest.mark.usefixtures("one_ray")
@pytest.mark.thorough
def test_several_phases_of_one_job_are_published_one_by_one(store: Store) -> None:
    observer = Quiet()
    results = train(tiny(num_phases=3), store, Cluster(num_workers=2, phases_per_job=3), observer)
    assert observer.trained == [0, 1, 2]
    assert [store.run(r.ref.run_id).info.status for r in results] == ["FINISHED"] * 3
    ended = [store.run(r.ref.run_id).info.end_time for r in results]
    assert ended == sorted(ended)
    assert len(set(ended)) == 3


def trained_and_not_published(store: Store, home: Path) -> tuple[Recipe, Cluster]:
    """Train LONG to its last step where nothing can be published."""
    recipe, cluster = tiny(num_phases=1, **LONG), Cluster(num_workers=1, checkpoint_every=400, max_failures=0)
    (home / "artifacts").write_text("a file where the artifacts should go")
    with pytest.raises(TrainingFailed, match="goes on from the last checkpoint"):
        train(recipe, store, cluster)
    (home / "artifacts").unlink()
    return recipe, cluster


def a_checkpoint_is_committed(home: Path) -> bool:
    """Ray Train's own record of a checkpoint, which it writes some time after the files are there."""
    records = [path.read_text() for path in (home / "checkpoints").rglob("checkpoint_manager_snapshot.json")]
    return any(re.search(r'"checkpoint_dir_name":\s*"checkpoint', record) for record in records)


def first_step(store: Store, run_id: str) -> int:
    return min(step for step, _ in store.metric_history(run_id, "step"))


def until(condition: Callable[[], object], seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it took too long"
        time.sleep(0.05)


def ray_processes() -> list[psutil.Process]:
    return [process for process in psutil.Process().children(recursive=True) if process.status() != psutil.STATUS_ZOMBIE]


def kill_tree(pid: int) -> None:
    """SIGKILL a process and everything that it started."""
    processes = [*psutil.Process(pid).children(recursive=True), psutil.Process(pid)]
    for process in processes:
        process.kill()
    psutil.wait_procs(processes, timeout=30)
