"""What a candidate must fulfil to be promoted: `w2 <= 1.0 * champion`, `w2 <= 1.2 * floor`, `modes_covered >= 25`."""

import math
import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from pipeline.evaluation.metrics import floor_of

COMPARISONS: dict[str, Callable[[float, float], bool]] = {
    "<=": operator.le,
    "<": operator.lt,
    ">=": operator.ge,
    ">": operator.gt,
}
PATTERN = re.compile(r"\s*([a-z][a-z0-9_]*)\s*(<=|<|>=|>)\s*(-?[0-9.]+(?:e[+-]?\d+)?)\s*(?:\*\s*(champion|floor))?\s*")


@dataclass(frozen=True)
class Rule:
    """METRIC COMPARISON NUMBER [* champion | * floor].

    Attributes:
        reference: `champion`: the number is a multiple of the champion's metric; `floor`: of the metric's floor; None: the bound.
    """

    metric: str
    comparison: str
    number: float
    reference: str | None

    @classmethod
    def parse(cls, text: str) -> "Rule":
        """
        Raises:
            ValueError: it is no rule.
        """
        found = PATTERN.fullmatch(text)
        try:
            if found is None or not math.isfinite(float(found[3])):  # 1e999 would let anything pass
                raise ValueError
            return cls(found[1], found[2], float(found[3]), found[4])
        except ValueError:
            raise ValueError(
                f"--require must be like 'w2 <= 1.0 * champion', 'w2 <= 1.2 * floor' or 'w2 < 0.5', not {text!r}"
            ) from None

    def bound(self, candidate: Mapping[str, float], champion: Mapping[str, float] | None) -> float | None:
        """The number that the candidate's metric is compared with; None where there is no champion to be compared with.

        Raises:
            ValueError: the metric is not one that the evaluation gives.
        """
        known = candidate if self.reference != "floor" else {key for key in candidate if floor_of(key) in candidate}
        if self.metric not in known:
            raise ValueError(f"--require must name one of {', '.join(sorted(known))}, not {self.metric}")
        if self.reference == "champion":
            return None if champion is None else self.number * champion[self.metric]
        return self.number * (candidate[floor_of(self.metric)] if self.reference == "floor" else 1.0)

    def holds(self, value: float, bound: float) -> bool:
        """Whether the metric's value may pass; NaN never does."""
        return COMPARISONS[self.comparison](value, bound)
