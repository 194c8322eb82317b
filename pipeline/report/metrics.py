"""The figures of a report as metrics of a map: measured where one is asked for by its name, on rows beside held-out ones.

Importing this file loads neither numpy nor scikit-learn: a search asks which side of a figure is good.
"""

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pipeline.evaluation.metrics import Metric, Needs
from pipeline.report.figures.table import COPIED, FIGURES, MORE, TELL, TOGETHER, WHERE, Figure

if TYPE_CHECKING:
    from pipeline.evaluation.draws import Draws
    from pipeline.report.samples import Samples

UNITS = {TOGETHER: "standard deviations", TELL: "AUC", COPIED: "share", WHERE: "share"}
"""What the figures of a question are counted in; all others are distances from 0 to 1."""
HIGH = ("energy_p", "density")
"""Figures that are not as they should be where they are low, beside those that are good where they are high."""


class Judged:
    """Rows of a map beside real ones, of which figures are measured when they are asked for, question by question.

    Args:
        samples: rows that the map has made, held-out rows, and rows that it was trained on.
    """

    def __init__(self, samples: "Samples") -> None:
        from pipeline.report.judgement import steps_of

        self._steps, self._lock = steps_of(samples), threading.RLock()
        self._found: dict[str, Mapping[str, float]] = {}

    def figure(self, of: Figure, ending: str = "") -> float:
        """Give a figure, or with the ending `_floor` its floor; NaN where the rows have none, as of columns of another kind."""
        with self._lock:  # figures of one question are measured together, and metrics by several threads
            if of.question not in self._found:
                self._found[of.question] = self._steps[of.question]()
        return float(self._found[of.question].get(of.name + ending, float("nan")))


def judged(draws: "Draws") -> Sequence[Judged]:
    """Draw rows of a map, as many as are held out and a report compares, and take them for judging."""
    from components.streams import stream
    from pipeline.data.tables.reading import table_of
    from pipeline.evaluation.draws import OfData, num_samples
    from pipeline.report.samples import MOST_ORIGINALS, MOST_ROWS, draw

    ends, first, coding = draws.endpoints, draws.first_draw, draws.endpoints.coding
    n, of_target = min(MOST_ROWS, num_samples(ends, draws.size.num_samples)), stream(0, "evaluation_target", step=first)
    held_out = (ends.data.held_out(n, of_target), None) if ends.joint is None else ends.joint.held_out(n, of_target)
    drawn = held_out, draws.sampler.joint(n, first), OfData(ends).joint(MOST_ORIGINALS, first)
    real, made, train = (table_of(samples, "x") if coding is None else coding.table(samples, given) for samples, given in drawn)
    schema = None if coding is None or coding.given is not None else coding.encoding.schema
    return [Judged(draw(real, made, train, schema=schema))]


ROWS = Needs(lambda name, offer: name if offer.has_rows else None, judged)
"""The needs of figures of rows: maps whose samples are rows of a table, or points of not too many coordinates."""


def metric_of(figure: Figure) -> Metric:
    """Make the metric of a figure.

    >>> metric_of(next(figure for figure in FIGURES if figure.name == "c2st_auc")).mode
    'min'
    """
    measure: Callable[[Any], float] = lambda seen: seen.figure(figure)  # noqa: E731  # of this figure
    return Metric(
        figure.name,
        UNITS.get(figure.question, "share"),
        figure.good != MORE and figure.name not in HIGH,
        ROWS,
        measure,
        floor=lambda seen: seen.figure(figure, "_floor"),
        brief=f"{figure.name} {{value:.3f}} (floor {{floor:.3f}})",
    )


def __getattr__(name: str) -> Metric:
    """Give the metric of a figure by its name, as `REQUESTED` of `pipeline.report.figures.table` has it."""
    asked = next((figure for figure in FIGURES if figure.name == name), None)
    if asked is None:
        raise AttributeError(name)
    return metric_of(asked)
