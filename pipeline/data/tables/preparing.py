"""From a table to rows that a flow trains on: columns chosen, rows held out, schema found, codes fitted."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.data.tables.codes.conform import as_described, infinite_in, missing_in
from pipeline.data.tables.codes.fitting import Fitting
from pipeline.data.tables.coding import Coding, Given
from pipeline.data.tables.columns import fitted
from pipeline.data.tables.encoding import BLOCK, Encoding
from pipeline.data.tables.inference import infer_of
from pipeline.data.tables.passes.facts import Gathered, Rows
from pipeline.data.tables.passes.shards import Shards, Whole
from pipeline.data.tables.passes.sinks import Blocks, Sink
from pipeline.data.tables.passes.split import ByHash
from pipeline.data.tables.reading import named, select
from pipeline.data.tables.schema import Column, Schema
from pipeline.data.tables.source import TableRows
from pipeline.errors import Unusable

LEAST_ROWS = 2
SPLITS = {"train": True, "training": True, "test": False, "held_out": False, "validation": False, "valid": False, "val": False}
"""Words of a column that says which rows are trained on."""
HOW = "leave out of the columns that are used:"


@dataclass(frozen=True)
class Asked:
    """What a recipe says of its table.

    Attributes:
        columns: those that are used, in their order; empty: all but `weights` and `split`.
        weights: the column of each row's weight.
        condition: the columns that the flow is conditioned on.
        split: the column that says which rows are trained on, and which held out; None: a hash of each row says so.
        schema: what the columns are; None: it is inferred.
    """

    columns: tuple[str, ...] = ()
    weights: str | None = None
    condition: tuple[str, ...] = ()
    split: str | None = None
    schema: Schema | None = None


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
    parts = Parts.of(table, asked, name)
    for column in asked.condition:
        select(parts.schema.empty_table(), [column], name)
    made = [column for column in parts.columns if column not in asked.condition]
    if asked.condition and not made:
        raise Unusable(f"{name} has no column beside those of data.condition")
    seen = look(parts, made)
    given = Given.of(seen.conditions, asked.condition) if asked.condition else None
    if asked.schema is None:
        schema = infer_of({column: seen.gathered[column].facts() for column in made}, parts.schema, seen.num_rows, HOW)
    else:
        schema = _said(asked.schema, made, name)
    encoding = Encoding(schema, {column.name: fitted(column, seen.fitting(column)) for column in schema.kept})
    order = tuple(column for column in parts.columns if column in (*encoding.schema.names, *asked.condition))
    return coded(parts, seen, Coding(encoding, order, given))


def _said(schema: Schema, names: Sequence[str], name: str) -> Schema:
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
    parts = Parts.of(table, asked, name)
    missing = [column for column in coding.encoding.schema.names if column not in parts.columns]
    if missing:
        raise Unusable(f"{name} lacks the columns {named(missing)} of the other end; it has {named(parts.columns)}")
    return coded(parts, look(parts, []), Coding(coding.encoding, coding.names))


@dataclass(frozen=True)
class Parts:
    """A table as it is asked for, batch by batch.

    Attributes:
        columns: those that are used.
        name: how messages call the table.
    """

    shards: Shards
    asked: Asked
    columns: tuple[str, ...]
    name: str

    @classmethod
    def of(cls, table: pa.Table | Shards, asked: Asked, name: str) -> "Parts":
        """Find the columns that are asked for.

        Raises:
            Unusable: there is none of a name, or there are two.
        """
        shards = Whole(table) if isinstance(table, pa.Table) else table
        extra = [column for column in (asked.weights, asked.split) if column is not None]
        empty = shards.schema.empty_table()
        select(empty, extra, name)
        columns = asked.columns or [column for column in shards.schema.names if column not in extra]
        chosen = select(empty, [column for column in columns if column not in extra], name)
        return cls(shards, asked, tuple(chosen.column_names), name)

    @property
    def schema(self) -> pa.Schema:
        """Name the columns that are used, with their types."""
        return pa.schema([self.shards.schema.field(column) for column in self.columns])

    def batches(self) -> Iterator[tuple[pa.Table, np.ndarray | None, np.ndarray]]:
        """Give the rows batch by batch, with the weight of each, and whether it is trained on; those of weight 0 are left out.

        Raises:
            Unusable: a row has no weight, or no part.
        """
        extra = [column for column in (self.asked.weights, self.asked.split) if column is not None]
        first, by_hash = 0, ByHash()
        for batch in self.shards.batches([*self.columns, *extra]):
            chosen, count = batch.select(list(self.columns)), len(batch)
            weights = (
                None if self.asked.weights is None else _weights(batch[self.asked.weights], self.asked.weights, self.name, first)
            )
            if self.asked.split is None:
                train = by_hash.trained(chosen)
            else:
                train = _by_column(batch[self.asked.split], self.asked.split, self.name)
            if weights is not None and not weights.all():  # such rows are never drawn, and are nothing that could be generated
                there = weights > 0
                chosen, weights, train = chosen.filter(pa.array(there)), weights[there], train[there]
            yield chosen, weights, train
            first += count


@dataclass(frozen=True, eq=False)
class Seen:
    """What a first pass over a table has found.

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
        """How many rows there are."""
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


def look(parts: Parts, made: Sequence[str]) -> Seen:
    """Pass over a table once: which rows are trained on, and what is known of its columns.

    Args:
        made: columns that a flow makes.

    Raises:
        Unusable: there are too few rows.
    """
    gathered = {column: Gathered(parts.schema.field(column).type) for column in made}
    masks, weights, conditions, first = [], [], [], 0
    for chosen, of_rows, train in parts.batches():
        rows = Rows.of(len(chosen), first, train, of_rows)
        for column, each in gathered.items():
            each.add(chosen[column], rows)
        masks.append(train)
        weights.append(of_rows)
        conditions.append(chosen.select(list(parts.asked.condition)))
        first += len(chosen)
    if parts.asked.weights is not None and not first:
        raise Unusable(
            f"{parts.name}: weights must be finite, at least 0 and not all 0; of column {parts.asked.weights!r}, all are 0"
        )
    if first < LEAST_ROWS:
        shown = "1 row" if first else "no rows"
        raise Unusable(f"{parts.name} has {shown}: a flow needs some to train on and others to compare with")
    mask = np.concatenate(masks)
    if not 0 < mask.sum() < len(mask):
        raise Unusable(f"{parts.name}: {len(mask)} rows are too few, or too alike, to hold some of them out")
    known = [each for each in weights if each is not None]
    return Seen(mask, np.concatenate(known) if known else None, pa.concat_tables(conditions), gathered)


def coded(parts: Parts, seen: Seen, coding: Coding) -> TableRows:
    """Pass over a table once more, and code its rows: those to train on, and those held out, each with random numbers of its own.

    Raises:
        Unusable: a row cannot be coded.
    """
    train, names = seen.train, list(coding.encoding.schema.names)
    sinks = [Sink(int(mask.sum()), coding.encoding.width) for mask in (train, ~train)]
    streams = [np.random.default_rng(number) for number in range(len(sinks))]
    blocks = [Blocks(BLOCK) for _ in sinks]
    first = 0
    for chosen, _, _ in parts.batches():
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


def _weights(column: pa.ChunkedArray, label: str, name: str, first: int) -> np.ndarray:
    """Read weights of rows from one of a number on, which are numbers from 0 on."""
    try:
        weights = pc.cast(column, pa.float64()).to_numpy()
    except pa.ArrowException:
        raise Unusable(f"{name}: weights must be numbers, and column {label!r} holds {column.type}") from None
    bad = np.flatnonzero(~(np.isfinite(weights) & (weights >= 0)))
    if len(bad):
        what = f"row {first + bad[0]} has {weights[bad[0]]:g}"
        raise Unusable(f"{name}: weights must be finite, at least 0 and not all 0; of column {label!r}, {what}")
    return np.asarray(weights)


def _by_column(column: pa.ChunkedArray, label: str, name: str) -> np.ndarray:
    """Read which rows are trained on from a column of words, or of truth values."""
    cells = column.to_pylist()
    words = {cell: SPLITS.get(str(cell).strip().lower()) if not isinstance(cell, bool) else cell for cell in set(cells)}
    strange = next((cell for cell, trained in words.items() if trained is None), None)
    if strange is not None or None in words:
        raise Unusable(f"{name}: column {label!r} must say train or test of each row, and has {strange!r}")
    return np.array([bool(words[cell]) for cell in cells])
