"""Frames and tables: coded as the commands code a table, and given back with their columns and types."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from components.parts.loading import describe_error
from pipeline.data.tables.coding import Coding
from pipeline.data.tables.passes.asked import Asked
from pipeline.data.tables.preparing import alike, prepared
from pipeline.data.tables.source import TableRows
from pipeline.errors import Unusable
from sjko.data.given import Form
from sjko.data.opening import columns_of, is_of, opened

PART = "sjko part of each row"
"""A column that says which rows are held out, while a table is prepared."""


def table_of(given: Any, name: str = "x") -> pa.Table | None:
    """Read a frame, a table or a file of one; None of what has no columns, and of vectors in the cells of one.

    Example:
        >>> table_of(pa.table({"x": [1.5], "word": ["a"]})).column_names, table_of([[1.5]])
        (['x', 'word'], None)

    Raises:
        Unusable: a column of a frame holds what no table can.
    """
    rows = opened(given, name)
    if not columns_of(rows):
        return None
    table = rows if isinstance(rows, pa.Table) else _of_frame(rows, name)
    return None if any(pa.types.is_nested(field.type) or _is_tensor(field.type) for field in table.schema) else table


def rows_of(table: pa.Table, held_out: pa.Table | None, condition: Sequence[str], name: str = "x") -> TableRows:
    """Code a table as rows to train on, and held-out ones, which are one in five by a hash of each unless they are given.

    Args:
        condition: names of the columns that the flow is given.

    Raises:
        Unusable: it cannot be coded, or the held-out rows have other columns; names the column.
    """
    if held_out is None:
        return prepared(table, Asked(condition=tuple(condition)), name)
    if not len(held_out):
        raise Unusable("held_out has no rows")
    if held_out.column_names != table.column_names:
        mine, others = ", ".join(table.column_names), ", ".join(held_out.column_names)
        raise Unusable(f"held_out: its columns are {others}, those of {name} {mine}")
    marked = [part.append_column(PART, pa.array([word] * len(part))) for part, word in ((table, "train"), (held_out, "test"))]
    try:
        both = pa.concat_tables(marked, promote_options="permissive")
    except pa.ArrowException as error:
        raise Unusable(f"held_out: its columns have other types than those of {name}: {describe_error(error)}") from error
    return prepared(both, Asked(condition=tuple(condition), split=PART), name)


def are_numbers(table: pa.Table) -> bool:
    """Say whether a table is of numbers alone, none of which is missing: it can be points too.

    Example:
        >>> are_numbers(pa.table({"x": [1.5]})), are_numbers(pa.table({"x": [1.5, None]}))
        (True, False)
    """
    return all(_is_number(field.type) and not table[field.name].null_count for field in table.schema)


def source_of(table: pa.Table, coding: Coding) -> TableRows:
    """Code the table that a flow starts from as the one is coded that it goes to.

    Raises:
        Unusable: it lacks columns of that one, or has values that it has not; names the column.
    """
    return alike(table, Asked(), coding, "source")


def back(table: pa.Table, form: Form, index: Any = None) -> Any:
    """Give rows in the form that the flow was fitted with: a table of pyarrow, or a frame of pandas with its names and types."""
    if form.is_table:
        return table
    frame = table.to_pandas()
    for label, dtype in zip(form.columns or (), form.dtypes, strict=False):
        if str(label) in frame and frame[str(label)].dtype != dtype:  # such as whole numbers with missing ones
            frame[str(label)] = frame[str(label)].astype(dtype)
    labels = {str(label): label for label in form.columns or ()}
    frame.columns = [labels.get(name, name) for name in frame.columns]
    return frame if index is None else frame.set_axis(index)


def form_of(given: Any) -> Form:
    """Say in which form rows like these are given back."""
    is_table = isinstance(given, pa.Table)
    return Form(tuple(columns_of(given)), is_table=is_table, dtypes=() if is_table else tuple(given.dtypes))


def _of_frame(frame: Any, name: str) -> pa.Table:
    """Make a table of a frame, without its index; its columns are called as text."""
    import pandas as pd

    frame = frame.set_axis([str(label) for label in frame.columns], axis=1)
    columns = {}
    for number, label in enumerate(frame.columns):
        dtype = frame.dtypes.iloc[number]
        if isinstance(getattr(dtype, "categories", None), pd.IntervalIndex):
            raise Unusable(f"{name}: column {label!r} holds intervals: write them as text, with x[{label!r}].astype(str)")
        if isinstance(dtype, pd.SparseDtype):
            columns[label] = frame.iloc[:, number].sparse.to_dense()
        elif isinstance(dtype, np.dtype) and not dtype.isnative:  # as FITS files have them
            columns[label] = frame.iloc[:, number].astype(dtype.newbyteorder("="))
    try:
        return pa.Table.from_pandas(frame.assign(**columns), preserve_index=False)
    except (pa.ArrowException, TypeError, ValueError) as error:
        raise Unusable(f"{name}: a column holds what no table can: {'. '.join(map(str, error.args))}") from error


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind) or pa.types.is_decimal(kind))


def _is_tensor(kind: pa.DataType) -> bool:
    return isinstance(kind, pa.BaseExtensionType) and pa.types.is_nested(kind.storage_type)


def names_of(condition: Any, table: pa.Table) -> list[str] | None:
    """List the columns that a condition names; None where it is one for each row.

    Raises:
        Unusable: there is no such column.
    """
    if condition is None:
        return []
    asked = [condition] if isinstance(condition, str | int | np.integer) else condition
    is_names = isinstance(asked, list | tuple) and len(asked) != len(table) and all(isinstance(each, str | int) for each in asked)
    if not is_names:
        return None
    names = [str(each) for each in asked]
    missing = [each for each in names if each not in table.column_names]
    if missing:
        raise Unusable(f"condition: there is no column {missing[0]!r}; there are {', '.join(table.column_names)}"[:500])
    return names


def beside(table: pa.Table, condition: Any, name: str) -> pa.Table:
    """Put conditions that are given beside a table into a column of it.

    Raises:
        Unusable: they are not one for each row.
    """
    cells = condition.tolist() if hasattr(condition, "tolist") else list(condition)
    if len(cells) != len(table):
        raise Unusable(f"condition must be one for each of {len(table)} rows, not {len(cells)}")
    if name in table.column_names:
        raise Unusable(f"condition: x has a column {name!r} already: name it, as in condition={name!r}")
    values = condition if is_of(condition, "pandas", "Series") else cells
    return table.append_column(name, pa.array(values))
