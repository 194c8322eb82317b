"""Image metrics of samples, each beside its floor: what independent images of the data themselves get.

The floor compares training images with test images of the same number n. A figure means something beside its floor, its n and the
hash of the extractor only: the Frechet distance falls with n, and another network's features have another scale.
"""

from functools import lru_cache

import numpy as np

from components.image_metrics import class_balance, feature_distances, inception_score
from pipeline.evaluation.extractors import Described, Extractor, Images, Pixels, quantised


def image_metrics(samples: Images, train_reference: Images, test_reference: Images, extractor: Extractor) -> dict[str, float]:
    """Distances between samples and test images, beside those between training and test images.

    Args:
        samples: n images in [-1, 1]; where any is not finite, every figure but the floors is NaN.
        train_reference: n images that a perfect generator would add nothing to.
        test_reference: n images that training has not seen. What both references give is kept, so repeated calls with the same
            ones cost the samples only.

    Returns:
        For the extractor NAME: `NAME_n`, which is n; `NAME_frechet`, `NAME_kid`, `NAME_precision`, `NAME_recall`; `class_kl` in
        nats and `classes_covered` where it knows the data's classes; `inception_score` for Inception. Each has its `..._floor`.
        `inception_frechet` and `inception_kid` are called `fid` and `kid` if the weights are the published ones.
    """
    n = len(samples)
    if not n == len(train_reference) == len(test_reference):
        sizes = f"{n}, {len(train_reference)} and {len(test_reference)}"
        raise ValueError(f"samples and both references must be equally many, since distances depend on n, not {sizes}")
    train, test = quantised(train_reference), quantised(test_reference)
    floors = _floors(extractor, test.shape, train.tobytes(), test.tobytes())
    if np.isfinite(samples).all():
        found = _compare(extractor, extractor.describe(quantised(samples)), _of_reference(extractor, test.shape, test.tobytes()))
    else:
        found = dict.fromkeys(floors, float("nan"))
    return {f"{extractor.name}_n": n, **found, **{f"{name}_floor": value for name, value in floors.items()}}


def _compare(extractor: Extractor, samples: Described, reference: Described) -> dict[str, float]:
    distances = feature_distances(samples.features, reference.features)
    figures = {extractor.figure(name): value for name, value in distances.items()}
    if samples.logits is not None and extractor.classes == "imagenet":
        figures[extractor.figure("score")] = inception_score(samples.logits)
    elif samples.logits is not None:
        figures |= class_balance(samples.classes, reference.classes, samples.logits.shape[1])
    return figures


@lru_cache(maxsize=4)
def _of_reference(extractor: Extractor, shape: tuple[int, ...], content: bytes) -> Described:
    """Kept by content: seconds to minutes of a network's time, in a few megabytes."""
    return extractor.describe(_pixels(shape, content))


@lru_cache(maxsize=16)
def _floors(extractor: Extractor, shape: tuple[int, ...], train: bytes, test: bytes) -> dict[str, float]:
    return _compare(extractor, extractor.describe(_pixels(shape, train)), _of_reference(extractor, shape, test))


def _pixels(shape: tuple[int, ...], content: bytes) -> Pixels:
    return np.frombuffer(content, np.uint8).reshape(shape)
