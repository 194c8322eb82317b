"""Flows as jobs of a real Ray head with its dashboard and a token: sent, followed, left alone, stopped."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import services
from flows import QUICK, ROOT, command_environment
from terminals import terminal

from pipeline.command.submission import entrypoint
from pipeline.errors import Unusable

pytestmark = pytest.mark.thorough
SMALL = [*QUICK, "--network.width=8", "--training.batch-size=16", "--jko.num-phases=2", "--cluster.num-workers=1"]


@dataclass
class Head:
    """A cluster of one node."""

    address: str
    environment: dict[str, str]

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "pipeline", *arguments, "--dashboard", self.address]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        return subprocess.Popen(command, cwd=ROOT, env=self.environment, **pipes)

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        process = self.start(*arguments)
        out, error = process.communicate(timeout=240)
        return subprocess.CompletedProcess(arguments, process.returncode, out, error)


@pytest.fixture(scope="module")
def head(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Head]:
    folder = tmp_path_factory.mktemp("head")
    token = folder / "token"
    token.write_text("0123456789abcdef0123456789abcdef")
    token.chmod(0o600)
    binaries = Path(sys.executable).parent
    environment = {
        **command_environment(folder / "home"),
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(token),
        "RAY_worker_niceness": "0",
        "PATH": f"{binaries}:{os.environ['PATH']}",
    }
    environment.pop("PYTHONPATH")
    port, dashboard = services.free_port(), services.free_port()
    where = [f"--port={port}", f"--dashboard-port={dashboard}", "--dashboard-host=127.0.0.1", "--node-ip-address=127.0.0.1"]
    where.append(f"--dashboard-agent-listen-port={services.free_port()}")  # that of any other Ray here is taken
    command = [binaries / "ray", "start", "--head", "--block", "--num-cpus=2", *where, "--include-dashboard=true"]
    url = f"http://127.0.0.1:{dashboard}"
    with services.process([str(each) for each in command], f"{url}/api/version", environment, folder / "log"):
        yield Head(url, environment)


def job_of(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.split(" ", 1)[0]


def test_a_flow_is_sent_goes_on_without_its_client_and_is_followed_to_its_end(head: Head, tmp_path: Path) -> None:
    steps = ["--training.num-steps=300"]
    client = head.start("submit", "moons", *SMALL, *steps)
    assert client.stdout is not None
    job = client.stdout.readline().split(" ", 1)[0]
    client.kill()
    client.communicate()
    followed = head.run("status", job, "--follow", "--json", str(tmp_path / "s.json"))
    assert followed.returncode == 0, followed.stdout + followed.stderr
    assert "phase   1" in followed.stdout
    assert json.loads((tmp_path / "s.json").read_text()) == {"submission": job, "status": "SUCCEEDED"}
    listed = head.run("status")
    assert job in listed.stdout


@pytest.mark.parametrize(("kind", "number"), [({"TERM": "xterm"}, signal.SIGINT), ({"TERM": "dumb"}, signal.SIGTERM)])
def test_a_job_goes_on_when_who_follows_it_is_stopped_and_can_be_stopped_itself(
    head: Head, kind: dict[str, str], number: signal.Signals
) -> None:
    command = ["-m", "pipeline", "submit", "moons", *SMALL, "--training.num-steps=200000", "--dashboard", head.address]
    with terminal(command, head.environment | kind, 80) as shown:
        shown.read_until(lambda text: "moons: 2 phases, flow" in text, "the job's log")
        shown.process.kill(number)
        assert shown.wait() == 128 + number, shown.text()
    text = " ".join(shown.text().split())
    assert text.endswith("interrupted: what the cluster was told to do goes on; python -m pipeline status shows it")
    assert not re.search("Traceback|Unclosed", text), text
    job = re.findall(r"(moons-[0-9a-f]+) is with", text)[0]
    assert "is running" in head.run("status", job).stdout
    assert head.run("stop", job).returncode == 0
    deadline = time.monotonic() + 60
    while "stopped" not in (said := head.run("status", job).stdout):
        assert time.monotonic() < deadline, said
        time.sleep(1)


def test_a_job_that_fails_says_so(head: Head) -> None:
    flags = [flag for flag in SMALL if "num-workers" not in flag]
    failed = head.run("submit", "moons", *flags, "--jko.divergence=forward_kl", "--training.potential-lr=1000")
    assert failed.returncode == 1
    assert "phase 0 diverged at step" in failed.stdout
    assert "has failed: Job entrypoint command failed with exit code 1. What it has finished is in the store." in failed.stderr


def test_mistakes_are_told_in_one_line(head: Head, tmp_path: Path) -> None:
    unknown = head.run("stop", "nonesuch")
    assert (unknown.returncode, unknown.stderr.strip()) == (
        2,
        "error: the cluster has no submission nonesuch; see python -m pipeline status",
    )
    (tmp_path / "token").write_text("f" * 32)
    stranger = Head(head.address, {**head.environment, "RAY_AUTH_TOKEN_PATH": str(tmp_path / "token")})
    refused = stranger.run("status")
    assert refused.returncode == 1
    assert refused.stderr.startswith(f"error: no Ray cluster answers at --dashboard {head.address}")
    assert "Traceback" not in refused.stderr
    nobody = Head(f"http://127.0.0.1:{services.free_port()}", head.environment).run("status")
    assert nobody.returncode == 1
    assert "no Ray cluster answers at --dashboard" in nobody.stderr


def test_only_recipes_that_travel_can_be_sent(tmp_path: Path) -> None:
    assert entrypoint(["pipeline/recipes/moons.yaml"]).startswith("python -m pipeline run pipeline/recipes/moons.yaml")
    for path in (tmp_path / "x.yaml", ROOT / ".venv" / "x.yaml", Path("../x.yaml")):
        with pytest.raises(Unusable, match="RECIPE must be in this repository"):
            entrypoint([str(path)])


def test_a_password_in_a_flag_is_not_sent_where_ray_would_show_it() -> None:
    with pytest.raises(Unusable, match="password that a flag has") as refused:
        entrypoint(["moons", "--store.tracking-uri", "https://me:secret@mlflow"])
    assert "secret" not in str(refused.value)
    assert "secret" not in entrypoint(["moons", "--dashboard", "http://me:secret@head:8265"])


def test_flags_of_the_client_stay_with_it() -> None:
    sent = entrypoint(["moons", "--dashboard", "http://x", "--jko.h", "0.5", "--detach", "--json=a.json", "--seed", "1"])
    assert sent == "python -m pipeline run moons --jko.h 0.5 --seed 1 --cluster.address auto"


@pytest.mark.parametrize("flags", ["--detach", "--detach=false", "--no-detach", "--dashboard http://x --detach true"])
def test_whatever_way_the_client_is_told_the_job_is_the_same(flags: str) -> None:
    sent = entrypoint(["moons", *flags.split(), "--data.no-standardise"])
    assert sent == "python -m pipeline run moons --data.no-standardise --cluster.address auto"


@pytest.mark.parametrize("flag", ["--store.data", "--store.checkpoints"])
def test_a_folder_relative_to_the_client_is_not_sent_to_the_nodes(flag: str) -> None:
    with pytest.raises(Unusable, match=f"{flag[2:]} must be a URL, or an absolute path of the cluster's nodes, not sets"):
        entrypoint(["moons", flag, "sets"])
    for there in ("/mnt/sets", "~/sets", "s3://bucket/sets"):
        assert there in entrypoint(["moons", flag, there])
