"""`python -m pipeline ui`: MLflow's page on the store that the commands use."""

import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
from flows import ROOT, command_environment
from services import free_port

from pipeline.command import cli


def test_a_store_with_a_server_has_its_page_there(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["ui", "--store.tracking-uri", "http://me:secret@mlflow:5000"]) == 0
    printed = capsys.readouterr()
    assert "the page of the store is http://mlflow:5000: its server is running already" in printed.out + printed.err


def test_a_port_that_is_taken_or_is_none_is_refused(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert cli.main(["ui", "--port", str(port)]) == 2
    assert f"error: --port {port} cannot be listened on: Address already in use" in capsys.readouterr().err
    assert cli.main(["ui", "--port", "0"]) == 2
    assert "--port must be from 1 to 65535, not 0" in capsys.readouterr().err


@pytest.mark.real
def test_the_page_is_served_until_the_command_is_stopped(tmp_path: Path) -> None:
    port = free_port()
    command = [sys.executable, "-m", "pipeline", "ui", "--port", str(port)]
    environment = command_environment(tmp_path / "home")
    running = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert running.stdout is not None
    try:
        said = next(line for line in running.stdout if "MLflow's page of" in line)
        assert f"http://127.0.0.1:{port} (Ctrl-C ends it)" in said
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=60) as page:
            assert b"MLflow" in page.read()
        running.send_signal(signal.SIGINT)
        rest = running.stdout.read()
        assert running.wait(120) == 128 + signal.SIGINT
        assert "interrupted: nothing was changed" in rest
        with socket.socket() as probe:
            assert probe.connect_ex(("127.0.0.1", port)) != 0
    finally:
        running.kill()
        running.stdout.close()
