"""What metrics look at: samples of a map, or of the data in its place, beside samples that training has never seen."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Protocol

import numpy as np

from components.metrics import LEAST_SAMPLES
from components.streams import stream
from pipeline.data.source import Joint
from pipeline.evaluation.size import FULL, EvaluationSize

if TYPE_CHECKING:  # torch and pyarrow, which a search need not load to know its metrics; what describes images a replica need not
    from components.conditions import Conditions
    from pipeline.data.endpoints import Endpoints
    from pipeline.data.source import Samples, Source
    from pipeline.evaluation.extractors import Extractor
    from pipeline.generator import Generator

MOST_NUMBERS = 40_000_000
"""Most numbers that one sample holds in memory: 203 images of 256 x 256 in colour."""
SAMPLES_AT_ONCE = 250
MOST_TRAINED_ON = 10_000
"""Training images among which copies are looked for."""


def num_samples(endpoints: Endpoints, asked: int = FULL.num_samples) -> int:
    """Count the samples W2 is measured on: those asked for, or all there are where they are fewer, or what the memory holds."""
    return min(asked, endpoints.data.num_distinct or asked, max(64, MOST_NUMBERS // math.prod(endpoints.shape)))


def held_out(endpoints: Endpoints, draw: int, asked: int = FULL.num_samples) -> Samples:
    """Draw samples of the target that training never sees, the same ones for an equal `draw`."""
    return endpoints.data.held_out(num_samples(endpoints, asked), stream(0, "evaluation_target", step=draw))


class Sampler(Protocol):
    """The object that metrics judge, by its samples: a map, or the data themselves."""

    def sample(self, n: int, draw: int) -> Samples:
        """Draw n samples; equal draws give equal samples."""
        ...

    def joint(self, n: int, draw: int) -> tuple[Samples, Conditions | None]:
        """Draw the n samples of `sample`, and the condition that each was given, where the map is given any."""
        ...

    def many(self, n: int) -> Samples:
        """Draw more samples than one evaluation of a network may take, the same ones at each call."""
        ...

    def of_class(self, number: int, n: int, draw: int) -> Samples:
        """Draw n samples given a class."""
        ...

    def to_classify(self, n: int) -> Joint:
        """Draw n samples with the class that each was given: a classifier is tried on them."""
        ...


@dataclass(frozen=True)
class OfMap:
    """A trained map as what metrics judge."""

    generator: Generator

    def sample(self, n: int, draw: int) -> Samples:
        """Draw n samples in one evaluation of the network."""
        return self.generator.sample(n, draw)

    def joint(self, n: int, draw: int) -> tuple[Samples, Conditions | None]:
        """Draw n samples and their conditions."""
        return self.generator.joint(n, draw)

    def many(self, n: int) -> Samples:
        """Draw n samples, a few hundred at a time."""
        return np.concatenate([self.generator.sample(count, draw) for draw, count in enumerate(_in_parts(n))])

    def of_class(self, number: int, n: int, draw: int) -> Samples:
        """Draw n samples given a class."""
        return self.generator.sample(n, draw, number)

    def to_classify(self, n: int) -> Joint:
        """Draw n samples, their classes drawn from the data's distribution."""
        parts = [self.generator.joint(count, draw) for draw, count in enumerate(_in_parts(n))]
        classes = [conditions for _, conditions in parts if conditions is not None]
        return Joint(np.concatenate([samples for samples, _ in parts]), np.concatenate(classes))


@dataclass(frozen=True)
class OfData:
    """The data that training sees as what metrics judge: a perfect map would give them, so their metrics are floors."""

    endpoints: Endpoints

    def sample(self, n: int, draw: int) -> Samples:
        """Draw n samples, of a data set without replacement."""
        return self.endpoints.data.seen(n, stream(0, "evaluation_floor", step=draw))

    def joint(self, n: int, draw: int) -> tuple[Samples, Conditions | None]:
        """Draw n samples and their conditions, of a data set without replacement."""
        joint = self.endpoints.joint
        return (self.sample(n, draw), None) if joint is None else joint.seen(n, stream(0, "evaluation_floor", step=draw))

    def many(self, n: int) -> Samples:
        """Draw n samples, of a data set without replacement."""
        return self.sample(n, 0)

    def of_class(self, number: int, n: int, draw: int) -> Samples:
        """Draw n samples of a class, of a data set without replacement."""
        return of_class(self.endpoints, number).seen(n, stream(0, "evaluation_floor", step=draw))

    def to_classify(self, n: int) -> Joint:
        """Draw n held-out samples with their classes: those of training have taught the classifier."""
        assert self.endpoints.joint is not None
        return self.endpoints.joint.held_out(n, stream(0, "evaluation_target"))


def _in_parts(n: int) -> list[int]:
    """Cut n samples into parts that one evaluation of a network takes."""
    return [min(SAMPLES_AT_ONCE, n - begin) for begin in range(0, n, SAMPLES_AT_ONCE)]


def of_class(endpoints: Endpoints, number: int) -> Source:
    """Find the data of one class of a conditional flow."""
    assert endpoints.joint is not None
    return endpoints.joint.only(number)


@dataclass(frozen=True, eq=False)
class Draws:
    """The samples that metrics are measured on, drawn when the first metric asks for them.

    Attributes:
        size: on how many samples a distance is measured, and how often.
        first_draw: the number of the first sample; samples of other numbers are independent.
        extractor: what image metrics look through, where there is a network for these images.
        num_images: how many images it looks at, at most.
        logged: what was logged while the map was trained.
    """

    sampler: Sampler
    endpoints: Endpoints
    size: EvaluationSize = FULL
    first_draw: int = 0
    extractor: Extractor | None = None
    num_images: int = FULL.num_samples
    logged: Mapping[str, float] = field(default_factory=dict)

    @cached_property
    def pairs(self) -> list[tuple[Samples, Samples]]:
        """Draw pairs of samples and as many held-out ones, `size.num_pairs` of them."""
        n = num_samples(self.endpoints, self.size.num_samples)
        draws = range(self.first_draw, self.first_draw + self.size.num_pairs)
        return [(self.sampler.sample(n, draw), held_out(self.endpoints, draw, n)) for draw in draws]

    @cached_property
    def trained_on(self) -> Samples:
        """Draw images that training sees, MOST_TRAINED_ON or as many as memory holds, each once: a copy may be of two."""
        count = max(64, min(MOST_TRAINED_ON, MOST_NUMBERS // math.prod(self.endpoints.shape)))
        seen = self.endpoints.data.seen(count, stream(0, "evaluation_floor"))
        first = {hashlib.sha256(image.tobytes()).digest(): number for number, image in reversed(list(enumerate(seen)))}
        return seen[sorted(first.values())]

    @cached_property
    def by_class(self) -> list[tuple[Samples, Samples]]:
        """Draw pairs of samples given a class, and as many held-out ones of it: a pair for each class that the data have."""
        law = self.endpoints.law
        assert law is not None
        classes, pairs = law.present(), []
        for number in classes:
            data = of_class(self.endpoints, number)
            share = max(LEAST_SAMPLES, num_samples(self.endpoints, self.size.num_samples) // len(classes))
            reference = data.held_out(share, stream(0, "evaluation_target", step=self.first_draw))
            n = min(len(reference), data.num_distinct or share)
            if n >= LEAST_SAMPLES:
                pairs.append((self.sampler.of_class(number, n, self.first_draw), reference[:n]))
        return pairs

    @cached_property
    def to_classify(self) -> Joint:
        """Draw samples with the class that each was given, as many as there are held-out ones for."""
        n = num_samples(self.endpoints, self.size.num_samples)
        return self.sampler.to_classify(n)

    @cached_property
    def images(self) -> tuple[Samples, Samples]:
        """Draw images, at most `num_images`, and as many held-out ones."""
        n = min(self.num_images, self.endpoints.data.num_distinct or self.num_images)
        return self.sampler.many(n), self.endpoints.data.held_out(n, stream(0, "evaluation_target"))
