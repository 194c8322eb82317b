"""Samples and metrics of any published T_k, by reference."""

import math
import os
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import nn

from components import state as states
from components.gradients import push_through
from components.metrics import LEAST_SAMPLES, mode_statistics, sliced_w2, w2
from components.streams import normal, stream
from pipeline.data.endpoints import Endpoints, Samples, load_endpoints
from pipeline.errors import Unusable
from pipeline.evaluation.extractors import extractor
from pipeline.evaluation.image_metrics import image_metrics
from pipeline.evaluation.size import EvaluationSize
from pipeline.phase import Phase
from pipeline.recipe import Data
from pipeline.store.phases import MapRef, Store
from pipeline.store.runs import Run
from pipeline.training.build import shape_of

EVALUATED = "sjko.evaluated"
"""Tag of a run that holds the metrics of its map: how they were computed."""
EVALUATION_VERSION = "2"
"""Raised when figures of equal samples change, so that they are computed again; 2: floors without replacement."""
OF_TRAINING = {"potential_loss", "map_loss", "transport_cost", "gradient_penalty", "divergence", "step", "train_seconds"}
"""Metrics of a phase's run that its worker logged."""
FULL = EvaluationSize()
MOST_NUMBERS = 40_000_000
"""Of one sample: 203 images of 256 x 256 in colour."""
SAMPLES_AT_ONCE = 250
OWN_EXTRACTORS = {"fashion_mnist": "lenet", "digits": "lenet_digits"}
endpoints_of = lru_cache(maxsize=4)(load_endpoints)


@dataclass(frozen=True)
class Generator:
    """A trained T_k with its averaged weights: x ~ mu, z -> sample of mu_{k+1}, in one network evaluation.

    Attributes:
        maps: T_k alone, or all increments in order where the flow is composed.
    """

    phase: Phase
    endpoints: Endpoints
    maps: Sequence[nn.Module]

    @property
    def dim(self) -> int:
        """Coordinates of a sample."""
        return math.prod(self.endpoints.shape)

    def source(self, n: int, draw: int = 0) -> Samples:
        """n samples of mu in the data's own units: what the identity T_{-1} makes of the x of `sample`."""
        return self.endpoints.to_units(self.endpoints.source(n, stream(0, "evaluation_source", step=draw)))

    def sample(self, n: int, draw: int = 0) -> Samples:
        """n samples in the data's own units; equal draws give equal samples, and equal x for every phase."""
        return self.push(*self.noise(n, stream(0, "evaluation_source", step=draw), stream(0, "evaluation_z", step=draw)))

    def noise(self, n: int, of_x: np.random.Generator, of_z: np.random.Generator) -> tuple[Samples, Samples]:
        """x ~ mu in the space the flow lives in, and z of shape (n, z_dim)."""
        return self.endpoints.source(n, of_x), normal(of_z, n, self.phase.network.z_dim)

    def push(self, x: Samples, z: Samples) -> Samples:
        """T(x, z) in the data's own units."""
        latent = torch.from_numpy(z) if z.shape[1] else None
        return self.endpoints.to_units(push_through(self.maps, torch.from_numpy(x), latent).numpy())


def generator_of(phase: Phase, endpoints: Endpoints, weights: Iterable[Mapping[str, torch.Tensor]]) -> Generator:
    """The generator whose map, or increments in order, have these weights."""
    maps = []
    for each in weights:
        transport_map = states.build_map(shape_of(phase, endpoints))
        transport_map.load_state_dict(each)
        maps.append(transport_map.eval())
    return Generator(phase, endpoints, maps)


def load_generator(store: Store, ref: MapRef, endpoints: Endpoints | None = None, where: str | None = None) -> Generator:
    """The generator behind a reference.

    Args:
        endpoints: of its data, where they are known; loaded where they are not.
        where: prepared image sets are, as `load_endpoints` takes it.

    Raises:
        Corrupt: an artifact does not match its manifest.
    """
    phase = store.phase_of(ref)
    endpoints = endpoints or endpoints_of(phase.data, where)
    links = store.ancestors(ref) if phase.composed else [ref]
    return generator_of(phase, endpoints, (store.load(link, ["averaged_map"])["averaged_map"] for link in links))


def num_samples(endpoints: Endpoints, most: int = FULL.num_samples) -> int:
    """How many samples W2 is measured on: those asked for, or all there are where they are fewer, or what the memory holds."""
    return min(most, endpoints.num_distinct or most, max(64, MOST_NUMBERS // math.prod(endpoints.shape)))


def held_out(endpoints: Endpoints, draw: int, most: int = FULL.num_samples) -> Samples:
    """Samples of the target that training never sees."""
    return endpoints.held_out(num_samples(endpoints, most), stream(0, "evaluation_target", step=draw))


@lru_cache(maxsize=8)
def floors(data: Data, size: EvaluationSize = FULL, first_draw: int = 0, where: str | None = None) -> dict[str, float]:
    """The same distances between held-out samples and independent samples of the target itself: what a perfect map would get."""
    endpoints = endpoints_of(data, where)
    n = num_samples(endpoints, size.num_samples)
    draws = range(first_draw, first_draw + size.num_pairs)
    fresh = [endpoints.seen(n, stream(0, "evaluation_floor", step=draw)) for draw in draws]
    means = mean_distances([(x, held_out(endpoints, draw, n)) for draw, x in zip(draws, fresh, strict=True)])
    return {f"{name}_floor": value for name, value in means.items()}


def mean_distances(pairs: Sequence[tuple[Samples, Samples]]) -> dict[str, float]:
    """Distances averaged over pairs of samples, one thread per core: the solver releases the interpreter's lock."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        rows = list(pool.map(lambda pair: distances(*pair), pairs))
    return {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}


def own_extractor(generator: Generator) -> str | None:
    """The network that was trained on the very data of a flow, where there is one: seconds per phase, unlike ImageNet's."""
    name = OWN_EXTRACTORS.get(generator.phase.data.target)
    fits = name is not None and extractor(name).shape == generator.endpoints.shape
    return name if fits else None


def require_image_figures(endpoints: Endpoints, name: str, n: int, weights: str | None = None) -> None:
    """Refuse at once what `image_figures` could not measure.

    Raises:
        Unusable: the extractor cannot be had or takes no such samples, or they are too few.
    """
    if len(endpoints.shape) != 3:
        raise Unusable(f"--extractor is for images, and this map makes vectors of {math.prod(endpoints.shape)} numbers")
    extractor(name, weights).require(endpoints.shape)
    there = min(n, endpoints.num_distinct or n)
    if there < LEAST_SAMPLES:
        raise Unusable(
            f"--extractor needs at least {LEAST_SAMPLES} images, whose spread it compares: asked for are {n}, and of the fewer "
            f"of held-out and training images there are {endpoints.num_distinct}"
        )


def image_figures(generator: Generator, name: str, n: int, weights: str | None = None) -> dict[str, float]:
    """Image metrics of n samples, or as many as there are held-out images, in the features of an extractor.

    Args:
        weights: path or URL of the weights of `inception`.
    """
    endpoints = generator.endpoints
    n = min(n, endpoints.num_distinct or n)
    counts = [min(SAMPLES_AT_ONCE, n - begin) for begin in range(0, n, SAMPLES_AT_ONCE)]
    samples = np.concatenate([generator.sample(count, draw) for draw, count in enumerate(counts)])
    train = endpoints.seen(n, stream(0, "evaluation_floor"))
    test = endpoints.held_out(n, stream(0, "evaluation_target"))
    return image_metrics(samples, train, test, extractor(name, weights))


def distances(samples: Samples, reference: Samples) -> dict[str, float]:
    """W2 and sliced W2 between two samples, in the data's own units."""
    x, y = samples.reshape(len(samples), -1), reference.reshape(len(reference), -1)
    return {"w2": w2(x, y), "sliced_w2": sliced_w2(x, y, stream(0, "projections"))}


def evaluation_tag(size: EvaluationSize) -> str:
    """Say how metrics were computed, as the tag of their run has it."""
    return f"version {EVALUATION_VERSION}, {size}"


def measured_before(run: Run, size: EvaluationSize = FULL) -> dict[str, float] | None:
    """What `evaluate` gives for the map of a phase's run, where that was kept; None where it is to be computed."""
    if run.data.tags.get(EVALUATED) != evaluation_tag(size):
        return None
    return {name: value for name, value in run.data.metrics.items() if name not in OF_TRAINING}


def evaluate(
    generator: Generator, size: EvaluationSize = FULL, first_draw: int = 0, *, with_floors: bool = True
) -> dict[str, float]:
    """Metrics of a generator, each distance with its floor, on samples numbered from `first_draw`; how many, beside them."""
    endpoints = generator.endpoints
    n, draws = num_samples(endpoints, size.num_samples), range(first_draw, first_draw + size.num_pairs)
    pairs = [(generator.sample(n, draw), held_out(endpoints, draw, n)) for draw in draws]
    metrics: dict[str, float] = {"num_samples": n, "num_pairs": size.num_pairs}
    metrics |= mean_distances(pairs)
    if with_floors:
        metrics |= floors(generator.phase.data, size, first_draw, endpoints.where)
    if (name := own_extractor(generator)) is not None:
        metrics |= image_figures(generator, name, n)
    if endpoints.modes is not None and endpoints.modes.mode_of is not None:
        samples = np.concatenate([x for x, _ in pairs])
        metrics |= mode_statistics(endpoints.modes.mode_of(samples), endpoints.modes.mode_weights)
        metrics["modes"] = len(endpoints.modes.mode_weights)
    return metrics
