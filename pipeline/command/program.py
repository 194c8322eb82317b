"""What the three programs have in common: signals, exit codes, and the one sentence of a command that ends early."""

import atexit
import contextlib
import importlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NoReturn

from pipeline.errors import FlowError
from pipeline.signals import STOPPING, restore
from pipeline.words import literal

"""Ctrl-C; what a container, systemd or a batch system is stopped with; a terminal that was closed."""


class Stopped(KeyboardInterrupt):
    """A signal asks this process to stop; everything that is under way is unwound as after Ctrl-C."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.exit_code = 128 + number


def main(
    arguments: Sequence[str],
    read: Callable[[Sequence[str]], Any],
    execute: Callable[[Any], None],
    what_goes_on: Callable[[Any], str],
) -> int:
    """Run a command of a program; its exit code is that of its error, 2 for the user's mistakes, 128 + n after signal n.

    Args:
        read: makes a command of the arguments, and refuses what cannot work.
        execute: does what it says.
        what_goes_on: says what a command that was stopped leaves, and how to go on.
    """
    _say_what_cannot_be_encoded()
    command = None
    with stoppable():
        try:
            try:
                command = read(list(arguments) or ["--help"])
            except OSError as error:  # no file can have such a name
                raise ValueError(str(error)) from error
            execute(command)
        except (FlowError, ValueError, OSError) as error:  # an OSError: the disk is full, $SJKO_HOME is no folder, ...
            return _fail(error)
        except KeyboardInterrupt as stopped:
            for number in STOPPING:  # what is left to do is short
                signal.signal(number, signal.SIG_IGN)
            code = int(getattr(stopped, "exit_code", 128 + signal.SIGINT))
            if code == 128 + signal.SIGINT and sys.stderr.isatty():
                say("\n")  # the terminal has written ^C
            say(f"interrupted: {'nothing had begun' if command is None else what_goes_on(command)}")
            return code
    return 0


def start(module: str) -> NoReturn:
    """Run the `main` of a module; Ctrl-C while it is imported, or when the process ends, ends it without a traceback."""
    _open_what_was_closed()
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # not where it is ignored
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    code = importlib.import_module(module).main(sys.argv[1:])
    if (colorama := sys.modules.get("colorama")) is not None:  # of Ray
        atexit.unregister(colorama.initialise.reset_all)  # an escape code at the end of all, whatever the terminal is
    sys.exit(code)


def _open_what_was_closed() -> None:
    """Read and write nothing where a shell has closed a stream (`>&-`): the next file, a database say, would have its number."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            stream = open(os.devnull, mode, encoding="utf-8")  # noqa: SIM115  # to the end of the process
            os.set_inheritable(stream.fileno(), True)
            setattr(sys, name, stream)


def exit_code(error: Exception) -> int:
    """What a command that ends with an error ends with."""
    return int(getattr(error, "exit_code", 2 if isinstance(error, ValueError) else 1))


@contextlib.contextmanager
def stoppable() -> Iterator[None]:
    """Let each signal that asks a process to stop raise `Stopped`; one that is ignored, as under nohup, stays so."""
    if threading.current_thread() is not threading.main_thread():  # where no signal arrives
        yield
        return
    terminals = [number for number in (1, 2) if os.isatty(number)]

    def stop(number: int, _: object) -> None:
        if number == signal.SIGHUP:
            _forget(terminals)
        raise Stopped(number)

    before = {number: signal.getsignal(number) for number in STOPPING}
    for number, handler in before.items():
        if handler is not signal.SIG_IGN:
            signal.signal(number, stop)
    try:
        yield
    finally:
        restore(before)


def _forget(terminals: Sequence[int]) -> None:
    """Write into nothing in place of a terminal that is gone, where every byte would be an error."""
    nothing = os.open(os.devnull, os.O_WRONLY)
    for number in terminals:
        os.dup2(nothing, number)
    os.close(nothing)


def _say_what_cannot_be_encoded() -> None:
    """Print a character that the terminal's encoding lacks as its number, where Python would end with an error."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # not in a notebook
            stream.reconfigure(errors="backslashreplace")


def _fail(error: Exception) -> int:
    say(f"error: {error}")
    return exit_code(error)


def say(text: str) -> None:
    """Print a text beside the results, on standard error."""
    with contextlib.suppress(OSError):  # nobody listens any more
        print("\n".join(map(literal, text.splitlines())), file=sys.stderr, flush=True)
