"""A mistake in a command is one sentence and exit code 2, whichever program it is given to, and leaves nothing behind."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from flows import QUICK, ROOT, command_environment, tiny, train
from homes import home_of_file

from deploy import cli as deploy
from pipeline.command import cli
from pipeline.store.phases import Store
from tune import cli as tune

PROGRAMS = {"pipeline": cli.main, "tune": tune.main, "deploy": deploy.main}
NO_STORE = "there is no store at "
NO_FILE = "No such file or directory"
READERS = [
    "pipeline list",
    "pipeline show abcdef12",
    "pipeline evaluate abcdef12",
    "pipeline report abcdef12 --to r.html",
    "pipeline ui",
    "deploy list",
    "deploy show moons",
    "deploy register abcdef12 --name moons",
    "deploy unregister moons 1",
    "deploy promote moons",
    "deploy rollback moons",
    "deploy serve moons@1",
    "deploy generate moons@1 --num-samples 3 --to out",
    "deploy transport moons@1 --from table.csv --to out",
    "deploy export moons@1 --to moons.onnx",
    "tune show moons",
    "tune best moons --to best.yaml",
    "tune resume moons",
]
"""Commands that read a store."""
MISTAKES = {
    "pipeline ui --port {port}": "--port {port} cannot be listened on: Address already in use",
    "deploy serve moons@1 --port {port}": "--port {port} cannot be listened on: Address already in use",
    "deploy serve moons@1 --metrics-port {port}": "--metrics-port {port} cannot be listened on: Address already in use",
    "deploy serve moons@1 --host 192.0.2.1 --token-file token": "cannot be listened on: Cannot assign requested address",
    "deploy serve moons@1 --token-file none": "--token-file must be an existing file",
    "deploy serve moons@1 --token-file folder": "--token-file must be an existing file",
    "deploy serve moons@9": "moons@9 is not in the registry",
    "deploy serve stars@1": "stars@1 is not in the registry",
    "deploy show stars": "stars is not in the registry",
    "deploy promote moons --version 9": "moons@9 is not in the registry",
    "deploy rollback moons": "moons@champion is not in the registry",
    "deploy unregister moons 9": "moons@9 is not in the registry",
    "deploy register abcdef12 --name moons": "abcdef12 is not in the store",
    "deploy generate moons@1 --num-samples 3 --to /proc": f"/proc cannot be written to: {NO_FILE}",
    "deploy generate moons@1 --num-samples 3 --to /proc/x": f"/proc/x cannot be written to: {NO_FILE}",
    "deploy generate moons@1 --num-samples 3 --to token": "--to must be a folder",
    "deploy transport moons@1 --from points.csv --to /proc/x": f"/proc/x cannot be written to: {NO_FILE}",
    "deploy transport moons@1 --from none.csv --to out": "--from: there is no file",
    "deploy transport moons@1 --from folder --to out": "--from: there is no file at",
    "deploy transport moons@1 --from empty.csv --to out": "empty.csv is empty",
    "deploy export moons@1 --to /proc/x.onnx": f"/proc cannot be written to: {NO_FILE}",
    "deploy export moons@1 --to folder --format onnx": "--to must be a file",
    "pipeline show abcdef12": "abcdef12 is not in the store",
    "pipeline run none": "RECIPE must be",
    "pipeline run none.yaml": "not none.yaml",
    "pipeline run --data.target none.csv": "data.target: there is no file",
    "pipeline run --data.target empty.csv": "empty.csv is empty",
    "pipeline run --data.target table.csv --data.schema folder": "folder: Is a directory",
    "pipeline run two_circles --store.checkpoints token": "store.checkpoints must be a folder",
    "pipeline schema none.csv": "there is no file none.csv",
    "pipeline schema folder": "there is no file at folder",
    "pipeline schema table.csv --to folder": "--to must be a file that can be written",
    "pipeline schema table.csv --to /proc/x.yaml": f"/proc/x.yaml: {NO_FILE}",
    "pipeline schema table.csv --json /proc/x.json": f"/proc/x.json: {NO_FILE}",
    "pipeline report --real none.csv --generated table.csv --to r.html": "--real: there is no file",
    "pipeline report --real table.csv --generated table.csv --to folder": "--to must be a file that can be written",
    "pipeline prepare image_folder --from none --to out --size 8": "--from must be an existing folder",
    "pipeline prepare image_folder --from folder --to token --size 8": "--to must be a folder",
    "pipeline prepare digits --to /proc/x": f"/proc/x/digits-8 cannot be written to: {NO_FILE}",
    "tune run none": "RECIPE must be",
    "tune resume stars": "there is no search stars",
    "tune best stars --to best.yaml": "there is no search stars",
    "tune run two_circles --space.h 1 2 --store.optuna sqlite:////proc/o.db": f"/proc/o.db cannot be written to: {NO_FILE}",
    "tune run two_circles --space.h 1 2 --store.optuna sqlite:///none/o.db": f"none/o.db cannot be written to: {NO_FILE}",
}
"""What a user may get wrong, and a part of the sentence that says so."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with a store that has one version, and files to be wrong about."""
    path = tmp_path_factory.mktemp("mistakes")
    with home_of_file(path / "home") as store:
        (result,) = train(tiny(num_phases=1, num_steps=3), store)
        assert deploy.main(["register", result.ref.run_id, "--name", "moons", *QUICK]) == 0
        (path / "folder").mkdir()
        (path / "empty.csv").write_text("")
        (path / "points.csv").write_text("0,1\n0.5,0.25\n")
        (path / "table.csv").write_text("size,kind\n" + "".join(f"{n % 7},{'abc'[n % 3]}\n" for n in range(60)))
        (path / "token").write_text("x" * 40)
        (path / "token").chmod(0o600)
        yield path


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        yield taken.getsockname()[1]


def files_in(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def refused(command: str, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> str:
    """Give a command that must be refused, and read the sentence."""
    monkeypatch.chdir(folder)
    before = files_in(folder)
    capsys.readouterr()
    program, *words = command.split()
    assert PROGRAMS[program](words) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: ")
    assert said.count("\n") == 1
    assert files_in(folder) == before
    return said


@pytest.mark.parametrize("command", MISTAKES)
def test_a_mistake_is_one_sentence_and_exit_code_2(
    command: str, folder: Path, port: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    said = refused(command.format(port=port), folder, monkeypatch, capsys)
    assert MISTAKES[command].format(port=port) in said


@pytest.mark.parametrize("command", READERS)
def test_who_reads_a_store_that_is_not_there_makes_none(
    command: str, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for typo in ("sqlite:///typo/mlflow.db", "sqlite:///typo.db"):
        said = refused(f"{command} --store.tracking-uri {typo}", folder, monkeypatch, capsys)
        assert f"{NO_STORE}sqlite:///{folder}/{typo.removeprefix('sqlite:///')}" in said


@pytest.mark.parametrize("program", ["pipeline", "deploy"])
def test_a_list_of_a_home_that_nothing_has_used_is_empty(
    program: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SJKO_HOME", str(tmp_path / "home"))
    assert PROGRAMS[program](["list"]) == 0
    assert "yet" in capsys.readouterr().out
    assert files_in(tmp_path) == set()


@pytest.mark.parametrize("home", ["/proc", "/proc/x"])
def test_a_home_that_cannot_be_written_to_is_refused_at_once(
    home: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A lock there was tried for for ever."""
    monkeypatch.setenv("SJKO_HOME", home)
    assert PROGRAMS["pipeline"](["run", "two_circles", "--jko.num-phases=1", "--training.num-steps=3"]) == 2
    assert f"{home} cannot be written to: {NO_FILE}" in capsys.readouterr().err


@pytest.mark.real
@pytest.mark.skipif(not Path("/usr/bin/setpriv").exists(), reason="setpriv is what takes root's permission to write anywhere")
def test_a_home_that_can_only_be_read_is_read(folder: Path) -> None:
    home = folder / "home"
    for path in (home, *home.rglob("*")):
        path.chmod(path.stat().st_mode & 0o555)
    for lock in home.glob("*.lock"):
        lock.chmod(0o444)
    as_anybody = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"] if os.getuid() == 0 else []
    try:
        for words, code in ((["pipeline", "list"], 0), (["deploy", "show", "moons"], 0), (["pipeline", "run", "moons"], 2)):
            command = [*as_anybody, sys.executable, "-m", *words]
            done = subprocess.run(command, cwd=ROOT, env=command_environment(home), capture_output=True, text=True, check=False)
            assert done.returncode == code, done.stderr
            assert ("cannot be written to: Permission denied" in done.stderr) == (code == 2)
    finally:
        for path in (home, *home.rglob("*")):
            path.chmod(path.stat().st_mode | 0o200)


def test_who_only_reads_changes_nothing_of_a_store(store: Store, home: Path) -> None:
    before = (home / "mlflow.db").read_bytes()
    assert Store(store.uri, create=False).flows() == []
    assert (home / "mlflow.db").read_bytes() == before
