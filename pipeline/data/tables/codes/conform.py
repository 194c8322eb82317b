"""A column of any table as the values that a schema says it has, or the reason why it cannot be."""

from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.data.tables.codes.arrow_types import cast, is_text
from pipeline.errors import Unusable
from pipeline.recipes.values import like, meant, shown

if TYPE_CHECKING:
    from pipeline.data.tables.schema import Column


COMPUTED = {pa.float16(): pa.float32(), pa.string_view(): pa.large_string()}
"""What Arrow computes little with, and what it is computed as."""


def conformed(column: "Column", table: pa.Table) -> pa.ChunkedArray:
    """Give the values of a column as the type of its description; a NaN is a missing value.

    Raises:
        Unusable: there is no such column, or two, or it has values that it cannot have.
    """
    name = shown(column.name)
    if table.column_names.count(column.name) != 1:
        if column.name in table.column_names:
            raise Unusable(f"two columns of the table are called {name}")
        raise Unusable(f"the table has no column {name}{meant(like(column.name, table.column_names))}")
    return as_described(column, table[column.name])


def as_described(column: "Column", values: pa.ChunkedArray) -> pa.ChunkedArray:
    """Give values as the type of a column's description, as `conformed` does.

    Raises:
        Unusable: they cannot be that.
    """
    name = shown(column.name)
    if values.type != column.arrow_type:
        try:
            values = plain(values)
            if pa.types.is_date(column.arrow_type) and is_text(values.type):  # JSON has days with times of the day
                values = values.cast(pa.timestamp("us")).cast(column.arrow_type)
            values = cast(values, column.arrow_type)
        except pa.ArrowException as error:
            reason = str(error).partition("\n")[0]
            raise Unusable(f"the column {name} must be {column.type}, and is {values.type}: {reason}") from error
    values = plain(values)
    if values.null_count and not column.nullable:
        raise missing_in(column, int(pc.index(values.is_null(), True).as_py()))
    if pa.types.is_floating(values.type) and pc.any(pc.is_inf(values)).as_py():
        raise infinite_in(column, int(pc.index(pc.is_inf(values), True).as_py()))
    return values


def missing_in(column: "Column", row: int) -> Unusable:
    """Make the error of a value that is missing where none may be."""
    return Unusable(f"the column {shown(column.name)} has a missing value in row {row + 1}, and its schema says that it has none")


def infinite_in(column: "Column", row: int) -> Unusable:
    """Make the error of an infinite value."""
    name = shown(column.name)
    return Unusable(f"the column {name} has an infinite value in row {row + 1}: take it away, or leave the value out")


def plain(values: pa.ChunkedArray) -> pa.ChunkedArray:
    """Make what is not a number missing, and types plain that Arrow computes little with: short floats, and views of text."""
    values = values.cast(COMPUTED.get(values.type, values.type))
    if not pa.types.is_floating(values.type) or not pc.any(pc.is_nan(values)).as_py():
        return values
    return pc.if_else(pc.is_nan(values), pa.scalar(None, values.type), values)
