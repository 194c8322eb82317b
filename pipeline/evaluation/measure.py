"""Measure the metrics of a map on samples, each with its floor."""

import math
from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache

from components.metrics import LEAST_SAMPLES
from components.parts.naming import is_own
from pipeline.data.endpoints import Endpoints
from pipeline.errors import Unusable
from pipeline.evaluation.draws import Draws, OfData, OfMap, num_samples
from pipeline.evaluation.extractors import extractor
from pipeline.evaluation.image_metrics import image_metrics
from pipeline.evaluation.metrics import Metric, figures, floor_of, means, views_of
from pipeline.evaluation.offer import offer_of
from pipeline.evaluation.size import FULL, EvaluationSize
from pipeline.generator import Generator, endpoints_of
from pipeline.parts.faults import OwnParts
from pipeline.recipe import Data

NOTHING_LOGGED: Mapping[str, float] = {}


def evaluate(
    generator: Generator,
    size: EvaluationSize = FULL,
    first_draw: int = 0,
    *,
    with_floors: bool = True,
    logged: Mapping[str, float] = NOTHING_LOGGED,
) -> dict[str, float]:
    """Measure every metric that a generator's data have, with its floor, and say beside them on how many samples.

    Args:
        first_draw: the number of the first sample; samples of other numbers are independent.
        logged: what was logged while the map was trained, for metrics that need it.
    """
    fields = {f"evaluation.metrics[{number}]": name for number, name in enumerate(size.metrics) if is_own(name)}
    with OwnParts.of(generator.phase, fields).told(f"while phase {generator.phase.k} was measured"):
        return _evaluated(generator, size, first_draw, with_floors=with_floors, logged=logged)


def _evaluated(
    generator: Generator, size: EvaluationSize, first_draw: int, *, with_floors: bool, logged: Mapping[str, float]
) -> dict[str, float]:
    """Measure every metric, where own parts may fail."""
    endpoints = generator.endpoints
    offer = offer_of(generator.phase.data, logged, size.metrics)
    if endpoints.given_class is not None:  # its data are those of one class
        offer = replace(offer, has_modes=False, has_classes=False, has_classifier=False)
    n = num_samples(endpoints, size.num_samples)
    draws = Draws(OfMap(generator), endpoints, size, first_draw, offer.extractor, n, logged)
    measured = figures(offer)
    values = {name: count for metric in measured.values() for name, count in metric.needs.counts(draws).items()}
    views = views_of(measured, draws)
    values |= means(measured, views)
    if with_floors:
        of_views = {
            floor_of(name): replace(each, measure=each.floor) for name, each in measured.items() if each.floor is not None
        }
        values |= means(of_views, views)
        with_floor = tuple((name, each) for name, each in measured.items() if each.has_floor and each.floor is None)
        values |= floors(generator.phase.data, size, first_draw, endpoints.data_uri, with_floor, given=endpoints.given_class)
    return values


@lru_cache(maxsize=8)
def floors(
    data: Data,
    size: EvaluationSize,
    first_draw: int,
    data_uri: str | None,
    measured: tuple[tuple[str, Metric], ...],
    *,
    given: int | None = None,
) -> dict[str, float]:
    """Measure the same figures of the data themselves, of samples that training sees: what a perfect map would get.

    A flow's phases have the same floors, which take as long as the figures: those of the last few sizes are kept.

    Args:
        data_uri: folder or URL of prepared image sets, as `load_endpoints` takes it.
        measured: figures and their metrics.
        given: the class whose samples the data are; None: all.
    """
    endpoints, looks = endpoints_of(data, data_uri), offer_of(data).extractor
    if given is not None:
        endpoints = endpoints.given(given)
    draws = Draws(OfData(endpoints), endpoints, size, first_draw, looks, num_samples(endpoints, size.num_samples))
    values = means(dict(measured), views_of(dict(measured), draws))
    return {floor_of(name): value for name, value in values.items()}


def require_image_figures(endpoints: Endpoints, name: str, n: int, weights: str | None = None) -> None:
    """Refuse at once what `image_figures` could not measure.

    Raises:
        Unusable: the extractor cannot be had or takes no such samples, or they are too few.
    """
    if len(endpoints.shape) != 3:
        raise Unusable(f"--extractor is for images, and this map makes vectors of {math.prod(endpoints.shape)} numbers")
    extractor(name, weights).require(endpoints.shape)
    num_images = min(n, endpoints.data.num_distinct or n)
    if num_images < LEAST_SAMPLES:
        raise Unusable(
            f"--extractor needs at least {LEAST_SAMPLES} images, whose spread it compares: asked for are {n}, and of the fewer "
            f"of held-out and training images there are {endpoints.data.num_distinct}"
        )


def image_figures(
    generator: Generator, name: str, n: int, weights: str | None = None, own_metrics: tuple[str, ...] = ()
) -> dict[str, float]:
    """Measure the metrics of n images, or as many as are held out, that look through an extractor of any name.

    Args:
        weights: path or URL of the weights, for an extractor that does not bring its own.
        own_metrics: names of metrics from outside this repository.
    """
    looks, endpoints = extractor(name, weights), generator.endpoints
    samples, test = Draws(OfMap(generator), endpoints, num_images=n).images
    return image_metrics(samples, OfData(endpoints).many(len(samples)), test, looks, own_metrics)
