"""Rows with the condition of each, as a person gives them: side by side, as columns of one table, as parts of one data set."""

from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from pipeline.data.joint import Conditioned
from pipeline.data.own import held_out_of
from pipeline.data.points import Points
from pipeline.data.rows import picture_of
from pipeline.errors import Unusable
from sjko.data import conditions
from sjko.data.given import Rows, require_same, rows_of
from sjko.data.opening import columns_of, is_data_set, is_of, location_of, opened, parts_of, taken_out

LABELS = (str, int, tuple, np.generic)
"""Types of names that columns have."""


class Joined(NamedTuple):
    """Rows, and where they have any the condition of each, as `conditions.read` gives them."""

    rows: Rows
    each: np.ndarray | None = None
    name: str = conditions.NAME
    shown: str = conditions.NAME


def joined_of(given: Any, asked: Any = None, name: str = "x") -> Joined:
    """Read rows with their conditions.

    Example:
        >>> joined_of([[1, 2], [3, 4]], ["a", "b"]).each.tolist()
        ['a', 'b']

    Args:
        asked: the name of a column of the rows, or several, or of the second part of a data set's items; else one for each row.
        name: how messages call the rows.

    Raises:
        Unusable: rows or conditions are not what they should be; says which, where and what.
    """
    if asked is None:
        return Joined(rows_of(given, name))
    table, table_name = opened(given, name), location_of(given) or name
    if labels := _columns_asked(table, asked):
        return _of_columns(table, labels, table_name)
    if isinstance(asked, str):
        return _of_items(table, asked, table_name)
    shown = conditions.NAME if name == "x" else f"{name}: {conditions.NAME}"
    _require_same_index(table, asked, shown)
    rows = rows_of(table, table_name)
    return Joined(rows, conditions.read(asked, len(rows.samples), shown), shown=shown)


def _columns_asked(table: Any, asked: Any) -> list[Any]:
    """List the columns that hold the conditions; none where they are given otherwise."""
    labels = columns_of(table)
    if isinstance(asked, LABELS) and asked in labels:
        return [asked]
    is_list = isinstance(asked, list | tuple) and all(isinstance(each, LABELS) and each in labels for each in asked)
    return list(asked) if is_list and len(asked) != len(table) else []


def _of_columns(table: Any, labels: list[Any], table_name: str) -> Joined:
    rest, columns = taken_out(table, labels, table_name)
    rows = rows_of(rest, table_name)
    rows = replace(rows, form=replace(rows.form, given=tuple(labels)))
    if len(labels) > 1:
        return Joined(rows, values_of(table, labels, table_name))
    shown = f"{table_name}: column {labels[0]!r}"
    return Joined(rows, conditions.read(columns[0], len(rows.samples), shown), conditions.name_of(labels[0]), shown)


def values_of(table: Any, labels: list[Any], table_name: str) -> np.ndarray:
    """Read several columns of numbers as values, float64 of shape (n, number of columns)."""
    others = [label for label in columns_of(table) if label not in labels]
    return rows_of(taken_out(table, others, table_name)[0] if others else table, table_name).samples.astype(np.float64)


def _of_items(table: Any, asked: str, table_name: str) -> Joined:
    """Read a data set of pairs, whose second parts get the name that is asked for."""
    if columns := columns_of(table):
        raise Unusable(f"condition: {table_name} has no column {asked!r}; it has {', '.join(map(str, columns))}"[:500])
    if not is_data_set(table):
        raise Unusable(
            f"condition: {table_name} has no columns, and so none named {asked!r}: give one class or value for each row"
        )
    firsts, others = parts_of(table, table_name)
    if others is None or any(len(parts) != 1 for parts in others):
        raise Unusable(
            f"condition: items of {table_name} must be pairs of a sample and its condition, which is then called {asked}"
        )
    rows = rows_of(firsts, table_name)
    each = conditions.read([part for (part,) in others], len(rows.samples), f"{table_name}: second parts")
    return Joined(rows, each, conditions.name_of(asked), f"{table_name}: second parts")


def _require_same_index(table: Any, asked: Any, shown: str) -> None:
    """Refuse a series beside a frame where rows of a number are not those of a label."""
    both = is_of(table, "pandas", "DataFrame") and (is_of(asked, "pandas", "Series") or is_of(asked, "pandas", "DataFrame"))
    if both and len(asked) == len(table) and not asked.index.equals(table.index):
        raise Unusable(
            f"{shown}: its index is not that of x: write condition.loc[x.index] to go by labels, or condition.to_numpy() to go "
            "by the order"
        )


def points_of(given: Joined, held_out: Joined | None = None, name: str = "x") -> Points:
    """Make rows a source: those to train on, and held-out ones, which are one in five unless they are given.

    Raises:
        Unusable: the rows are too few, are all equal, the held-out ones have another shape, or a class is not among the rows that
            are trained on.
    """
    rows = given.rows.samples
    if held_out is None:
        if len(rows) > 1 and (rows == rows[:1]).all():
            raise Unusable(f"{name}: all {len(rows)} rows are equal{' in float32' if given.rows.merged else ''}")
        mask = held_out_of(rows, name)
        train, test = (Joined(replace(given.rows, samples=rows[at]), _some(given.each, at)) for at in (~mask, mask))
    else:
        train, test = given, held_out
        require_same(given.rows.form, held_out.rows.form, name, "held_out")
        if test.rows.samples.shape[1:] != rows.shape[1:]:
            raise Unusable(f"held_out: its samples are {test.rows.samples.shape[1:]}, those of {name} {rows.shape[1:]}")
    arrays, picture = (train.rows.samples, test.rows.samples), picture_of(rows.shape[1:])
    if train.each is None or test.each is None:
        return Points(*arrays, picture=picture)
    condition = conditions.condition_of(train.each, given.name, given.shown)
    if held_out is None and condition.classes:
        _require_in_train(train.each, test.each, given.shown)
    told = condition, conditions.numbers_of(condition, train.each), conditions.numbers_of(condition, test.each, test.shown)
    return Conditioned(*arrays, picture=picture, given={given.name: told})


def _require_in_train(train: np.ndarray, test: np.ndarray, shown: str) -> None:
    """Refuse a class whose few rows are all among those that are held out."""
    if missing := sorted(set(np.unique(test).tolist()) - set(np.unique(train).tolist())):
        raise Unusable(
            f"{shown}: the {(test == missing[0]).sum()} rows of class {missing[0]!r} are all among the one in five that are held "
            "out: leave them out, or say yourself what is held out"
        )


def _some(each: np.ndarray | None, mask: np.ndarray) -> np.ndarray | None:
    return None if each is None else each[mask]
