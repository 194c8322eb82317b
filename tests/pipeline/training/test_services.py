"""Real servers: MLflow on PostgreSQL with its artifacts in S3, checkpoints in S3 too; train, search, serve, back up, restore."""

import io
import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import fsspec
import numpy as np
import pytest
import requests
import services
from flows import QUICK, ROOT, command_environment

from pipeline.command import cli

SMALL = [*QUICK, "--network.width", "16", "--training.batch-size", "32", "--training.num-steps", "60", "--jko.num-phases", "2"]
PASSWORD = "geheim-4711"
IMPATIENT = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1"}  # not four, with pauses of half a minute in all


@dataclass(frozen=True)
class Servers:
    """What the tests may use and take away; MLflow itself is started by who needs it."""

    environment: dict[str, str]
    database: str
    bucket_name: str
    port: int
    folder: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @contextmanager
    def mlflow(self) -> Iterator[None]:
        command = services.mlflow_command(self.database, f"s3://{self.bucket_name}/artifacts", self.port)
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

    def keys(self) -> set[str]:
        """Every object of the bucket."""
        return {key.removeprefix(f"{self.bucket_name}/") for key in self.bucket().find(self.bucket_name)}

    def bucket(self) -> fsspec.AbstractFileSystem:
        keys = {"key": "test", "secret": "test", "endpoint_url": self.environment["AWS_ENDPOINT_URL"]}
        return fsspec.filesystem("s3", skip_instance_cache=True, use_listings_cache=False, **keys)


@pytest.fixture(scope="module")
def new_servers(
    new_database: Callable[[], str],
    new_bucket: Callable[[], str],
    s3_server: dict[str, str],
    tmp_path_factory: pytest.TempPathFactory,
) -> Callable[[], Servers]:
    """Make an empty database and an empty bucket for an MLflow server."""

    def make() -> Servers:
        return Servers(s3_server, new_database(), new_bucket(), services.free_port(), tmp_path_factory.mktemp("servers"))

    return make


@pytest.fixture(scope="module")
def servers(new_servers: Callable[[], Servers]) -> Iterator[Servers]:
    made = new_servers()
    with made.mlflow():
        yield made


def phases(path: Path) -> list[dict]:
    return json.loads(path.read_text())["phases"]


def test_a_store_that_is_absent_is_one_sentence_without_its_password(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SJKO_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    address = f"127.0.0.1:{services.free_port()}"
    assert cli.main(["run", "moons", "--store.tracking-uri", f"http://someone:{PASSWORD}@{address}"]) == 1
    printed = capsys.readouterr()
    assert PASSWORD not in printed.out + printed.err
    assert f"MLflow at http://{address} does not answer" in printed.err
    assert "Traceback" not in printed.err


@pytest.mark.real
def test_a_flow_runs_through_mlflow_on_postgresql_and_s3(servers: Servers, tmp_path: Path) -> None:
    storage = f"s3://{servers.bucket_name}/runs"
    flags = f"--cluster.num-workers 2 --cluster.phases-per-job 2 --cluster.checkpoint-every 20 --store.checkpoints {storage}"
    run = ["run", "moons", *SMALL, "--seed", "1", *flags.split(), "--json", str(tmp_path / "run.json")]
    before = servers.keys()
    there = servers.pipeline(tmp_path / "home", *run)
    assert there.returncode == 0, there.stdout + there.stderr
    rows = phases(tmp_path / "run.json")
    assert [row["cached"] for row in rows] == [False, False]
    keys = servers.keys() - before
    assert sum(key.endswith("phase/manifest.json") and key.startswith("artifacts/") for key in keys) == 2
    assert not [key for key in keys if key.startswith("runs/") and "safetensors" in key], "checkpoints are removed"
    evaluated = servers.pipeline(tmp_path / "home", "evaluate", rows[1]["map_ref"], *QUICK, "--json", str(tmp_path / "e.json"))
    assert evaluated.returncode == 0, evaluated.stderr
    metrics = json.loads((tmp_path / "e.json").read_text())["metrics"]
    assert metrics["w2"] == pytest.approx(rows[1]["metrics"]["w2"], rel=1e-6)


@pytest.mark.thorough
@pytest.mark.timeout(900)
def test_two_flows_and_a_search_at_once_train_no_phase_twice_and_the_best_is_served(
    servers: Servers, new_database: Callable[[], str], tmp_path: Path
) -> None:
    flow = ["run", "moons", *SMALL, "--seed", "7"]
    search = ["run", "moons", *SMALL, "--seed", "7", "--name", "s", "--num-trials", "3", "--num-confirmed", "0"]
    space = ["--space.divergence", "softplus", "jsd", "--store.optuna", new_database(), "--json", str(tmp_path / "search.json")]
    with_password = ["--store.tracking-uri", servers.url.replace("//", f"//someone:{PASSWORD}@")]
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
    assert set(finished_phases(servers).values()) == {1}
    serve_the_champion(servers, tmp_path, a[-1]["map_ref"])


def assert_nowhere(secret: str, servers: Servers, folder: Path) -> None:
    """Not in MLflow's parameters and tags, nor in a file of the bucket or below the folder."""
    from pipeline.store.phases import Store

    store, bucket = Store(servers.url), servers.bucket()
    kept = [str((run.data.params, run.data.tags)) for run in store.select("attributes.status != 'NEVER'")]
    assert len(kept) > 5
    objects = [bucket.cat(key) for key in bucket.find(servers.bucket_name)]
    files = [path.read_bytes() for path in folder.rglob("*") if path.is_file()]
    assert not any(secret.encode() in content for content in [str(kept).encode(), *objects, *files])


def finished_phases(servers: Servers) -> Counter[str]:
    """How often each fingerprint was trained to its end."""
    from pipeline.store.phases import Store

    runs = Store(servers.url).select("tags.`sjko.kind` = 'phase' and attributes.status = 'FINISHED'")
    return Counter(run.data.tags["sjko.fingerprint"] for run in runs)


def serve_the_champion(servers: Servers, tmp_path: Path, reference: str) -> None:
    """Registered, promoted and asked for samples over HTTP, all through the servers."""
    home, port = tmp_path / "service", services.free_port()
    for arguments in (["register", reference, "--name", "moons", *QUICK], ["promote", "moons", *QUICK]):
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


@pytest.mark.thorough
def test_what_was_backed_up_comes_back_whole_on_other_servers(
    servers: Servers, new_servers: Callable[[], Servers], tmp_path: Path
) -> None:
    """The commands of docs/operations.md, the bucket copied by s3fs in the place of the AWS client."""
    flow = ["run", "moons", *SMALL, "--seed", "8", "--json", str(tmp_path / "run.json")]
    assert servers.pipeline(tmp_path / "home", *flow).returncode == 0
    before = phases(tmp_path / "run.json")
    dump, copy = tmp_path / "mlflow.dump", tmp_path / "bucket"
    postgres(["pg_dump", "--format=custom", "--dbname", servers.database, "--file", str(dump)])
    servers.bucket().get(f"{servers.bucket_name}/", f"{copy}/", recursive=True)
    others = new_servers()
    others.bucket().put(f"{copy}/", f"{others.bucket_name}/", recursive=True)
    postgres(["pg_restore", "--clean", "--if-exists", "--dbname", others.database, str(dump)])
    with others.mlflow():
        again = others.pipeline(tmp_path / "another home", *flow)
        assert again.returncode == 0, again.stderr
    after = phases(tmp_path / "run.json")
    assert [row["cached"] for row in after] == [True, True]
    assert [row["map_ref"] for row in after] == [row["map_ref"] for row in before]


def postgres(command: list[str]) -> None:
    """One of PostgreSQL's own tools."""
    subprocess.run([str(services.BINARIES[-1] / command[0]), *command[1:]], check=True, capture_output=True)
