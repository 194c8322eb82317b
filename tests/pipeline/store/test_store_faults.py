"""Stores that refuse, dawdle, lie or die: nothing is lost, nothing half-written, and the same flow goes on afterwards."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import services
import torch
from faulty_store import Faults, proxy
from flows import QUICK, ROOT, assert_identical, command_environment, tiny, train, weights
from homes import new_store

from pipeline.cluster import Cluster
from pipeline.errors import StoreUnavailable
from pipeline.phase import phases_of
from pipeline.store import claims
from pipeline.store.phases import Store

pytestmark = pytest.mark.thorough


@dataclass
class Shaky:
    """An MLflow server whose bucket is behind a proxy with faults."""

    uri: str
    faults: Faults
    command: list[str]
    environment: dict[str, str]
    log: Path
    server: subprocess.Popen[bytes] = field(init=False)

    def start(self) -> None:
        with self.log.open("ab") as log:
            self.server = subprocess.Popen(self.command, env=self.environment, stdout=log, stderr=log, start_new_session=True)
        services.wait_for(f"{self.uri}/health", self.server)


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """One retry of MLflow's client, not four with pauses of half a minute; a missed heartbeat is noticed soon."""
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    monkeypatch.setattr(claims, "SECONDS_WITHOUT_BEAT", 5.0)


@pytest.fixture(scope="module")
def server(
    s3_server: dict[str, str], new_bucket: Callable[[], str], migrated: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Shaky]:
    folder, port = tmp_path_factory.mktemp("shaky"), services.free_port()
    (folder / "mlflow.db").write_bytes(migrated.read_bytes())
    command = services.mlflow_command(f"sqlite:///{folder}/mlflow.db", f"s3://{new_bucket()}/artifacts", port)
    with proxy(s3_server["AWS_ENDPOINT_URL"]) as (url, faults):
        server_environment = {**os.environ, **s3_server, "AWS_ENDPOINT_URL": url, "AWS_MAX_ATTEMPTS": "1"}
        found = Shaky(f"http://127.0.0.1:{port}", faults, command, server_environment, folder / "log")
        found.start()
        try:
            yield found
        finally:
            services.with_group_killed(found.server)


@pytest.fixture
def shaky(server: Shaky) -> Iterator[Shaky]:
    """Without faults at first."""
    yield server
    server.faults.reset()
    if server.server.poll() is not None:
        server.start()


def undisturbed(home: Path, seed: int) -> dict[str, torch.Tensor]:
    store = new_store(home / "undisturbed")
    return weights(store, train(tiny(seed=seed), store, Cluster(tracking_uri=store.uri))[-1].ref)


def finished_runs(store: Store, seed: int) -> list[int]:
    """Runs that published, per phase."""
    phases = phases_of(tiny(seed=seed))
    return [sum(run.info.status == "FINISHED" for run in store.runs_of(phase.fingerprint)) for phase in phases]


def test_a_bucket_that_refuses_writes_publishes_nothing_and_the_flow_goes_on_when_it_takes_them(shaky: Shaky, home: Path) -> None:
    store, cluster = Store(shaky.uri), Cluster(tracking_uri=shaky.uri)
    shaky.faults.refuse = {"PUT", "POST"}
    with pytest.raises(StoreUnavailable, match=f"MLflow at {shaky.uri} fails inside: its log says why"):
        train(tiny(seed=1), store, cluster)
    shaky.faults.reset()
    assert finished_runs(store, 1) == [0, 0]
    results = train(tiny(seed=1), store, cluster)
    assert finished_runs(store, 1) == [1, 1]
    assert_identical(weights(store, results[-1].ref), undisturbed(home, 1))


def test_a_slow_bucket_only_takes_longer(shaky: Shaky, home: Path) -> None:
    store = Store(shaky.uri)
    shaky.faults.slow = 0.2
    results = train(tiny(seed=2), store, Cluster(tracking_uri=shaky.uri))
    assert_identical(weights(store, results[-1].ref), undisturbed(home, 2))


def test_truncated_objects_are_never_taken_for_whole_ones(shaky: Shaky, home: Path, caplog: pytest.LogCaptureFixture) -> None:
    store, cluster = Store(shaky.uri), Cluster(tracking_uri=shaky.uri)
    results = train(tiny(seed=3), store, cluster)
    shaky.faults.truncate = True
    assert store.find(phases_of(tiny(seed=3))[0]) is None
    assert "is corrupt" in caplog.text
    shaky.faults.reset()
    again = train(tiny(seed=3), store, cluster)
    assert [result.cached for result in again] == [True, True], "whole again: nothing was wrong with what is kept"
    assert [result.ref for result in again] == [result.ref for result in results]
    assert_identical(weights(store, again[-1].ref), undisturbed(home, 3))


def test_a_server_killed_while_a_phase_is_published_leaves_no_half_phase(shaky: Shaky, home: Path) -> None:
    store, cluster = Store(shaky.uri), Cluster(tracking_uri=shaky.uri)
    puts: list[str] = []

    def kill_at_the_third_file(method: str, path: str) -> None:
        if method == "PUT" and "/phase/" in path:
            puts.append(path)
            if len(puts) == 3:
                services.with_group_killed(shaky.server)

    shaky.faults.before = kill_at_the_third_file
    with pytest.raises(StoreUnavailable, match=f"MLflow at {shaky.uri} does not answer. Finished phases are kept"):
        train(tiny(seed=4), store, cluster)
    shaky.faults.reset()
    shaky.start()
    assert finished_runs(store, 4) == [0, 0]
    results = train(tiny(seed=4), store, cluster)
    assert finished_runs(store, 4) == [1, 1]
    assert_identical(weights(store, results[-1].ref), undisturbed(home, 4))


FLOW = ["run", "moons", *QUICK, "--training.num-steps=20", "--training.batch-size=16"]


def run(home: Path, *flags: str, num_phases: int = 2, before: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    command = [*before, sys.executable, "-m", "pipeline", *FLOW, f"--jko.num-phases={num_phases}", *flags]
    return subprocess.run(
        command, cwd=ROOT, env=command_environment(home), capture_output=True, text=True, timeout=200, check=False
    )


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small disk")
def test_a_full_disk_is_one_sentence_and_the_flow_goes_on_when_there_is_room(tmp_path: Path, migrated: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", disk], check=True)
    try:
        (disk / "mlflow.db").write_bytes(migrated.read_bytes())
        full = run(disk, "--network.width=192")
        assert full.returncode == 1, full.stdout + full.stderr
        assert "Traceback" not in full.stderr
        assert "No space left on device" in full.stderr or "disk is full" in full.stderr
        subprocess.run(["mount", "-o", "remount,size=300m", disk], check=True)
        there = run(disk, "--network.width=192")
        assert there.returncode == 0, there.stderr
        assert run(disk, "--network.width=192").stdout.count("from the store") == 2
    finally:
        subprocess.run(["umount", "-l", disk], check=True)


def test_a_clock_that_goes_back_a_day_between_phases_changes_nothing(home: Path) -> None:
    assert run(home, num_phases=1, before=("faketime", "-f", "+1d")).returncode == 0
    later = run(home)
    assert later.returncode == 0, later.stderr
    assert later.stdout.count("from the store") == 1
    assert run(home).stdout.count("from the store") == 2
