"""The tables that a report compares: brought to the same columns, refused in one sentence where they do not go together."""

from collections.abc import Collection, Mapping

import pyarrow as pa

from pipeline.errors import Unusable
from pipeline.report.kinds import kind_of, leave_out

LEAST_ROWS = 20
"""Of each file: fewer show nothing."""
REAL, GENERATED, TRAIN = "--real", "--generated", "--train"


def aligned(tables: Mapping[str, pa.Table], drop: Collection[str] = ()) -> dict[str, pa.Table]:
    """Bring tables to the same columns in the same order, without those that are dropped.

    Args:
        tables: by flag; the real one comes first.

    Raises:
        Unusable: they differ in their columns or types, or there is too little in one.
    """
    names = {flag: _names(flag, table, drop) for flag, table in tables.items()}
    for name in drop:
        if not any(name in table.column_names for table in tables.values()):
            raise Unusable(f"--drop must name columns of the files, not {name!r}")
    first, *others = names
    for other in others:
        _require_same(names[first], names[other], first, other)
    if not names[first]:
        raise Unusable(f"{first} has no column to judge")
    for flag, table in tables.items():
        if table.num_rows < LEAST_ROWS:
            rows = f"{table.num_rows} {'row' if table.num_rows == 1 else 'rows'}"
            raise Unusable(f"{flag} has {rows}; a report needs at least {LEAST_ROWS} of each file")
    for name in names[first]:
        _require_kinds(name, tables)
    return {flag: table.select(names[first]) for flag, table in tables.items()}


def _names(flag: str, table: pa.Table, drop: Collection[str]) -> list[str]:
    names = [name for name in table.column_names if name not in drop]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise Unusable(f"{flag} has two columns named {twice!r}; rename one")
    return names


def _require_same(real: list[str], other: list[str], real_flag: str, flag: str) -> None:
    missing, extra = [name for name in real if name not in other], [name for name in other if name not in real]
    if real and len(missing) == len(real):
        raise Unusable(f"{flag} and {real_flag} have no column in common: {_listed(other)}; {_listed(real)}")
    for names, has, lacks in ((missing, real_flag, flag), (extra, flag, real_flag)):
        if names:
            raise Unusable(f"{lacks} lacks what {has} has: {_listed(names)}; to judge the others, --drop {' '.join(names)}")


def _listed(names: list[str]) -> str:
    shown = ", ".join(repr(name) for name in names[:5])
    return f"{shown} and {len(names) - 5} more" if len(names) > 5 else shown or "none at all"


def _require_kinds(name: str, tables: Mapping[str, pa.Table]) -> None:
    """Refuse a column that is of no kind, of two kinds, or empty in the real rows."""
    first = next(iter(tables))
    words: dict[str, str] = {}
    for flag, table in tables.items():
        column = table.column(name)
        if column.null_count == len(column):
            continue  # of generated rows a finding; of real ones the schema refuses it
        kind = kind_of(column.type)
        if kind is None:
            raise Unusable(f"column {name!r} of {flag} holds {column.type}, which no report compares; {leave_out(name)}")
        words[flag] = kind.word
    other = next((flag for flag, word in words.items() if word != words.get(first, word)), None)
    if other is not None:
        raise Unusable(f"column {name!r} holds {words[first]} in {first} and {words[other]} in {other}; {leave_out(name)}")
