"""A pseudo-terminal for tests: run a command on it, resize it, press Ctrl-C, and see what a person sees."""

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pexpect
import pyte
from flows import ROOT

MOST_LINES = 1000
SECONDS = 200.0


class Terminal:
    """A command on a terminal of its own.

    Attributes:
        written: every byte that it wrote.
    """

    def __init__(self, arguments: list[str], environment: dict[str, str], columns: int = 80, rows: int = 24) -> None:
        self._screen = pyte.HistoryScreen(columns, rows, history=MOST_LINES, ratio=1)
        self._stream = pyte.ByteStream(self._screen)
        self.written = b""
        command = ["env", "--default-signal=INT,HUP", sys.executable, *arguments]  # a shell's background has them ignored
        # pytest-xdist sets both in its workers, and programs would believe them rather than the terminal
        own_size = {name: value for name, value in environment.items() if name not in ("COLUMNS", "LINES")}
        self.process = pexpect.spawn(command[0], command[1:], env=own_size, cwd=str(ROOT), dimensions=(rows, columns))
        self.process.delayafterclose = self.process.delayafterterminate = 0

    def lines(self) -> list[str]:
        """What is on the screen and what has left it at the top."""
        width = self._screen.columns
        gone = ["".join(line[column].data for column in range(width)) for line in self._screen.history.top]
        lines = [line.rstrip() for line in [*gone, *self._screen.display]]
        while lines and not lines[-1]:
            lines.pop()
        return lines

    def text(self) -> str:
        return "\n".join(self.lines())

    def read_until(self, seen: Callable[[str], bool], what: str = "") -> None:
        """Read what the command writes until a person has seen something."""
        deadline = time.monotonic() + SECONDS
        while not seen(self.text()):
            assert time.monotonic() < deadline, f"{what} was not seen:\n{self.text()}"
            assert self._read(), f"ended before {what} was seen:\n{self.text()}"

    def _read(self) -> bool:
        try:
            some = self.process.read_nonblocking(1 << 16, timeout=1)
        except pexpect.TIMEOUT:
            return True
        except pexpect.EOF:
            return False
        self.written += some
        self._stream.feed(some)
        return True

    def resize(self, columns: int, rows: int = 24) -> None:
        self._screen.resize(rows, columns)
        self.process.setwinsize(rows, columns)

    def close(self) -> None:
        """Close the window; the command gets SIGHUP."""
        os.close(self.process.child_fd)
        self.process.closed = True

    def wait(self) -> int:
        """Read to the end; the exit code, -n after signal n."""
        deadline = time.monotonic() + SECONDS
        while not self.process.closed and self._read():
            assert time.monotonic() < deadline, self.text()
        self.process.ptyproc.wait()
        self.process.exitstatus, self.process.signalstatus = self.process.ptyproc.exitstatus, self.process.ptyproc.signalstatus
        return self.process.exitstatus if self.process.exitstatus is not None else -self.process.signalstatus


@contextmanager
def terminal(arguments: list[str], environment: dict[str, str], columns: int = 80, rows: int = 24) -> Iterator[Terminal]:
    """A command on a terminal; whatever is left of it is killed in the end."""
    running = Terminal(arguments, environment, columns, rows)
    try:
        yield running
    finally:
        if running.process.ptyproc.isalive():
            os.killpg(running.process.pid, signal.SIGKILL)
        if not running.process.closed:
            running.process.close(force=True)
