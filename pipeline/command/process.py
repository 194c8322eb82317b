"""The process of a command: its streams, its signals, and its exit code. Nothing that takes time is imported."""

import atexit
import contextlib
import importlib
import logging
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from typing import NoReturn

from pipeline.signals import STOPPING, restore
from pipeline.words import literal

OF_FILES = (FileNotFoundError, FileExistsError, NotADirectoryError, IsADirectoryError, PermissionError)
"""Errors of a file or folder that is not what a command was told it is; a full disk is none."""


class Stopped(KeyboardInterrupt):
    """The signal that asks this process to stop; what is under way is unwound as after Ctrl-C."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.exit_code = 128 + number


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
    """Choose the exit code of a command that ends with an error: the error's own, or 2 for a user's mistake, or 1.

    >>> exit_code(ValueError("--port must be from 1 to 65535, not 0")), exit_code(OSError("no space left"))
    (2, 1)
    """
    return int(getattr(error, "exit_code", 2 if isinstance(error, (ValueError, *OF_FILES)) else 1))


def sentence(error: Exception) -> str:
    """Say what an error is; of a file, its name and what is wrong with it.

    >>> sentence(FileNotFoundError(2, "No such file or directory", "my.csv"))
    'my.csv: No such file or directory'
    """
    if isinstance(error, OSError) and error.filename and error.strerror:
        return f"{error.filename}: {error.strerror}"
    return str(error)


@contextlib.contextmanager
def stoppable() -> Iterator[None]:
    """Let each signal that asks a process to stop raise `Stopped`; one that is ignored, as under nohup, stays so."""
    if threading.current_thread() is not threading.main_thread():  # where no signal arrives
        yield
        return
    terminals = [number for number in (1, 2) if os.isatty(number)]
    # A signal in the middle of a query leaves a cursor that cannot be closed, of which SQLAlchemy prints the traceback.
    logging.getLogger("sqlalchemy.pool").setLevel(logging.CRITICAL)

    def stop(number: int, _: object) -> None:
        if number == signal.SIGHUP:
            forget(terminals)
        raise Stopped(number)

    previous = {number: signal.getsignal(number) for number in STOPPING}
    for number, handler in previous.items():
        if handler is not signal.SIG_IGN:
            signal.signal(number, stop)
    try:
        yield
    finally:
        restore(previous)


def forget(streams: Sequence[int]) -> None:
    """Write into nothing in place of a terminal or a pipe that is gone, where every byte would be an error."""
    nothing = os.open(os.devnull, os.O_WRONLY)
    for number in streams:
        os.dup2(nothing, number)
    os.close(nothing)


def say_what_cannot_be_encoded() -> None:
    """Print a character that the terminal's encoding lacks as its number, where Python would end with an error."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # not in a notebook
            stream.reconfigure(errors="backslashreplace")


def say(text: str) -> None:
    """Print a text beside the results, on standard error."""
    with contextlib.suppress(OSError):  # nobody listens any more
        print("\n".join(map(literal, text.splitlines())), file=sys.stderr, flush=True)
