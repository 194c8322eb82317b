"""The columns of a given table that hold the coordinates of points: they become samples, and samples become them again."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from components.conditions import Conditions
from pipeline.data.source import Samples
from pipeline.data.tables.reading import named, select
from pipeline.errors import Unusable

POINT = "sample"
"""The column that an array of points gets, which has no names: that of `python -m deploy generate`."""
CONDITION = "condition"
"""The column with the condition that each row was given, where it was drawn."""


@dataclass(frozen=True)
class Coordinates:
    """The columns of a table that hold the coordinates of points: one number each, or one column with lists of them.

    Example:
        >>> table = pa.table({"id": ["a", "b"], "x": [1, 2], "y": [0.5, 1.5]})
        >>> coordinates = Coordinates.of(table.schema, (2,), "x.csv")
        >>> samples = coordinates.samples(table, "x.csv")
        >>> samples.tolist(), coordinates.back(table, samples)[1]
        ([[1.0, 0.5], [2.0, 1.5]], ('x', 'y'))

    Attributes:
        columns: their names, in the order of the coordinates.
        shape: of one point.
        is_list: whether it is one column whose cells are lists.
    """

    columns: tuple[str, ...]
    shape: tuple[int, ...]
    is_list: bool = False

    @classmethod
    def of(
        cls, schema: pa.Schema, shape: tuple[int, ...], table_name: str, asked: Sequence[str] = (), option: str = "--coordinates"
    ) -> "Coordinates":
        """Find the columns that hold the coordinates of points of a shape.

        The first of these that there is: the columns that somebody asks for, in that order; columns called 0, 1, ...; the one
        column of lists, or `sample` where there are several; all columns of numbers, where they are as many as coordinates.

        Args:
            table_name: how messages call the table.
            option: how messages call what names the columns.

        Raises:
            Unusable: there are no such columns, or more than one choice.
        """
        select(schema.empty_table(), asked, table_name)  # refuses absent columns, and two of one name
        dim, counted = math.prod(shape), [str(number) for number in range(math.prod(shape))]
        lists = [field.name for field in schema if _is_list(field.type)]
        numbers = [field.name for field in schema if _is_number(field.type)]
        if asked:
            if list(asked) in ([name] for name in lists):
                return cls._of_lists(schema.field(asked[0]), shape, table_name)
            if len(asked) != dim or len(set(asked)) < dim:
                raise Unusable(f"{option} must name {dim} different columns, one for each coordinate, not {named(asked)}")
            return cls(tuple(asked), shape)
        if set(counted) <= set(schema.names):
            return cls(tuple(counted), shape)
        if len(lists) == 1 or POINT in lists:
            return cls._of_lists(schema.field(POINT if POINT in lists else lists[0]), shape, table_name)
        if len(numbers) == dim:
            return cls(tuple(numbers), shape)
        of_numbers = f"{len(numbers)} column{'s' if len(numbers) > 1 else ''} of numbers ({named(numbers)})"
        what_it_has = of_numbers if numbers else "no numbers"
        raise Unusable(f"{table_name} has {what_it_has}, and a point has {dim} coordinates: name those with {option}")

    @classmethod
    def _of_lists(cls, field: pa.Field, shape: tuple[int, ...], table_name: str) -> "Coordinates":
        """Take a column of lists, whose length is checked here where its type says it."""
        size, kind = 1, field.type
        while pa.types.is_fixed_size_list(kind):
            size, kind = size * kind.list_size, kind.value_type
        if not _is_list(kind) and size != math.prod(shape):
            raise Unusable(f"{table_name}: column {field.name!r} has {size} numbers, and a point has {math.prod(shape)}")
        return cls((field.name,), shape, is_list=True)

    def samples(self, table: pa.Table, table_name: str, first: int = 0) -> Samples:
        """Read the points of a table as float32 of shape (n, *shape).

        Args:
            table_name: how messages call the table.
            first: number of the table's first row, in messages.

        Raises:
            Unusable: a cell is missing, is not finite in float32, or is no number.
        """
        if self.is_list:
            flat = list_column(table[self.columns[0]], self.columns[0], math.prod(self.shape), table_name, first)
            require_finite(flat, [self.columns[0]] * flat.shape[1], table_name, first)
        else:
            flat = np.stack([number_column(table[name], name, table_name) for name in self.columns], axis=1)
            require_finite(flat, self.columns, table_name, first)
        return np.ascontiguousarray(flat, dtype=np.float32).reshape(-1, *self.shape)

    def back(self, table: pa.Table, samples: Samples, conditions: Conditions | None = None) -> tuple[pa.Table, tuple[str, ...]]:
        """Put samples where the points were: float32 in the same columns, beside all the other ones.

        Args:
            conditions: that were drawn for the points, which get a column.

        Returns:
            The table, and the names of the columns that were made.
        """
        flat = np.ascontiguousarray(samples.reshape(len(samples), math.prod(self.shape)), dtype=np.float32)
        columns = [vectors(flat)] if self.is_list else [pa.array(np.ascontiguousarray(column)) for column in flat.T]
        for name, column in zip(self.columns, columns, strict=True):
            table = table.set_column(table.column_names.index(name), name, column)
        if conditions is None:
            return table, self.columns
        return table.append_column(CONDITION, condition_column(conditions)), (*self.columns, CONDITION)


def as_table(given: "np.ndarray | pa.Table", table_name: str) -> pa.Table:
    """Make a table of an array of points, whose rows become the cells of one column.

    Raises:
        Unusable: the array is no rows of numbers.
    """
    if isinstance(given, pa.Table):
        return given
    if given.ndim < 2 or given.dtype.kind not in "fiu":
        raise Unusable(
            f"{table_name} must hold numbers of shape (n, d) or (n, channels, side, side), not {given.dtype} {given.shape}"
        )
    return pa.table({POINT: vectors(given.reshape(len(given), math.prod(given.shape[1:])))})


def vectors(rows: np.ndarray) -> pa.FixedSizeListArray:
    """Make a column whose cells are the rows of an array (n, d)."""
    native = np.ascontiguousarray(rows, dtype=rows.dtype.newbyteorder("="))  # Arrow has no other order of bytes
    return pa.FixedSizeListArray.from_arrays(pa.array(native.ravel()), rows.shape[1])


def condition_column(conditions: Conditions) -> pa.Array:
    """Make a column of conditions: numbers of classes, or lists of values."""
    return vectors(conditions) if conditions.ndim > 1 else pa.array(conditions)


def require_mapped(samples: Samples, first: int = 0) -> None:
    """Refuse a point that the map makes something infinite of.

    Args:
        first: number of the first row, in messages.

    Raises:
        Unusable: there is one.
    """
    finite = np.isfinite(samples.reshape(len(samples), -1)).all(1)
    if not finite.all():
        row = first + int(np.argmin(finite))
        raise Unusable(f"row {row} is mapped to numbers that are not finite: it is too far outside the source")


def number_column(column: Any, label: Any, table_name: str) -> np.ndarray:
    """Read a column of a table as float64; missing cells become NaN.

    Raises:
        Unusable: it holds something else than numbers.
    """
    kind = column.type
    if not (_is_number(kind) or pa.types.is_boolean(kind)):
        raise no_numbers(label, kind, table_name)
    numbers: np.ndarray = column.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
    return numbers


def list_column(column: Any, label: Any, width: int | None, table_name: str, first: int = 0) -> np.ndarray:
    """Read a column whose cells are lists of numbers, or lists of such lists, as float64 of shape (n, width).

    Args:
        width: numbers in each cell; None: as many as all cells have.

    Raises:
        Unusable: a cell is missing, or has another number of them.
    """
    if isinstance(column.type, pa.ExtensionType):  # such as tensors of one shape
        column = pa.chunked_array([chunk.storage for chunk in column.chunks], type=column.type.storage_type)
    if column.null_count:
        row = first + pc.index(column.is_null(), True).as_py()
        raise Unusable(f"{table_name}: row {row}, column {label!r} is missing; leave such rows out, or fill them")
    lengths = np.ones(len(column), np.int64)
    while _is_list(column.type):
        sizes = pc.list_value_length(column).to_numpy(zero_copy_only=False)
        starts = np.concatenate([[0], np.cumsum(lengths)])
        if column.null_count:
            raise Unusable(
                f"{table_name}: column {label!r} has missing lists within its cells; leave such rows out, or fill them"
            )
        total = np.concatenate([[0], np.cumsum(sizes)])
        lengths = total[starts[1:]] - total[starts[:-1]]
        column = pc.list_flatten(column)
    flat, expected = number_column(column, label, table_name), (lengths[0] if len(lengths) else 0) if width is None else width
    if (wrong := np.flatnonzero(lengths != expected)).size:
        row, length = wrong[0], lengths[wrong[0]]
        raise Unusable(f"{table_name}: row {first + row}, column {label!r} has {length} numbers, and a point has {expected}")
    return flat.reshape(len(lengths), -1) if len(lengths) else np.zeros((0, expected))


def no_numbers(label: Any, kind: Any, table_name: str) -> Unusable:
    """Make the error of a column that holds something else than numbers."""
    return Unusable(f"{table_name}: column {label!r} holds {kind}, and a flow takes numbers: leave it out, or encode it")


def require_finite(rows: np.ndarray, columns: Iterable[Any], table_name: str, first: int = 0) -> None:
    """Name the first row and column of a number that float32 cannot hold.

    Args:
        first: number of the first row, in messages.

    Raises:
        Unusable: there is one.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        finite = np.isfinite(rows.astype(np.float32))
    if not finite.all():
        row, column = np.argwhere(~finite)[0]
        how_many = f"{(~finite).any(1).sum()} of {len(rows)} rows have such"
        what = "missing" if np.isnan(rows[row, column]) else "infinite in float32"
        place = f"row {first + row}, column {list(columns)[column]!r}"
        raise Unusable(f"{table_name}: {place} is {what}; {how_many}: leave them out, or fill them")


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind))


def _is_list(kind: pa.DataType) -> bool:
    storage = kind.storage_type if isinstance(kind, pa.BaseExtensionType) else kind
    return bool(pa.types.is_list(storage) or pa.types.is_large_list(storage) or pa.types.is_fixed_size_list(storage))
