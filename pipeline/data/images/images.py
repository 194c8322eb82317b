"""Sets of images as sources: grey levels from memory or from a stream, brought to [-1, 1] and perhaps mirrored."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal, Protocol, Self

import numpy as np
from jaxtyping import Float

from components.conditions import Condition, Conditions
from components.streams import stream
from pipeline.data.images.pixels import Pixels
from pipeline.data.images.prepared import Levels
from pipeline.data.joint import JointRows
from pipeline.data.points import Points
from pipeline.data.source import At, Moments, Samples, moments_of

HALF = 255 / 2
"""Grey level that becomes 0, and by which levels are divided."""


class PixelReader(Protocol):
    """A reader of images as grey levels from 0 to 255: a `Source` but for its units."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Give the shape of one image: (channels, side, side)."""

    @property
    def digest(self) -> str:
        """Hash all images, those of training first."""

    @property
    def num_distinct(self) -> int:
        """Count test images, or training images where they are fewer."""

    def batch(self, at: At) -> Pixels:
        """Give one rank's rows of the global batch of a step."""

    def sample(self, n: int, rng: np.random.Generator) -> Pixels:
        """Draw n training images with replacement."""

    def seen(self, n: int, rng: np.random.Generator) -> Pixels:
        """Draw n training images without replacement."""

    def held_out(self, n: int, rng: np.random.Generator) -> Pixels:
        """Draw n test images without replacement."""

    def unit_moments(self) -> Moments:
        """Measure the moments of the training images, brought to [-1, 1]."""


@dataclass(frozen=True)
class Mapped(Points):
    """Images in memory or mapped into it, as a `PixelReader`: batches are independent draws.

    Attributes:
        levels: mean and variance of the training images, where they are known.
    """

    levels: Levels | None = None

    def only(self, train: np.ndarray, test: np.ndarray) -> Self:
        """Give the reader of some of the images: those that two masks say."""
        return replace(self, train=self.train[train], test=self.test[test], levels=None)

    def unit_moments(self) -> Moments:
        """Measure the moments of the training images, brought to [-1, 1]."""
        return moments_of(to_unit_range(self.train)) if self.levels is None else unit_moments_of(self.levels)


@dataclass(frozen=True)
class Images:
    """Images in [-1, 1] as a `Source`.

    Example:
        >>> pixels = np.zeros((5, 1, 8, 8), dtype=np.uint8)
        >>> Images(Mapped(pixels, pixels[:2])).held_out(2, np.random.default_rng(0)).shape
        (2, 1, 8, 8)

    Attributes:
        flip: mirror each image of a batch left to right with probability 1/2.
        labels: reads the classes of the training images and of the test images, counted from 0.
    """

    pixels: PixelReader
    flip: bool = False
    labels: Callable[[], tuple[Conditions, Conditions]] | None = None
    modes: None = None
    units: Literal["data"] = "data"
    picture: str = "images"

    @property
    def shape(self) -> tuple[int, ...]:
        """Give the shape of one image: (channels, side, side)."""
        return self.pixels.shape

    @property
    def digest(self) -> str:
        """Hash all images, those of training first."""
        return self.pixels.digest

    @property
    def num_distinct(self) -> int:
        """Count test images, or training images where they are fewer."""
        return self.pixels.num_distinct

    def moments(self) -> Moments:
        """Measure the moments of the training images, with their mirror images where they are flipped."""
        moments = self.pixels.unit_moments()
        if not self.flip:
            return moments
        half = (moments.mean - moments.mean[..., ::-1]) / 2
        return Moments(moments.mean - half, float(np.sqrt(moments.std**2 + (half.astype(np.float64) ** 2).mean())))

    def batch(self, at: At) -> Samples:
        """Give one rank's rows of the global batch of a step."""
        return self.view(self.pixels.batch(at), at)

    def view(self, pixels: Pixels, at: At | None) -> Samples:
        """Bring grey levels to [-1, 1]; those of a batch are mirrored where the source says so."""
        if self.flip and at is not None:
            mirrored = stream(at.seed, "flip", phase=at.phase, step=at.step).random(at.n)[at.rows] < 0.5
            pixels = np.where(mirrored[:, None, None, None], pixels[..., ::-1], pixels)
        return to_unit_range(pixels)

    def joint(self, condition: Condition) -> JointRows:
        """Give the images with their classes."""
        assert isinstance(self.pixels, Mapped)  # a rule of recipes
        assert self.labels is not None
        train, test = self.labels()
        return JointRows(self, self.pixels, condition, train, test, self.view)

    def only(self, train: np.ndarray, test: np.ndarray) -> Self:
        """Give the source of some of the images: those that two masks say."""
        assert isinstance(self.pixels, Mapped)
        return replace(self, pixels=self.pixels.only(train, test), labels=None)

    def sample(self, n: int, rng: np.random.Generator) -> Samples:
        """Draw n training images with replacement, none of them mirrored."""
        return to_unit_range(self.pixels.sample(n, rng))

    def held_out(self, n: int, rng: np.random.Generator) -> Samples:
        """Draw n test images without replacement."""
        return to_unit_range(self.pixels.held_out(n, rng))

    def seen(self, n: int, rng: np.random.Generator) -> Samples:
        """Draw n training images without replacement, none of them mirrored."""
        return to_unit_range(self.pixels.seen(n, rng))


def to_unit_range(images: Pixels) -> Float[np.ndarray, "n c s s"]:
    """Bring grey levels from 0-255 to [-1, 1]."""
    return (images.astype(np.float32) / HALF) - 1


def unit_moments_of(levels: Levels) -> Moments:
    """Bring moments of grey levels to those of images in [-1, 1]."""
    mean, variance = levels
    return Moments((mean / HALF - 1).astype(np.float32), float(np.sqrt(variance.mean())) / HALF)
