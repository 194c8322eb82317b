"""Metrics of images, in the features of a network, each beside its floor: what independent images of the data themselves get.

The floor compares training images with test images of the same number n. A figure means something beside its floor, its n and the
hash of the extractor only: the Frechet distance falls with n, and another network's features have another scale.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from components import image_metrics as distances
from components.metrics import LEAST_SAMPLES, nearness, precision, recall
from pipeline.evaluation.extractors import Described, Extractor, Images, Pixels, quantised
from pipeline.evaluation.metrics import AMONG, Metric, Needs, figures, floor_of, means
from pipeline.evaluation.offer import Offer

if TYPE_CHECKING:
    from pipeline.evaluation.draws import Draws

MOST_COMPARED = 500
"""Images whose closest training images are looked for."""
NEAR = 0.05
"""Share of held-out images that count as near copies: those with the least distance to one image beside that to the next. It is
more where more of them are copies, or where they are few."""
FEW_HELD_OUT = 100
"""Of fewer held-out images detail and a twentieth say little: training images stand beside them, each among the others."""


@dataclass(frozen=True, eq=False)
class Seen:
    """The features of samples, and those of as many images of the data."""

    samples: Described
    reference: Described


def _look(draws: "Draws") -> Sequence[Seen]:
    assert draws.extractor is not None
    samples, test = draws.images
    return [_seen(draws.extractor, samples, quantised(test))]


def _look_by_class(draws: "Draws") -> Sequence[Seen]:
    assert draws.extractor is not None
    return [_seen(draws.extractor, samples, quantised(test)) for samples, test in draws.by_class]


def _num_images(draws: "Draws") -> Mapping[str, float]:
    assert draws.extractor is not None
    return _count(draws.extractor, len(draws.images[0]))


def _count(extractor: Extractor, n: int) -> dict[str, float]:
    return {extractor.figure("n"): n}


def _seen(extractor: Extractor, samples: Images, test: Pixels) -> Seen:
    """Describe samples and test images; samples of which any is not finite have features that are no numbers."""
    reference = _described(extractor, test.shape, test.tobytes())
    if np.isfinite(samples).all():
        return Seen(extractor.describe(quantised(samples)), reference)
    logits = None if reference.logits is None else np.full_like(reference.logits, math.nan)
    return Seen(Described(np.full_like(reference.features, math.nan), logits), reference)


@lru_cache(maxsize=64)  # of a flow with classes, the test images of each
def _described(extractor: Extractor, shape: tuple[int, ...], content: bytes) -> Described:
    """Describe 8-bit images, and keep that by their content: seconds to minutes of a network's time, in a few megabytes."""
    return extractor.describe(np.frombuffer(content, np.uint8).reshape(shape))


def _in_features(name: str, offer: Offer) -> str | None:
    return offer.extractor.figure(name) if offer.extractor else None


def _of_classes(name: str, offer: Offer) -> str | None:
    return name if offer.extractor and offer.extractor.classes == "data" else None


def _given_classes(name: str, offer: Offer) -> str | None:
    return offer.extractor.figure(name) if offer.extractor and offer.has_classes else None


def _of_imagenet(name: str, offer: Offer) -> str | None:
    return offer.extractor.figure(name) if offer.extractor and offer.extractor.classes == "imagenet" else None


FEATURES = Needs(_in_features, _look, _num_images)
"""Images, and a network that describes them."""
CLASSES = Needs(_of_classes, _look, _num_images)
"""Images, and a network that knows the classes of the data."""
GIVEN_CLASSES = Needs(_given_classes, _look_by_class)
"""Images given a class, beside held-out ones of it, and a network that describes them."""
IMAGENET_CLASSES = Needs(_of_imagenet, _look, _num_images)
"""Images, and a network that knows ImageNet's classes."""


def _frechet(seen: Seen) -> float:
    return distances.frechet_distance(seen.samples.features, seen.reference.features)


def _kid(seen: Seen) -> float:
    return distances.kernel_distance(seen.samples.features, seen.reference.features)


def _precision(seen: Seen) -> float:
    return precision(seen.samples.features, seen.reference.features, k=distances.NUM_NEIGHBOURS)


def _recall(seen: Seen) -> float:
    return recall(seen.samples.features, seen.reference.features, k=distances.NUM_NEIGHBOURS)


def _class_balance(name: str) -> Callable[[Seen], float]:
    def measure(seen: Seen) -> float:
        if not seen.samples.is_finite:
            return math.nan
        assert seen.samples.logits is not None
        num_classes = seen.samples.logits.shape[1]
        return distances.class_balance(seen.samples.classes, seen.reference.classes, num_classes)[name]

    return measure


def _score(seen: Seen) -> float:
    assert seen.samples.logits is not None
    return distances.inception_score(seen.samples.logits)


@dataclass(frozen=True, eq=False)
class Beside:
    """Images of a map beside held-out ones, and the images that it was trained on."""

    made: np.ndarray
    held_out: np.ndarray
    trained_on: np.ndarray


def _beside(draws: "Draws") -> Sequence[Beside]:
    made = np.concatenate([np.asarray(samples) for samples, _ in draws.pairs])[:MOST_COMPARED]
    held_out = np.asarray(draws.pairs[0][1])[:MOST_COMPARED]
    return [Beside(made, held_out, draws.trained_on)]


def _num_trained_on(draws: "Draws") -> Mapping[str, float]:
    return {AMONG: len(draws.trained_on)}


PIXELS = Needs(lambda name, offer: name if offer.has_images else None, _beside, _num_trained_on)
"""Images as they are, without any network that describes them."""


def _detail(seen: Beside) -> float:
    few = len(seen.held_out) < FEW_HELD_OUT
    of_data = distances.detail(np.concatenate([seen.held_out, seen.trained_on[:MOST_COMPARED]]) if few else seen.held_out)
    return distances.detail(seen.made) / of_data if of_data > 0 else math.nan


def _detail_of_data(seen: Beside) -> float:
    return _detail(Beside(seen.trained_on[: len(seen.made)], seen.held_out, seen.trained_on))


def _near_copies(seen: Beside) -> float:
    if len(seen.trained_on) < LEAST_SAMPLES or not np.isfinite(seen.made).all():
        return math.nan
    made, held_out, rows = (each.reshape(len(each), -1) for each in (seen.made, seen.held_out, seen.trained_on))
    usual = nearness(held_out, rows)
    if len(usual) < FEW_HELD_OUT:
        usual = np.concatenate([usual, nearness(rows[:MOST_COMPARED], rows, among=True)])
    return float((nearness(made, rows) <= np.quantile(usual, NEAR)).mean())


def _near_copies_of_data(seen: Beside) -> float:
    return _near_copies(Beside(seen.held_out, seen.held_out, seen.trained_on))


DETAIL = Metric("detail", "times the data's", False, PIXELS, _detail, floor=_detail_of_data, brief="detail {value:.2f}")
NEAR_COPIES = Metric("near_copies", "share", True, PIXELS, _near_copies, floor=_near_copies_of_data, version=2)
FRECHET = Metric(
    "frechet", "squared features", True, FEATURES, _frechet, brief="{network} Frechet {value:.3g} (floor {floor:.2g})"
)
KID = Metric("kid", "squared kernel distance", True, FEATURES, _kid)
PRECISION = Metric("precision", "share", False, FEATURES, _precision)
RECALL = Metric("recall", "share", False, FEATURES, _recall, brief="recall {value:.2f}")
CLASS_KL = Metric("class_kl", "nats", True, CLASSES, _class_balance("class_kl"))
CLASSES_COVERED = Metric("classes_covered", "number", False, CLASSES, _class_balance("classes_covered"))
CLASS_FRECHET = Metric("class_frechet", "squared features", True, GIVEN_CLASSES, _frechet)
SCORE = Metric("score", "classes", False, IMAGENET_CLASSES, _score)


def image_metrics(
    samples: Images, train_reference: Images, test_reference: Images, extractor: Extractor, own_metrics: tuple[str, ...] = ()
) -> dict[str, float]:
    """Compare samples with test images, and beside that training with test images, in the features of an extractor.

    Args:
        samples: n images in [-1, 1]; where any is not finite, every figure but the floors is NaN.
        train_reference: n images that a perfect generator would add nothing to.
        test_reference: n images that training has not seen. What both references give is kept, so repeated calls with the same
            ones cost the samples only.
        own_metrics: names of metrics from outside this repository.

    Returns:
        `NAME_n`, which is n, and each figure of `figures(Offer(extractor=extractor))`, with its floor.
    """
    n = len(samples)
    if not n == len(train_reference) == len(test_reference):
        sizes = f"{n}, {len(train_reference)} and {len(test_reference)}"
        raise ValueError(f"samples and both references must be equally many, since distances depend on n, not {sizes}")
    train, test = quantised(train_reference), quantised(test_reference)
    measured = figures(Offer(extractor=extractor, own_metrics=own_metrics))
    floors = _floors(extractor, test.shape, train.tobytes(), test.tobytes(), tuple(measured.items()))
    return {**_count(extractor, n), **means(measured, {_look: [_seen(extractor, samples, test)]}), **floors}


@lru_cache(maxsize=16)
def _floors(
    extractor: Extractor, shape: tuple[int, ...], train: bytes, test: bytes, measured: tuple[tuple[str, Metric], ...]
) -> dict[str, float]:
    reference = _described(extractor, shape, test)
    training = extractor.describe(np.frombuffer(train, np.uint8).reshape(shape))
    floors = means({name: metric for name, metric in measured if metric.has_floor}, {_look: [Seen(training, reference)]})
    return {floor_of(name): value for name, value in floors.items()}
