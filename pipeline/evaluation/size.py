"""On how many samples maps are judged, and by which own metrics. Not part of a phase's identity; kept beside every figure."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from components.parts.naming import PartName
from pipeline.report.figures.table import REQUESTED

if TYPE_CHECKING:
    MetricName = PartName
else:
    MetricName = Literal[tuple(REQUESTED)] | PartName
"""A figure that is measured where one asks for it: one of a report, or an own metric."""
LEAST_SAMPLES = 10


@dataclass(frozen=True)
class EvaluationSize:
    """The number of samples on which a distance such as W2 is measured, and its floor with it.

    Example:
        >>> str(EvaluationSize(num_samples=1000))
        '4 pairs of 1000'
    """

    num_samples: int = 2000
    """samples of the last map of a flow, at most as many as are held out; W2 of 2000 points takes two seconds of a core"""
    num_pairs: int = 4
    """independent pairs of samples that a distance is the mean of: that of one pair scatters by 10-30 %"""
    metrics: tuple[MetricName, ...] = ()
    """metrics beside those of the data: figures of a report by name, such as c2st_auc (docs/tables.md), and your own as
    package.module:name of a `Metric` or of what makes one (docs/parts.md)"""

    def __str__(self) -> str:
        return f"{self.num_pairs} pairs of {self.num_samples}"


@dataclass(frozen=True)
class Evaluation(EvaluationSize):
    """The number of samples on which the maps of a flow are judged; figures compare through their floors of the same size.

    Example:
        >>> str(Evaluation().of_phase(0, num_phases=3))
        '16 pairs of 500'
    """

    num_samples_between: int = 500
    """samples of each map before the last, in as many pairs as make up the same number in all; W2 takes 0.02 seconds"""

    def of_phase(self, k: int, num_phases: int) -> EvaluationSize:
        """Choose the size for phase k of a flow: whole for the last phase, small pairs for those before it."""
        if k == num_phases - 1 or self.num_samples_between >= self.num_samples:
            return EvaluationSize(self.num_samples, self.num_pairs, self.metrics)
        num_pairs = self.num_pairs * self.num_samples // self.num_samples_between
        return EvaluationSize(self.num_samples_between, num_pairs, self.metrics)


FULL = EvaluationSize()
"""The size at which a map is judged where nobody says another."""


def validate(size: EvaluationSize) -> None:
    """Refuse sizes at which nothing can be measured.

    Raises:
        ValueError: the dotted field, the rule and the value.
    """
    limits = {"num_samples": (LEAST_SAMPLES, 20_000), "num_samples_between": (LEAST_SAMPLES, 20_000), "num_pairs": (1, 1000)}
    for name, (least, greatest) in limits.items():
        value = getattr(size, name, least)
        if not least <= value <= greatest:
            raise ValueError(f"evaluation.{name} must be from {least} to {greatest}, not {value}")
