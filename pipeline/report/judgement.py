"""From rows to a judgement: every figure of a report, measured once, the same for the same rows."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from pipeline.report import axes
from pipeline.report.figures import classifier, columns, copies, distances, neighbours, pairs, usefulness
from pipeline.report.figures.classifier import TwoSampleTest
from pipeline.report.figures.columns import ColumnFigures
from pipeline.report.figures.copies import Copies
from pipeline.report.figures.distances import Distances
from pipeline.report.figures.neighbours import Neighbours
from pipeline.report.figures.pairs import PairFigures
from pipeline.report.figures.table import COLUMNS, COPIED, FIGURES, PAIRS, TELL, TOGETHER, USEFUL, WHERE
from pipeline.report.figures.usefulness import Usefulness
from pipeline.report.samples import Samples

Show = Callable[[int, int], None]


@dataclass(frozen=True)
class Judgement:
    """All that was measured of generated rows.

    Attributes:
        points: rows as points in the encoded coordinates, by `held_out`, `real`, `generated`.
        usefulness: None where no column was to be predicted.
    """

    samples: Samples
    points: dict[str, np.ndarray]
    columns: list[ColumnFigures]
    pairs: list[PairFigures]
    distances: Distances
    test: TwoSampleTest
    neighbours: Neighbours
    copies: Copies
    usefulness: Usefulness | None

    @property
    def metrics(self) -> dict[str, float]:
        """Give every figure with its floor, in the order of the table: `NAME` and `NAME_floor`."""
        figures = columns.metrics(self.columns) | pairs.metrics(self.pairs)
        for part in (self.distances, self.test, self.neighbours, self.copies, self.usefulness):
            figures |= {} if part is None else part.metrics
        names = [name for figure in FIGURES for name in (figure.name, f"{figure.name}_floor")]
        assert figures.keys() <= set(names)
        return {name: figures[name] for name in names if name in figures}


def judge(samples: Samples, predict: str | None = None, show: Show = lambda done, total: None) -> Judgement:
    """Measure everything; at most a minute on one core.

    Example:
        >>> import pyarrow as pa
        >>> from pipeline.report.samples import draw
        >>> table = pa.table({"x": np.random.default_rng(0).normal(size=200)})
        >>> round(judge(draw(table, table)).metrics["copied_share"])
        1

    Args:
        predict: name of a column whose prediction is tried.
        show: called with how many of the steps are done, and how many there are.

    Raises:
        Unusable: there is no such column, or it cannot be predicted.
    """
    target = None if predict is None else usefulness.require_predictable(samples, predict)
    points, steps = _steps(samples)
    steps[USEFUL] = lambda: None if target is None else usefulness.measure(samples, target)
    answers = []
    for done, step in enumerate(steps.values()):
        show(done, len(steps))
        answers.append(on_one_thread(step))
    show(len(steps), len(steps))
    return Judgement(samples, points, *answers)


def _steps(samples: Samples) -> tuple[dict[str, np.ndarray], dict[str, Callable[[], Any]]]:
    """Make points of the rows, and say how the figures of each question are measured."""
    sides = {"held_out": samples.held_out, "real": samples.real, "generated": samples.generated}
    fitted = axes.fit(samples.features, np.concatenate([samples.held_out, samples.real]), [samples.originals, samples.generated])
    points = {name: axes.points(fitted, rows) for name, rows in sides.items()}
    three = points["held_out"], points["real"], points["generated"]
    return points, {
        COLUMNS: lambda: columns.measure(samples),
        PAIRS: lambda: pairs.measure(samples),
        TOGETHER: lambda: distances.measure(*three),
        TELL: lambda: classifier.measure(samples, points),
        WHERE: lambda: neighbours.measure(samples, *three),
        COPIED: lambda: copies.measure(samples, points["held_out"], axes.points(fitted, samples.originals), points["generated"]),
    }


def steps_of(samples: Samples) -> dict[str, Callable[[], Mapping[str, float]]]:
    """Say how the figures of each question are measured, each with its floor as `NAME_floor`."""
    _, steps = _steps(samples)
    read: dict[str, Callable[[Any], Mapping[str, float]]] = {COLUMNS: columns.metrics, PAIRS: pairs.metrics}

    def measured(question: str) -> Mapping[str, float]:
        answer = on_one_thread(steps[question])
        return read[question](answer) if question in read else answer.metrics

    return {question: partial(measured, question) for question in steps}


def on_one_thread(step: Callable[[], Any]) -> Any:
    """Carry out a step: threads of gradient boosting that wait for each other on busy cores take a hundred times as long."""
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1):
        return step()
