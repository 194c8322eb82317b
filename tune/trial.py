"""One trial: the flow of a recipe with one point of the space, judged after every phase."""

import math
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import ray.tune

from pipeline import cluster as clusters
from pipeline.data.resolution import ResolvedRecipe, resolve
from pipeline.errors import Diverged
from pipeline.evaluation.judging import metrics_of
from pipeline.evaluation.measure import evaluate
from pipeline.evaluation.size import FULL, EvaluationSize
from pipeline.generator import Generator, endpoints_of, load_generator
from pipeline.parts import travel
from pipeline.phase import phases_of
from pipeline.store.maps import KIND
from pipeline.store.phases import Store
from pipeline.training.flow import run_flow
from pipeline.training.group import PhaseResult, Unwatched
from tune import records, space
from tune.definition import Search
from tune.metrics import objective
from tune.records import PENALTY, RESULT

FRESH_DRAWS, FRESH = 1 << 15, EvaluationSize(num_pairs=8)
"""First draw and size of the samples that confirm a trial: no trial was chosen by them."""


@dataclass
class Progress:
    """The progress of one trial: its cost so far, and its best metric so far with the cost at which it was reached.

    Attributes:
        seconds: of training, on all CPUs or GPUs of its workers, as it was when each phase was trained.
    """

    search: Search
    seconds: float = 0.0
    best: float | None = None
    seconds_of_best: float = 0.0

    def add(self, value: float, seconds: float) -> None:
        """Add a phase: its metric, and the seconds that one worker trained it."""
        self.seconds += seconds * max(1, self.search.cluster.num_workers)
        if self.best is None or self.search.better(value, self.best):
            self.best, self.seconds_of_best = value, self.seconds


def trial(point: Mapping[str, Any], *, search: Search, search_run_id: str, places: Mapping[str, str]) -> None:
    """Train the flow of a point and report to Ray Tune after every phase: `phase` (from 1), `value`, `best`, `seconds`.

    Args:
        point: a value for each axis, and the trial's number.
        places: variables of the driver that say where things are; a Ray that was there before it may have others.

    A flow that diverges keeps what its phases gave; one that diverges in its first phase counts as if it stayed at the source.

    Raises:
        ValueError: no recipe can have this point. FlowError: what else went wrong. Ray Tune counts both as failed trials.
    """
    os.environ |= places
    store = Store(clusters.tracking_uri(search.cluster))
    shown = {axis.name: axis.rounded(point[axis.name]) for axis in search.axes}
    run_id = records.open_trial(store, search, search_run_id, int(point[records.NUMBER]), shown)
    progress = Progress(search)
    try:
        with records.attempted(store, run_id):
            travel.require(search.parts())
            recipe = resolve(space.applied(search.recipe, search.axes, point), search.cluster)
            for result, metrics in judged(recipe, search, store, run_id):
                value = metrics[search.metric]
                progress.add(value, metrics["train_seconds"])
                row = {search.metric: value, "seconds": progress.seconds}
                records.log_phase(store, run_id, result.phase.k, result.phase.fingerprint, row)
                report(result.phase.k + 1, value, progress)
    except Diverged:
        if progress.best is None:
            if search.against_cost or not objective(recipe.data, search.metric, search.evaluation.metrics).is_distance:
                raise
            value = stay_at_source(recipe, search)
            progress.add(value, 0.0)
            report(1, value, progress, PENALTY)


def report(phase: int, value: float, progress: Progress, kind: str = RESULT) -> None:
    """Report a phase to Ray Tune, which may end the trial here, between phases."""
    ray.tune.report({"phase": phase, "value": value, "best": progress.best, "seconds": progress.seconds_of_best, "kind": kind})


def judged(recipe: ResolvedRecipe, search: Search, store: Store, run_id: str) -> Iterator[tuple[PhaseResult, dict[str, float]]]:
    """Train the flow of a recipe; yield each phase with its metrics as soon as it is published.

    Raises:
        Diverged: the metric is not finite.
    """
    flow = run_flow(recipe, name=search.name, store=store, cluster=search.cluster, observer=Unwatched(), run_id=run_id)
    for result in flow:
        load = partial(load_generator, store, result.ref, data_uri=clusters.data(search.cluster))
        metrics = metrics_of(store, result.ref, result.phase, load, cluster=search.cluster, size=search.evaluation)
        if not math.isfinite(metrics[search.metric]):
            raise Diverged(result.phase.k, result.phase.num_steps, search.metric, {})
        yield result, metrics


def stay_at_source(recipe: ResolvedRecipe, search: Search) -> float:
    """Measure T = T_{-1}, the identity, which stays at the source: a finite penalty on the metric's own scale."""
    generator = Generator(phases_of(recipe)[0], endpoints_of(recipe.data, clusters.data(search.cluster)), [])
    return evaluate(generator, replace(FULL, metrics=search.evaluation.metrics))[search.metric]


def confirm_trial(config: Mapping[str, Any], *, search: Search, search_run_id: str, places: Mapping[str, str]) -> None:
    """Train a point again with another seed up to its best phase, and measure that one on fresh samples."""
    job = config["jobs"][config["number"]]
    os.environ |= places
    store = Store(clusters.tracking_uri(search.cluster))
    travel.require(search.parts())
    recipe = space.applied(search.recipe, search.axes, job["point"])
    recipe = replace(recipe, seed=job["seed"], jko=replace(recipe.jko, num_phases=job["num_phases"]))
    run_id = store.create(f"seed {job['seed']}", {KIND: "confirmation"}, {}, parent=search_run_id)
    with records.attempted(store, run_id):
        resolved = resolve(recipe, search.cluster)
        *_, last = run_flow(resolved, name=search.name, store=store, cluster=search.cluster, observer=Unwatched(), run_id=run_id)
    fresh = replace(FRESH, metrics=search.evaluation.metrics)
    metrics = evaluate(load_generator(store, last.ref, data_uri=clusters.data(search.cluster)), fresh, FRESH_DRAWS)
    ray.tune.report({"value": metrics[search.metric]})
