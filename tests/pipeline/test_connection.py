"""Ray that does not come up, and clusters that are not there: one sentence each, and nothing left running."""

import gc
from pathlib import Path

import psutil
import pytest
from ray._private import services

from pipeline import cluster as clusters
from pipeline import ray_session
from pipeline.cluster import Cluster, validate
from pipeline.command.process import exit_code
from pipeline.errors import Unschedulable


@pytest.fixture
def no_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine on which a part of Ray gets no CPU for as long as Ray waits, which is made a second."""
    asleep = tmp_path / "asleep"
    asleep.write_text("#!/bin/sh\nexec sleep 1000\n")
    asleep.chmod(0o755)
    monkeypatch.setattr(services, "GCS_SERVER_EXECUTABLE", str(asleep))
    monkeypatch.setenv("RAY_gcs_server_port_wait_time_s", "1")


@pytest.mark.usefixtures("home", "no_ray", "no_time")
@pytest.mark.filterwarnings("ignore:subprocess .* is still running:ResourceWarning")  # Ray does not wait for what it has lost
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.thorough
def test_a_machine_that_is_too_busy_for_ray_is_said_to_be_and_nothing_is_left() -> None:
    before = set(psutil.Process().children())
    busy = r"did not come up in time: this machine is busy \(load \d+ on \d+ CPUs\).* try again"
    with pytest.raises(Unschedulable, match=busy) as said, ray_session.connected(Cluster(num_workers=1)):
        pass
    assert exit_code(said.value) == 1
    assert {each for each in psutil.Process().children() if each.status() != psutil.STATUS_ZOMBIE} <= before
    del said
    gc.collect()  # here, where the warnings are expected


@pytest.mark.usefixtures("home", "no_ray")
@pytest.mark.parametrize(
    ("folder", "says"), [("file/x", "Not a directory: .*/file/x"), ("x" * 90, ".*AF_UNIX path length cannot exceed")]
)
def test_a_folder_where_ray_cannot_keep_its_files_is_named(
    folder: str, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path / folder))
    says = rf"^Ray cannot be started here: {says}.* keeps its sockets and logs in {tmp_path / folder}/ray; set \$RAY_TMPDIR"
    with pytest.raises(Unschedulable, match=says), ray_session.connected(Cluster(num_workers=1)):
        pass


@pytest.mark.usefixtures("home", "no_ray")
def test_a_token_that_cannot_be_kept_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_AUTH_TOKEN", raising=False)
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", "/dev/null/token")
    says = r"Ray's token cannot be kept in /dev/null/token: Not a directory; set \$RAY_AUTH_TOKEN_PATH"
    with pytest.raises(Unschedulable, match=says), ray_session.connected(Cluster(num_workers=1)):
        pass


@pytest.mark.parametrize(
    "address", ["", "head", "http://head:8265", "ray://head", "head:0", "head:99999", "local", "head:6379/x", "$HEAD:6379"]
)
def test_an_address_that_no_cluster_can_have_is_refused(address: str) -> None:
    with pytest.raises(ValueError, match=r"cluster\.address "):
        validate(Cluster(address=address))


@pytest.mark.parametrize("address", ["auto", "head:6379", "10.0.0.1:6379", "[::1]:6379", "ray://head.example.org:10001"])
def test_an_address_that_a_cluster_can_have_is_taken(address: str) -> None:
    validate(Cluster(address=address))


def test_workers_hear_of_the_driver_s_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In their own, a relative one would be another."""
    monkeypatch.chdir(tmp_path)
    for name, value in {
        "HOME": "home",
        "DATA": "sets",
        "CHECKPOINTS": "s3://bucket/runs",
        "TRACKING_URI": "sqlite:///x.db",
    }.items():
        monkeypatch.setenv(f"SJKO_{name}", value)
    assert clusters.variables() == {
        "SJKO_HOME": f"{tmp_path}/home",
        "SJKO_DATA": f"{tmp_path}/sets",
        "SJKO_CHECKPOINTS": "s3://bucket/runs",
        "SJKO_TRACKING_URI": f"sqlite:///{tmp_path}/x.db",
    }
    for name in ("SJKO_DATA", "SJKO_CHECKPOINTS", "SJKO_TRACKING_URI"):
        monkeypatch.delenv(name)
    assert clusters.variables() == {"SJKO_HOME": f"{tmp_path}/home"}
