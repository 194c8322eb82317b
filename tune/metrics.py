"""What a search can judge by: the metrics that are measured of a recipe's data, each good one way.

Neither torch nor Ray is imported, so that a wrong name is refused at once.
"""

from pipeline.evaluation.metrics import Metric, figures, offer_of
from pipeline.recipe import Data


def objective(data: Data, name: str) -> Metric:
    """Look up the metric that a search is to judge by.

    Raises:
        ValueError: the metric is none of this target's.
    """
    known = figures(offer_of(data))
    if name not in known:
        raise ValueError(f"--metric must be one of {', '.join(known)} for data.target {data.target}, not {name}")
    return known[name]


def mode_of(data: Data, name: str, mode: str | None) -> str:
    """Say which way a metric is good, `min` or `max`.

    Raises:
        ValueError: the metric is none of this target's, or good the other way.
    """
    metric = objective(data, name)
    if mode not in (None, metric.mode):
        raise ValueError(f"--mode must be {metric.mode} for {name}: the search would look for the worst recipe")
    return metric.mode
