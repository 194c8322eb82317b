"""Real servers: MLflow on PostgreSQL with its artifacts in S3, checkpoints in S3 too; train, search, serve, back up, restore."""

import io
import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import fsspec
import numpy as np
import psycopg
import pytest
import requests
import services
from flows import ROOT, command_environment

SMALL = ["--network.width", "16", "--training.batch-size", "32", "--training.num-steps", "60", "--jko.num-phases", "2"]
PASSWORD = "geheim-4711"
IMPATIENT = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1"}  # not four, with pauses of half a minute in all


@dataclass(frozen=True)
class Servers:
    """What the tests may use and take away; MLflow itself is started by who needs it."""

    environment: dict[str, str]
    database: str
    port: int
    folder: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @contextmanager
    def mlflow(self) -> Iterator[None]:
        command = services.mlflow_command(self.database, "s3://bucket/artifacts", self.port)
        environment = {**os.environ, **self.environment}
        with services.process(command, f"{self.url}/health", environment, self.folder / "mlflow.log"):
            yield

    def start(self, home: Path, module: str, *arguments: str) -> subprocess.Popen[str]:
        environment = {**command_environment(home), **self.environment, **IMPATIENT, "SJKO_TRACKING_URI": self.url}
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        return subprocess.Popen([sys.executable, "-m", module, *arguments], cwd=ROOT, env=environment, **pipes)

    def run(self, home: Path, module: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        process = self.start(home, module, *arguments)
        out, error = process.communicate(timeout=280)
        return subprocess.CompletedProcess(arguments, process.returncode, out, error)

    def pipeline(self, home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
        return self.run(home, "pipeline", *arguments)

    def bucket(self) -> fsspec.AbstractFileSystem:
        keys = {"key": "test", "secret": "test", "endpoint_url": self.environment["AWS_ENDPOINT_URL"]}
        return fsspec.filesystem("s3", skip_instance_cache=True, use_listings_cache=False, **keys)


@contextmanager
def new_servers(folder: Path) -> Iterator[Servers]:
    """Empty ones."""
    folder.mkdir()
    with services.postgresql(folder / "postgresql") as database, services.s3(folder / "s3", "bucket") as environment:
        yield Servers(environment, database, services.free_port(), folder)


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    with new_servers(tmp_path_factory.mktemp("servers") / "first") as found:
        yield found


def phases(path: Path) -> list[dict]:
    return json.loads(path.read_text())["phases"]


def test_a_flow_runs_through_mlflow_on_postgresql_and_s3_and_says_when_they_are_absent(servers: Servers, tmp_path: Path) -> None:
    flags = "--cluster.num-workers 2 --cluster.phases-per-job 2 --cluster.checkpoint-every 20 --cluster.storage s3://bucket/runs"
    run = ["run", "moons", *SMALL, *flags.split(), "--json", str(tmp_path / "run.json")]

    url = servers.url.replace("//", f"//someone:{PASSWORD}@")
    absent = servers.pipeline(tmp_path / "home", *run, "--cluster.tracking-uri", url)
    assert absent.returncode == 1
    assert PASSWORD not in absent.stdout + absent.stderr
    assert f"MLflow at {servers.url} does not answer" in absent.stderr
    assert "Traceback" not in absent.stderr

    with servers.mlflow():
        there = servers.pipeline(tmp_path / "home", *run)
        assert there.returncode == 0, there.stdout + there.stderr
        rows = phases(tmp_path / "run.json")
        assert [row["cached"] for row in rows] == [False, False]
        keys = [key.removeprefix("bucket/") for key in servers.bucket().find("bucket")]
        assert sum(key.endswith("phase/manifest.json") and key.startswith("artifacts/") for key in keys) == 2
        assert not [key for key in keys if key.startswith("runs/") and "safetensors" in key], "checkpoints are removed"
        evaluated = servers.pipeline(tmp_path / "home", "evaluate", rows[1]["map_ref"], "--json", str(tmp_path / "e.json"))
        assert evaluated.returncode == 0, evaluated.stderr
        metrics = json.loads((tmp_path / "e.json").read_text())["metrics"]
        assert metrics["w2"] == pytest.approx(rows[1]["metrics"]["w2"], rel=1e-6)


@pytest.mark.timeout(900)
def test_two_flows_and_a_search_at_once_train_no_phase_twice_and_the_best_is_served(servers: Servers, tmp_path: Path) -> None:
    with psycopg.connect(servers.database, autocommit=True) as connection:
        connection.execute("CREATE DATABASE optuna")
    storage = servers.database.removesuffix("/postgres") + "/optuna"
    flow = ["run", "moons", *SMALL, "--seed", "7"]
    search = ["run", "moons", *SMALL, "--seed", "7", "--name", "s", "--num-trials", "3", "--num-confirmed", "0"]
    space = ["--space.divergence", "softplus", "jsd", "--storage", storage, "--json", str(tmp_path / "search.json")]
    with servers.mlflow():
        with_password = ["--cluster.tracking-uri", servers.url.replace("//", f"//someone:{PASSWORD}@")]
        every = [
            servers.start(tmp_path / "a", "pipeline", *flow, "--json", str(tmp_path / "a.json"), *with_password),
            servers.start(tmp_path / "b", "pipeline", *flow, "--json", str(tmp_path / "b.json")),
            servers.start(tmp_path / "c", "tune", *search, *space),
        ]
        for process in every:
            out, error = process.communicate(timeout=280)
            assert process.returncode == 0, out + error
            assert PASSWORD not in out + error
        assert_nowhere(PASSWORD, servers, tmp_path)
        a, b = phases(tmp_path / "a.json"), phases(tmp_path / "b.json")
        assert [row["map_ref"] for row in a] == [row["map_ref"] for row in b]
        found = json.loads((tmp_path / "search.json").read_text())
        assert [trial.get("error") for trial in found["trials"]] == [""] * 3, found
        finished = finished_phases(servers)
        assert set(finished.values()) == {1}
        serve_the_champion(servers, tmp_path, a[-1]["map_ref"])


def assert_nowhere(secret: str, servers: Servers, folder: Path) -> None:
    """Not in MLflow's parameters and tags, nor in a file of the bucket or below the folder."""
    from pipeline.store import Store

    store, bucket = Store(servers.url), servers.bucket()
    kept = [str((run.data.params, run.data.tags)) for run in store.select("attributes.status != 'NEVER'")]
    assert len(kept) > 5
    objects = [bucket.cat(key) for key in bucket.find("bucket")]
    files = [path.read_bytes() for path in folder.rglob("*") if path.is_file()]
    assert not any(secret.encode() in content for content in [str(kept).encode(), *objects, *files])


def finished_phases(servers: Servers) -> Counter[str]:
    """How often each fingerprint was trained to its end."""
    from pipeline.store import Store

    runs = Store(servers.url).select("tags.`sjko.kind` = 'phase' and attributes.status = 'FINISHED'")
    return Counter(run.data.tags["sjko.fingerprint"] for run in runs)


def serve_the_champion(servers: Servers, tmp_path: Path, reference: str) -> None:
    """Registered, promoted and asked for samples over HTTP, all through the servers."""
    home, port = tmp_path / "service", services.free_port()
    for arguments in (["register", reference, "--name", "moons"], ["promote", "moons"]):
        done = servers.run(home, "deploy", *arguments)
        assert done.returncode == 0, done.stderr
    environment = {**command_environment(home), **servers.environment, "SJKO_TRACKING_URI": servers.url}
    command = [sys.executable, "-m", "deploy", "serve", "moons@champion", "--port", str(port)]
    url = f"http://127.0.0.1:{port}"
    with services.process(command, f"{url}/readyz", environment, tmp_path / "serve.log", 300):
        deadline = time.monotonic() + 300
        while requests.get(f"{url}/readyz", timeout=30).status_code != 200:
            assert time.monotonic() < deadline, (tmp_path / "serve.log").read_text()
            time.sleep(0.5)
        answer = requests.post(f"{url}/v1/samples", json={"num_samples": 5, "seed": 1, "format": "npy"}, timeout=60)
        assert answer.status_code == 200, answer.text
        assert np.load(io.BytesIO(answer.content), allow_pickle=False).shape == (5, 2)


def test_what_was_backed_up_comes_back_whole_on_other_servers(servers: Servers, tmp_path: Path) -> None:
    """The commands of docs/operations.md, the bucket copied by s3fs in the place of the AWS client."""
    flow = ["run", "moons", *SMALL, "--seed", "7", "--json", str(tmp_path / "run.json")]
    with servers.mlflow():
        assert servers.pipeline(tmp_path / "home", *flow).returncode == 0
    before = phases(tmp_path / "run.json")
    assert [row["cached"] for row in before] == [True, True], "another home, the same store"
    dump, copy = tmp_path / "mlflow.dump", tmp_path / "bucket"
    postgres(["pg_dump", "--format=custom", "--dbname", servers.database, "--file", str(dump)])
    servers.bucket().get("bucket/", f"{copy}/", recursive=True)
    with new_servers(tmp_path / "second") as others:
        there = replace(others, port=servers.port)  # where the clients look for it
        there.bucket().put(f"{copy}/", "bucket/", recursive=True)
        postgres(["pg_restore", "--clean", "--if-exists", "--dbname", there.database, str(dump)])
        with there.mlflow():
            again = there.pipeline(tmp_path / "home", *flow)
            assert again.returncode == 0, again.stderr
    after = phases(tmp_path / "run.json")
    assert [row["cached"] for row in after] == [True, True]
    assert [row["map_ref"] for row in after] == [row["map_ref"] for row in before]


def postgres(command: list[str]) -> None:
    """One of PostgreSQL's own tools."""
    subprocess.run([str(services.BINARIES[-1] / command[0]), *command[1:]], check=True, capture_output=True)
