"""What the maps towards some data offer metrics to look at, known before anything is loaded."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from components.parts.loading import pinned
from pipeline.recipe import Data

if TYPE_CHECKING:
    from pipeline.evaluation.extractors import Extractor

MOST_COORDINATES = 500
"""Of points that a report judges, which trains classifiers on them."""


@dataclass(frozen=True)
class Offer:
    """What the maps towards some data offer metrics to look at, known before anything is loaded.

    Attributes:
        has_pairs: samples beside held-out ones.
        has_modes: the data are an analytic measure that has modes.
        extractor: the network that image metrics look through.
        logged: names of what was logged while the map was trained.
        own_metrics: names of metrics from outside this repository, with the digest of their code.
        has_classes: the maps are given a class of the data.
        has_classifier: something tells the class of a sample: the modes of a measure, or a network that was trained on the data.
        has_rows: samples are rows of a table, or points of few coordinates, which a report can judge.
        has_images: samples are images.
    """

    has_pairs: bool = False
    has_modes: bool = False
    extractor: "Extractor | None" = None
    logged: frozenset[str] = frozenset()
    own_metrics: tuple[str, ...] = ()
    has_classes: bool = False
    has_classifier: bool = False
    has_rows: bool = False
    has_images: bool = False


def offer_of(data: Data, logged: Iterable[str] = (), own_metrics: Sequence[str] = ()) -> Offer:
    """Say what the maps towards some data give metrics to look at.

    Args:
        logged: names of what was logged while a map was trained.
        own_metrics: names of metrics from outside this repository, which are pinned to the code that is found.

    Raises:
        PartError: there is no such metric.
    """
    from pipeline.data.specs import condition_of, sample_shape, spec_of
    from pipeline.evaluation.extractors import trained_on

    modes, looks, condition = spec_of(data.target).modes, trained_on(data.target, sample_shape(data)), condition_of(data)
    has_classes = condition is not None and condition.num_classes > 0
    has_classifier = has_classes and (modes is not None or (looks is not None and looks.classes == "data"))
    own_metrics, shape = tuple(dict.fromkeys(map(pinned, own_metrics))), sample_shape(data)
    has_rows = len(shape) == 1 and shape[0] <= MOST_COORDINATES
    of_set = modes is not None, looks, frozenset(logged), own_metrics, has_classes, has_classifier
    return Offer(True, *of_set, has_rows=has_rows, has_images=len(shape) == 3)
