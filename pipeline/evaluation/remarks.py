"""What the figures of a map do not say by themselves: that they are of few samples, or that W2 rewards blur."""

import math
from collections.abc import Mapping

from pipeline.evaluation.metrics import AMONG, floor_of
from pipeline.words import counted

FEW_SAMPLES = 30
"""Of fewer samples W2 and its floor say little: of 30 normal ones in the plane their ratio varies by .22, of 8 by .34."""
SHARP, MANY_COPIES = 1.25, 0.1
"""How far the detail of images may be from the data's before it is said, and the share of near copies above that of the data."""
CHANCE = 3
"""Standard errors that a share of near copies has to be above that of the data: of 20 images one in four is near by chance."""


def remarks(metrics: Mapping[str, float]) -> list[str]:
    """Say what a person should know of the figures of a map before comparing by them; nothing where they speak for themselves.

    >>> remarks({"w2": 0.4, "num_samples": 2000})
    []
    """
    return [sentence for sentence in (_on_few(metrics), _on_images(metrics)) if sentence]


def _on_few(metrics: Mapping[str, float]) -> str | None:
    """Warn of figures of so few samples that they say little; None where there are enough.

    >>> _on_few({"w2": 2.0, "num_samples": 2})
    'W2 and its floor are of 2 samples alone and say little: have 30 or more held out before you compare by them'
    """
    number = metrics.get("num_samples", FEW_SAMPLES)
    if number >= FEW_SAMPLES:
        return None
    alone = f"W2 and its floor are of {counted(int(number), 'sample')} alone and say little"
    return f"{alone}: have {FEW_SAMPLES} or more held out before you compare by them"


def _on_images(metrics: Mapping[str, float]) -> str | None:
    """Say of images what W2 hides: whether they are blurred, noisy or near copies of training images; None of other samples.

    Of few images it is said alone that they are copies, where chance cannot be why.

    >>> _on_images({"detail": 0.4, "detail_floor": 1.0, "near_copies": 0.3, "near_copies_floor": 0.05})
    'the images are blurred, which W2 rewards (detail 0.40, floor 1.00); many nearly repeat training images (30 %, floor 5 %)'
    """
    sharpness, copies = _on_sharpness(metrics), _on_copies(metrics)
    if sharpness and copies:
        return f"{sharpness}; {copies}"
    return sharpness or (copies.replace("nearly", "images nearly", 1) if copies else None)


def _on_sharpness(metrics: Mapping[str, float]) -> str | None:
    """Say whether images are blurred or noisy; None where that is not known, or of few images."""
    detail, usual = metrics.get("detail", math.nan), metrics.get(floor_of("detail"), math.nan)
    if math.isnan(detail) or math.isnan(usual) or _num_images(metrics) < FEW_SAMPLES:
        return None
    sharp = "about as sharp as the data"
    if not usual / SHARP <= detail <= usual * SHARP:
        sharp = "blurred, which W2 rewards" if detail < usual else "noisier than the data"
    return f"the images are {sharp} (detail {detail:.2f}, floor {usual:.2f})"


def _on_copies(metrics: Mapping[str, float]) -> str | None:
    """Say whether many images nearly repeat training images; None where that is not known.

    >>> _on_copies({"near_copies": 1.0, "near_copies_floor": 0.2, "near_copies_among": 25.0, "num_samples": 5})
    'many nearly repeat one of 25 training images (100 %, floor 20 %)'
    """
    copies, usual = metrics.get("near_copies", math.nan), metrics.get(floor_of("near_copies"), math.nan)
    if math.isnan(copies) or math.isnan(usual):
        return None
    number = _num_images(metrics)
    is_many = copies - usual > max(MANY_COPIES, CHANCE * math.sqrt(2 * usual * (1 - usual) / number))
    if number < FEW_SAMPLES and not is_many:
        return None
    among = f"one of {counted(int(metrics[AMONG]), 'training image')}" if AMONG in metrics else "training images"
    return f"{'many' if is_many else 'few'} nearly repeat {among} ({100 * copies:.0f} %, floor {100 * usual:.0f} %)"


def _num_images(metrics: Mapping[str, float]) -> float:
    """Count the images that were looked at: those of all pairs, beside training images where few are held out.

    >>> _num_images({"num_samples": 20, "num_pairs": 4})
    80
    """
    return metrics.get("num_samples", math.inf) * metrics.get("num_pairs", 1)
