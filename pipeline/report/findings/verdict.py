"""The verdict of a report in plain words: what is good, what gives generated rows away, what to beware of."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from pipeline.report.findings.columns import columns, details, pairs
from pipeline.report.findings.remarks import BAD, Remark, listed
from pipeline.report.findings.rows import classifiers, copies, is_copied, is_told, places, seen, sizes, use, whole_rows
from pipeline.report.judgement import Judgement

FINDINGS: Sequence[Callable[[Judgement], Iterator[Remark]]] = (
    *(copies, seen, classifiers, columns, details, pairs, places, whole_rows, use, sizes),
)
"""In the order in which a person wants to know."""


@dataclass(frozen=True)
class Level:
    """One answer to "is my synthetic data any good?".

    Attributes:
        word: `good`, `fair`, `poor` or `copied`.
        headline: the answer in a sentence.
    """

    word: str
    headline: str


GOOD = Level("good", "Good: no test here tells the generated rows from real ones.")
NEARLY = Level(
    "fair", "Nearly good: a classifier cannot tell generated rows from real ones, but something is not as it is in those."
)
FAIR = Level("fair", "Fair: much is right, and a classifier finds what is not.")
COPIED = Level("copied", "Copies: the generated rows repeat rows that they were made from.")


@dataclass(frozen=True)
class Verdict:
    """What a report says first.

    Attributes:
        remarks: sentences, each good, bad, or to beware of.
    """

    level: Level
    remarks: Sequence[Remark]

    def of(self, tone: str) -> list[str]:
        """Give the sentences of one tone."""
        return [remark.text for remark in self.remarks if remark.tone == tone]


def verdict_of(judgement: Judgement) -> Verdict:
    """Say in words what the figures say."""
    unordered = [remark for find in FINDINGS for remark in find(judgement)]
    remarks = sorted(unordered, key=lambda remark: not remark.reason)
    return Verdict(_level(judgement, remarks), remarks)


def _level(judgement: Judgement, remarks: Sequence[Remark]) -> Level:
    if is_copied(judgement):
        return COPIED
    if reasons := list(dict.fromkeys(remark.reason for remark in remarks if remark.reason)):
        return Level("poor", f"Poor: {listed(reasons[:3])}.")
    if is_told(judgement):
        return FAIR
    return NEARLY if any(remark.tone == BAD for remark in remarks) else GOOD
