"""How real servers are started for tests, each on a free port of the loopback: PostgreSQL, an S3 endpoint, MLflow."""

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

BINARIES = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
S3_ENVIRONMENT = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1"}


def free_port() -> int:
    with closing(socket.socket()) as listening:
        listening.bind(("127.0.0.1", 0))
        return int(listening.getsockname()[1])


def wait_for(url: str, process: subprocess.Popen[bytes], seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while True:
        try:
            urllib.request.urlopen(url, timeout=2).close()
        except OSError as error:
            if getattr(error, "code", 500) < 500:  # it answers, if only that it wants a token
                return
            assert process.poll() is None, f"the server of {url} ended with {process.returncode}"
            assert time.monotonic() < deadline, f"{url} did not answer"
            time.sleep(0.2)
        else:
            return


def wait_for_port(port: int, process: subprocess.Popen[bytes], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=2).close()
        except OSError:
            assert process.poll() is None, f"the server at port {port} ended with {process.returncode}"
            assert time.monotonic() < deadline, f"port {port} did not answer"
            time.sleep(0.2)
        else:
            return


@contextmanager
def postgresql() -> Iterator[str]:
    """The URL of an empty database. The server refuses to run as root, so root starts it as the package's own user.

    In a folder of its own: every other run of pytest that starts closes the folder of all runs to other users.
    """
    assert BINARIES, "PostgreSQL is not installed: apt-get install postgresql"
    as_user = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
    with tempfile.TemporaryDirectory(prefix="sjko-postgresql-") as folder:
        if as_user:
            shutil.chown(folder, "postgres")
        binaries, data, log, port = BINARIES[-1], f"{folder}/data", f"{folder}/log", free_port()
        options = f"-p {port} -k {folder} -c listen_addresses=127.0.0.1 -c fsync=off"

        def run(program: str, *arguments: str) -> None:
            subprocess.run([*as_user, binaries / program, "-D", data, *arguments], cwd=folder, check=True, capture_output=True)

        run("initdb", "-U", "sjko", "-A", "trust")
        run("pg_ctl", "-l", log, "-o", options, "-w", "start")
        print(f"started PostgreSQL at port {port}, log {log}")
        try:
            yield f"postgresql://sjko@127.0.0.1:{port}/postgres"
        finally:
            run("pg_ctl", "-m", "immediate", "stop")


@contextmanager
def process(
    command: list[str], url: str, environment: dict[str, str], log: Path, seconds: float = 120
) -> Iterator[subprocess.Popen[bytes]]:
    """A server process that answers at a URL, and its whole group ended afterwards."""
    with log.open("ab") as output:
        running = subprocess.Popen(command, env=environment, stdout=output, stderr=output, start_new_session=True)
        print(f"started {Path(command[0]).name} for {url}: process {running.pid}, log {log}")
        try:
            wait_for(url, running, seconds)
            yield running
        finally:
            with_group_killed(running)


def with_group_killed(running: subprocess.Popen[bytes]) -> None:
    if running.poll() is None:
        os.killpg(running.pid, 9)
    running.wait()


@contextmanager
def s3(folder: Path) -> Iterator[dict[str, str]]:
    """The environment of a client of an S3 endpoint that holds nothing yet."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    command = [str(Path(sys.executable).parent / "moto_server"), "-H", "127.0.0.1", "-p", str(port)]
    folder.mkdir(parents=True)
    with process(command, f"{url}/moto-api/", {**os.environ}, folder / "log"):
        yield {**S3_ENVIRONMENT, "AWS_ENDPOINT_URL": url}


def mlflow_command(database: str, artifacts: str, port: int) -> list[str]:
    """A tracking server that hands artifacts on to the object store, so that clients need no key to it."""
    store = ["--backend-store-uri", database, "--artifacts-destination", artifacts]
    alone = ["env", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false"]  # or it starts eight processes for jobs that nobody sends
    where = ["--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    return [*alone, sys.executable, "-m", "mlflow", "server", *store, *where]
