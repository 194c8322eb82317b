"""What is tried of a metric and of an image extractor, on noise in the place of samples."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from pipeline.data.analytic import noise
from pipeline.data.endpoints import Endpoints, between, load_endpoints
from pipeline.evaluation.draws import Draws, OfData
from pipeline.evaluation.extractors import EXTRACTORS, Extractor
from pipeline.evaluation.metrics import Metric
from pipeline.evaluation.offer import Offer
from pipeline.evaluation.size import EvaluationSize
from pipeline.parts.checks.check import Check, Failed, require, tried
from pipeline.recipe import Data

SIZE = EvaluationSize(num_samples=64, num_pairs=2)
LOGGED = {"divergence": 0.1, "transport_cost": 0.1}
WITH_MODES = "moons"
WITH_CLASSES = Data(target="digits", standardise=False, condition="label")
LOOKS = "lenet_digits"


def checks_of(metric: Metric, shape: tuple[int, ...] = (2,)) -> list[Check]:
    """Try a metric on samples of a shape, or on what else it needs: modes, images in the features of a network, what was logged.

    >>> from pipeline.evaluation.built_in import W2
    >>> [check.passed for check in checks_of(W2)]
    [True, True, True]
    """
    tries = _Tries(metric, shape)
    return [
        tried("needs", "name a figure for some data, and give views of them", tries.needs),
        tried("measure", "give one finite number for a view, the same one each time", tries.measure),
        tried("brief", "be text with {value}, {percent}, {floor} or numbers beside the figure", tries.brief),
    ]


class _Tries:
    """A metric, and what it looks at."""

    def __init__(self, metric: Metric, shape: tuple[int, ...]) -> None:
        self.metric, self.shape = metric, shape
        self.views: Sequence[Any] = ()
        self.counts: dict[str, float] = {}

    def offers(self) -> list[tuple[Offer, Endpoints]]:
        plain = between(noise(self.shape), noise(self.shape), standardise=False)
        looks = EXTRACTORS[LOOKS]
        assert looks.shape is not None
        images = between(noise(looks.shape), noise(looks.shape), standardise=False)
        return [
            (Offer(has_pairs=True), plain),
            (Offer(has_modes=True), load_endpoints(Data(target=WITH_MODES))),
            (Offer(logged=frozenset(LOGGED)), plain),
            (Offer(extractor=looks), images),
            (Offer(extractor=looks, has_classes=True, has_classifier=True), load_endpoints(WITH_CLASSES)),
        ]

    def needs(self) -> str:
        for offer, endpoints in self.offers():
            figure = self.metric.needs.figure(self.metric.name, offer)
            if figure is not None:
                draws = Draws(OfData(endpoints), endpoints, SIZE, 0, offer.extractor, SIZE.num_samples, LOGGED)
                self.views, self.counts = self.metric.needs.views(draws), dict(self.metric.needs.counts(draws))
                require(len(self.views) > 0, "there are no views")
                return f"{figure}, {len(self.views)} views"
        raise Failed("it names none, whatever the data are")

    def measure(self) -> str:
        require(len(self.views) > 0, "it could not be tried without a view")
        first, again = self.metric.measure(self.views[0]), self.metric.measure(self.views[0])
        require(isinstance(first, int | float | np.number), f"it gives a {type(first).__name__}")
        require(math.isfinite(first), f"it gives {first}")
        require(first == again, f"it gives {first:.6g}, and then {again:.6g}: draw with a seed")
        return f"{first:.4g} on {SIZE.num_samples} samples of noise"

    def brief(self) -> str:
        known = {**self.counts, "value": 0.5, "percent": 50.0, "floor": 0.4, "network": LOOKS}
        try:
            return self.metric.brief.format_map(known) or "not shown in the line of a phase"
        except KeyError as error:
            raise Failed(f"{self.metric.brief!r} has {{{error.args[0]}}}; there are {', '.join(known)}") from error


def extractor_checks(extractor: Extractor) -> list[Check]:
    """Try an extractor on noise in 8 bits, of the shape that it takes.

    >>> len(extractor_checks(EXTRACTORS["lenet_digits"]))
    2
    """
    shape = extractor.shape or (3, 32, 32)
    pixels = np.random.default_rng(0).integers(256, size=(4, *shape), dtype=np.uint8)

    def describe() -> str:
        first, again = extractor.describe(pixels), extractor.describe(pixels)
        features = first.features
        require(features.ndim == 2 and len(features) == len(pixels), f"features have the shape {features.shape}")
        require(bool(np.isfinite(features).all()), "features are not finite")
        require(np.array_equal(features, again.features), "two calls give different features: put the network into eval()")
        alone = extractor.describe(pixels[:1]).features
        require(np.allclose(alone, features[:1], rtol=1e-3, atol=1e-4), "an image's features change with the images beside it")
        needs_logits = extractor.classes is not None
        require((first.logits is not None) >= needs_logits, f"there are no logits, and classes is {extractor.classes}")
        return f"{features.shape[1]} features of an image {shape}"

    def identity() -> str:
        require(isinstance(extractor.sha256, str) and len(extractor.sha256) >= 8, f"it is {extractor.sha256!r}"[:200])
        return extractor.sha256[:12]

    return [
        tried("read", "give the network and a hash of its weights", identity),
        tried("describe", "give finite features of each image, one row each", describe),
    ]
