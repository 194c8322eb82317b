"""The program `sjko`: the commands of `python -m pipeline`, and the two other programs behind `tune` and `deploy`."""

import importlib
import textwrap
from collections.abc import Sequence

from pipeline.command import parsing, process, report
from pipeline.command.cli import PROGRAM
from pipeline.recipes import values

OTHERS = {
    "tune": "Search over h, the divergence and K: run, resume, show, best.",
    "deploy": "Use a trained flow: register, unregister, promote, rollback, serve, generate, export.",
}
"""The other programs, by the word that their commands follow."""
EXAMPLES = """\
    sjko run two_circles                          train a flow; `sjko run --help` explains every field
    sjko list                                     flows that there are, and what they are called
    sjko deploy register REF --name circles       make a version of one
    sjko deploy serve circles@candidate           draw from it over HTTP
    python -c "from sjko import Flow; print(Flow.from_yaml('two_circles').fit().sample(3))"
"""


def main(arguments: Sequence[str]) -> int:
    """Run the command that an argument vector asks for; return its exit code."""
    process.say_what_cannot_be_encoded()
    first = arguments[0] if arguments else "--help"
    if first in OTHERS:
        return int(importlib.import_module(f"{first}.cli").main(arguments[1:]))
    if first in parsing.HELP:
        for line in help_lines():
            report.line(line)
        return 0
    known = [*PROGRAM.actions, *OTHERS]
    if first not in known:
        hint = values.meant(values.like(first, known))
        process.say(f"error: COMMAND must be one of {', '.join(known)}, not {values.shown(first)}{hint}")
        return 2
    return PROGRAM.main(arguments)


def help_lines() -> list[str]:
    """Write what `sjko --help` says: how commands are given, each with its sentence, and examples."""
    described = {name: (action.flags.__doc__ or "").partition("\n")[0] for name, action in PROGRAM.actions.items()}
    width, before = max(40, min(report.console.width, 110)), 4 + 12
    texts = {name: textwrap.wrap(text, width - before) or [""] for name, text in {**described, **OTHERS}.items()}
    commands = [f"    {'' if number else name:<12}{line}" for name, lines in texts.items() for number, line in enumerate(lines)]
    return [
        "usage: sjko COMMAND ...",
        "",
        "Train generative models as Wasserstein gradient flows (S-JKO), search for the best, and use them.",
        "",
        *commands,
        "",
        *EXAMPLES.splitlines(),
        "",
        "`sjko COMMAND --help` explains a command. `python -m pipeline`, `python -m tune` and `python -m deploy` are the same.",
    ]
