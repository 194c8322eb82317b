"""What a candidate must fulfil to be promoted: `w2 <= 1.0 * champion`, `w2 <= 1.2 * floor`, `modes_covered >= 25`."""

import math
import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from pipeline.evaluation.metrics import floor_of
from pipeline.report.figures.table import REQUESTED

COMPARISONS: dict[str, Callable[[float, float], bool]] = {
    "<=": operator.le,
    "<": operator.lt,
    ">=": operator.ge,
    ">": operator.gt,
}
PATTERN = re.compile(r"\s*([a-z][a-z0-9_]*)\s*(<=|<|>=|>)\s*(-?[0-9.]+(?:e[+-]?\d+)?)\s*(?:\*\s*(champion|floor))?\s*")


@dataclass(frozen=True)
class Rule:
    """A rule of promotion: METRIC COMPARISON NUMBER [* champion | * floor].

    >>> Rule.parse("w2 <= 1.2 * floor").bound({"w2": 0.3, "w2_floor": 0.5}, None)
    0.6

    Attributes:
        reference: `champion`: the number is a multiple of the champion's metric; `floor`: of the metric's floor; None: the bound.
    """

    metric: str
    comparison: str
    number: float
    reference: str | None

    @classmethod
    def parse(cls, rule: str) -> "Rule":
        """Read a rule as `--require` has it.

        Raises:
            ValueError: the text is no rule.
        """
        match = PATTERN.fullmatch(rule)
        try:
            if match is None or not math.isfinite(float(match[3])):  # 1e999 would let anything pass
                raise ValueError
            return cls(match[1], match[2], float(match[3]), match[4])
        except ValueError:
            raise ValueError(
                f"--require must be like 'w2 <= 1.0 * champion', 'w2 <= 1.2 * floor' or 'w2 < 0.5', not {rule!r}"
            ) from None

    def bound(self, candidate: Mapping[str, float], champion: Mapping[str, float] | None) -> float | None:
        """Compute the bound that the candidate's metric must keep; None where it refers to a champion and there is none.

        Raises:
            ValueError: the metric is not one that the evaluation gives.
        """
        names = candidate if self.reference != "floor" else {key for key in candidate if floor_of(key) in candidate}
        if self.metric not in names:
            hint = "" if self.metric in REQUESTED else f"; or, of rows and points, a figure of a report: {', '.join(REQUESTED)}"
            raise ValueError(f"--require must name one of {', '.join(sorted(names))}, not {self.metric}{hint}")
        if self.reference == "champion":
            return None if champion is None else self.number * champion[self.metric]
        return self.number * (candidate[floor_of(self.metric)] if self.reference == "floor" else 1.0)

    def holds(self, value: float, bound: float) -> bool:
        """Say whether a value of the metric passes a bound; NaN never does."""
        return COMPARISONS[self.comparison](value, bound)
