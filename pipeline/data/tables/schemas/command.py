"""The command `schema`: what each column of a table is, shown, and written as YAML to be corrected."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from pipeline.command import report
from pipeline.command.flags import Schema as Command
from pipeline.data.tables.inference import infer
from pipeline.data.tables.reading import read
from pipeline.data.tables.schema import Column
from pipeline.errors import Unusable
from pipeline.files import write_text

HEADS = ["column", "kind", "missing", "range", "grid", "transform", "coordinates"]
MOST_SHOWN = 3


def show_schema(command: Command) -> Mapping[str, Any]:
    """Carry out `schema`: read a table, find out what its columns are, show it, and write it.

    Raises:
        Unusable: the table cannot be read, or a column cannot be learnt.
    """
    with report.status(f"reading {command.file}"):
        table = read(command.file, name="FILE")
        schema = infer(table, drop=command.drop)
    missing = {column.name: missing_of(table[column.name]) for column in schema.columns}
    rows: list[list[object]] = [row_of(column, missing[column.name]) for column in schema.columns]
    report.table(f"{table.num_rows:,} rows", HEADS, rows)
    width = sum(column.width for column in schema.columns)
    report.line(f"{len(schema.kept)} columns become {width} coordinates")
    if command.to is not None:
        write_new(command.to, schema.to_yaml())
        report.line(f"schema: {command.to}")
    described = [{**column.described(), "missing": missing[column.name], "width": column.width} for column in schema.columns]
    return {"rows": table.num_rows, "width": width, "columns": described}


def missing_of(values: pa.ChunkedArray) -> int:
    """Count the values of a column that are missing; a NaN is."""
    return int(sum(chunk.is_null(nan_is_null=pa.types.is_floating(chunk.type)).sum().as_py() or 0 for chunk in values.chunks))


def row_of(column: Column, missing: int) -> list[object]:
    """Say what a column is, in the cells of a line."""
    unit = "" if column.kind != "datetime" else " s" if column.format else f" {getattr(column.arrow_type, 'unit', 'days')}"
    grid = [f"{column.grid:.6g}{unit}"] if column.grid else []
    digits = [f"{column.digits} digits"] if column.digits else []
    transform = column.transform or ""
    return [column.name, column.kind, missing or "", range_of(column), ", ".join(grid + digits), transform, column.width]


def range_of(column: Column) -> str:
    """Say which values a column has, in a few words."""
    if column.reason is not None:
        return column.reason
    if column.low is not None and column.high is not None:
        return " to ".join(f"{end:.6g}" if isinstance(end, float) else str(end) for end in (column.low, column.high))
    some = ", ".join(map(str, column.categories[:MOST_SHOWN])) if column.categories else str(column.value)
    more = len(column.categories) - MOST_SHOWN
    return f"{some}, ... ({len(column.categories)})" if more > 0 else some


def write_new(path: Path, text: str) -> None:
    """Write a file where there is none.

    Raises:
        Unusable: there is one, which a person may have corrected.
    """
    if path.exists():
        raise Unusable(f"--to names a file that is there already, perhaps with corrections: {path}; name another, or remove it")
    write_text(path, text)
