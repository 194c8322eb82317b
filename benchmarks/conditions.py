"""Flows given the class of an image beside flows that are not, at equal steps: is it the class, and is it as good?

Both methods have the shipped recipe of their set. The unconditional flow's samples are sorted into classes by the classifier, so
that its figures by class are of as many samples as the conditional flow's; its accuracy is that of chance, and is not shown.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from benchmarks.flows import Trained, shipped, train_flow
from benchmarks.harness import main
from benchmarks.rows import Pivot, Row
from pipeline.data.endpoints import load_endpoints
from pipeline.data.images.image_set import LABEL
from pipeline.data.source import Samples
from pipeline.evaluation.draws import Draws, OfMap
from pipeline.evaluation.extractors import Extractor, quantised
from pipeline.evaluation.measure import evaluate
from pipeline.evaluation.metrics import figures, floor_of, means, views_of
from pipeline.evaluation.offer import offer_of
from pipeline.evaluation.size import EvaluationSize
from pipeline.recipe import Recipe

SETS, SEEDS = {"digits": (0, 1, 2), "fashion_mnist": (0,)}, (0,)
METHODS = {"conditional": LABEL, "unconditional": None}
SIZE, QUICK_SIZE = EvaluationSize(2000, 1), EvaluationSize(200, 1)
MANY = 20
"""Unconditional samples that are sorted, for each one of a class that is compared at most."""
BY_CLASS = ("class_w2", "class_frechet")
FIGURES = ("w2", "frechet", "class_accuracy", *BY_CLASS)


def cases(quick: bool) -> list[Row]:
    """List the cases: each set with each method and seed."""
    sets = {"digits": SEEDS} if quick else SETS
    return [
        {"dataset": dataset, "method": method, "seed": seed, "quick": quick}
        for dataset, seeds in sets.items()
        for seed in seeds
        for method in METHODS
    ]


def recipe_of(case: Row) -> Recipe:
    """Change the shipped recipe of a set as a case says."""
    recipe = replace(shipped(case["dataset"]), seed=case["seed"])
    if case["quick"]:
        recipe = replace(recipe, jko=replace(recipe.jko, num_phases=2), training=replace(recipe.training, num_steps=150))
    return replace(recipe, data=replace(recipe.data, condition=METHODS[case["method"]]))


def measure(case: Row) -> Iterator[Row]:
    """Train and judge one flow."""
    *_, last = train_flow(recipe_of(case))
    yield judge(last, QUICK_SIZE if case["quick"] else SIZE)


@dataclass(frozen=True)
class Sorted(OfMap):
    """An unconditional map as what metrics judge by class: its samples are given the class that a classifier finds."""

    looks: Extractor
    pool: Samples

    @cached_property
    def found(self) -> np.ndarray:
        """Find the class of each sample of the pool."""
        return self.looks.describe(quantised(self.pool)).classes

    def of_class(self, number: int, n: int, draw: int) -> Samples:
        """Give n samples of the pool that are of a class, or as many as there are."""
        of_class: Samples = self.pool[self.found == number][:n]
        return of_class


def judge(trained: Trained, size: EvaluationSize) -> Row:
    """Measure the samples of a flow as a whole and by class, with the floors of both."""
    generator = trained.generator
    data = replace(generator.phase.data, condition=LABEL)
    offer, measured = offer_of(data), evaluate(generator, size)
    assert offer.extractor is not None
    if generator.endpoints.law is None:
        pool = OfMap(generator).many(MANY * size.num_samples // 10)
        draws = Draws(Sorted(generator, offer.extractor, pool), load_endpoints(data), size, extractor=offer.extractor)
        by_class = {name: metric for name, metric in figures(offer).items() if metric.name in BY_CLASS}
        measured |= means(by_class, views_of(by_class, draws))
    row: Row = {"num_steps": trained.num_steps, "cpu_seconds": trained.cpu_seconds}
    for name in FIGURES:
        figure = offer.extractor.figure(name) if name.endswith("frechet") else name
        row |= {name: measured.get(figure), floor_of(name): measured.get(floor_of(figure))}
    return row


LINES, FLOORS = ("dataset", "method"), tuple(map(floor_of, FIGURES))
PIVOTS = [
    Pivot(LINES, None, FIGURES, "Frechet distances in LeNet's features; unconditional samples are sorted by LeNet"),
    Pivot(("dataset",), None, FLOORS, "floors; of the accuracy: LeNet's on held-out images"),
    Pivot(LINES, None, ("num_steps", "cpu_seconds"), "cost", ranges=False),
]

if __name__ == "__main__":
    main("conditions", __doc__, cases=cases, measure=measure, pivots=PIVOTS)
