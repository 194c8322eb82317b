"""From a table to rows that a flow trains on: columns chosen, rows held out, schema found, codes fitted."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import pyarrow as pa

from pipeline.data.tables.codes.conform import as_described, infinite_in, missing_in
from pipeline.data.tables.codes.fitting import Fitting
from pipeline.data.tables.coding import Coding, Given
from pipeline.data.tables.columns import fitted
from pipeline.data.tables.encoding import BLOCK, Encoding
from pipeline.data.tables.inference import infer_of
from pipeline.data.tables.passes.asked import Asked, AskedTable
from pipeline.data.tables.passes.facts import Gathered
from pipeline.data.tables.passes.sampling import Rows
from pipeline.data.tables.passes.shards import Shards
from pipeline.data.tables.passes.sinks import Blocks, Sink
from pipeline.data.tables.reading import named, select
from pipeline.data.tables.schema import Column, Schema
from pipeline.data.tables.source import TableRows
from pipeline.errors import Unusable

LEAST_ROWS = 2
HOW = (
    "name the others in data.columns, or give data.schema the file of: python -m pipeline schema FILE --drop {} --to schema.yaml"
)


def prepared(table: pa.Table | Shards, asked: Asked, name: str) -> TableRows:
    """Make rows to train on, and held-out ones, of a table: in two passes over it, so that it need not fit into memory.

    Example:
        >>> table = pa.table({"x": np.arange(50.0), "colour": ["red", "blue"] * 25})
        >>> rows = prepared(table, Asked(condition=("colour",)), "my table")
        >>> rows.shape, rows.coding.table(rows.test[:1], rows.given["colour"][2][:1]).column_names
        ((1,), ['x', 'colour'])

    Args:
        name: how messages call the table.

    Raises:
        Unusable: the table or what is said of it cannot be used; names the column.
    """
    whole = AskedTable.of(table, asked, name)
    for column in asked.condition:
        select(whole.schema.empty_table(), [column], name)
    generated = [column for column in whole.columns if column not in asked.condition]
    if asked.condition and not generated:
        raise Unusable(f"{name} has no column beside those of data.condition")
    seen = look(whole, generated)
    given = Given.of(seen.conditions, asked.condition) if asked.condition else None
    if asked.schema is None:
        schema = infer_of({column: seen.gathered[column].facts() for column in generated}, whole.schema, seen.num_rows, HOW)
    else:
        schema = _columns_of(asked.schema, generated, name)
    encoding = Encoding(schema, {column.name: fitted(column, seen.fitting(column)) for column in schema.kept})
    order = tuple(column for column in whole.columns if column in (*encoding.schema.names, *asked.condition))
    return coded(whole, seen, Coding(encoding, order, given))


def _columns_of(schema: Schema, names: Sequence[str], name: str) -> Schema:
    """Give what a schema says of the columns of a table, in the order of the schema.

    Raises:
        Unusable: it does not know a column, or leaves all out.
    """
    unknown = [column for column in names if column not in [each.name for each in schema.columns]]
    if unknown:
        raise Unusable(
            f"data.schema says nothing of the columns {named(unknown)} of {name}: add them, or name the others in data.columns"
        )
    columns = tuple(column for column in schema.columns if column.name in names)
    if not Schema(columns).kept:
        raise Unusable(f"data.schema leaves out all columns of {name}")
    return Schema(columns)


def alike(table: pa.Table | Shards, asked: Asked, coding: Coding, name: str) -> TableRows:
    """Make rows of a table that has the columns of another one, in the coordinates of that.

    Raises:
        Unusable: it has other columns, or what they hold cannot be coded; names the column.
    """
    whole = AskedTable.of(table, asked, name)
    missing = [column for column in coding.encoding.schema.names if column not in whole.columns]
    if missing:
        raise Unusable(f"{name} lacks the columns {named(missing)} of the other end; it has {named(whole.columns)}")
    return coded(whole, look(whole, []), Coding(coding.encoding, coding.names))


@dataclass(frozen=True, eq=False)
class Seen:
    """What is known of a table after a first pass over it.

    Attributes:
        train: which rows are trained on.
        conditions: the columns that a flow is conditioned on.
        gathered: what is known of the others, by name.
    """

    train: np.ndarray
    weights: np.ndarray | None
    conditions: pa.Table
    gathered: Mapping[str, Gathered]

    @property
    def num_rows(self) -> int:
        """Count the rows of the table."""
        return len(self.train)

    def fitting(self, column: Column) -> Fitting:
        """Give what the code of a column is fitted to.

        Raises:
            Unusable: its values cannot be what the column is said to be.
        """
        gathered = self.gathered[column.name]
        if gathered.first_missing is not None and not column.nullable:
            raise missing_in(column, gathered.first_missing)
        if gathered.first_infinite is not None:
            raise infinite_in(column, gathered.first_infinite)
        row = 1.0 if self.weights is None else float(self.weights[self.train].mean())
        return gathered.fitting(partial(as_described, column), row)


def look(table: AskedTable, generated: Sequence[str]) -> Seen:
    """Pass over a table once: which rows are trained on, and what is known of its columns.

    Args:
        generated: columns that a flow makes.

    Raises:
        Unusable: there are too few rows.
    """
    gathered = {column: Gathered(table.schema.field(column).type) for column in generated}
    masks, weights, conditions, first = [], [], [], 0
    for chosen, of_rows, train in table.batches():
        rows = Rows.of(len(chosen), first, train, of_rows)
        for column, each in gathered.items():
            each.add(chosen[column], rows)
        masks.append(train)
        weights.append(of_rows)
        conditions.append(chosen.select(list(table.asked.condition)))
        first += len(chosen)
    if table.asked.weights is not None and not first:
        raise Unusable(
            f"{table.name}: weights must be finite, at least 0 and not all 0; of column {table.asked.weights!r}, all are 0"
        )
    if first < LEAST_ROWS:
        shown = "1 row" if first else "no rows"
        raise Unusable(f"{table.name} has {shown}: a flow needs some to train on and others to compare with")
    mask = np.concatenate(masks)
    if not 0 < mask.sum() < len(mask):
        raise Unusable(f"{table.name}: {len(mask)} rows are too few, or too alike, to hold some of them out")
    known = [each for each in weights if each is not None]
    return Seen(mask, np.concatenate(known) if known else None, pa.concat_tables(conditions), gathered)


def coded(table: AskedTable, seen: Seen, coding: Coding) -> TableRows:
    """Pass over a table once more, and code its rows: those to train on, and those held out, each with random numbers of its own.

    Raises:
        Unusable: a row cannot be coded.
    """
    train, names = seen.train, list(coding.encoding.schema.names)
    sinks = [Sink(int(mask.sum()), coding.encoding.width) for mask in (train, ~train)]
    streams = [np.random.default_rng(number) for number in range(len(sinks))]
    blocks = [Blocks(BLOCK) for _ in sinks]
    first = 0
    for chosen, _, _ in table.batches():
        of_batch = train[first : first + len(chosen)]
        for number, mask in enumerate((of_batch, ~of_batch)):
            for block in blocks[number].add(chosen.select(names).filter(pa.array(mask))):
                sinks[number].write(coding.encoding.encode(block, streams[number]))
        first += len(chosen)
    for number, rest in enumerate(blocks):
        for block in rest.rest():
            sinks[number].write(coding.encoding.encode(block, streams[number]))
    given = {}
    if coding.given is not None:
        conditions = coding.given.encode(seen.conditions)
        given = {coding.given.condition.name: (coding.given.condition, conditions[train], conditions[~train])}
    halves = None if seen.weights is None else (seen.weights[train], seen.weights[~train])
    of_train, held_out = (sink.rows() for sink in sinks)
    return TableRows(of_train, held_out, weights=halves, given=given, coding=coding)
