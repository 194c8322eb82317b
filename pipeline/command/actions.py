"""The commands behind `python -m pipeline`, after their arguments have been parsed."""

from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any

import ray

from components.metrics import over_floor
from pipeline import cluster as clusters
from pipeline.cluster import Cluster
from pipeline.command import report
from pipeline.command.flags import Evaluate, Run
from pipeline.command.listing import open_store
from pipeline.data.endpoints import resolve
from pipeline.evaluation.measure import (
    EVALUATED,
    evaluate,
    evaluation_tag,
    held_out,
    image_figures,
    num_samples,
    require_image_figures,
)
from pipeline.evaluation.size import EvaluationSize
from pipeline.files import write_json
from pipeline.generator import Generator, load_generator
from pipeline.phase import phases_of
from pipeline.provenance import EVALUATED_ON, TRAINED_ON, machine
from pipeline.store.phases import MapRef, Store
from pipeline.training.flow import PhaseResult, run_flow

LOSSES = ("potential_loss", "map_loss", "transport_cost", "gradient_penalty")
HIDDEN = ("potential_loss", "map_loss", "gradient_penalty", "step")
"""Raised when figures of equal samples change, so that they are computed again; 2: floors without replacement."""
PICTURES = ("samples_by_phase.png", "curves.png", "flow.gif")


def run(command: Run) -> Mapping[str, Any]:
    """Train what is missing of a flow, evaluate every phase, draw the pictures."""
    name, cluster = command.stem, command.cluster
    recipe, where = resolve(command.resolved(), cluster), clusters.data(cluster)
    store = open_store(cluster)
    phases = phases_of(recipe)
    report.line(f"{name}: {len(phases)} phases, flow {phases[-1].fingerprint}")
    rows: list[dict[str, Any]] = []
    generators: list[Callable[[], Generator]] = []
    with report.Display(store, phases) as display:
        for result in run_flow(recipe, name=name, store=store, cluster=cluster, observer=display):
            display.published(result.phase)
            generator = cache(partial(load_generator, store, result.ref, where=where))  # read when it is first needed
            size = command.evaluation.of_phase(result.phase.k, len(phases))
            row = phase_row(store, result, generator, cluster, size)
            display.note(report.phase_line(result.phase.k, row["metrics"], cached=result.cached, seconds=result.seconds))
            generators.append(generator)
            rows.append(row)
    flow_run_id = store.flow_run_id(phases[-1].fingerprint)
    folder = clusters.home() / "flows" / f"{name}-{phases[-1].fingerprint[:8]}"
    pictures = [folder / name for name in PICTURES]
    if not all(row["cached"] for row in rows) or not all(picture.is_file() for picture in pictures):
        draw_flow(store, flow_run_id, pictures, rows, [generator() for generator in generators])
    summary = {"run_id": flow_run_id, "phases": rows}
    write_json(folder / "flow.json", summary)
    store.log_file(flow_run_id, folder / "flow.json")
    names = ("w2", "w2_floor", "num_samples", "num_pairs")
    store.log_metrics(flow_run_id, {row["k"]: {name: row["metrics"][name] for name in names} for row in rows})
    last = rows[-1]["metrics"]
    ratio = over_floor(last["w2"], last["w2_floor"])
    report.line(f"W2 {last['w2']:.4g}{' beside' if ratio is None else f' = {ratio:.2f} x'} its floor {last['w2_floor']:.4g}")
    report.line(f"T_{rows[-1]['k']} is {rows[-1]['map_ref']}, MLflow run {flow_run_id}")
    for picture in pictures:
        report.line(f"picture: {picture}")
    return summary


def phase_row(
    store: Store, result: PhaseResult, generator: Callable[[], Generator], cluster: Cluster, size: EvaluationSize
) -> dict[str, Any]:
    """What is known of a phase, for `--json`; metrics are computed once and kept with the phase's run."""
    metrics = evaluated(store, result.ref, generator, cluster, size)
    tags = store.run(result.ref.run_id).data.tags
    return {
        "k": result.phase.k,
        "fingerprint": result.phase.fingerprint,
        "cached": result.cached,
        "seconds": result.seconds,
        "trained_on": tags.get(TRAINED_ON),
        "evaluated_on": tags.get(EVALUATED_ON),
        "losses": {name: metrics[name] for name in LOSSES if name in metrics},
        "metrics": {name: value for name, value in metrics.items() if name not in HIDDEN},
        "map_ref": str(result.ref),
    }


def evaluated(
    store: Store, ref: MapRef, generator: Callable[[], Generator], cluster: Cluster, size: EvaluationSize
) -> dict[str, float]:
    """Metrics of a published map on so many samples, from its run, or computed and logged there with a picture.

    On a cluster that is connected they are computed where a CPU is free: the head, where drivers wait, has none.
    """
    run = store.run(ref.run_id)
    if run.data.tags.get(EVALUATED) == evaluation_tag(size):
        return dict(run.data.metrics)
    if cluster.address and cluster.num_workers and ray.is_initialized():
        elsewhere = ray.remote(num_cpus=1)(measured_elsewhere)
        try:
            metrics = ray.get(elsewhere.remote(store.uri, ref, clusters.data(cluster), size))
        except ray.exceptions.RayTaskError as error:
            raise error.cause from error
    else:
        metrics = measured(store, ref, generator(), size)
    return {**run.data.metrics, **metrics}


def measured_elsewhere(uri: str, ref: MapRef, where: str | None, size: EvaluationSize) -> dict[str, float]:
    """Load a published map, compute its metrics and log them: a task of Ray."""
    store = Store(uri)
    return measured(store, ref, load_generator(store, ref, where=where), size)


def measured(store: Store, ref: MapRef, generator: Generator, size: EvaluationSize) -> dict[str, float]:
    """Compute the metrics of a published map, and log them with a picture of its samples."""
    from pipeline.evaluation import figures  # and with it matplotlib

    metrics = evaluate(generator, size)
    store.log_metrics(ref.run_id, {generator.phase.num_steps: metrics})
    with store.artifact_file(ref.run_id, "samples.png", "pictures") as path:
        reference = held_out(generator.endpoints, 0)
        title = f"phase {ref.k}: W2 {metrics['w2']:.3g}, floor {metrics['w2_floor']:.3g}"
        samples, picture = generator.sample(num_samples(generator.endpoints)), generator.endpoints.data.picture
        figures.phase_picture(path, picture, samples, reference, title)
    store.tag(ref.run_id, EVALUATED_ON, machine())
    store.tag(ref.run_id, EVALUATED, evaluation_tag(size))
    return metrics


def draw_flow(
    store: Store, flow_run_id: str, pictures: Sequence[Path], rows: Sequence[dict[str, Any]], generators: Sequence[Generator]
) -> None:
    """Samples by phase, curves and the animation, on disk and with the flow's run."""
    from pipeline.evaluation import figures

    endpoints = generators[0].endpoints
    n = num_samples(endpoints)
    source = generators[0].source(n)
    by_phase = [source, *(generator.sample(n) for generator in generators)]
    titles = ["source", *(f"phase {row['k']}" for row in rows)]
    reference = held_out(endpoints, 0)
    figures.flow_picture(pictures[0], endpoints.data.picture, by_phase, reference, titles)
    quality = {"W2": [over_floor(row["metrics"]["w2"], row["metrics"]["w2_floor"]) for row in rows]}
    figures.curves_picture(pictures[1], quality, loss_curves(store, rows, generators))
    figures.animation(pictures[2], endpoints.data.picture, by_phase, reference, titles)
    for picture in pictures:
        store.log_file(flow_run_id, picture, "pictures")


def loss_curves(
    store: Store, rows: Sequence[dict[str, Any]], generators: Sequence[Generator]
) -> dict[str, list[tuple[float, float]]]:
    """The running divergence and the transport cost over the steps of the whole flow."""
    curves: dict[str, list[tuple[float, float]]] = {"divergence": [], "transport_cost": []}
    before = 0
    for row, generator in zip(rows, generators, strict=True):
        run_id = row["map_ref"].split("/")[1]
        for name, points in curves.items():
            points.extend((before + step, value) for step, value in store.metric_history(run_id, name))
        before += generator.phase.num_steps
    return curves


def evaluate_reference(command: Evaluate) -> Mapping[str, Any]:
    """Compute the metrics of any published map afresh, and draw its samples."""
    from pipeline.evaluation import figures

    store = open_store(command.store)
    ref = store.resolve(command.reference)
    generator = load_generator(store, ref, where=clusters.data(command.store))
    if command.extractor is not None:  # before anything is measured
        require_image_figures(generator.endpoints, command.extractor, command.num_images, command.weights)
    metrics = evaluate(generator, command.evaluation)
    if command.extractor is not None:
        metrics |= image_figures(generator, command.extractor, command.num_images, command.weights)
    path = clusters.home() / "evaluations" / f"{ref.fingerprint}.png"
    title = f"phase {ref.k}: W2 {metrics['w2']:.3g}, floor {metrics['w2_floor']:.3g}"
    samples, reference = generator.sample(num_samples(generator.endpoints)), held_out(generator.endpoints, 0)
    figures.phase_picture(path, generator.endpoints.data.picture, samples, reference, title)
    report.table(str(ref), ["metric", "value"], list(metrics.items()))
    report.line(f"picture: {path}")
    return {"map_ref": str(ref), "fingerprint": ref.fingerprint, "k": ref.k, "metrics": metrics}
