"""Metrics of any published T_k."""

import math
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache

import numpy as np

from components.metrics import LEAST_SAMPLES, mode_statistics, sliced_w2, w2
from components.streams import stream
from pipeline.data.endpoints import Endpoints, Samples
from pipeline.errors import Unusable
from pipeline.evaluation.extractors import extractor, trained_on
from pipeline.evaluation.image_metrics import image_metrics
from pipeline.evaluation.size import EvaluationSize
from pipeline.generator import Generator, endpoints_of
from pipeline.recipe import Data
from pipeline.store.runs import Run

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
    own = trained_on(generator.phase.data.target, generator.endpoints.shape)
    return own.name if own else None


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
    if endpoints.modes is not None:
        samples = np.concatenate([x for x, _ in pairs])
        metrics |= mode_statistics(endpoints.modes.mode_of(samples), endpoints.modes.mode_weights)
        metrics["modes"] = len(endpoints.modes.mode_weights)
    return metrics
