"""Ray's autoscaler on one machine, its nodes faked as processes: they come for a flow and go when it has ended."""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import services
import yaml
from flows import QUICK, ROOT, command_environment

pytestmark = pytest.mark.thorough
TOKEN = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "0123456789abcdef0123456789abcdef"}
HEAD_ID = "fffffffffffffffffffffffffffffffffffffffffffffffffff00000"
"""What the fake provider calls the node that is there already."""
FAKE = "ray.autoscaler._private.fake_multi_node.node_provider.FakeMultiNodeProvider"
"""As `fake_multinode` it cannot be used: its defaults are missing from Ray's wheel."""

FOLDERS, COMMANDS = (
    ("auth", "docker", "file_mounts"),
    ("setup", "head_setup", "worker_setup", "head_start_ray", "worker_start_ray"),
)
UNUSED: dict[str, object] = {
    **{name: {} for name in FOLDERS},
    **{f"{name}_commands": [] for name in (*COMMANDS, "initialization")},
    "cluster_synced_files": [],
}
"""Ray reads them although nothing is set up over SSH."""


COUNT = """
import ray, sys, time
ray.init(sys.argv[1], log_to_driver=False, logging_level="ERROR")
while True:
    print(sum(node["Alive"] for node in ray.nodes()) - 1, flush=True)
    time.sleep(0.5)
"""
"""Nodes now, the head left out."""


@dataclass
class Scaling:
    """A head without CPUs, to which the autoscaler adds up to two nodes of one."""

    address: str
    environment: dict[str, str]
    log: Path

    @contextmanager
    def counted(self, file: Path) -> Iterator[None]:
        with file.open("wb") as output:  # of numbers alone: Ray writes what it logs to standard error
            command = [sys.executable, "-c", COUNT, self.address]
            counter = subprocess.Popen(
                command, env=self.environment, stdout=output, stderr=subprocess.DEVNULL, start_new_session=True
            )
        try:
            yield
        finally:
            services.with_group_killed(counter)


@pytest.fixture
def scaling(home: Path, tmp_path: Path) -> Iterator[Scaling]:
    port, log = services.free_port(), tmp_path / "head.log"
    configuration = {
        "cluster_name": "fake",
        "max_workers": 2,
        "idle_timeout_minutes": 0.1,
        "provider": {"type": "external", "module": FAKE, "gcs_address": f"127.0.0.1:{port}", "launch_multiple": True},
        "available_node_types": {
            "ray.head.default": {"resources": {"train_driver": 100}, "node_config": {}, "max_workers": 0},
            "worker": {"resources": {"CPU": 1}, "node_config": {}, "min_workers": 0, "max_workers": 2},
        },
        "head_node_type": "ray.head.default",
    }
    path = tmp_path / "scaling.yaml"
    path.write_text(yaml.safe_dump({**UNUSED, **configuration}))
    environment = {
        **command_environment(home),
        **TOKEN,
        "RAY_worker_niceness": "0",
        "RAY_FAKE_CLUSTER": "1",
        "AUTOSCALER_UPDATE_INTERVAL_S": "1",
        "RAY_enable_autoscaler_v2": "1",
        "RAY_CLOUD_INSTANCE_ID": HEAD_ID,
        "RAY_OVERRIDE_NODE_ID_FOR_TESTING": HEAD_ID,
    }
    ray = str(Path(sys.executable).parent / "ray")
    where = [f"--port={port}", "--node-ip-address=127.0.0.1", "--include-dashboard=false", f"--autoscaling-config={path}"]
    command = [ray, "start", "--head", "--block", "--num-cpus=0", '--resources={"train_driver": 100}', *where]
    with log.open("wb") as output:
        head = subprocess.Popen(command, env=environment, stdout=output, stderr=output, start_new_session=True)
    try:
        clients = {name: value for name, value in environment.items() if HEAD_ID not in value}
        found = Scaling(f"127.0.0.1:{port}", clients, log)
        services.wait_for_port(port, head)
        yield found
    finally:
        services.with_group_killed(head)


def test_nodes_come_for_a_flow_and_go_when_it_has_ended(scaling: Scaling, mlflow_server: str, tmp_path: Path) -> None:
    counts = tmp_path / "counts"
    flags = [
        *QUICK,
        "--network.width=8",
        "--training.batch-size=16",
        "--training.num-steps=50",
        "--jko.num-phases=2",
        "--seed=11",
    ]
    workers = ["--cluster.num-workers=2", "--cluster.phases-per-job=2", f"--cluster.address={scaling.address}"]
    with scaling.counted(counts):
        until(lambda: counts.read_text().splitlines()[-1:] == ["0"])
        where = [f"--store.tracking-uri={mlflow_server}", f"--json={tmp_path}/run.json"]
        command = [sys.executable, "-m", "pipeline", "run", "moons", *flags, *workers, *where]
        driver = subprocess.run(
            command, cwd=ROOT, env=scaling.environment, capture_output=True, text=True, timeout=200, check=False
        )
        assert driver.returncode == 0, driver.stderr + scaling.log.read_text()[-3000:]
        until(lambda: counts.read_text().splitlines()[-1] == "0")
    assert [row["cached"] for row in json.loads((tmp_path / "run.json").read_text())["phases"]] == [False, False]
    nodes = [int(number) for number in counts.read_text().splitlines()]
    assert (nodes[0], max(nodes), nodes[-1]) == (0, 2, 0)


def until(condition: Callable[[], bool], seconds: float = 180) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it took too long"
        time.sleep(0.3)
