"""A trained T_k that can be sampled, and how it is read from the store."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import nn

from components import state as states
from components.conditions import Conditions
from components.gradients import push_through
from components.streams import normal, stream
from pipeline.data.endpoints import Endpoints, law_at, load_endpoints
from pipeline.data.given.outside import Reach
from pipeline.data.source import Samples
from pipeline.errors import Unusable
from pipeline.phase import Phase
from pipeline.store.maps import MapRef
from pipeline.store.phases import Store
from pipeline.training.solving.setting import network_spec

if TYPE_CHECKING:
    import pyarrow as pa

endpoints_of = lru_cache(maxsize=4)(load_endpoints)
"""The ends of a flow, the last few of which stay in memory: a process samples the maps of one flow one after the other."""
LEAST_ROWS, MOST_ROWS = 8, 16_384
"""The first and the largest block of rows that are evaluated together: memory stays bounded, and caches are of use."""
PART_BYTES, MOST_PER_PART = 32 * 2**20, 65_536
"""Most bytes and most rows of samples in one part."""


class Noise(NamedTuple):
    """The x and z of one draw, and the conditions where the map is given any."""

    x: Samples
    z: Samples
    condition: Conditions | None = None


@dataclass(frozen=True)
class Generator:
    """A trained T_k with its averaged weights: x ~ mu, z -> sample of mu_{k+1}, in one network evaluation.

    Example:
        >>> from pipeline.recipe import Recipe
        >>> phase, ends = Phase.of(Recipe(), k=0, parent=None), load_endpoints(Recipe().data)
        >>> initial = states.build_map(network_spec(phase.network, ends.shape)).state_dict()
        >>> generator_of(phase, ends, [initial]).sample(3).shape
        (3, 2)

    Attributes:
        maps: T_k alone, or all increments in order where the flow is composed.
    """

    phase: Phase
    endpoints: Endpoints
    maps: Sequence[nn.Module]

    @property
    def dim(self) -> int:
        """Count the coordinates of one sample."""
        return math.prod(self.endpoints.shape)

    def source(self, n: int, draw: int = 0) -> Samples:
        """Draw n samples of mu in the data's own units: what the identity T_{-1} makes of the x of `sample`."""
        return self.endpoints.to_units(self.endpoints.source.sample(n, stream(0, "evaluation_source", step=draw)))

    def sample(self, n: int, draw: int = 0, condition: object = None) -> Samples:
        """Draw n samples of mu_{k+1} in the data's own units; equal draws give equal samples, and equal x for every phase.

        Args:
            condition: that all samples are given: the number or name of a class, or values; None: each one drawn from the
                data's own distribution, where the map takes any.

        Raises:
            ValueError: there is no such condition, or the map takes none.
        """
        return self.joint(n, draw, condition)[0]

    def joint(self, n: int, draw: int = 0, condition: object = None) -> tuple[Samples, Conditions | None]:
        """Draw the n samples of `sample`, and the condition that each was given."""
        x, z = self.noise(n, stream(0, "evaluation_source", step=draw), stream(0, "evaluation_z", step=draw))
        given = self.conditions(n, stream(0, "evaluation_condition", step=draw), condition)
        return self.push(x, z, given), given

    def conditions(self, n: int, rng: np.random.Generator, asked: object = None) -> Conditions | None:
        """Draw n conditions from the data's distribution of c, or give the one that is asked for; None for maps without any.

        Raises:
            ValueError: there is no such condition, or the map takes none.
        """
        law = self.endpoints.law if asked is None else law_at(self.endpoints.law, asked)
        return None if law is None else law.draw(n, rng)

    def given(self, condition: object) -> "Generator":
        """Give the generator of the samples with one condition, which are compared with the data that have it.

        Raises:
            ValueError: there is no such condition, or the map takes none.
        """
        return replace(self, endpoints=self.endpoints.given(condition))

    def noise(self, n: int, of_x: np.random.Generator, of_z: np.random.Generator) -> tuple[Samples, Samples]:
        """Draw x ~ mu in the space the flow lives in, and z of shape (n, z_dim)."""
        return self.endpoints.source.sample(n, of_x), normal(of_z, n, self.phase.network.z_dim)

    @cached_property
    def reach(self) -> Reach:
        """Measure how far the source reaches, in the space that the flow lives in."""
        return Reach.of(self.endpoints.source.sample, tuple(self.endpoints.shape))

    def num_far(self, points: Samples) -> int:
        """Count the points, in the source's own units, that lie far outside it by `pipeline.data.given.outside.RULE`."""
        return int(self.reach.far(self.endpoints.from_source(points)).sum())

    def transport(self, points: Samples, seed: int = 0, condition: object = None, part: int = 0) -> Samples:
        """Apply the map to given points of the source, in their own units: T(x, z, c), in the data's own units.

        Args:
            points: float32 of shape (n, ...).
            seed: of z, and of c where it is drawn: row i gets the same ones, and the same digits, whatever rows are beside it.
            condition: as `sample` takes it.
            part: number of the part that the rows begin with, each of `rows_per_part` rows.

        Raises:
            ValueError: there is no such condition, or the map takes none.
        """
        parts = [push_in_blocks(self, noise) for noise in self.given_noise(points, seed, condition, part)]
        return np.concatenate(parts) if parts else np.zeros((0, *self.endpoints.shape), np.float32)

    def given_noise(
        self, points: Samples, seed: int, condition: object = None, part: int = 0, row_conditions: Conditions | None = None
    ) -> Iterator[Noise]:
        """Set z and c beside given points of the source, part by part, as `transport` takes them.

        Args:
            row_conditions: condition of each point, where they are known.
        """
        size = rows_per_part(tuple(self.endpoints.shape))
        for number, start in enumerate(range(0, len(points), size), part):
            rows = points[start : start + size]
            z, drawn = self._latent(len(rows), seed, number, condition)
            yield Noise(
                self.endpoints.from_source(rows), z, drawn if row_conditions is None else row_conditions[start : start + size]
            )

    def noise_at(self, n: int, seed: int, part: int, condition: object = None) -> Noise:
        """Draw n rows of noise, and their conditions, from a seed and the number of a part alone.

        Raises:
            ValueError: there is no such condition, or the map takes none.
        """
        latent = self._latent(n, seed, part, condition)
        return Noise(self.endpoints.source.sample(n, stream(seed, "generation_source", step=part)), *latent)

    def _latent(self, n: int, seed: int, part: int, condition: object) -> tuple[Samples, Conditions | None]:
        if condition is not None and self.endpoints.condition is not None:
            self.endpoints.condition.require_named(condition)
        given = self.conditions(n, stream(seed, "generation_condition", step=part), condition)
        return normal(stream(seed, "generation_z", step=part), n, self.phase.network.z_dim), given

    def push(self, x: Samples, z: Samples, condition: Conditions | None = None) -> Samples:
        """Map x and z, and conditions where the map takes them, to T(x, z, c), in the data's own units."""
        latent = torch.from_numpy(z) if z.shape[1] else None
        given = None if condition is None else torch.from_numpy(condition)
        return self.endpoints.to_units(push_through(self.maps, torch.from_numpy(x), latent, given).numpy())

    def table(self, samples: Samples, conditions: Conditions | None = None) -> "pa.Table":
        """Make a table of samples, and of the conditions that they were given, with the columns of the data.

        Raises:
            Unusable: the data are no table.
        """
        if self.endpoints.coding is None:
            raise Unusable(f"the samples of {self.phase.data.target} are no rows of a table")
        return self.endpoints.coding.table(samples, conditions)


def rows_per_part(shape: tuple[int, ...]) -> int:
    """Say how many samples of a shape one part has: a function of their size alone, so that parts never depend on the machine.

    >>> rows_per_part((2,)), rows_per_part((3, 256, 256))
    (65536, 42)
    """
    return max(1, min(MOST_PER_PART, PART_BYTES // (4 * math.prod(shape))))


def push_in_blocks(generator: Generator, noise: Noise) -> Samples:
    """Map noise to samples, each row with the same digits whatever is asked beside it and however many rows follow.

    BLAS adds up in another order for another number of rows, on some processors even where both are large. So a row is evaluated
    in a block whose place and size its number alone decides; the last block is filled up with zeros.
    """
    n, parts = len(noise.x), [part for part in noise if part is not None]
    samples = []
    for block in blocks(n):
        missing = max(0, block.stop - n)
        filled = (np.concatenate([part[block], np.zeros((missing, *part.shape[1:]), part.dtype)]) for part in parts)
        samples.append(generator.push(*filled))
    return np.concatenate(samples)[:n]


def blocks(num_rows: int) -> Iterator[slice]:
    """Cut rows into blocks of 8, 8, 16, 32, ... up to `MOST_ROWS` rows; the last block may go beyond them.

    >>> list(blocks(20))
    [slice(0, 8, None), slice(8, 16, None), slice(16, 32, None)]
    """
    start, size = 0, LEAST_ROWS
    while start < num_rows:
        yield slice(start, start + size)
        start += size
        size = min(start, MOST_ROWS)


def generator_of(phase: Phase, endpoints: Endpoints, weights: Iterable[Mapping[str, torch.Tensor]]) -> Generator:
    """Make the generator whose map, or increments in order, have these weights."""
    maps = []
    for each in weights:
        transport_map = states.build_map(network_spec(phase.network, endpoints.shape, endpoints.condition))
        transport_map.load_state_dict(each)
        maps.append(transport_map.eval())
    return Generator(phase, endpoints, maps)


def load_generator(store: Store, ref: MapRef, endpoints: Endpoints | None = None, data_uri: str | None = None) -> Generator:
    """Load the generator of a published map from the store.

    Args:
        endpoints: of its data, where they are known; loaded where they are not.
        data_uri: folder or URL of the prepared image sets, as `load_endpoints` takes it.

    Raises:
        Corrupt: an artifact does not match its manifest.
    """
    phase = store.phase_of(ref)
    endpoints = endpoints or endpoints_of(phase.data, data_uri)
    links = store.ancestors(ref) if phase.composed else [ref]
    return generator_of(phase, endpoints, (store.load(link, ["averaged_map"])["averaged_map"] for link in links))
