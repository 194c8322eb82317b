"""A program of one command `work`, for tests of what all programs do alike."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pipeline.command.program import Action, Program


@dataclass(frozen=True)
class Work:
    """Work."""

    json: Path | None = None
    """also write the result to this file"""


def program(work: Callable[[Work], None], left: str = "") -> Program:
    """Make a program whose command does this work, and leaves this when it is stopped."""
    return Program("works", {"work": Action(Work, lambda _: None, work, left)})
