"""Judge published maps: their metrics and pictures, measured once and kept with the run of their phase."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import ray

from components.metrics import over_floor
from components.parts.loading import pinned
from components.parts.naming import PartName, is_own
from pipeline import cluster as clusters
from pipeline.cluster import Cluster
from pipeline.evaluation.draws import held_out, num_samples
from pipeline.evaluation.measure import evaluate
from pipeline.evaluation.metrics import HEADLINE, figures, floor_of, own_metric
from pipeline.evaluation.offer import Offer, offer_of
from pipeline.evaluation.size import FULL, EvaluationSize
from pipeline.generator import Generator, load_generator
from pipeline.parts import travel
from pipeline.parts.pinning import own_parts
from pipeline.phase import Phase
from pipeline.provenance import EVALUATED_ON, machine
from pipeline.recipe import Data
from pipeline.store.maps import MapRef
from pipeline.store.phases import Store
from pipeline.store.runs import Run

EVALUATED = "sjko.evaluated"
"""Tag of a run that holds the metrics of its map: how they were computed."""
LOGGED_IN_TRAINING = frozenset(
    ("potential_loss", "map_loss", "transport_cost", "gradient_penalty", "divergence", "step", "train_seconds")
)
"""Names of the numbers that the worker of a phase has logged to its run, beside which the map's metrics are kept."""
CURVES = ("divergence", "transport_cost")
"""Names of the logged numbers that are drawn over the steps of a flow."""
FIRST_TAG = "version 2"
"""Beginning of the tags of runs from before the tag named each metric: one number for all."""
FIRST_NAMES = frozenset(
    ["w2", "sliced_w2", "modes_covered", "on_support", "mode_kl", "divergence", "transport_cost", "frechet", "kid", "precision"]
).union(["recall", "class_kl", "classes_covered", "score"])
"""The metrics of that time, each in its version 1."""
AND_OWN = " + "
"""What stands before each metric from outside in the tag of a run."""


def metrics_of(
    store: Store, ref: MapRef, phase: Phase, generator: Callable[[], Generator], *, cluster: Cluster, size: EvaluationSize
) -> dict[str, float]:
    """Give the metrics of a published map on so many samples, and what was logged in training: from its run, or measured now.

    On a cluster that is connected they are measured where a CPU is free: the head, where drivers wait, has none.

    Args:
        generator: loads the map, where it is to be measured in this process.
    """
    run = store.run(ref.run_id)
    logged = logged_in_training(run)
    if is_valid(run.data.tags.get(EVALUATED), offer_of(phase.data, logged, size.metrics), size):
        return dict(run.data.metrics)
    if cluster.address and cluster.num_workers and ray.is_initialized():
        # A task, since the head, where drivers wait, has no CPUs to give.
        # By default a task of a trial would have to fit into what Ray Tune reserves for the trial itself, a place for a driver.
        task = ray.remote(num_cpus=1, scheduling_strategy="DEFAULT")(_judge_in_task)
        size = replace(size, metrics=tuple(PartName(pinned(name)) for name in size.metrics))
        try:
            metrics = ray.get(task.remote(store.uri, ref, clusters.data(cluster), size))
        except ray.exceptions.RayTaskError as error:
            raise error.cause from error
    else:
        metrics = judge(store, ref, generator(), size)
    return {**logged, **metrics}


def kept(run: Run, data: Data, size: EvaluationSize = FULL) -> dict[str, float] | None:
    """Read what `evaluate` gives for the map of a phase's run, where that was kept; None where it is to be measured."""
    if not is_valid(run.data.tags.get(EVALUATED), offer_of(data, logged_in_training(run), size.metrics), size):
        return None
    return {name: value for name, value in run.data.metrics.items() if name not in LOGGED_IN_TRAINING}


def tag_of(offer: Offer, size: EvaluationSize) -> str:
    """Say how kept figures were computed, as the tag of their run has it: on how many samples, and the version of each metric.

    That of a metric from outside is the digest of its code, in its name.
    """
    own_metrics = [name if is_own(name) else f"{name} {own_metric(name).version}" for name in offer.own_metrics]
    versions = ", ".join(f"{figure} {metric.version}" for figure, metric in figures(replace(offer, own_metrics=())).items())
    return AND_OWN.join([f"{size}: {versions}", *own_metrics])


def is_valid(tag: str | None, offer: Offer, size: EvaluationSize) -> bool:
    """Say whether figures that were kept under a tag are those that would be computed now, also beside more of own metrics."""
    kept, *own_metrics = (tag or "").split(AND_OWN)
    if not set(tag_of(offer, size).split(AND_OWN)[1:]) <= set(own_metrics):
        return False
    if kept == f"{FIRST_TAG}, {size}":
        known = figures(replace(offer, own_metrics=()))
        return all(metric.name in FIRST_NAMES and metric.version == 1 for metric in known.values())
    return kept == tag_of(replace(offer, own_metrics=()), size)


def logged_in_training(run: Run) -> dict[str, float]:
    """Read the last numbers that a phase's worker has logged to its run."""
    return {name: value for name, value in run.data.metrics.items() if name in LOGGED_IN_TRAINING}


def _judge_in_task(uri: str, ref: MapRef, data_uri: str | None, size: EvaluationSize) -> dict[str, float]:
    """Load a published map in a task of Ray, measure its metrics and keep them."""
    store = Store(uri)
    metrics = (("evaluation.metrics", name) for name in size.metrics)
    travel.require([*own_parts(store.phase_of(ref)).items(), *metrics])
    return judge(store, ref, load_generator(store, ref, data_uri=data_uri), size)


def judge(store: Store, ref: MapRef, generator: Generator, size: EvaluationSize) -> dict[str, float]:
    """Measure the metrics of a published map, and keep them with its run, a picture of its samples beside them."""
    logged = logged_in_training(store.run(ref.run_id))
    evaluated = evaluate(generator, size, logged=logged)
    metrics = {name: value for name, value in evaluated.items() if name not in logged}  # the run has those already
    store.log_metrics(ref.run_id, {generator.phase.num_steps: metrics})
    with store.artifact_file(ref.run_id, "samples.png", "pictures") as path:
        draw_phase(path, ref, generator, metrics)
    store.tag(ref.run_id, EVALUATED_ON, machine())
    store.tag(ref.run_id, EVALUATED, tag_of(offer_of(generator.phase.data, logged, size.metrics), size))
    return metrics


def draw_phase(path: Path, ref: MapRef, generator: Generator, metrics: Mapping[str, float]) -> None:
    """Draw samples of a map over held-out ones, its metrics in the title."""
    title = f"phase {ref.k}: W2 {metrics[HEADLINE]:.3g}, floor {metrics[floor_of(HEADLINE)]:.3g}"
    draw_samples(path, generator, title)


def draw_samples(path: Path, generator: Generator, title: str) -> None:
    """Draw samples of a map over held-out ones; those of each class apart where the map is given one."""
    from pipeline.evaluation import figures as drawing  # and with it matplotlib

    endpoints = generator.endpoints
    n, reference = num_samples(endpoints), held_out(endpoints, 0)
    classes = endpoints.law.present() if endpoints.law and endpoints.given_class is None else []
    if endpoints.condition is None or not classes:
        drawing.phase_picture(path, endpoints.data.picture, generator.sample(n), reference, title)
        return
    by_class = [generator.sample(max(drawing.PER_ROW, n // len(classes)), condition=number) for number in classes]
    names = [endpoints.condition.classes[number] for number in classes]
    drawing.class_picture(path, endpoints.data.picture, by_class, names, reference, title=title)


def draw_flow(
    store: Store, flow_run_id: str, pictures: Sequence[Path], rows: Sequence[dict[str, Any]], generators: Sequence[Generator]
) -> None:
    """Draw samples by phase, curves and the animation of a flow, on disk and with its run.

    Args:
        pictures: the three files, and a fourth of the last map's classes where it is given one.
        rows: what is known of each phase, as `run --json` has it.
    """
    from pipeline.evaluation import figures as drawing

    endpoints = generators[0].endpoints
    n = num_samples(endpoints)
    source = generators[0].source(n)
    by_phase = [source, *(generator.sample(n) for generator in generators)]
    titles = ["source", *(f"phase {row['k']}" for row in rows)]
    reference = held_out(endpoints, 0)
    drawing.flow_picture(pictures[0], endpoints.data.picture, by_phase, reference, titles)
    quality = {"W2": [over_floor(row["metrics"][HEADLINE], row["metrics"][floor_of(HEADLINE)]) for row in rows]}
    drawing.curves_picture(pictures[1], quality, _curves(store, rows, generators))
    drawing.animation(pictures[2], endpoints.data.picture, by_phase, reference, titles)
    for path in pictures[3:]:
        draw_samples(path, generators[-1], titles[-1])
    for picture in pictures:
        store.log_file(flow_run_id, picture, "pictures")


def _curves(
    store: Store, rows: Sequence[dict[str, Any]], generators: Sequence[Generator]
) -> dict[str, list[tuple[float, float]]]:
    """Read the running divergence and the transport cost over the steps of a whole flow."""
    curves: dict[str, list[tuple[float, float]]] = {name: [] for name in CURVES}
    steps_before = 0
    for row, generator in zip(rows, generators, strict=True):
        run_id = row["map_ref"].split("/")[1]
        for name, points in curves.items():
            points.extend((steps_before + step, value) for step, value in store.metric_history(run_id, name))
        steps_before += generator.phase.num_steps
    return curves
