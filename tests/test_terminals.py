"""Every command that draws, as a person sees it: on terminals of several kinds, resized meanwhile, stopped, and in a notebook."""

import json
import os
import re
import signal
from pathlib import Path

import picture_sets as sets
import pytest
from flows import QUICK, ROOT, command_environment, tiny, train
from jupyter_client.manager import start_new_kernel
from services import free_port
from terminals import Terminal, terminal

from deploy import cli as deploy
from pipeline.store.phases import Store

RECIPE = """
data: {target: moons}
network: {width: 8, depth: 1, num_frequencies: 2}
jko: {num_phases: 2}
training: {num_steps: STEPS, batch_size: 16}
"""
XTERM = {"TERM": "xterm-256color"}
ASCII = {"TERM": "xterm", "NO_COLOR": "1", "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
DUMB = {"TERM": "dumb", "LANG": "C"}
KINDS = [
    pytest.param(XTERM, 80, id="80 columns", marks=pytest.mark.real),
    pytest.param(ASCII, 120, id="120 columns, ASCII without colours", marks=pytest.mark.thorough),
    pytest.param(DUMB, 80, id="dumb, LANG=C", marks=pytest.mark.thorough),
]


def recipe(folder: Path, num_steps: int) -> str:
    path = folder / "my [v2].yaml"
    path.write_text(RECIPE.replace("STEPS", str(num_steps)))
    return str(path)


def ended(shown: Terminal, kind: dict[str, str], code: int = 0) -> str:
    """What stands there when a command has ended: no bar, spinner or escape code is left, and no traceback."""
    assert shown.wait() == code, shown.text()
    text = shown.text()
    assert not re.search("Traceback|\u2501|[\u2800-\u28ff]|steps/s|loading torch|\\(raylet\\)|SIGTERM received", text), text
    if kind is DUMB:
        assert b"\x1b" not in shown.written
    if kind is ASCII:
        assert shown.written.isascii()
        assert not re.search(rb"\x1b\[[0-9;]*(3|4|9)[0-9][;m]", shown.written), "no colour"
    return text


def drawn(kind: dict[str, str]) -> bool:
    return kind is not DUMB


@pytest.mark.parametrize(("kind", "columns"), KINDS)
def test_a_flow_is_trained(kind: dict[str, str], columns: int, home: Path, tmp_path: Path) -> None:
    environment = command_environment(home) | kind
    with terminal(["-m", "pipeline", "run", recipe(tmp_path, 1500), *QUICK], environment, columns) as shown:
        if drawn(kind):
            shown.read_until(lambda text: bool(re.search(r"phase 0 of 0-1 .*/3000 steps", text)), "the bar")
            shown.resize(columns + 20)
            shown.read_until(lambda text: bool(re.search(r"phase 1 of 0-1|phase +0 +W2", text)), "the next phase")
        text = ended(shown, kind)
    assert re.search(r"my \[v2\]: 2 phases", text)
    assert re.search(r"phase +0 +W2 [0-9.]+ \(floor", text)
    assert re.search(r"phase +1 +W2 [0-9.]+ \(floor", text)
    assert len(re.findall("^picture: ", text, re.MULTILINE)) == 3


@pytest.mark.parametrize(("kind", "columns"), KINDS)
def test_images_are_prepared(kind: dict[str, str], columns: int, home: Path, tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    sets.photos(photos, 24)
    (photos / "pic [copy] caf\u00e9.png").write_bytes(b"no image")
    command = ["-m", "pipeline", "prepare", "image_folder", "--from", str(photos), "--to", str(tmp_path / "to"), "--size", "8"]
    with terminal(command, command_environment(home) | kind, columns) as shown:
        text = ended(shown, kind)
    assert (r"pic [copy] caf\xc3\xa9.png" if kind is ASCII else "pic [copy] caf\u00e9.png") in text
    assert "next: python -m pipeline run" in text


def shown_in_full(environment: dict[str, str]) -> None:
    """On each kind of terminal the table of a search is whole."""
    for kind, columns in (each.values for each in KINDS):
        with terminal(["-m", "tune", "show", "s"], environment | kind, columns) as shown:
            text = ended(shown, kind)
        assert re.search(r"^trial +point +phases +w2 +K +seconds", text, re.MULTILINE)
        assert re.search(r"^\d +h [0-9.]+ +2 +[0-9.]+ +[12] +[0-9.]+ +done", text, re.MULTILINE)
        assert "next: python -m tune best s --to best.yaml" in text
        assert all(len(line) <= columns for line in text.splitlines())


@pytest.mark.real
def test_a_search_is_run_and_shown(home: Path, tmp_path: Path) -> None:
    flags = ["--name", "s", "--num-trials", "2", "--num-confirmed", "0", "--max-concurrent", "1", "--space.h", "0.5", "5"]
    environment = command_environment(home)
    with terminal(["-m", "tune", "run", recipe(tmp_path, 500), *flags, *QUICK], environment | XTERM, 80) as shown:
        shown.read_until(lambda text: bool(re.search(r"s: 0 of 2 trials\n.*\n1 .* 1/2 .*runs", text)), "a trial")
        shown.resize(100)
        assert ended(shown, XTERM).count("s: 2 of 2 trials") == 0, "the table goes"
    shown_in_full(environment)


@pytest.mark.thorough
def test_a_search_is_stopped_and_resumed_from_terminal_to_terminal(home: Path, store: Store, tmp_path: Path) -> None:
    flags = ["--name", "s", "--num-trials", "3", "--num-confirmed", "0", "--max-concurrent", "1", "--space.h", "0.5", "5"]
    environment = command_environment(home)
    with terminal(["-m", "tune", "run", recipe(tmp_path, 2000), *flags, *QUICK], environment | XTERM, 80) as shown:
        shown.read_until(lambda text: bool(re.search(r"s: 0 of 3 trials\n.*\n1 .* 1/2 .*runs", text)), "a trial")
        shown.resize(100)
        shown.process.sendintr()
        text = ended(shown, XTERM, 130)
    assert text.endswith("interrupted: finished phases are in the store, and this goes on:\n    python -m tune resume s")

    with terminal(["-m", "tune", "resume", "s"], environment | DUMB, 80) as shown:
        shown.read_until(lambda text: bool(re.search(r"^trial +2 of 4 .*(done|stopped)", text, re.MULTILINE)), "a trial's end")
        shown.process.kill(signal.SIGTERM)
        text = ended(shown, DUMB, 143)
    assert text.endswith("python -m tune resume s")
    assert {run.info.status for run in store.select("tags.`sjko.kind` = 'trial'")} <= {"FINISHED", "KILLED"}

    with terminal(["-m", "tune", "resume", "s"], environment | ASCII, 120) as shown:
        shown.read_until(lambda text: bool(re.search(r"s: \d of \d trials\n", text)), "the table")
        shown.resize(140)
        resumed = ended(shown, ASCII)
    assert resumed.count("s: 3 of 3 trials") == 0, "the table goes"
    shown_in_full(environment)


@pytest.mark.thorough
def test_a_version_is_promoted_sampled_and_served(
    home: Path, store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert deploy.main(["register", train(tiny(num_steps=12), store)[-1].ref.run_id, "--name", "moons", *QUICK]) == 0
    environment = command_environment(home)
    with terminal(["-m", "deploy", "promote", "moons"], environment | XTERM, 80) as shown:
        shown.read_until(lambda text: "loading torch" in text, "the start")
        shown.process.kill(signal.SIGTERM)
        text = ended(shown, XTERM, 143)
    assert text.endswith("nothing was changed; the same command begins again:\n    python -m deploy promote moons")
    with terminal(["-m", "deploy", "promote", "moons", *QUICK], environment | ASCII, 120) as shown:
        assert "@champion of moons points at version 1; before: unset" in ended(shown, ASCII)

    to = tmp_path / "out [1]"
    command = ["-m", "deploy", "generate", "moons@champion", "--num-samples", "40000000", "--to", str(to)]
    with terminal(command, environment | XTERM, 80) as shown:
        shown.read_until(lambda text: bool(re.search(r"samples .* [1-9]\d*/40000000", text)), "the bar")
        shown.resize(100)
        shown.process.kill(signal.SIGTERM)
        text = ended(shown, XTERM, 143)
    assert "finished files are kept, and the same command goes on:" in text
    assert any(to.glob("part-*.parquet"))
    few = ["-m", "deploy", "generate", "moons@champion", "--num-samples", "1000", "--to", str(tmp_path / "few")]
    with terminal(few, environment | DUMB, 80) as shown:
        assert "1,000 samples of moons version 1 in 1 file:" in ended(shown, DUMB)

    result = tmp_path / "serve.json"
    command = ["-m", "deploy", "serve", "moons@champion", "--port", str(free_port()), "--json", str(result)]
    with terminal(command, environment | XTERM, 120) as shown:
        shown.read_until(lambda text: "Prometheus reads" in text, "the service")
        assert json.loads(result.read_text()) == {"version": 1}
        shown.process.kill(signal.SIGTERM)
        text = ended(shown, XTERM, 143)
    assert "interrupted: the service has ended, and the same command starts it again:\n" in text


@pytest.mark.thorough
def test_commands_run_in_a_notebook(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    manager, client = start_new_kernel(
        kernel_name="python3", cwd=str(ROOT), env={**os.environ, "JPY_PARENT_PID": str(os.getpid())}
    )

    def cell(code: str) -> str:
        texts: list[str] = []

        def heard(message: dict) -> None:
            kind, content = message["msg_type"], message["content"]
            assert kind not in ("error", "display_data"), content
            if kind == "stream":
                texts.append(content["text"])

        reply = client.execute_interactive(code, timeout=200, output_hook=heard)
        assert reply["content"]["status"] == "ok", reply
        return "".join(texts)

    try:
        in_the_kernel = cell(f"from pipeline.command.cli import main; main(['run', {recipe(tmp_path, 50)!r}])")
        in_a_process = cell(f"!{{__import__('sys').executable}} -m pipeline run '{recipe(tmp_path, 50)}'")
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
    for text in (in_the_kernel, in_a_process):
        assert re.search(r"phase +1 +W2 [0-9.]+ \(floor", text)
        assert text.count("picture: ") == 3
        assert not re.search("\u2501|[\u2800-\u28ff]|Traceback", text)
