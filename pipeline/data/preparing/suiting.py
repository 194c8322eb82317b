"""What pictures say of how they are best prepared and trained on: side, channels, mirror images, how much is black and white."""

import io
import warnings
from pathlib import Path
from statistics import median

import numpy as np
from PIL import Image, ImageChops

from components.metrics import squared_distances
from pipeline import files as places
from pipeline.data.images.pixels import Pixels, as_rgb, content_of
from pipeline.data.preparing.originals import Original, Originals, Show

SIDES = (16, 28, 32, 48, 64)
"""Of prepared images, where nobody says another: what a flow learns on one core, and the pair `light` takes."""
NUM_LOOKED_AT = 200
GREY_MODES = ("1", "L")
"""Modes of Pillow whose pixels have one number, and need not be read to know that."""
NUM_MIRRORED, NUM_AMONG, SEEN_SIDE = 500, 2000, 32
"""Images whose mirror images are looked at, images among which the nearest is looked for, and the side at which."""
NEAR_EXTREME = 4
"""Levels from black, or from white, that are as good as it."""
ALIKE = 1.1
"""How much farther the nearest image may be from a mirror image than from the image itself. Digits have 1.4 to 1.9, Fashion-MNIST
1.2, its shirts 1.06."""


def side_of(originals: Originals) -> int:
    """Choose the side of prepared images: the largest of `SIDES` that half of the originals have at least, of 200 looked at."""
    images = originals.splits["train"]
    sides = [side for image in images[:: len(images) // NUM_LOOKED_AT + 1] if (side := _shorter_side(image)) is not None]
    usual = median(sides) if sides else SIDES[0]
    return max((side for side in SIDES if side <= usual), default=SIDES[0])


def _shorter_side(image: Original) -> int | None:
    """Give the shorter side of an image in pixels; None where it cannot be read, which is told when it is prepared."""
    if not isinstance(image.pixels, Path):
        return int(min(image.pixels.shape[1:]))
    try:
        with Image.open(image.pixels) as opened:
            return int(min(opened.size))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError, Image.DecompressionBombWarning):
        return None


def coloured(originals: Originals, show: Show) -> str | None:
    """Name an image that is in colour; None where every one that can be read is grey, so that one channel holds it.

    Red, green and blue may be equal at each pixel: such an image is grey too. The first one in colour ends the search.

    Args:
        show: told (images looked at, images in all) as it goes on.
    """
    images = [image for split in originals.splits.values() for image in split]
    with warnings.catch_warnings():  # they are told when the images are prepared
        warnings.simplefilter("ignore")
        for number, grey in enumerate(places.in_order(_is_grey, images)):
            if not grey:
                return images[number].name
            show(number + 1, len(images))
    return None


def _is_grey(image: Original) -> bool:
    """Say whether an image has no colour; True too of what cannot be read, which is told when it is prepared."""
    if not isinstance(image.pixels, Path):
        return bool((image.pixels == image.pixels[:1]).all())
    try:
        with Image.open(io.BytesIO(content_of(image.pixels))) as opened:
            if opened.mode in GREY_MODES or opened.mode.startswith("I"):
                return True
            red, green, blue = as_rgb(opened, []).split()
    except Exception:  # Pillow raises whatever a damaged file makes its decoders do
        return True
    return ImageChops.difference(red, green).getbbox() is None and ImageChops.difference(red, blue).getbbox() is None


def extremes(images: Pixels) -> float:
    """Measure the share of values that are all but black or white: Fashion-MNIST has .5, photographs have few.

    Example:
        >>> extremes(np.array([[[[0, 100], [130, 255]]]], dtype=np.uint8))
        0.5
    """
    return float((np.abs(images.astype(np.int16) - 127.5) > 127.5 - NEAR_EXTREME).mean())


def looks_mirrored(images: Pixels) -> bool:
    """Say whether mirror images could be images of the set themselves: whether their nearest images are about as near.

    Example:
        >>> left = np.zeros((9, 1, 8, 8), dtype=np.uint8)
        >>> left[:, :, np.arange(8), 0] = np.arange(200, 245, 5, dtype=np.uint8)[:, None, None]
        >>> looks_mirrored(left), looks_mirrored(np.concatenate([left, left[..., ::-1]]))
        (False, True)
    """
    if len(images) < 2:
        return False
    stride = max(1, images.shape[-1] // SEEN_SIDE)
    seen = images[:NUM_AMONG, :, ::stride, ::stride].astype(np.float32)
    flat = [each.reshape(len(seen), -1) for each in (seen, seen[..., ::-1])]
    themselves, mirrored = (_to_others(each[:NUM_MIRRORED], flat[0]) for each in flat)
    return mirrored <= ALIKE * themselves


def _to_others(x: np.ndarray, y: np.ndarray) -> float:
    """Measure how far each x is from the nearest y but the one of its own number, as a mean."""
    squared = np.concatenate(list(squared_distances(x, y)))
    squared[np.arange(len(x)), np.arange(len(x))] = np.inf
    return float(np.sqrt(squared.min(1)).mean())
