"""Text of users is shown as it is; what is drawn goes again, and suits the terminal: its width, encoding, cursor and colours."""

import re
import shlex
import subprocess
from pathlib import Path

import picture_sets as sets
import pytest
from flows import QUICK, command_environment
from terminals import terminal

from pipeline.command import cli, report
from pipeline.command.prepare import Prepare, next_command
from pipeline.words import command_line, literal

HOSTILE = [
    "my [v2].yaml",
    "shots[/b]/x.png",
    "[red]stop[/red] [bold",
    ":smile: {task.total} {0} %s $HOME `id`",
    "two\nlines\r\tand a tab",
    "\x1b[2J\x1b]0;title\x07",
    "caf\u00e9 \u6f22\u5b57 \U0001f600",
    "a\udce9b",
    "x" * 500,
]


def test_every_printing_function_shows_text_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    for text in HOSTILE:
        for show in (
            report.line,
            report.sentence,
            lambda text: report.table(text, ["a"], [["1"]]),
            lambda text: report.table("t", [text], [["1"]]),
            lambda text: report.table("t", ["a", "b"], [["1", text], [2.5, "x"]]),
        ):
            show(text)
            assert literal(text) in capsys.readouterr().out
        with report.status(text), report.progress(text) as done:
            done(1, 2)


def test_what_is_no_character_to_look_at_is_shown_as_its_number() -> None:
    assert literal("a\nb\x1b[0m\u202e") == r"a\x0ab\x1b[0m\u202e"
    assert literal("photo [copy] caf\u00e9 (2).png") == "photo [copy] caf\u00e9 (2).png"
    assert literal("\udce9") == r"\xe9"


@pytest.mark.parametrize(("columns", "width"), [("0", 80), ("60", None), (None, None)])
def test_a_terminal_that_is_said_to_have_no_columns_has_some(
    columns: str | None, width: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Under COLUMNS=0 all of a command's results were left out, and its exit code was 0."""
    monkeypatch.setattr(report.sys.stdout, "isatty", lambda: True)
    monkeypatch.setattr(report.os, "get_terminal_size", lambda *_: report.os.terminal_size((80, 24)))
    monkeypatch.delenv("COLUMNS", raising=False)
    if columns is not None:
        monkeypatch.setenv("COLUMNS", columns)
    assert report._width() == width


def test_a_table_that_is_too_wide_becomes_several_whose_cells_are_whole(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    reference = f"runs:/{'a1' * 16}/phase"
    names = ["k", "map", "w2", "modes_covered", "transport_cost", "train_seconds"]
    for width, num_tables in ((60, 2), (80, 2), (120, 1)):
        monkeypatch.setattr(report.console, "_width", width)
        report.table("phases", names, [[0, reference, 0.5, 2.0, 0.25, 1.5], [1, reference, 0.25, 2.0, 0.125, 1.5]])
        printed = capsys.readouterr().out
        assert sum(line.startswith("k ") for line in printed.splitlines()) == num_tables
        assert printed.count(reference) == 2
        assert all(name in printed for name in names)
        assert max(map(len, printed.splitlines())) <= width


@pytest.mark.parametrize("word", HOSTILE)
def test_a_printed_command_is_the_same_command_in_a_shell(word: str) -> None:
    printed = command_line("printf", "%s", word)
    assert "\n" not in printed
    done = subprocess.run(["bash", "-c", printed], env={"LC_ALL": "C.UTF-8"}, capture_output=True, check=True)
    assert done.stdout == word.encode(errors="surrogateescape")


def test_the_next_command_of_prepare_can_be_pasted() -> None:
    printed = next_command(Prepare("mnist", to="/data/my sets [v2]"), 28)
    assert shlex.split(printed)[-2:] == ["--store.data", "/data/my sets [v2]"]


@pytest.mark.slow
def test_paths_with_brackets_are_printed_whole(
    tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    photos = tmp_path / "photos" / "shots[/b]"
    sets.photos(photos, 24)
    (photos / "pic [copy].png").write_bytes(b"no image")
    folder = tmp_path / "my [sets]"
    command = ["prepare", "image_folder", "--from", str(tmp_path / "photos"), "--to", str(folder), "--size", "8"]
    assert cli.main(command) == 0
    printed = capfd.readouterr().out
    assert "shots[/b]/pic [copy].png" in printed
    assert f"in {folder}/image_folder-8" in printed
    assert f"--store.data '{folder}'" in printed

    recipe = tmp_path / "my [v2].yaml"
    recipe.write_text("data: {target: moons}\nnetwork: {width: 8, depth: 1}\njko: {num_phases: 1}\ntraining: {num_steps: 4}\n")
    monkeypatch.setenv("SJKO_HOME", str(home.rename(tmp_path / "ho[m]e [b]")))
    assert cli.main(["run", str(recipe), *QUICK]) == 0
    printed = capfd.readouterr().out
    assert "my [v2]: 1 phase, flow" in printed
    pictures = re.findall("picture: (.*)", printed)
    assert len(pictures) == 3
    assert all(Path(picture).is_file() for picture in pictures)


DRAWING = r"""
import sys
from pipeline.command import report
from tests.programs import program
def work(_):
    with report.status("loading [b] caf\u00e9"):
        input()
    with report.progress("drawing [/b]") as show:
        show(1, 2)
        input()
        report.line("a line above")
    with report.live(lambda: report.grid(["trial", "point"], [[1, "h 0.1, divergence kl"]])):
        input()
    report.table("a table", ["name", "value"], [["caf\u00e9 \u6f22", 0.5], ["[red]x[/red]" + "y" * 100, "z"]])
    report.sentence("a sentence of many words " * 5)
sys.exit(program(work).main(["work"]))
"""
ASCII = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


@pytest.mark.parametrize("columns", [40, 80, 120])
@pytest.mark.parametrize(
    "changes",
    [{}, {"NO_COLOR": "1"}, {"LANG": "C"}, ASCII, {"TERM": "dumb"}, {"TERM": "dumb", **ASCII}, {"JPY_PARENT_PID": "1"}],
    ids=lambda changes: " ".join(f"{name}={value}" for name, value in changes.items()) or "xterm",
)
@pytest.mark.thorough
def test_what_is_drawn_goes_again_and_suits_the_terminal(changes: dict[str, str], columns: int, tmp_path: Path) -> None:
    """Made wider each time: one that is made narrower keeps a piece of what is drawn at that moment."""
    environment = {**command_environment(tmp_path), "TERM": "xterm-256color", **changes}
    redrawn = environment["TERM"] != "dumb" and "JPY_PARENT_PID" not in changes
    with terminal(["-c", DRAWING], environment, columns) as shown:
        shown.process.setecho(False)
        for what in ("loading [b]", "drawing [/b]", "h 0.1, divergence kl"):
            if redrawn:
                shown.read_until(lambda text, what=what: what in text, what)
                columns += 20
                shown.resize(columns)
            shown.process.sendline()
        assert shown.wait() == 0, shown.text()
    lines = [line for line in shown.lines() if line]
    assert lines[0] == "a line above", shown.text()
    assert lines[1] == "a table"
    assert all(len(line) <= columns for line in lines)
    assert "sentence of many words" in " ".join(lines)
    assert "[red]x[/red]yyy" in shown.text()
    assert not re.search("\u2501|loading|drawing|divergence", shown.text()), "no bar stays"
    if not redrawn:
        assert "JPY_PARENT_PID" in changes or b"\x1b" not in shown.written
    if "PYTHONUTF8" in changes:
        assert shown.written.isascii()
        assert r"caf\xe9 \u6f22" in shown.text()
    if "NO_COLOR" in changes:
        assert not re.search(rb"\x1b\[[0-9;]*(3|4|9)[0-9][;m]", shown.written)
