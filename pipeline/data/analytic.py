"""Analytic measures as sources: those of the plane, a Gaussian of any dimension, and noise of any shape."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

import numpy as np

from components import measures
from components.conditions import Condition, Law
from components.measures import Measure, Modes
from components.streams import normal, stream
from pipeline.data.joint import class_of
from pipeline.data.source import At, EndName, Joint, Moments, Samples, Source, moments_of
from pipeline.data.specs import SourceSpec
from pipeline.recipe import Data
from pipeline.recipes.values import Refused

NUM_FOR_MOMENTS = 65_536
MODE = "mode"
"""What recipes call the condition that is the mode of a sample."""
LEAST_REJECTED = 256
"""Samples that are drawn at once where those of one mode are looked for."""


@dataclass(frozen=True)
class Analytic:
    """A measure that can be drawn from without end, as a `Source`: no sample comes twice.

    Example:
        >>> Analytic.of(measures.MOONS).sample(3, np.random.default_rng(0)).shape
        (3, 2)
    """

    shape: tuple[int, ...]
    draw: Callable[[int, np.random.Generator], Samples]
    modes: Modes | None = None
    units: Literal["data", "space"] = "data"
    picture: str = "points"
    digest: None = None
    num_distinct: None = None

    @classmethod
    def of(cls, measure: Measure) -> "Analytic":
        """Make a measure on R^d a source, in the measure's own units."""
        return cls((measure.dim,), measure.sample, measure.modes)

    def moments(self) -> Moments:
        """Measure the moments on 65,536 samples that are the same at every call."""
        return moments_of(self.draw(NUM_FOR_MOMENTS, stream(0, "standardisation")))

    def batch(self, at: At) -> Samples:
        """Give one rank's rows of the global batch of a step, all of which is drawn."""
        return self.draw(at.n, stream(at.seed, at.end, phase=at.phase, step=at.step))[at.rows]

    def sample(self, n: int, rng: np.random.Generator) -> Samples:
        """Draw n samples of the measure, each a new one."""
        return self.draw(n, rng)

    held_out = seen = sample

    def joint(self, condition: Condition) -> "JointMeasure":
        """Give the samples with the mode that each lies nearest to."""
        return JointMeasure(self, condition)


@dataclass(frozen=True)
class JointMeasure:
    """A measure with modes as a `JointSource`: the condition of a sample is the mode that it lies nearest to.

    Example:
        >>> joint = Analytic.of(measures.TWO_CIRCLES).joint(TWO_CIRCLES.conditions(Data())["mode"])
        >>> joint.held_out(3, np.random.default_rng(0)).conditions.tolist()
        [0, 0, 0]
    """

    measure: Analytic
    condition: Condition

    def law(self) -> Law:
        """Give the probabilities of the modes."""
        assert self.measure.modes is not None
        return Law(self.condition, np.asarray(self.measure.modes.mode_weights))

    def batch(self, at: At) -> Joint:
        """Give one rank's rows of the global batch of a step."""
        return self._with_modes(self.measure.batch(at))

    def sample(self, n: int, rng: np.random.Generator) -> Joint:
        """Draw n samples of the measure, each a new one."""
        return self._with_modes(self.measure.draw(n, rng))

    held_out = seen = sample

    def only(self, asked: object) -> Analytic:
        """Give the measure of one mode, drawn by rejection."""
        mode = class_of(self.condition, asked)

        def draw(n: int, rng: np.random.Generator) -> Samples:
            parts = [np.empty((0, *self.measure.shape), np.float32)]
            while sum(map(len, parts)) < n:
                samples, modes = self.sample(max(n, LEAST_REJECTED), rng)
                parts.append(samples[modes == mode])
            return np.concatenate(parts)[:n]

        return replace(self.measure, draw=draw, modes=None)

    def _with_modes(self, samples: Samples) -> Joint:
        assert self.measure.modes is not None
        assert self.measure.modes.nearest is not None
        return Joint(samples, self.measure.modes.nearest(samples).astype(np.int64))


@dataclass(frozen=True)
class MeasureSpec(SourceSpec):
    """The specification of a measure on R^d whose dimension is fixed: what recipes must know of it.

    Example:
        >>> from pipeline.recipe import Data
        >>> MeasureSpec(measures.MOONS).shape(Data())
        (2,)
    """

    measure: Measure
    picture: str = "points"

    @property
    def modes(self) -> Modes | None:
        """Give the modes of the measure, where there are any."""
        return self.measure.modes

    def conditions(self, data: Data) -> Mapping[str, Condition]:
        """Offer the mode of a sample, where there are modes."""
        modes = self.measure.modes
        if modes is None or modes.nearest is None:
            return {}
        return {MODE: Condition(MODE, tuple(map(str, range(len(modes.mode_weights)))))}

    def shape(self, data: Data) -> tuple[int, ...]:
        """Give the shape (d,) of the measure's samples."""
        return (self.measure.dim,)

    def fits(self, shape: tuple[int, ...]) -> bool:
        """Say whether a target is a measure on R^d as well."""
        return len(shape) == 1

    def require_source(self, data: Data, shape: tuple[int, ...]) -> None:
        """Refuse a target of another dimension than this source has; data.dim may be there for it."""
        if shape != self.shape(data):
            raise Refused("data.dim", f"{self.measure.dim} for data.source {data.source}", data.dim)

    def open(self, data: Data, end: EndName, shape: tuple[int, ...], data_uri: str | None) -> Source:
        """Make the measure a source; there is nothing to load."""
        return Analytic.of(self.measure)


@dataclass(frozen=True)
class FamilySpec(SourceSpec):
    """The specification of measures of one kind that exist in every dimension: what recipes must know of them."""

    of_dim: Callable[[int], Measure]
    picture: str = "points"
    fields = frozenset({"dim"})

    def shape(self, data: Data) -> tuple[int, ...]:
        """Give the shape (d,) with the dimension that data.dim says."""
        return (data.dim,)

    def fits(self, shape: tuple[int, ...]) -> bool:
        """Say whether a target is a measure on R^d as well."""
        return len(shape) == 1

    def open(self, data: Data, end: EndName, shape: tuple[int, ...], data_uri: str | None) -> Source:
        """Make the measure of the target's dimension a source."""
        return Analytic.of(self.of_dim(*shape))


@dataclass(frozen=True)
class NoiseSpec(SourceSpec):
    """The specification of standard normal noise, which has any shape: what recipes must know of it."""

    picture: str = "points"
    fields = frozenset({"dim"})

    def shape(self, data: Data) -> tuple[int, ...]:
        """Give the shape (d,) with the dimension that data.dim says."""
        return (data.dim,)

    def fits(self, shape: tuple[int, ...]) -> bool:
        """Say that noise can be the source for every target."""
        return True

    def open(self, data: Data, end: EndName, shape: tuple[int, ...], data_uri: str | None) -> Source:
        """Make noise of the target's shape a source that has no units."""
        return noise(shape)


def noise(shape: tuple[int, ...]) -> Analytic:
    """Make N(0, I) of a shape a source, in the space that flows live in."""
    return Analytic(shape, partial(_normal, shape=shape), units="space")


def _normal(n: int, rng: np.random.Generator, *, shape: tuple[int, ...]) -> Samples:
    return normal(rng, n, *shape)


NORMAL = NoiseSpec()
GAUSSIAN = FamilySpec(measures.gaussian)
GAUSS8 = MeasureSpec(measures.GAUSS8)
GAUSS25 = MeasureSpec(measures.GAUSS25)
TWO_CIRCLES = MeasureSpec(measures.TWO_CIRCLES)
MOONS = MeasureSpec(measures.MOONS)
CHECKERBOARD = MeasureSpec(measures.CHECKERBOARD)
SPIRAL = MeasureSpec(measures.SPIRAL)
SWISS_ROLL = MeasureSpec(measures.SWISS_ROLL)
PINWHEEL = MeasureSpec(measures.PINWHEEL)
