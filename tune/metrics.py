"""What a search can judge by: the metrics that `pipeline evaluate` gives for a recipe's data, and which way each is good.

Nothing heavy is imported, so that a wrong name is refused at once; a test holds this table equal to what is measured.
"""

from pipeline.data.specs import spec_of
from pipeline.recipe import Data

DISTANCES = {"w2": "min", "sliced_w2": "min"}
MODES = {"modes_covered": "max", "on_support": "max", "mode_kl": "min"}
IN_FEATURES = {"frechet": "min", "kid": "min", "precision": "max", "recall": "max"}
CLASSES = {"class_kl": "min", "classes_covered": "max"}
EXTRACTORS = {"fashion_mnist": "lenet", "digits": "lenet_digits"}
"""Networks that were trained on the very data, and see images of the size that they come with."""


def modes_of(data: Data) -> dict[str, str]:
    """The metrics of a target, each with `min` or `max`: whether small or large values are good."""
    found = dict(DISTANCES)
    target = spec_of(data.target)
    if target.modes is not None:
        found |= MODES
    if data.target in EXTRACTORS and target.normal_form(data).size is None:
        found |= {f"{EXTRACTORS[data.target]}_{name}": mode for name, mode in IN_FEATURES.items()} | CLASSES
    return found


def mode_of(data: Data, metric: str, mode: str | None) -> str:
    """Which way a metric is good.

    Raises:
        ValueError: the metric is none of this target's, or good the other way.
    """
    known = modes_of(data)
    if metric not in known:
        raise ValueError(f"--metric must be one of {', '.join(known)} for data.target {data.target}, not {metric}")
    if mode not in (None, known[metric]):
        raise ValueError(f"--mode must be {known[metric]} for {metric}: the search would look for the worst recipe")
    return known[metric]
