"""A flow through real servers: MLflow on PostgreSQL with its artifacts in S3, Ray Train's checkpoints in S3 too."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import boto3
import pytest
import services
from flows import ROOT, command_environment


@dataclass
class Servers:
    """What the tests may use and take away."""

    environment: dict[str, str]
    command: list[str]
    url: str
    folder: Path

    def pipeline(self, home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
        impatient = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1"}  # not four, with pauses of half a minute in all
        environment = {**command_environment(home), **self.environment, **impatient}
        where = ["--cluster.tracking-uri", self.url]
        command = [sys.executable, "-m", "pipeline", *arguments, *where]
        return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=280, check=False)


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    folder = tmp_path_factory.mktemp("servers")
    with services.postgresql(folder / "postgresql") as database, services.s3(folder / "s3", "bucket") as environment:
        port = services.free_port()
        command = services.mlflow_command(database, "s3://bucket/artifacts", port)
        yield Servers(environment, command, f"http://127.0.0.1:{port}", folder)


SMALL = ["--network.width", "16", "--training.batch-size", "32", "--training.num-steps", "60", "--jko.num-phases", "2"]


def test_a_flow_runs_through_mlflow_on_postgresql_and_s3_and_survives_the_servers_absence(
    servers: Servers, tmp_path: Path
) -> None:
    flags = "--cluster.num-workers 2 --cluster.phases-per-job 2 --cluster.checkpoint-every 20 --cluster.storage s3://bucket/runs"
    run = ["run", "moons", *SMALL, *flags.split(), "--json", str(tmp_path / "run.json")]

    absent = servers.pipeline(tmp_path / "home", *run)
    assert absent.returncode == 1
    assert f"MLflow at {servers.url} does not answer" in absent.stderr
    assert "Traceback" not in absent.stderr

    server_environment = {**os.environ, **servers.environment}
    with services.process(servers.command, f"{servers.url}/health", server_environment, servers.folder / "mlflow.log"):
        there = servers.pipeline(tmp_path / "home", *run)
        assert there.returncode == 0, there.stdout + there.stderr
        rows = json.loads((tmp_path / "run.json").read_text())["phases"]
        assert [row["cached"] for row in rows] == [False, False]
        again = servers.pipeline(tmp_path / "another-home", *run)
        assert again.returncode == 0, again.stdout + again.stderr
        assert [row["cached"] for row in json.loads((tmp_path / "run.json").read_text())["phases"]] == [True, True]
        keys = keys_in_the_bucket(servers.environment["AWS_ENDPOINT_URL"])
        assert sum(key.endswith("phase/manifest.json") and key.startswith("artifacts/") for key in keys) == 2
        assert not [key for key in keys if key.startswith("runs/") and "safetensors" in key], "checkpoints are removed"
        evaluated = servers.pipeline(tmp_path / "home", "evaluate", rows[1]["map_ref"], "--json", str(tmp_path / "e.json"))
        assert evaluated.returncode == 0, evaluated.stderr
        metrics = json.loads((tmp_path / "e.json").read_text())["metrics"]
        assert metrics["w2"] == pytest.approx(rows[1]["metrics"]["w2"], rel=1e-6)

    gone = servers.pipeline(tmp_path / "home", "list")
    assert gone.returncode == 1
    assert f"MLflow at {servers.url} does not answer" in gone.stderr


def keys_in_the_bucket(url: str) -> list[str]:
    client = boto3.client("s3", endpoint_url=url, region_name="us-east-1", aws_access_key_id="test", aws_secret_access_key="test")
    return [entry["Key"] for entry in client.list_objects_v2(Bucket="bucket").get("Contents", [])]
