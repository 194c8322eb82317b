"""Remarks, how sure a difference must be to become one, and the words that they share."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.report.judgement import Judgement

GOOD, BAD, BEWARE = "good", "bad", "beware"
TONES = (BAD, GOOD, BEWARE)
"""In the order in which they are shown."""
SIGMAS = 4.0
"""Standard errors that are taken off a difference of shares before it counts."""


@dataclass(frozen=True)
class Remark:
    """One sentence of a verdict.

    Attributes:
        tone: good, bad, or to beware of.
        reason: of what alone makes the generated rows no good, the same in a few words.
    """

    tone: str
    text: str
    reason: str = ""


def gap(judgement: Judgement, name: str) -> float:
    """Say how far a share lies from its floor, less what chance may do; 0 where chance may do it all."""
    value, floor = judgement.metrics[name], judgement.metrics[f"{name}_floor"]
    n = judgement.samples.num_rows
    noise = SIGMAS * float(np.sqrt((value * (1 - value) + floor * (1 - floor) + 1 / n) / n))
    return float(np.sign(value - floor)) * max(0.0, abs(value - floor) - noise)


def percent(share: float) -> str:
    """Write a share in percent, with a decimal where it is nearly nothing or all.

    >>> percent(0.004), percent(0.31)
    ('0.4 %', '31 %')
    """
    value = 100 * share
    return f"{value:.1f} %" if 0 < value < 1 or 99 < value < 100 else f"{value:.0f} %"


def figure(value: float) -> str:
    """Write a figure with two decimals, never as -0.00.

    >>> figure(-0.001), figure(0.456)
    ('0.00', '0.46')
    """
    return f"{round(value, 2) + 0.0:.2f}"


def listed(names: Sequence[str], most: int = 3) -> str:
    """List words in a sentence.

    >>> listed(["a", "b", "c"])
    'a, b and c'
    """
    shown = [*names[:most], *([f"{len(names) - most} more"] if len(names) > most else [])]
    return " and ".join([", ".join(shown[:-1]), shown[-1]]) if len(shown) > 1 else shown[0]


def severe(holds: bool, reason: str) -> str:
    """Give a reason where it holds."""
    return reason if holds else ""


def quoted(name: str) -> str:
    """Set a column's name off from the sentence around it."""
    return f"“{name}”"
