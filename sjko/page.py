"""A flow as a page: what a notebook shows of it, and the report, one HTML file that needs nothing beside it."""

import base64
import html
import math
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from components.metrics import over_floor
from pipeline.data.source import Samples
from pipeline.errors import FlowError, Unusable
from pipeline.evaluation.draws import held_out, num_samples
from pipeline.evaluation.metrics import FLOOR, HEADLINE, floor_of
from pipeline.files import write_text
from pipeline.recipe import Recipe
from pipeline.recipes.reading import as_yaml
from pipeline.words import counted
from sjko.trained import TrainedPhase

STYLE = """
:root { color-scheme: light dark }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem }
img { max-width: 100%; background: white }
table { border-collapse: collapse } td, th { padding: .15rem 1.2rem .15rem 0; text-align: left }
td + td { text-align: right; font-variant-numeric: tabular-nums } th + th { text-align: right }
pre { overflow-x: auto }
"""


def write(path: Path, name: str, recipe: Recipe, phases: Sequence[TrainedPhase]) -> Path:
    """Write the report of a flow: metrics with floors, samples by phase, curves, phases, recipe.

    Raises:
        Unusable: the file cannot be there.
    """
    if path.is_dir() or not path.absolute().parent.is_dir():
        raise Unusable(f"a report is a file in an existing folder, not {path}")
    last, rows = phases[-1], [_row(phase) for phase in phases]  # what can be measured is, before curves are drawn of it
    title = html.escape(f"{name}: {recipe.data.source} to {recipe.data.target}")
    parts = [
        f"<!doctype html><html lang='en'><head><meta charset='utf-8'><title>{title}</title><style>{STYLE}</style></head><body>",
        f"<h1>{title}</h1>",
        f"<p>{counted(len(phases), 'phase')} of S-JKO (arXiv 2402.05443); T_{last.k} has the fingerprint {last.fingerprint}.</p>",
        "<h2>Metrics</h2><p>Each floor is the same figure of training data beside held-out data.</p>",
        _metrics(_metrics_of(last)),
        f"<h2>Samples by phase</h2>{picture(samples_picture(phases), 'samples by phase')}",
        f"<h2>Curves</h2>{picture(curves_picture(phases), 'curves')}",
        "<h2>Phases</h2>",
        _table(["k", "h", "steps", "W2", "floor"], rows),
        f"<h2>Recipe</h2><pre>{html.escape(as_yaml(recipe))}</pre></body></html>",
    ]
    write_text(path, "\n".join(parts))
    return path


def summary(text: str, phases: Sequence[TrainedPhase]) -> str:
    """Show a flow in a notebook: its sentence, and pictures of the phases that are finished."""
    sentence = f"<p><code>{html.escape(text)}</code></p>"
    if not phases:
        return sentence
    return sentence + picture(samples_picture(phases), "samples by phase") + picture(curves_picture(phases), "curves")


def picture(draw: Callable[[Path], None], meaning: str) -> str:
    """Draw a picture into an HTML element that holds it."""
    with tempfile.TemporaryDirectory(prefix="sjko-") as folder:
        path = Path(folder) / "picture.png"
        draw(path)
        content = base64.b64encode(path.read_bytes()).decode()
    return f"<img alt='{html.escape(meaning)}' src='data:image/png;base64,{content}'>"


def samples_picture(phases: Sequence[TrainedPhase]) -> Callable[[Path], None]:
    """Draw samples of the source and of each phase, over held-out data, or over the last phase where the data are not here."""

    def draw(path: Path) -> None:
        from pipeline.evaluation import figures  # and with it matplotlib

        first, endpoints = phases[0].generator, phases[0].generator.endpoints
        n = num_samples(endpoints)
        by_phase: list[Samples] = [first.source(n), *(phase.generator.sample(n) for phase in phases)]
        titles = ["source", *(f"phase {phase.k}" for phase in phases)]
        try:
            reference = held_out(endpoints, 0)
        except FlowError:
            reference = by_phase[-1]
        figures.flow_picture(path, endpoints.data.picture, by_phase, reference, titles)

    return draw


def curves_picture(phases: Sequence[TrainedPhase]) -> Callable[[Path], None]:
    """Draw W2 over its floor by phase, of those that have been measured, and losses over the steps of the flow."""

    def draw(path: Path) -> None:
        from pipeline.evaluation import figures

        losses: dict[str, list[tuple[float, float]]] = {}
        steps_before = 0
        for phase in phases:
            for name, points in phase.curves.items():
                losses.setdefault(name, []).extend((steps_before + step, value) for step, value in points)
            steps_before += phase.generator.phase.num_steps
        quality = {"W2": [_ratio(phase) for phase in phases]} if any(phase.is_measured for phase in phases) else {}
        figures.curves_picture(path, quality, {name: points for name, points in losses.items() if points})

    return draw


def _ratio(phase: TrainedPhase) -> float | None:
    return over_floor(phase.metrics[HEADLINE], phase.metrics[floor_of(HEADLINE)]) if phase.is_measured else None


def _metrics_of(phase: TrainedPhase) -> Mapping[str, float]:
    """Give the metrics of a phase, or none where its data are not on this machine."""
    try:
        return phase.metrics
    except FlowError:
        return {}


def _row(phase: TrainedPhase) -> list[object]:
    metrics = _metrics_of(phase)
    of = phase.generator.phase
    return [phase.k, of.jko.h, of.num_steps, metrics.get(HEADLINE, math.nan), metrics.get(floor_of(HEADLINE), math.nan)]


def _metrics(metrics: Mapping[str, float]) -> str:
    names = [name for name in metrics if not name.endswith(FLOOR)]
    return _table(["metric", "value", "floor"], [[name, metrics[name], metrics.get(floor_of(name), "")] for name in names])


def _table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    head = "".join(f"<th>{html.escape(column)}</th>" for column in columns)
    body = "".join(f"<tr>{''.join(f'<td>{_cell(value)}</td>' for value in row)}</tr>" for row in rows)
    return f"<table><tr>{head}</tr>{body}</table>"


def _cell(value: object) -> str:
    if isinstance(value, float):
        return "-" if math.isnan(value) else f"{value:.4g}"
    return html.escape(str(value))
