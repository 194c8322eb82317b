"""Metrics of samples of any kind, of samples of measures with modes, and of what was logged while a map was trained."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import TYPE_CHECKING

import numpy as np

from components import metrics
from components.streams import stream
from pipeline.evaluation.extractors import quantised
from pipeline.evaluation.metrics import Metric, Needs
from pipeline.evaluation.offer import Offer

if TYPE_CHECKING:
    from pipeline.evaluation.draws import Draws


@dataclass(frozen=True, eq=False)
class Pair:
    """A pair of samples: x beside as many held-out ones y, one row per sample, in the data's own units."""

    x: metrics.Points
    y: metrics.Points


@dataclass(frozen=True, eq=False)
class Labelled:
    """Samples by their mode, -1 for none, beside the true probability of each mode."""

    modes: np.ndarray
    weights: tuple[float, ...]


def _pairs(draws: "Draws") -> Sequence[Pair]:
    return [Pair(x.reshape(len(x), -1), y.reshape(len(y), -1)) for x, y in draws.pairs]


def _by_class(draws: "Draws") -> Sequence[Pair]:
    return [Pair(x.reshape(len(x), -1), y.reshape(len(y), -1)) for x, y in draws.by_class]


def _class_sizes(draws: "Draws") -> Mapping[str, float]:
    return {"num_classes": len(draws.by_class), "num_per_class": float(np.mean([len(x) for x, _ in draws.by_class]))}


@dataclass(frozen=True, eq=False)
class Classified:
    """Samples by the class that each was given, beside the class that a classifier finds."""

    given: np.ndarray
    recognised: np.ndarray


def _classified(draws: "Draws") -> Sequence[Classified]:
    samples, given = draws.to_classify
    modes = draws.endpoints.data.modes
    if not np.isfinite(samples).all():
        return [Classified(given, np.full(len(given), -1))]
    if modes is not None and modes.nearest is not None:
        return [Classified(given, modes.nearest(samples))]
    assert draws.extractor is not None
    return [Classified(given, draws.extractor.describe(quantised(samples)).classes)]


def _sizes(draws: "Draws") -> Mapping[str, float]:
    return {"num_samples": len(draws.pairs[0][0]), "num_pairs": len(draws.pairs)}


def _labelled(draws: "Draws") -> Sequence[Labelled]:
    modes = draws.endpoints.data.modes
    assert modes is not None
    return [Labelled(modes.mode_of(np.concatenate([x for x, _ in draws.pairs])), modes.mode_weights)]


def _num_modes(draws: "Draws") -> Mapping[str, float]:
    assert draws.endpoints.data.modes is not None
    return {"modes": len(draws.endpoints.data.modes.mode_weights)}


PAIRS = Needs(lambda name, offer: name if offer.has_pairs else None, _pairs, _sizes)
"""The needs of metrics of samples beside held-out samples: every map has them."""
MODES = Needs(lambda name, offer: name if offer.has_modes else None, _labelled, _num_modes)
"""The needs of metrics of modes: samples of a map towards a measure that has some."""


CLASSES = Needs(lambda name, offer: name if offer.has_classes else None, _by_class, _class_sizes)
"""The needs of metrics of samples given a class, beside held-out samples of it: the maps of a flow that has classes."""
CLASSIFIER = Needs(lambda name, offer: name if offer.has_classifier else None, _classified)
"""The needs of metrics of what a classifier says of samples given a class."""


def logged(*names: str) -> Needs:
    """Make the needs of a metric of what was logged while the map was trained: `measure` gets the last number of each name."""

    def figure(name: str, offer: Offer) -> str | None:
        return name if offer.logged.issuperset(names) else None

    return Needs(figure, _last_logged)


def _last_logged(draws: "Draws") -> Sequence[Mapping[str, float]]:
    return [draws.logged]


def _w2(pair: Pair) -> float:
    return metrics.w2(pair.x, pair.y)


def _sliced_w2(pair: Pair) -> float:
    return metrics.sliced_w2(pair.x, pair.y, stream(0, "projections"))


def _of_modes(name: str) -> Callable[[Labelled], float]:
    return lambda seen: metrics.mode_statistics(seen.modes, seen.weights)[name]


def _accuracy(classified: Classified) -> float:
    return float((classified.given == classified.recognised).mean())


UNITS, COUNT, SHARE, NATS = "the data's units", "number", "share", "nats"
W2 = Metric("w2", UNITS, True, PAIRS, _w2, brief="W2 {value:.4g} (floor {floor:.4g}, {num_samples:.0f} samples)")
SLICED_W2 = Metric("sliced_w2", UNITS, True, PAIRS, _sliced_w2)
MODES_COVERED = Metric(
    "modes_covered", COUNT, False, MODES, _of_modes("modes_covered"), has_floor=False, brief="modes {value:.0f}/{modes:.0f}"
)
ON_SUPPORT = Metric(
    "on_support", SHARE, False, MODES, _of_modes("on_support"), has_floor=False, brief="on support {percent:.0f} %"
)
MODE_KL = Metric("mode_kl", NATS, True, MODES, _of_modes("mode_kl"), has_floor=False)
CLASS_ACCURACY = Metric("class_accuracy", SHARE, False, CLASSIFIER, _accuracy, brief="accuracy {value:.2f} (floor {floor:.2f})")
CLASS_W2 = Metric("class_w2", UNITS, True, CLASSES, _w2)
DIVERGENCE = Metric(
    "divergence", NATS, True, logged("divergence"), itemgetter("divergence"), has_floor=False, brief="divergence >= {value:.3g}"
)
TRANSPORT_COST = Metric(
    "transport_cost",
    NATS,
    True,
    logged("transport_cost"),
    itemgetter("transport_cost"),
    has_floor=False,
    brief="cost {value:.3g}",
)
