"""Clusters of several real Ray nodes on one machine, MLflow as a server: nodes go and come, the head dies, nothing is lost."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
import ray
import services
import torch
from flows import QUICK, ROOT, STILL, assert_identical, assert_same_gradients, command_environment, tiny, train, weights
from homes import new_store
from mlflow.entities import Run
from own_parts import written
from ray.cluster_utils import Cluster as Nodes
from servers import LocalRay

from components.parts.loading import pinned
from pipeline.cluster import Cluster
from pipeline.errors import Unusable
from pipeline.phase import phases_of
from pipeline.store.phases import Store
from pipeline.training import jobs

pytestmark = pytest.mark.thorough
TOKEN = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "0123456789abcdef0123456789abcdef"}
BINARIES = Path(sys.executable).parent
LONG = {"num_steps": 5000, "batch_size": 64, "width": 32}
"""Long enough for nodes to go and come."""


@pytest.fixture(scope="module")
def head(local_ray: LocalRay) -> Iterator[Nodes]:
    """A head without work, which no test here harms. One that starts beside this process's own Ray never answers it."""
    local_ray.down()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_worker_niceness", "0")
        patch.setenv("RAY_health_check_period_ms", "500")
        patch.setenv("RAY_TRAIN_PREEMPTION_POLL_INTERVAL_S", "1")
        patch.setenv("RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S", "15")  # a minute, within which a lost node is not yet known
        settings = {"num_cpus": 0, "resources": {"train_driver": 10}, "dashboard_port": services.free_port()}
        found = Nodes(initialize_head=True, head_node_args=settings)
        print(f"started the head of a Ray cluster at {found.address}")
        try:
            yield found
        finally:
            found.shutdown()


@pytest.fixture
def nodes(head: Nodes, no_ray: None) -> Iterator[Nodes]:
    """The head, to which a test adds nodes of its own."""
    try:
        yield head
    finally:
        ray.shutdown()
        for node in list(head.worker_nodes):
            head.remove_node(node)


def expected(home: Path, **changes: object) -> dict[str, torch.Tensor]:
    """The weights of an undisturbed run in this process."""
    store = new_store(home / "undisturbed")
    results = train(tiny(**changes), store, Cluster(tracking_uri=store.uri))
    return weights(store, results[-1].ref)


def until(condition: Callable[[], object], seconds: float = 240) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.2)


class InTheBackground:
    """A flow that another thread waits for."""

    def __init__(self, store: Store, cluster: Cluster, **changes: object) -> None:
        self.store, self.phases, self.failure = store, phases_of(tiny(**changes)), None
        self._thread = threading.Thread(target=self._run, args=(changes, cluster))
        self._thread.start()

    def _run(self, changes: dict[str, object], cluster: Cluster) -> None:
        try:
            self.results = train(tiny(**changes), self.store, cluster)
        except BaseException as error:
            self.failure = error

    def step(self) -> float:
        if self.failure is not None:
            raise self.failure
        runs = self.store.runs_of(self.phases[0].fingerprint)
        return float(runs[0].data.metrics.get("step", 0)) if runs else 0

    def weights(self) -> dict[str, torch.Tensor]:
        self._thread.join()
        if self.failure is not None:
            raise self.failure
        return weights(self.store, self.results[-1].ref)


def workers(address: str) -> list[int]:
    """Process ids of the workers of this cluster: other tests may have theirs on this machine."""
    alive = [("class_name", "=", "RayTrainWorker"), ("state", "=", "ALIVE")]
    return [actor.pid for actor in ray.util.state.list_actors(address, filters=alive, detail=True)]


@contextmanager
def slowed(address: str) -> Iterator[None]:
    """Workers stand still for nine tenths of the time meanwhile: a job lasts until nodes have come, however fast it is."""
    ended = threading.Event()

    def hold() -> None:
        while not ended.is_set():
            held = workers(address)
            for number, seconds in ((signal.SIGSTOP, 1.8), (signal.SIGCONT, 0.2)):
                for pid in held:
                    with suppress(ProcessLookupError):
                        os.kill(pid, number)
                ended.wait(seconds)

    thread = threading.Thread(target=hold)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


@pytest.mark.timeout(600)
def test_a_job_goes_on_with_fewer_workers_when_a_node_is_lost_and_with_more_when_one_comes(
    nodes: Nodes, mlflow_server: str, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "SECONDS_BETWEEN_RESIZES", 3.0)
    nodes.add_node(num_cpus=1)
    second = nodes.add_node(num_cpus=1)
    cluster = Cluster(num_workers=2, min_workers=1, checkpoint_every=500, address=nodes.address, tracking_uri=mlflow_server)
    changes = {"num_phases": 1, "seed": 1, **LONG, **STILL, "batch_size": 1024}  # slow steps: nodes take their time
    flow = InTheBackground(Store(mlflow_server), cluster, **changes)
    seen: list[int] = []
    until(lambda: flow.step() > 500)
    seen.append(len(workers(nodes.address)))
    nodes.remove_node(second, allow_graceful=False)
    at = flow.step()
    until(lambda: len(workers(nodes.address)) == 1 and flow.step() > at)
    seen.append(1)
    with slowed(nodes.address):  # Ray looks for new nodes every twenty seconds or so
        nodes.add_node(num_cpus=1)
        until(lambda: len(workers(nodes.address)) == 2)
    seen.append(2)
    found = flow.weights()
    assert seen == [2, 1, 2]
    assert_same_gradients(found, expected(home, **changes))


def test_an_announced_preemption_makes_a_checkpoint_from_which_another_node_goes_on(
    nodes: Nodes, mlflow_server: str, home: Path
) -> None:
    doomed = nodes.add_node(num_cpus=1)
    changes = {"num_phases": 1, "seed": 2, **LONG}
    cluster = Cluster(num_workers=1, checkpoint_every=0, address=nodes.address, tracking_uri=mlflow_server)
    flow = InTheBackground(Store(mlflow_server), cluster, **changes)
    until(lambda: flow.step() > 500)
    announced = ["--reason", "DRAIN_NODE_REASON_PREEMPTION", "--reason-message", "spot", "--deadline-remaining-seconds", "60"]
    command = [BINARIES / "ray", "drain-node", "--address", nodes.address, "--node-id", doomed.node_id, *announced]
    subprocess.run([str(each) for each in command], check=True, capture_output=True)
    nodes.add_node(num_cpus=1)
    until(lambda: list((home / "checkpoints").rglob("checkpoint_manager_snapshot.json")))
    nodes.remove_node(doomed, allow_graceful=False)
    found = flow.weights()
    assert_identical(found, expected(home, **changes))
    history = Store(mlflow_server).client.get_metric_history(flow.results[-1].ref.run_id, "step")
    assert [point.step for point in history].count(LONG["num_steps"] // 100) == 1, "the first steps were trained once"


def test_a_node_that_comes_after_another_was_lost_gets_the_code_of_own_parts(
    nodes: Nodes, mlflow_server: str, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written(tmp_path, monkeypatch, "parts_on_nodes")
    lost = nodes.add_node(num_cpus=1)
    changes = {"num_phases": 1, "seed": 4, **LONG, "num_steps": 2000, "divergence": pinned("parts_on_nodes:Alpha")}
    cluster = Cluster(num_workers=1, checkpoint_every=500, address=nodes.address, tracking_uri=mlflow_server)
    flow = InTheBackground(Store(mlflow_server), cluster, **changes)
    until(lambda: flow.step() > 500)
    nodes.remove_node(lost, allow_graceful=False)
    nodes.add_node(num_cpus=1)
    assert_identical(flow.weights(), expected(home, **changes))


def test_the_loss_of_the_head_ends_the_driver_with_a_sentence_and_a_new_one_goes_on(
    mlflow_server: str, home: Path, tmp_path: Path
) -> None:
    environment = {**command_environment(home), **TOKEN, "RAY_worker_niceness": "0", "SJKO_TRACKING_URI": mlflow_server}
    flags = [
        *QUICK,
        "--network.width=8",
        "--training.batch-size=16",
        "--training.num-steps=3000",
        "--jko.num-phases=2",
        "--seed=3",
    ]
    workers = ["--cluster.num-workers=1", "--cluster.checkpoint-every=500"]
    seen = []
    for number in range(2):
        port = services.free_port()
        start = [
            str(BINARIES / "ray"),
            "start",
            "--head",
            "--block",
            f"--port={port}",
            "--num-cpus=1",
            "--include-dashboard=false",
        ]
        with subprocess.Popen(start, env=environment, stdout=subprocess.DEVNULL, start_new_session=True) as head:
            try:
                until(lambda port=port: jobs.answers(f"127.0.0.1:{port}"))
                where = [f"--cluster.address=127.0.0.1:{port}", f"--json={tmp_path}/run.json"]
                command = [sys.executable, "-m", "pipeline", "run", "moons", *flags, *workers, *where]
                pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
                driver = subprocess.Popen(command, cwd=ROOT, env=environment, **pipes)
                if number == 0:
                    until(lambda: any(run.data.metrics.get("step", 0) > 1000 for run in second_phases(mlflow_server)))
                    os.killpg(head.pid, signal.SIGKILL)
                out, error = driver.communicate(timeout=200)
                seen.append((driver.returncode, out, error))
            finally:
                if head.poll() is None:
                    os.killpg(head.pid, signal.SIGKILL)
    (code, _, error), (code_again, out_again, error_again) = seen
    assert code == 1, error
    assert "the head of the Ray cluster" in error
    assert "Traceback" not in error
    assert code_again == 0, error_again
    assert out_again.count("from the store") == 1, "the finished phase is not trained again"


def second_phases(mlflow_server: str) -> list[Run]:
    return Store(mlflow_server).select("tags.`sjko.kind` = 'phase' and tags.`sjko.k` = '1'")


def test_a_file_is_no_store_for_several_nodes(nodes: Nodes, store: Store) -> None:
    nodes.add_node(num_cpus=1)
    with pytest.raises(Unusable, match=r"store.tracking_uri must be http\(s\)"):
        train(tiny(), store, Cluster(num_workers=1, address=nodes.address))
