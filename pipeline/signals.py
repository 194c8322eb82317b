"""Signals that stop a program, which are its own and no library's."""

import contextlib
import signal
import threading
from collections.abc import Iterator, Mapping
from typing import Any

STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextlib.contextmanager
def own_signals() -> Iterator[None]:
    """Take back the signals that a library has taken meanwhile: Ray would end this process with a dump of its stack."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in STOPPING}
    try:
        yield
    finally:
        restore(before)


def restore(handlers: Mapping[signal.Signals, Any]) -> None:
    """Give signals back to the handlers that they had before."""
    for number, handler in handlers.items():
        if handler is not None:  # None: one that is not Python's
            signal.signal(number, handler)
