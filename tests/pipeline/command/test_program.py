"""Signals to real processes: one sentence, the exit code of the signal, everything unwound; what is ignored stays ignored."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from flows import ROOT, command_environment
from programs import program
from sqlalchemy import create_engine
from terminals import terminal

from pipeline.command.process import sentence, stoppable
from pipeline.errors import (
    AmbiguousReference,
    Corrupt,
    Diverged,
    FolderTaken,
    ForeignVersion,
    Incomparable,
    IndivisibleBatch,
    MapNotFound,
    NoResult,
    SearchAtWork,
    SearchExists,
    SearchNotFound,
    SubmissionFailed,
    SubmissionNotFound,
    Unusable,
    VersionNotFound,
)
from pipeline.files import write_text
from pipeline.signals import STOPPING

MISTAKES = (
    *(MapNotFound, AmbiguousReference, IndivisibleBatch, Unusable, NoResult, FolderTaken),
    *(SearchNotFound, SearchExists, SearchAtWork, SubmissionNotFound, VersionNotFound, ForeignVersion, Incomparable),
)
"""Errors that are the user's mistakes."""
WORK = """
import sys, time
from pathlib import Path
from pipeline.command import report
from tests.programs import program
end = Path(sys.argv[1])
def work(_):
    try:
        with getattr(report, (sys.argv[2:] or ["status"])[0])("at work"):
            print("begun", flush=True)
            end.with_name("begun").touch()
            time.sleep(3600)
    finally:
        end.touch()
sys.exit(program(work, "this goes on: [/b] caf\\u00e9").main(["work"]))
"""


def start(folder: Path, *before: str) -> subprocess.Popen[str]:
    command = [*before, sys.executable, "-c", WORK, str(folder / "end")]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    running = subprocess.Popen(command, cwd=ROOT, env=command_environment(folder), **pipes)
    assert running.stdout is not None
    assert running.stdout.readline() == "begun\n"
    return running


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.real
def test_a_signal_ends_a_command_with_one_sentence_and_its_own_exit_code(number: signal.Signals, tmp_path: Path) -> None:
    running = start(tmp_path, "env", "--default-signal=INT,HUP")
    running.send_signal(number)
    out, error = running.communicate(timeout=60)
    assert running.returncode == 128 + number
    assert (out, error) == ("", "interrupted: this goes on: [/b] caf\u00e9\n")
    assert (tmp_path / "end").exists()


@pytest.mark.thorough
def test_a_hangup_is_ignored_under_nohup(tmp_path: Path) -> None:
    running = start(tmp_path, "env", "--ignore-signal=HUP")
    running.send_signal(signal.SIGHUP)
    running.send_signal(signal.SIGTERM)
    _, error = running.communicate(timeout=60)
    assert running.returncode == 128 + signal.SIGTERM, error


@pytest.mark.thorough
def test_a_closed_terminal_ends_a_command_in_order(tmp_path: Path) -> None:
    with terminal(["-c", WORK, str(tmp_path / "end")], {**command_environment(tmp_path), "TERM": "xterm"}) as shown:
        shown.read_until(lambda _: (tmp_path / "begun").exists(), "the work")
        shown.close()
        assert shown.wait() == 128 + signal.SIGHUP
    assert (tmp_path / "end").exists()


@pytest.mark.real
@pytest.mark.parametrize("drawn", ["status", "progress"])
def test_ctrl_c_on_a_terminal_leaves_nothing_drawn(drawn: str, tmp_path: Path) -> None:
    with terminal(["-c", WORK, str(tmp_path / "end"), drawn], {**command_environment(tmp_path), "TERM": "xterm"}) as shown:
        shown.read_until(lambda text: "at work" in text and (tmp_path / "begun").exists(), "the work")
        shown.process.sendintr()
        assert shown.wait() == 130
    assert [line for line in shown.lines() if line and line != "begun"][-1] == "interrupted: this goes on: [/b] caf\u00e9"
    assert "at work" not in shown.text()
    assert shown.written.endswith(b"\n")
    assert shown.written.count(b"\x1b[?25h") == 1, "the cursor is back"


@pytest.mark.thorough
def test_ctrl_c_while_something_is_first_drawn_takes_it_away(tmp_path: Path) -> None:
    work = """
import os, signal, sys
from rich.text import Text
from pipeline.command import report
from tests.programs import program
def draw():
    os.kill(os.getpid(), signal.SIGINT)
    return Text("at work")
def work(_):
    with report.live(draw):
        print("never")
sys.exit(program(work, "this goes on").main(["work"]))
"""
    with terminal(["-c", work], {**command_environment(tmp_path), "TERM": "xterm"}) as shown:
        assert shown.wait() == 130
    assert [line for line in shown.lines() if line] == ["interrupted: this goes on"]
    assert shown.written.count(b"\x1b[?25l") == shown.written.count(b"\x1b[?25h")


@pytest.mark.thorough
@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_streams_that_a_shell_has_closed_are_nothing_and_no_file_takes_their_numbers(closed: str, tmp_path: Path) -> None:
    (tmp_path / "works.py").write_text(
        "import subprocess, sys\n"
        "from pathlib import Path\n"
        "def main(arguments):\n"
        "    with open(arguments[0], 'wb') as file:\n"
        "        print('printed', sys.stdin.read())\n"
        "        print('said', file=sys.stderr)\n"
        "        subprocess.run(['sh', '-c', 'cat; echo printed; echo said >&2'], check=True)\n"
        "        file.write(str(file.fileno()).encode())\n"
    )
    command = f"'{sys.executable}' -c 'from pipeline.command.process import start; start(\"works\")' '{tmp_path}/file' {closed}"
    environment = {**command_environment(tmp_path), "PYTHONPATH": f"{ROOT}:{tmp_path}"}
    done = subprocess.run(["sh", "-c", command], check=False, cwd=ROOT, env=environment, capture_output=True, text=True, input="")
    assert done.returncode == 0, done.stderr
    assert int((tmp_path / "file").read_bytes()) > 2
    assert done.stdout == ("" if ">&-" in closed.replace("2>&-", "") else "printed \nprinted\n")
    assert done.stderr == ("" if "2>&-" in closed else "said\nsaid\n")


@pytest.mark.thorough
def test_ctrl_c_while_a_program_is_imported_is_no_traceback(tmp_path: Path) -> None:
    (tmp_path / "slow.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGINT)\n")
    command = ["env", "--default-signal=INT", sys.executable, "-c", "from pipeline.command.process import start; start('slow')"]
    environment = command_environment(tmp_path)
    environment["PYTHONPATH"] += f":{tmp_path}"
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (-signal.SIGINT, b"")


def test_errors_end_a_command_in_one_sentence_with_the_exit_code_of_their_kind(capsys: pytest.CaptureFixture[str]) -> None:
    errors = {
        2: [ValueError("a [/b]"), *(kind("a") for kind in MISTAKES)],
        1: [Corrupt("a", "b"), OSError("a"), SubmissionFailed("a")],
    }
    errors[1].append(Diverged(0, 1, "map_loss", {}))
    for code, kinds in errors.items():
        for error in kinds:

            def work(_: object, error: Exception = error) -> None:
                raise error

            before = {number: signal.getsignal(number) for number in STOPPING}
            assert program(work).main(["work"]) == code
            assert capsys.readouterr().err == f"error: {error}\n"
            assert {number: signal.getsignal(number) for number in STOPPING} == before


def test_a_cursor_that_a_signal_has_left_open_is_not_told_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """SQLAlchemy tells through the logger of its pool, with a traceback, when it throws such a connection away."""
    pool = create_engine(f"sqlite:///{tmp_path}/x.db").pool
    with stoppable():
        pool.logger.error("Error closing cursor", exc_info=True)
    assert not caplog.records


@pytest.mark.real
def test_help_into_a_pipe_that_is_closed_ends_without_a_word() -> None:
    done = subprocess.run(
        ["bash", "-c", f"{sys.executable} -m pipeline --help | true; exit ${{PIPESTATUS[0]}}"],
        cwd=ROOT,
        capture_output=True,
        check=False,
    )
    assert (done.returncode, done.stderr) in ((1, b""), (0, b"")), "0 where it was written before the pipe was closed"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="Linux has a device that is always full")
def test_the_file_that_a_full_disk_does_not_take_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(OSError, match="No space") as said:
        write_text(Path("/dev/full"), "text")
    assert sentence(said.value) == "/dev/full: No space left on device"

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("fsspec.implementations.local.LocalFileSystem.pipe_file", full)
    with pytest.raises(OSError, match="No space") as said:
        write_text(tmp_path / "x.txt", "text")
    assert sentence(said.value) == f"{tmp_path / 'x.txt'}: No space left on device"
