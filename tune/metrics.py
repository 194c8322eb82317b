"""What a search can judge by: the metrics that are measured of a recipe's data, each good one way.

Neither torch nor Ray is imported, so that a wrong name is refused at once.
"""

from collections.abc import Sequence

from components.parts.naming import PartName
from pipeline.evaluation.metrics import Metric, figures, with_figure
from pipeline.evaluation.offer import offer_of
from pipeline.recipe import Data


def objective(data: Data, name: str, own_metrics: Sequence[PartName] = ()) -> Metric:
    """Look up the metric that a search is to judge by.

    Args:
        own_metrics: names of metrics from outside this repository.

    Raises:
        ValueError: the target has no such metric.
    """
    metrics = figures(offer_of(data, own_metrics=with_figure(own_metrics, name)))
    if name not in metrics:
        raise ValueError(f"--metric must be one of {', '.join(metrics)} for data.target {data.target}, not {name}")
    return metrics[name]


def mode_of(data: Data, name: str, mode: str | None, own_metrics: Sequence[PartName] = ()) -> str:
    """Say whether small or large values of a metric are good: `min` or `max`.

    >>> mode_of(Data(target="gauss8"), "w2", None)
    'min'

    Args:
        mode: what `--mode` says; None for nothing.
        own_metrics: names of metrics from outside this repository.

    Raises:
        ValueError: the target has no such metric, or `mode` would look for the worst recipe.
    """
    metric = objective(data, name, own_metrics)
    if mode not in (None, metric.mode):
        raise ValueError(f"--mode must be {metric.mode} for {name}: the search would look for the worst recipe")
    return metric.mode
