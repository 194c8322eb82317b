"""A generator as plain values, which workers get and build it from."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from components.conditions import Law
from deploy.versions.code import needed
from pipeline.data.endpoints import load_source
from pipeline.data.space import Space
from pipeline.generator import Generator, generator_of
from pipeline.parts import travel
from pipeline.phase import Phase

if TYPE_CHECKING:
    from pipeline.data.tables.coding import Coding


@dataclass(frozen=True)
class Travelling:
    """A generator as plain values that workers get.

    Attributes:
        phase: JSON of the phase.
        maps: weights of the phase's map, or of all increments, as numpy arrays.
        shape: of one sample.
        space: that the flow lives in.
        data_uri: folder or URL of prepared image sets, which only a source of images needs.
        law: of the condition that the map is given; None where it is given none.
        coding: the way from samples to the rows of a table, where they are some.
    """

    phase: str
    maps: tuple[Mapping[str, np.ndarray], ...]
    shape: tuple[int, ...]
    space: Space
    data_uri: str | None = None
    law: Law | None = None
    coding: "Coding | None" = None

    @classmethod
    def of(cls, generator: Generator) -> "Travelling":
        """Take a generator apart."""
        maps = tuple({key: value.numpy() for key, value in each.state_dict().items()} for each in generator.maps)
        ends = generator.endpoints
        return cls(generator.phase.to_json(), maps, ends.shape, ends.space, ends.data_uri, ends.law, ends.coding)

    @property
    def fingerprint(self) -> str:
        """Give the hash of all that the phase's result depends on."""
        return Phase.from_json(self.phase).fingerprint

    def generator(self) -> Generator:
        """Build the generator, in the worker that draws from it."""
        phase = Phase.from_json(self.phase)
        travel.require(needed(phase).items())
        of_source = (self.shape, self.space, self.data_uri)
        endpoints = load_source(phase.data, *of_source, picture="none", law=self.law, coding=self.coding)  # nobody draws pictures
        weights = ({key: torch.from_numpy(np.array(value)) for key, value in arrays.items()} for arrays in self.maps)
        return generator_of(phase, endpoints, weights)
