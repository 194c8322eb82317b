"""A running `python -m deploy serve` with a champion of two phases, one for each file of tests, which add versions to it."""

import io
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import requests
from flows import QUICK, ROOT, command_environment, tiny, train
from homes import home_of_file
from services import free_port

from deploy.cli import main

TOKEN = "a-token-for-tests-only"


@dataclass
class Service:
    """A running `python -m deploy serve`."""

    url: str
    home: Path
    metrics_port: int
    session: requests.Session = field(default_factory=requests.Session)

    def post(self, body: object, **headers: str) -> requests.Response:
        return self.session.post(f"{self.url}/v1/samples", json=body, headers=headers, timeout=30)

    def get(self, path: str) -> requests.Response:
        return self.session.get(f"{self.url}{path}", timeout=30)

    def samples(self, **body: object) -> np.ndarray:
        response = self.post({**body, "format": "npy"})
        assert response.status_code == 200, response.text
        return np.load(io.BytesIO(response.content), allow_pickle=False)


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """The command, with a champion of two phases, in a home that the tests of this file share."""
    home = tmp_path_factory.mktemp("service")
    with home_of_file(home) as store:
        assert main(["register", train(tiny(num_steps=12), store)[-1].ref.run_id, "--name", "moons", *QUICK]) == 0
        assert main(["promote", "moons", *QUICK]) == 0
        port, metrics_port = free_port(), free_port()
        command = ["env", "--default-signal=INT", sys.executable]  # in a shell's background SIGINT is ignored
        command += ["-m", "deploy", "serve", "moons@champion", f"--port={port}", f"--metrics-port={metrics_port}"]
        environment = {**command_environment(home), "SJKO_TOKEN": TOKEN}
        with (home / "log").open("wb") as log:
            process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=log, start_new_session=True)
        running = Service(f"http://127.0.0.1:{port}", home, metrics_port)
        running.session.headers["Authorization"] = f"Bearer {TOKEN}"
        try:
            deadline = time.monotonic() + 200
            while "Prometheus reads" not in (home / "log").read_text():
                assert process.poll() is None, (home / "log").read_text()
                assert time.monotonic() < deadline, (home / "log").read_text()
                time.sleep(0.5)
            yield running
            process.send_signal(signal.SIGINT)
            assert process.wait(60) == 130, (home / "log").read_text()
            assert TOKEN not in (home / "log").read_text()
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
