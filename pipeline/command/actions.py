"""The commands behind `python -m pipeline`, after their arguments have been parsed."""

from collections.abc import Callable, Mapping
from functools import cache, partial
from typing import Any

from components.conditions import asked_of
from components.metrics import over_floor
from pipeline import cluster as clusters
from pipeline import places
from pipeline.cluster import Cluster
from pipeline.command import process, report
from pipeline.command.flags import Evaluate, Run
from pipeline.command.listing import open_store
from pipeline.data.resolution import resolve
from pipeline.evaluation import judging
from pipeline.evaluation.extractors import extractor
from pipeline.evaluation.judging import LOGGED_IN_TRAINING
from pipeline.evaluation.measure import evaluate, image_figures, require_image_figures
from pipeline.evaluation.metrics import HEADLINE, Metric, brief, figures, floor_of
from pipeline.evaluation.offer import Offer, offer_of
from pipeline.evaluation.remarks import remarks
from pipeline.evaluation.size import EvaluationSize
from pipeline.files import write_json
from pipeline.generator import Generator, load_generator
from pipeline.parts.history import changes
from pipeline.phase import phases_of
from pipeline.provenance import EVALUATED_ON, TRAINED_ON
from pipeline.store.phases import Store
from pipeline.training.flow import run_flow
from pipeline.training.group import PhaseResult
from pipeline.words import counted

LOSSES = ("potential_loss", "map_loss", "transport_cost", "gradient_penalty")
HIDDEN = ("potential_loss", "map_loss", "gradient_penalty", "step")
"""Numbers that are logged in training and are no metric of the map."""
PICTURES = ("samples_by_phase.png", "curves.png", "flow.gif")
OF_CLASSES = "samples_by_class.png"
"""The picture of a flow whose maps are given a class."""


def run(command: Run) -> Mapping[str, Any]:
    """Carry out `run`: train the phases that the store lacks, measure every phase, draw the pictures."""
    name, cluster = command.stem, command.cluster
    recipe, data_uri = resolve(command.resolved(), cluster), clusters.data(cluster)
    store = open_store(cluster, create=True)
    phases = phases_of(recipe)
    for sentence in changes(recipe, store):
        process.say(f"note: {sentence}")
    report.line(f"{name}: {counted(len(phases), 'phase')}, flow {phases[-1].fingerprint}")
    rows: list[dict[str, Any]] = []
    generators: list[Callable[[], Generator]] = []
    own_metrics = command.evaluation.metrics
    with report.Display(store, phases) as display:
        for result in run_flow(recipe, name=name, store=store, cluster=cluster, observer=display, parts=own_metrics):
            display.published(result.phase)
            generator = cache(partial(load_generator, store, result.ref, data_uri=data_uri))  # read when it is first needed
            size = command.evaluation.of_phase(result.phase.k, len(phases))
            row = phase_row(store, result, generator, cluster, size)
            in_words = brief(offer_of(recipe.data, row["metrics"], size.metrics), row["metrics"])
            display.note(report.phase_line(result.phase.k, in_words, cached=result.cached, seconds=result.seconds))
            generators.append(generator)
            rows.append(row)
    flow_run_id = store.flow_run_id(phases[-1].fingerprint)
    folder = places.home() / "flows" / f"{name}-{phases[-1].fingerprint[:8]}"
    pictures = [folder / name for name in (*PICTURES, *([OF_CLASSES] if offer_of(recipe.data).has_classes else []))]
    if not all(row["cached"] for row in rows) or not all(picture.is_file() for picture in pictures):
        judging.draw_flow(store, flow_run_id, pictures, rows, [generator() for generator in generators])
    summary = {"run_id": flow_run_id, "phases": rows}
    write_json(folder / "flow.json", summary)
    store.log_file(flow_run_id, folder / "flow.json")
    store.log_metrics(flow_run_id, {row["k"]: measured_of(row) for row in rows})
    last = rows[-1]["metrics"]
    w2, floor = last[HEADLINE], last[floor_of(HEADLINE)]
    ratio = over_floor(w2, floor)
    report.line(f"W2 {w2:.4g}{' beside' if ratio is None else f' = {ratio:.2f} x'} its floor {floor:.4g}")
    report.remarks(remarks(last))
    report.line(f"T_{rows[-1]['k']} is {rows[-1]['map_ref']}, MLflow run {flow_run_id}")
    for picture in pictures:
        report.line(f"picture: {picture}")
    return summary


def phase_row(
    store: Store, result: PhaseResult, generator: Callable[[], Generator], cluster: Cluster, size: EvaluationSize
) -> dict[str, Any]:
    """Say what is known of a phase, for `--json`; its metrics are measured once and kept with its run."""
    metrics = judging.metrics_of(store, result.ref, result.phase, generator, cluster=cluster, size=size)
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


def measured_of(row: Mapping[str, Any]) -> dict[str, float]:
    """Pick what was measured of a phase from its row: what its run has from training stays there."""
    return {name: value for name, value in row["metrics"].items() if name not in LOGGED_IN_TRAINING}


def evaluate_reference(command: Evaluate) -> Mapping[str, Any]:
    """Carry out `evaluate`: measure the metrics of any published map afresh, and draw its samples."""
    store = open_store(command.store)
    ref = store.resolve(command.reference)
    generator = load_generator(store, ref, data_uri=clusters.data(command.store))
    if command.condition is not None:
        generator = generator.given(asked_of(generator.endpoints.condition, command.condition))
    if command.extractor is not None:  # before anything is measured
        require_image_figures(generator.endpoints, command.extractor, command.num_images, command.weights)
    offer = offer_of(generator.phase.data, own_metrics=command.evaluation.metrics)
    metrics, measured = evaluate(generator, command.evaluation), figures(offer)
    if command.extractor is not None:
        measured |= figures(Offer(extractor=extractor(command.extractor, command.weights), own_metrics=offer.own_metrics))
        metrics |= image_figures(generator, command.extractor, command.num_images, command.weights, offer.own_metrics)
    given = "" if command.condition is None else f"-{generator.endpoints.given_class}"
    path = places.home() / "evaluations" / f"{ref.fingerprint}{given}.png"
    judging.draw_phase(path, ref, generator, metrics)
    title = str(ref) if command.condition is None else f"{ref} given {command.condition}"
    report.table(title, ["metric", "value", "floor", "unit"], table_of(metrics, measured))
    report.remarks(remarks(metrics))
    report.line(f"picture: {path}")
    asked = {} if command.condition is None else {"condition": command.condition}
    return {"map_ref": str(ref), "fingerprint": ref.fingerprint, "k": ref.k, **asked, "metrics": metrics}


def table_of(metrics: Mapping[str, float], measured: Mapping[str, Metric]) -> list[list[object]]:
    """Set metrics beside their floors and units; what they are read with, such as a number of samples, comes first."""
    floors = {floor_of(name) for name in metrics}
    names = sorted((name for name in metrics if name not in floors), key=lambda name: name in measured)
    units = {name: metric.unit for name, metric in measured.items()}
    return [[name, metrics[name], metrics.get(floor_of(name), ""), units.get(name, "")] for name in names]
