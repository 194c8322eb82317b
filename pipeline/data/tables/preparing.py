"""From a table to rows that a flow trains on: columns chosen, rows held out, schema found, codes fitted."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.data.tables.coding import Coding, Given
from pipeline.data.tables.encoding import Encoding
from pipeline.data.tables.inference import infer
from pipeline.data.tables.reading import named, select
from pipeline.data.tables.schema import Schema
from pipeline.data.tables.source import TableRows
from pipeline.errors import Unusable

HELD_OUT = 5
"""One row in so many is held out."""
SPLITS = {"train": True, "training": True, "test": False, "held_out": False, "validation": False, "valid": False, "val": False}
"""Words of a column that says which rows are trained on."""
HOW = "leave out of the columns that are used:"
ODD = np.uint64(0x9E3779B97F4A7C15)


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


def prepared(table: pa.Table, asked: Asked, name: str) -> TableRows:
    """Make rows to train on, and held-out ones, of a table.

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
    chosen, weights, train = _divided(table, asked, name)
    for column in asked.condition:
        select(chosen, [column], name)
    given = Given.of(chosen, asked.condition) if asked.condition else None
    made = chosen.drop_columns(list(asked.condition))
    if not made.num_columns:
        raise Unusable(f"{name} has no column beside those of data.condition")
    schema = infer(made, how=HOW) if asked.schema is None else _said(asked.schema, made, name)
    made = made.select([column.name for column in schema.kept])
    of_train = None if weights is None else weights[train]
    encoding = Encoding.fit(schema, made.filter(pa.array(train)), of_train, made.filter(pa.array(~train)))
    order = tuple(column for column in chosen.column_names if column in (*encoding.schema.names, *asked.condition))
    return _rows(made, chosen, weights, train, Coding(encoding, order, given))


def _said(schema: Schema, table: pa.Table, name: str) -> Schema:
    """Give what a schema says of the columns of a table, in the order of the schema.

    Raises:
        Unusable: it does not know a column, or leaves all out.
    """
    unknown = [column for column in table.column_names if column not in [each.name for each in schema.columns]]
    if unknown:
        raise Unusable(
            f"data.schema says nothing of the columns {named(unknown)} of {name}: add them, or name the others in data.columns"
        )
    columns = tuple(column for column in schema.columns if column.name in table.column_names)
    if not Schema(columns).kept:
        raise Unusable(f"data.schema leaves out all columns of {name}")
    return Schema(columns)


def alike(table: pa.Table, asked: Asked, coding: Coding, name: str) -> TableRows:
    """Make rows of a table that has the columns of another one, in the coordinates of that.

    Raises:
        Unusable: it has other columns, or what they hold cannot be coded; names the column.
    """
    chosen, weights, train = _divided(table, asked, name)
    missing = [column for column in coding.encoding.schema.names if column not in chosen.column_names]
    if missing:
        raise Unusable(f"{name} lacks the columns {named(missing)} of the other end; it has {named(chosen.column_names)}")
    made = chosen.select([column.name for column in coding.encoding.schema.columns if column.name in chosen.column_names])
    return _rows(made, made, weights, train, Coding(coding.encoding, coding.names))


def _divided(table: pa.Table, asked: Asked, name: str) -> tuple[pa.Table, np.ndarray | None, np.ndarray]:
    """Take the columns that are asked for, the weights, and which rows are trained on."""
    extra = [column for column in (asked.weights, asked.split) if column is not None]
    select(table, extra, name)
    columns = asked.columns or [column for column in table.column_names if column not in extra]
    chosen = select(table, [column for column in columns if column not in extra], name)
    if table.num_rows < 2:
        rows = "1 row" if table.num_rows else "no rows"
        raise Unusable(f"{name} has {rows}: a flow needs some to train on and others to compare with")
    weights = None if asked.weights is None else _weights(table[asked.weights], asked.weights, name)
    if weights is not None and not weights.all():  # such rows are never drawn, and are nothing that could be generated
        there = pa.array(weights > 0)
        table, chosen, weights = table.filter(there), chosen.filter(there), weights[weights > 0]
    train = hashes(chosen) % HELD_OUT != 0 if asked.split is None else _by_column(table[asked.split], asked.split, name)
    if not 0 < train.sum() < len(train):
        raise Unusable(f"{name}: {len(train)} rows are too few, or too alike, to hold some of them out")
    return chosen, weights, train


def _rows(made: pa.Table, chosen: pa.Table, weights: np.ndarray | None, train: np.ndarray, coding: Coding) -> TableRows:
    """Encode rows, each split with random numbers of its own."""
    splits = [
        coding.encoding.encode(made.filter(pa.array(mask)), np.random.default_rng(i)) for i, mask in enumerate((train, ~train))
    ]
    given = {}
    if coding.given is not None:
        conditions = coding.given.encode(chosen)
        given = {coding.given.condition.name: (coding.given.condition, conditions[train], conditions[~train])}
    halves = None if weights is None else (weights[train], weights[~train])
    return TableRows(splits[0], splits[1], weights=halves, given=given, coding=coding)


def _weights(column: pa.ChunkedArray, label: str, name: str) -> np.ndarray:
    """Read weights, which are numbers from 0 on."""
    try:
        weights = pc.cast(column, pa.float64()).to_numpy()
    except pa.ArrowException:
        raise Unusable(f"{name}: weights must be numbers, and column {label!r} holds {column.type}") from None
    bad = np.flatnonzero(~(np.isfinite(weights) & (weights >= 0)))
    if len(bad) or not weights.sum() > 0:
        what = f"row {bad[0]} has {weights[bad[0]]:g}" if len(bad) else "all are 0"
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


def hashes(table: pa.Table) -> np.ndarray:
    """Hash each row, whatever stands before or after it, in whatever order the columns stand.

    Example:
        >>> one, other = pa.table({"x": [1, 2], "y": ["a", "b"]}), pa.table({"y": ["b"], "x": [2.0]})
        >>> bool(hashes(one)[1] == hashes(other)[0])
        True
    """
    total = np.zeros(table.num_rows, np.uint64)
    with np.errstate(over="ignore"):
        for column in sorted(table.column_names):
            total = (total ^ _hashed(table[column])) * ODD
            total ^= total >> np.uint64(29)
    return total


def _hashed(column: pa.ChunkedArray) -> np.ndarray:
    """Hash cells: numbers by their value, whatever type they have, others as text."""
    kind = column.type
    if pa.types.is_dictionary(kind):
        column, kind = column.cast(kind.value_type), kind.value_type
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind) or pa.types.is_decimal(kind):
        numbers = pc.cast(column, pa.float64(), safe=False).to_numpy(zero_copy_only=False) + 0.0
        return np.asarray(pd.util.hash_array(np.where(np.isnan(numbers), np.nan, numbers)))
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):  # the same moment in whatever unit
        column = pc.cast(column, pa.timestamp("us", getattr(kind, "tz", None)), safe=False)
    texts = pc.cast(column, pa.string()).dictionary_encode().combine_chunks()
    categories = pd.util.hash_array(texts.dictionary.to_numpy(zero_copy_only=False), categorize=False)
    places = texts.indices.fill_null(-1).to_numpy(zero_copy_only=False)
    cells: np.ndarray = np.append(categories, np.uint64(0))[places]
    return cells
