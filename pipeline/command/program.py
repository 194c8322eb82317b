"""What the three programs are: a table of commands, and one way from the words of a command line to an exit code.

`python -m pipeline`, `python -m tune` and `python -m deploy` each have a `Program` in their `cli`. A new command is a dataclass
of its flags, a function that does it, and one `Action` in that table.
"""

import os
import re
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

from pipeline import places
from pipeline.command import parsing, process
from pipeline.errors import FlowError
from pipeline.provenance import redacted
from pipeline.signals import STOPPING
from pipeline.words import command_line

Result = Mapping[str, Any] | None
"""The result of a command, which `--json` is written from; None where the command has written it itself."""


def read_flags(flags: type, prog: str, words: Sequence[str]) -> Any:
    """Read the words after a command's name as an instance of the dataclass of its flags.

    Args:
        prog: how the command is called, such as `python -m tune show`.

    Raises:
        ValueError: what is wrong, in one line.
    """
    return places.resolved(parsing.parse(flags, prog, words).command)


@dataclass(frozen=True)
class Later:
    """A function whose module takes seconds to import, so that it is imported when it is called, and a line says so.

    >>> Later("nothing", "builtins:dict")([("n", 5)])
    {'n': 5}

    Attributes:
        loads: what takes the seconds, such as "torch and MLflow".
        function: "package.module:name".
    """

    loads: str
    function: str

    def __call__(self, command: Any) -> Result:
        """Import the module and call its function with a command."""
        from pipeline.command import report

        with report.status(f"loading {self.loads}"):
            function = resolve_name(self.function)
        report.quieten()  # now: MLflow and Ray set their loggers when they are imported
        result: Result = function(command)
        return result


@dataclass(frozen=True)
class Action:
    """One command of a program: its flags, what is refused at once, and what it does.

    Attributes:
        flags: dataclass whose fields are its flags; one of them is `json`.
        check: refuses what cannot work, before anything heavy is loaded.
        run: does it, and returns what `--json` is written from.
        left: what it leaves when it is stopped; after a colon the command that goes on is told.
        go_on: the words of that command; None: those that were given.
        read: makes an instance of `flags` of the words after the command's name.
    """

    flags: type
    check: Callable[[Any], None]
    run: Callable[[Any], Result]
    left: str
    go_on: Callable[[Any], Sequence[object]] | None = None
    read: Callable[[type, str, Sequence[str]], Any] = read_flags


@dataclass(frozen=True)
class Program:
    """One of the programs `python -m NAME`: its name, and its commands by name.

    Example:
        >>> from pipeline.command.flags import Command
        >>> hello = Action(Command, check=lambda command: None, run=lambda command: None, left="nothing")
        >>> Program("greet", {"hello": hello}).main(["hello"])
        0
    """

    name: str
    actions: Mapping[str, Action]

    def main(self, arguments: Sequence[str]) -> int:
        """Run the command that an argument vector asks for; return 0, its error's exit code, or 128 + n after signal n."""
        process.say_what_cannot_be_encoded()
        left = "nothing had begun"
        with process.stoppable():
            try:
                try:
                    command = self.read(list(arguments) or ["--help"])
                except BrokenPipeError:  # as of `--help | head`
                    process.forget([1])
                    return 1
                except OSError as error:  # no file can have such a name
                    raise ValueError(process.sentence(error)) from error
                action = self.actions[arguments[0]]
                left = self.left(action, command, arguments)
                write(command.json, action.run(command))
            except (FlowError, ValueError, OSError) as error:  # an OSError: the disk is full, $SJKO_HOME is no folder, ...
                process.say(f"error: {process.sentence(error)}")
                return process.exit_code(error)
            except KeyboardInterrupt as stopped:
                for number in STOPPING:  # what is left to do is short
                    signal.signal(number, signal.SIG_IGN)
                code = int(getattr(stopped, "exit_code", 128 + signal.SIGINT))
                if code == 128 + signal.SIGINT and sys.stderr.isatty():
                    process.say("\n")  # the terminal has written ^C
                process.say(f"interrupted: {left}")
                return code
        return 0

    def read(self, arguments: Sequence[str]) -> Any:
        """Make a command of an argument vector, and refuse it where it cannot work.

        Raises:
            ValueError: what is wrong, in one line.
            SystemExit: help was asked for.
        """
        for previous, word in pairwise(["", *arguments]):
            if re.fullmatch(r"(--[\w.-]+=)?\s*", word):  # as a variable leaves it that is not set
                raise ValueError(f"{word.rstrip(' =') or previous or 'the command'} must not be empty")
        commands = {name: action.flags for name, action in self.actions.items()}
        name = parsing.command_of(commands, f"python -m {self.name}", arguments)
        action = self.actions[name]
        command = action.read(action.flags, f"python -m {self.name} {name}", arguments[1:])
        action.check(command)
        check_json(command.json)
        return command

    def left(self, action: Action, command: Any, arguments: Sequence[str]) -> str:
        """Say what a stopped command leaves, and how to go on."""
        if not action.left.endswith(":"):
            return action.left
        words = [redacted(word) for word in arguments] if action.go_on is None else action.go_on(command)
        return f"{action.left}\n    {command_line('python', '-m', self.name, *words)}"


def check_json(path: Path | None) -> None:
    """Refuse a file of `--json` that could not be written, before hours of work and not after."""
    if path is not None:
        check_file("--json", path)


def check_file(flag: str, path: Path) -> None:
    """Refuse a file that could not be written.

    Raises:
        ValueError: names the flag.
    """
    folder = next(place for place in (path.absolute(), *path.absolute().parents) if place.exists())
    if path.is_dir() or not (folder.is_dir() or folder == path.absolute()) or not os.access(folder, os.W_OK):
        raise ValueError(f"{flag} must be a file that can be written, not {path}")


def write(path: Path | None, result: Result) -> None:
    """Write the result of a command to the file of `--json`, where there is one."""
    from pipeline.files import write_json

    if result is not None:
        write_json(path, result)
