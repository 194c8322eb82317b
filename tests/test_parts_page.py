"""The page about own parts, and the folders of examples: every file and every command is tried."""

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from flows import QUICK, command_environment

from pipeline.command import cli

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs" / "parts.md").read_text()
SMALL = ["--jko.num-phases", "1", "--training.num-steps", "2", "--training.batch-size", "16", *QUICK]


@pytest.mark.usefixtures("undrawn")
def test_what_the_page_says_works(
    tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, text in re.findall(r"```(?:python|yaml)\n# ([\w.]+)\n(.*?)```", PAGE, re.DOTALL):
        (tmp_path / name).write_text(text)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    commands = [shlex.split(line)[3:] for line in PAGE.splitlines() if line.startswith("python -m pipeline ")]
    assert len(commands) == 7
    for words in commands:
        quick = QUICK if words[0] == "run" else []
        assert cli.main([*words, *quick]) == 0, capsys.readouterr().out
    assert "Hausdorff " in capsys.readouterr().out


EXAMPLES = {"own_divergence/alpha.yaml": "two_circles", "own_source/days.yaml": "windows:days"}


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize("recipe", EXAMPLES)
def test_an_example_runs_from_this_folder(
    recipe: str, tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(ROOT)
    to = tmp_path / "out.json"
    assert cli.main(["run", f"examples/{recipe}", *SMALL, "--json", str(to)]) == 0
    assert json.loads(to.read_text())["phases"][0]["metrics"]["w2"] > 0


@pytest.mark.thorough
@pytest.mark.parametrize("folder", ["own_divergence", "own_source", "own_networks"])
def test_the_commands_of_an_example_run_in_its_folder(folder: str, home: Path) -> None:
    """As its README has them, but for the numbers of steps; a search takes too long."""
    text = (ROOT / "examples" / folder / "README.md").read_text()
    commands = [shlex.split(line) for line in text.splitlines() if re.match(" +sjko (?!tune )", line)]
    assert commands
    for _, *words in commands[: 1 if folder == "own_networks" else None]:
        small = SMALL if words[0] == "run" else []
        done = subprocess.run(
            [Path(sys.executable).with_name("sjko"), *words, *small],
            check=False,
            cwd=ROOT / "examples" / folder,
            env=command_environment(home),
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
