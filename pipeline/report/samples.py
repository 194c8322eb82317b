"""The rows that a report judges: drawn with a seed, of equal number on both sides of every comparison."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from pipeline.data.tables.inference import infer
from pipeline.data.tables.passes.split import hashes
from pipeline.data.tables.reading import named
from pipeline.data.tables.schema import Schema
from pipeline.errors import Unusable
from pipeline.report.kinds import Feature, kind_of, kind_of_column
from pipeline.report.tables import GENERATED, REAL, TRAIN, aligned

MOST_ROWS = 2_500
"""Of each side of a comparison."""
MOST_ORIGINALS = 100_000
"""Rows among which near copies are looked for, beside every row that equals one of those that are compared."""
SEED = 0


@dataclass(frozen=True)
class Samples:
    """What is compared: `generated` with `held_out`, and beside it, for the floor, `real` with `held_out`.

    Attributes:
        features: the columns of all arrays, in order.
        held_out, real, generated: (n, d) each; without training rows `held_out` and `real` are two halves of the real rows.
        originals: (m, d), which a generated row may be a copy of: the training rows, or else all real rows. Of many, some are
            drawn, and all are there that equal a row which is compared.
        has_training: whether training rows were given, beside real rows that the model has not seen.
        rows: number of rows in each file, by its flag.
    """

    features: tuple[Feature, ...]
    held_out: np.ndarray
    real: np.ndarray
    generated: np.ndarray
    originals: np.ndarray
    has_training: bool
    rows: Mapping[str, int]

    @property
    def num_rows(self) -> int:
        """Number of rows of each side of a comparison."""
        return len(self.generated)


def draw(
    real: pa.Table,
    generated: pa.Table,
    train: pa.Table | None = None,
    drop: Collection[str] = (),
    schema: Schema | None = None,
) -> Samples:
    """Draw the rows that are judged; equal tables give equal rows.

    Example:
        >>> table = pa.table({"x": [i / 7 for i in range(50)]})
        >>> draw(table, table).num_rows
        25

    Args:
        schema: what the columns are; None: what is inferred from the real rows.

    Raises:
        Unusable: the tables cannot be compared; the sentence says why, and what to do.
    """
    given = {REAL: real, GENERATED: generated} | ({} if train is None else {TRAIN: train})
    if schema is not None:
        given = {flag: said_by(schema, table, flag, drop) for flag, table in given.items()}
    dropped = set() if schema is None else {column.name for column in schema.columns} - set(schema.names)
    tables = aligned(given, [*drop, *(name for name in real.column_names if name in dropped)])
    known = infer(tables[REAL]) if schema is None else schema
    rng = np.random.default_rng(SEED)
    sizes = {REAL: MOST_ORIGINALS, GENERATED: MOST_ROWS, TRAIN: MOST_ORIGINALS}
    chosen = {flag: rng.permutation(table.num_rows)[: sizes[flag]] for flag, table in tables.items()}
    drawn = {flag: table.take(chosen[flag]) for flag, table in tables.items()}
    of = REAL if train is None else TRAIN
    compared = [drawn[GENERATED], drawn[REAL].slice(0, MOST_ROWS)]
    drawn[of] = pa.concat_tables([drawn[of], *equals([tables[of]], compared, chosen[of])])
    features, rows = _read(drawn, known)
    half = len(chosen[REAL]) if train is not None else len(chosen[REAL]) // 2
    others = rows[REAL][half : len(chosen[REAL])] if train is None else rows[TRAIN][: len(chosen[TRAIN])]
    n = min(MOST_ROWS, half, len(others), len(rows[GENERATED]))
    originals = rows.get(TRAIN, rows[REAL])
    counts = {flag: table.num_rows for flag, table in given.items()}
    return Samples(features, rows[REAL][:n], others[:n], rows[GENERATED][:n], originals, train is not None, counts)


def equals(originals: Iterable[pa.Table], compared: Sequence[pa.Table], without: np.ndarray) -> Iterator[pa.Table]:
    """Find the originals that equal rows which are compared, at most two of a kind, where only some of them are looked at.

    Args:
        originals: all of them, one table after the other.
        without: numbers of those that are looked at already.
    """
    hashes_compared, first = np.concatenate([hashes(table) for table in compared]), 0
    for table in originals:
        hashes_of_rows = hashes(table)
        is_equal = np.isin(hashes_of_rows, hashes_compared)
        is_equal[without[(without >= first) & (without < first + len(hashes_of_rows))] - first] = False
        numbers = np.flatnonzero(is_equal)
        for _ in range(2):
            _, firsts = np.unique(hashes_of_rows[numbers], return_index=True)
            yield table.take(numbers[firsts])
            numbers = np.delete(numbers, firsts)
        first += len(hashes_of_rows)


def said_by(schema: Schema, table: pa.Table, flag: str, drop: Collection[str]) -> pa.Table:
    """Bring columns to what a schema says that they are, where a file has them as something else, such as dates as text.

    Raises:
        Unusable: the schema does not know a column, or it cannot be what it says.
    """
    known = {column.name: column for column in schema.columns}
    unknown = [name for name in table.column_names if name not in known and name not in drop]
    if unknown:
        rest = f"add them, or --drop {' '.join(unknown)}"
        raise Unusable(f"the schema says nothing of the columns {named(unknown)} of {flag}: {rest}")
    for number, name in enumerate(table.column_names):
        column, values = known.get(name), table[number]
        is_other = column is not None and column.kind != "dropped" and kind_of(values.type) is not kind_of(column.arrow_type)
        if column is not None and is_other and values.null_count < len(values):
            try:
                table = table.set_column(number, name, values.cast(column.arrow_type))
            except pa.ArrowException as error:
                reason = str(error).partition("\n")[0]
                both = f"{values.type}, and {column.type} by its schema"
                raise Unusable(f"column {name!r} of {flag} is {both}: {reason}") from error
    return table


def _read(tables: Mapping[str, pa.Table], schema: Schema) -> tuple[tuple[Feature, ...], dict[str, np.ndarray]]:
    """Read every column of the tables as numbers."""
    features: list[Feature] = []
    columns: dict[str, list[np.ndarray]] = {flag: [] for flag in tables}
    for name in tables[REAL].column_names:
        column = schema.column(name)
        feature, arrays = kind_of_column(column).read(column, {flag: table.column(name) for flag, table in tables.items()})
        features.append(feature)
        for flag, array in arrays.items():
            columns[flag].append(array)
    return tuple(features), {flag: np.column_stack(each) for flag, each in columns.items()}
