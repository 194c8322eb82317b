"""The metrics of a map: one table of objects, from which all follows that measures, shows, keeps, searches for or requires one.

To add a metric, write one `Metric` in a file of its own and add one line to `METRICS`. Its figure, with its floor, is then in
`evaluate`, in the rows of `run --json`, in MLflow and on model cards, `tune run --metric` and `promote --require` know its name,
and figures that were kept before are computed again. One from outside this repository needs no line: `--evaluation.metrics` names
it as `package.module:name`. Figures of a report are measured where they are named there, or in a rule or search. Importing this
file loads neither numpy nor torch.
"""

import math
import os
import re
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Any

from components.parts.loading import load
from components.parts.naming import PartError, PartName, is_own, shown
from pipeline.evaluation.offer import Offer
from pipeline.report.figures.table import REQUESTED

if TYPE_CHECKING:
    from pipeline.evaluation.draws import Draws

METRICS = (
    "pipeline.evaluation.built_in:W2",
    "pipeline.evaluation.built_in:SLICED_W2",
    "pipeline.evaluation.built_in:MODES_COVERED",
    "pipeline.evaluation.built_in:ON_SUPPORT",
    "pipeline.evaluation.built_in:MODE_KL",
    "pipeline.evaluation.built_in:CLASS_ACCURACY",
    "pipeline.evaluation.built_in:CLASS_W2",
    "pipeline.evaluation.image_metrics:DETAIL",
    "pipeline.evaluation.image_metrics:NEAR_COPIES",
    "pipeline.evaluation.image_metrics:FRECHET",
    "pipeline.evaluation.image_metrics:KID",
    "pipeline.evaluation.image_metrics:PRECISION",
    "pipeline.evaluation.image_metrics:RECALL",
    "pipeline.evaluation.image_metrics:CLASS_KL",
    "pipeline.evaluation.image_metrics:CLASSES_COVERED",
    "pipeline.evaluation.image_metrics:CLASS_FRECHET",
    "pipeline.evaluation.image_metrics:SCORE",
    "pipeline.evaluation.built_in:DIVERGENCE",
    "pipeline.evaluation.built_in:TRANSPORT_COST",
)
"""Every metric as `module:name`, in the order in which figures are shown."""
HEADLINE = "w2"
"""The figure that titles, curves and lists of flows show: every map has it."""
FLOOR = "_floor"
"""Ending of the name of a floor."""
AMONG = "near_copies_among"
"""Name of the number of training images among which copies are looked for."""
TAKEN = frozenset(
    ["step", "train_seconds", "potential_loss", "map_loss", "gradient_penalty", "num_samples", "num_pairs", "modes", AMONG]
)
"""Names of numbers beside figures that no metric can have."""


@dataclass(frozen=True)
class Needs:
    """What a metric looks at, and so which maps have its figure.

    Attributes:
        figure: the name of a metric's figure, where an offer has what it needs; None where it has not.
        views: what `Metric.measure` is called with; of several views the figure is the mean.
        counts: numbers beside the figures, that they are read with: of how many samples, of how many modes.
    """

    figure: "Callable[[str, Offer], str | None]"
    views: "Callable[[Draws], Sequence[Any]]"
    counts: "Callable[[Draws], Mapping[str, float]]" = lambda draws: {}


@dataclass(frozen=True)
class Metric:
    """A metric of trained maps: its name, unit and good side, what it looks at, and the function that measures it.

    >>> Metric("w2", "data units", True, Needs(lambda name, offer: name, lambda draws: []), max).mode
    'min'

    Attributes:
        name: in lower case; what looks at images gets the name of the network before it, as in `lenet_frechet`.
        unit: what the figure is counted in.
        lower_is_better: whether a search looks for small values.
        needs: what it looks at, and so which data have it.
        measure: one view -> the figure; called in several threads.
        has_floor: whether the same figure of the data themselves stands beside it.
        floor: one view -> that figure, where the view has both; None: what `measure` gives of the data in the place of the map.
        version: to be raised when the figure of equal samples changes, so that kept ones are computed again.
        brief: how it is shown in the line of a phase, with {value}, {percent}, {floor}, {network} or other figures; empty: not.
    """

    name: str
    unit: str
    lower_is_better: bool
    needs: Needs
    measure: Callable[[Any], float]
    has_floor: bool = True
    version: int = 1
    brief: str = ""
    floor: Callable[[Any], float] | None = None

    def __post_init__(self) -> None:
        """Refuse a name that MLflow, a rule of `promote` or a floor could not have."""
        if not re.fullmatch(r"[a-z][a-z0-9_]*", self.name) or self.name.endswith(FLOOR):
            raise ValueError(f"a metric's name must be lower-case letters, digits and _, and not end with {FLOOR}: {self.name!r}")

    @property
    def mode(self) -> str:
        """Give `min` where small values are good, `max` where large ones are."""
        return "min" if self.lower_is_better else "max"

    @property
    def is_distance(self) -> bool:
        """Say whether the figure grows with what is wrong with a map: low is good, and the data themselves set the floor."""
        return self.lower_is_better and self.has_floor


@cache
def _loaded(path: str) -> Metric:
    """Import a metric by its `module:name`."""
    metric = resolve_name(path)
    if not isinstance(metric, Metric):
        raise TypeError(f"{path} must be a Metric, not {type(metric).__name__}")
    return metric


def metrics() -> list[Metric]:
    """List every metric of the table."""
    return [_loaded(path) for path in METRICS]


def own_metric(name: str) -> Metric:
    """Load a metric that is measured where one asks for it: a figure of a report, or one from outside this repository.

    >>> own_metric("c2st_auc").unit
    'AUC'

    Raises:
        PartError: there is none, or its name is that of another figure.
    """
    if not is_own(name):
        if name not in REQUESTED:
            raise PartError(
                f"{name} is no metric that can be asked for: {', '.join(REQUESTED)}, or package.module:name of your own"
            )
        return load(name, REQUESTED, Metric)
    metric = load(name, {}, Metric)
    if metric.name in {each.name for each in metrics()} | TAKEN | REQUESTED.keys():
        raise PartError(f"{shown(name)}: a metric {metric.name} is there already; give yours another name")
    return metric


def with_figure(asked: Sequence[PartName], figure: str) -> tuple[PartName, ...]:
    """Add the metric of a figure, or of its floor, to those that are asked for, where it is measured for who asks alone.

    >>> with_figure((), "c2st_auc_floor"), with_figure((), "w2")
    (('c2st_auc',), ())
    """
    name = figure.removesuffix(FLOOR)
    return (*asked, PartName(name)) if name in REQUESTED and name not in asked else tuple(asked)


def figures(offer: Offer) -> dict[str, Metric]:
    """Name every figure that can be measured of what is offered, in the order of the table, each with its metric.

    >>> list(figures(Offer(has_pairs=True)))
    ['w2', 'sliced_w2']
    """
    named = ((metric.needs.figure(metric.name, offer), metric) for metric in [*metrics(), *map(own_metric, offer.own_metrics)])
    return {figure: metric for figure, metric in named if figure is not None}


def floor_of(figure: str) -> str:
    """Name the floor of a figure.

    >>> floor_of("w2")
    'w2_floor'
    """
    return figure + FLOOR


def views_of(measured: Mapping[str, Metric], draws: "Draws") -> dict[Callable[..., Any], Sequence[Any]]:
    """Make the views that metrics look at, each once, however many metrics look at it."""
    return {view: view(draws) for view in dict.fromkeys(metric.needs.views for metric in measured.values())}


def means(measured: Mapping[str, Metric], views: Mapping[Callable[..., Any], Sequence[Any]]) -> dict[str, float]:
    """Measure figures, each as the mean over its views, one thread per core: W2's solver releases the interpreter's lock.

    Args:
        measured: figure -> metric.
        views: what the metrics look at, by `Needs.views`.
    """
    jobs = [(name, metric.measure, view) for name, metric in measured.items() for view in views[metric.needs.views]]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        values = list(pool.map(lambda job: job[1](job[2]), jobs))
    by_figure: dict[str, list[float]] = {name: [] for name in measured}
    for (name, _, _), value in zip(jobs, values, strict=True):
        by_figure[name].append(value)
    return {name: _mean(of_views) for name, of_views in by_figure.items()}


def _mean(values: Sequence[float]) -> float:
    import numpy as np

    return float(np.mean(values))


def brief(offer: Offer, row: Mapping[str, float]) -> list[str]:
    """Show a map's figures in a few words each, as they stand in the line of a phase."""
    shown = {figure: metric for figure, metric in figures(offer).items() if metric.brief and figure in row}
    return [
        metric.brief.format_map(
            {
                **row,
                "value": row[figure],
                "percent": 100 * row[figure],
                "floor": row.get(floor_of(figure), math.nan),
                "network": figure.removesuffix(f"_{metric.name}"),
            }
        )
        for figure, metric in shown.items()
    ]
