"""The report as one HTML file: verdict, figures with floors, pictures."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment
from markupsafe import Markup

from pipeline.report.figures.copies import Copies
from pipeline.report.figures.pairs import MOST_COLUMNS as MOST_PAIRED
from pipeline.report.figures.pairs import PairFigures
from pipeline.report.figures.table import FIGURES, Figure
from pipeline.report.findings.verdict import Verdict
from pipeline.report.judgement import Judgement
from pipeline.report.page import relations, values
from pipeline.report.page.svg import MADE, Scale, element, picture, text

TEMPLATE = Path(__file__).with_name("report.html")
MOST_COLUMNS, MOST_PAIRS, MOST_NAMES = 24, 6, 8
"""Pictures of columns and of pairs, those that differ most; names beside bars."""


def written(judgement: Judgement, verdict: Verdict, names: Mapping[str, str]) -> str:
    """Write the page.

    Args:
        names: what the files are called, by their flags.

    Returns:
        HTML that needs nothing beside it.
    """
    page = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True).from_string(TEMPLATE.read_text("utf-8"))
    samples = judgement.samples
    real = np.concatenate([samples.held_out, samples.real])
    return page.render(
        verdict=verdict,
        names=names,
        rows=samples.rows,
        samples=samples,
        groups=_groups(judgement),
        whole=relations.widest("Whole rows, real and generated", judgement.points["held_out"], judgement.points["generated"]),
        columns=_columns(judgement, real),
        num_columns=len(judgement.columns),
        most_paired=MOST_PAIRED,
        squares=_squares(judgement),
        pairs=[_pair(judgement, pair, real) for pair in judgement.pairs[:MOST_PAIRS]],
        used=_bars("What gradient boosting goes by", dict(list(judgement.test.importance.items())[:MOST_NAMES])),
        scores=values.histogram("Scores of the classifier", judgement.test.scores),
        distances=_distances(judgement.copies),
        usefulness=judgement.usefulness,
        width=judgement.points["held_out"].shape[1],
    )


def _groups(judgement: Judgement) -> dict[str, list[dict[str, Any]]]:
    """Group the figures by the question that they answer."""
    by_question: dict[str, list[dict[str, Any]]] = {}
    metrics = judgement.metrics
    for figure in FIGURES:
        if figure.name in metrics:
            value, floor = metrics[figure.name], metrics[f"{figure.name}_floor"]
            shown = {"figure": figure, "value": _number(value), "floor": _number(floor)}
            by_question.setdefault(figure.question, []).append({**shown, "gauge": _gauge(figure, value, floor)})
    return by_question


def _number(value: float) -> str:
    return f"{value:.3f}"


def _gauge(figure: Figure, value: float, floor: float) -> Markup:
    """Draw a value beside its floor on one line from zero."""
    high = 1.0 if min(value, floor) >= 0 and max(value, floor) <= 1 and figure.is_share else 1.15 * max(value, floor, 1e-9)
    x = Scale(min(0.0, value, floor), high, 4.0, 136.0)
    line = element("line", x1=4, x2=136, y1=8, y2=8, class_="axis")
    between = element("line", x1=x(floor), x2=x(value), y1=8, y2=8, class_="between")
    mark = element("line", x1=x(floor), x2=x(floor), y1=2, y2=14, class_="floor-mark")
    dot = element("circle", cx=x(value), cy=8, r=4, class_=f"fill {MADE}")
    return picture(140, 16, f"{figure.title}: {value:.3f}, floor {floor:.3f}", line, between, mark, dot)


def _columns(judgement: Judgement, real: np.ndarray) -> list[dict[str, Any]]:
    """Draw the columns, those that are off the most first."""
    order = sorted(range(len(judgement.columns)), key=lambda i: (-judgement.columns[i].is_off, -judgement.columns[i].distance))
    return [
        {
            "figures": judgement.columns[i],
            "word": "KS" if judgement.columns[i].feature.ordered else "TV",
            "drawn": values.column(judgement.columns[i].feature, real[:, i], judgement.samples.generated[:, i]),
        }
        for i in order[:MOST_COLUMNS]
    ]


def _squares(judgement: Judgement) -> list[dict[str, Any]]:
    """Draw the associations of all pairs: real, generated, and how far they differ."""
    if not judgement.pairs:
        return []
    features = judgement.samples.features[: 1 + max(max(pair.numbers) for pair in judgement.pairs)]
    maps = {
        "Real": ({pair.numbers: pair.real for pair in judgement.pairs}, True),
        "Generated": ({pair.numbers: pair.generated for pair in judgement.pairs}, True),
        "Difference": ({pair.numbers: pair.difference for pair in judgement.pairs}, False),
    }
    return [
        {"title": title, "drawn": relations.squares(f"Associations: {title}", features, found, signed=signed)}
        for title, (found, signed) in maps.items()
    ]


def _pair(judgement: Judgement, pair: PairFigures, real: np.ndarray) -> dict[str, Any]:
    names = [judgement.samples.features[number].name for number in pair.numbers]
    drawn = relations.pair(judgement.samples.features, pair, real, judgement.samples.generated)
    return {"names": names, "figures": pair, "drawn": drawn}


def _bars(title: str, sizes: Mapping[str, float]) -> Markup:
    """Draw named sizes as bars."""
    x = Scale(0.0, max([0.05, *sizes.values()]), 120.0, 280.0)
    drawn = []
    for i, (name, size) in enumerate(sizes.items()):
        width = max(0.0, x(size) - 120)
        drawn.append(text(114.0, 18 + 18 * i, name, anchor="end", most=18))
        drawn.append(element("rect", x=120.0, y=8.0 + 18 * i, width=width, height=12.0, class_=f"fill {MADE}"))
        drawn.append(text(124 + width, 18 + 18 * i, f"{max(0.0, size):.2f}", anchor="start", class_="small"))
    return picture(320, 12 + 18 * len(sizes), title, *drawn)


def _distances(copies: Copies) -> Markup:
    """Draw distances to the closest original."""
    return values.histogram("Distance to the closest record", copies.distances, low=0.0)
