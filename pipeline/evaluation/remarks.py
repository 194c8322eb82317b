"""What the figures of a map do not say by themselves: that they are of few samples, or that W2 rewards blur."""

import math
from collections.abc import Mapping

from pipeline.evaluation.metrics import floor_of
from pipeline.words import counted

FEW_SAMPLES = 30
"""Of fewer samples W2 and its floor say little: of 30 normal ones in the plane their ratio varies by .22, of 8 by .34."""
SHARP, MANY_COPIES = 1.25, 0.15
"""How far the detail of images may be from the data's before it is said, and the share of near copies beside .05 of the data."""


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

    >>> _on_images({"detail": 0.4, "detail_floor": 1.0, "near_copies": 0.3, "near_copies_floor": 0.05})
    'the images are blurred, which W2 rewards (detail 0.40, floor 1.00); many nearly repeat training images (30 %, floor 5 %)'
    """
    detail, usual = metrics.get("detail", math.nan), metrics.get(floor_of("detail"), math.nan)
    if math.isnan(detail) or math.isnan(usual):
        return None
    sharp = "about as sharp as the data"
    if not usual / SHARP <= detail <= usual * SHARP:
        sharp = "blurred, which W2 rewards" if detail < usual else "noisier than the data"
    sentence = f"the images are {sharp} (detail {detail:.2f}, floor {usual:.2f})"
    copies, few = metrics.get("near_copies", math.nan), metrics.get(floor_of("near_copies"), math.nan)
    if math.isnan(copies) or math.isnan(few):
        return sentence
    many = f"{'many' if copies > MANY_COPIES else 'few'} nearly repeat training images"
    return f"{sentence}; {many} ({100 * copies:.0f} %, floor {100 * few:.0f} %)"
