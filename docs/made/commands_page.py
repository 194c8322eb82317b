"""The page of all commands: what `--help` of each says."""

import contextlib
import io
import os

from deploy import cli as deploy
from pipeline.command import cli
from pipeline.command.program import Program
from tune import cli as tune

PROGRAMS = (cli.PROGRAM, tune.PROGRAM, deploy.PROGRAM)
WIDTH = "100"
INTRODUCTION = """\
# Commands

Three programs share their rules. `sjko` is one command for all of them: `sjko run` is `python -m pipeline run`,
`sjko tune run` is `python -m tune run`, `sjko deploy serve` is `python -m deploy serve`.

- A flag that is given twice is refused. So is a flag that the command does not have.
- `--json FILE` writes what any command found.
- Exit codes: 0; 2 for a mistake in the command; 3 for a promotion that is refused; 130 after Ctrl-C; 143 after SIGTERM.
  1 is for what another command would not mend, such as a server that does not answer.

State lies under `$SJKO_HOME` (default `./.sjko`): MLflow's sqlite database and artifacts, checkpoints, pictures.
Fields of a recipe are flags of `run`, `submit` and `tune run`. [Their page](recipe.md) explains them.
"""


def page() -> str:
    """Write the page."""
    parts = [INTRODUCTION]
    for program in PROGRAMS:
        parts += [f"## python -m {program.name}"]
        parts += [f"### {program.name} {name}\n\n```text\n{help_of(program, name)}\n```" for name in program.actions]
    return "\n\n".join(parts) + "\n"


def help_of(program: Program, name: str) -> str:
    """Read what a command's `--help` prints on a terminal without colours."""
    before = {key: os.environ.get(key) for key in ("COLUMNS", "NO_COLOR", "TERM")}
    os.environ.update(COLUMNS=WIDTH, NO_COLOR="1", TERM="dumb")
    try:
        with contextlib.redirect_stdout(io.StringIO()) as printed, contextlib.suppress(SystemExit):
            program.read([name, "--help"])
    finally:
        for key, value in before.items():
            os.environ.pop(key) if value is None else os.environ.update({key: value})
    lines = [line.rstrip() for line in printed.getvalue().splitlines()]
    return "\n".join(lines).strip()
