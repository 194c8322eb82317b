"""`python -m pipeline report`: two or three files in, one page out."""

from collections.abc import Mapping
from typing import Any

from pipeline.command import report as shown
from pipeline.command.flags import Report
from pipeline.data.tables.reading import read, select
from pipeline.data.tables.schemas.written import schema_at
from pipeline.files import write_text
from pipeline.provenance import redacted
from pipeline.report.figures.columns import ColumnFigures
from pipeline.report.figures.table import FIGURES
from pipeline.report.findings.remarks import TONES
from pipeline.report.findings.verdict import Verdict, verdict_of
from pipeline.report.judgement import Judgement, judge
from pipeline.report.page.page import written
from pipeline.report.samples import draw
from pipeline.report.tables import GENERATED, REAL, TRAIN

DATA = "--data"


def report(command: Report) -> Mapping[str, Any]:
    """Carry out `report`: judge the rows, print the verdict and the figures, write the page.

    Raises:
        Unusable: a file cannot be read, or they do not go together; nothing is written then.
    """
    given = {REAL: command.real or command.data, GENERATED: command.generated, TRAIN: command.train}
    locations = {flag: location for flag, location in given.items() if location is not None}
    schema, of_map = None if command.schema is None else schema_at(command.schema, "--schema"), None
    tables = {flag: read(location, name=DATA if location == command.data else flag) for flag, location in locations.items()}
    if command.reference is not None:
        from pipeline.report.of_flow import of_flow  # and with it torch and MLflow

        of_map = of_flow(command.reference, command.store, tables[REAL].num_rows if REAL in tables else None)
        tables = {REAL: of_map.held_out, GENERATED: of_map.generated, TRAIN: of_map.train} | tables
        if command.data is not None:  # perhaps with an identifier, or more
            tables[REAL] = select(tables[REAL], of_map.generated.column_names, f"{DATA}: {redacted(command.data)}")
        schema = schema or of_map.schema
        named = {REAL: "held-out rows", GENERATED: f"samples of {of_map.ref}", TRAIN: "training rows"}
        locations = named | locations
    samples = draw(tables[REAL], tables[GENERATED], tables.get(TRAIN), command.drop, schema)
    with shown.progress("judging") as show:
        judgement = judge(samples, command.predict, show)
    verdict = verdict_of(judgement)
    names = {flag: _shown(location) for flag, location in locations.items()}
    write_text(command.to, written(judgement, verdict, names))
    shown.sentence(verdict.level.headline)
    for tone in TONES:
        for sentence in verdict.of(tone):
            shown.sentence(f"{tone}: {sentence}")
    metrics = judgement.metrics
    if of_map is not None:
        of_map.keep(metrics, command.store)
    rows = [
        [figure.name, metrics[figure.name], metrics[f"{figure.name}_floor"], figure.good]
        for figure in FIGURES
        if figure.name in metrics
    ]
    shown.table(f"{samples.num_rows:,} rows on each side", ["figure", "generated", "floor", "good is"], rows)
    shown.line(f"page: {command.to}")
    return as_json(judgement, verdict)


def _shown(location: str) -> str:
    """Name a file by its last part, and anything else as it is called."""
    return location if " " in location else redacted(location).rstrip("/").rpartition("/")[2]


def as_json(judgement: Judgement, verdict: Verdict) -> dict[str, Any]:
    """Say everything for `--json`; `metrics` are flat, by the names that promotion rules take."""
    names = [feature.name for feature in judgement.samples.features]
    return {
        "verdict": verdict.level.word,
        "headline": verdict.level.headline,
        "remarks": [{"tone": remark.tone, "text": remark.text} for remark in verdict.remarks],
        "metrics": judgement.metrics,
        "rows": dict(judgement.samples.rows),
        "rows_compared": judgement.samples.num_rows,
        "columns": [_column(column) for column in judgement.columns],
        "pairs": [
            {
                "columns": [names[number] for number in pair.numbers],
                "measure": pair.measure,
                **{key: getattr(pair, key) for key in ("real", "generated", "difference", "floor", "is_off")},
            }
            for pair in judgement.pairs
        ],
        "used_by_classifier": judgement.test.importance,
    }


def _column(column: ColumnFigures) -> dict[str, Any]:
    measured = {key: getattr(column, key) for key in ("distance", "floor", "p", "outside", "between", "shift", "is_off")}
    measure = "ks" if column.feature.ordered else "tv"
    missing = {"missing_real": column.missing[0], "missing_generated": column.missing[1]}
    return {"name": column.feature.name, "measure": measure, **measured, **missing}
