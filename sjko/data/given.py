"""Data that a person gives: arrays, frames, tables, data sets, files; read as rows of float32, and samples given back alike."""

import itertools
import operator
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa

from components.parts.loading import describe_error
from pipeline.data.given.coordinates import list_column, no_numbers, number_column, require_finite
from pipeline.data.own import samples_of
from pipeline.errors import Unusable
from sjko.data.opening import is_of, location_of, opened, parts_of, shape_of

MOST_COMPARED = 100_000
"""Rows of a column whose values are compared with those in float32, which takes a sort of them."""
MOST_CHANNELS = 4
"""Of images whose channels may stand at the wrong end."""
PAIRS = {
    "x": ": write fit(x, condition=y) where the second is known of each row, or fit(x, held_out=y) where it is held out",
    "held_out": ", and x has no condition: write fit(x, condition=y, held_out=(rows, labels))",
    "points": ": write transport(points, condition=y)",
}
"""What to write in place of a pair, by the argument that was given as one."""
NOT_ROWS = "must be an array, a data frame, a table, a data set or the name of a file"


@dataclass(frozen=True)
class Form:
    """The form in which samples are given back: an array, or with columns a pandas DataFrame or a pyarrow Table.

    Attributes:
        columns: names of the columns, in order; None for an array.
        is_table: whether it is a Table of pyarrow.
        dtypes: types of the columns of a DataFrame whose rows are coded; none where samples are float32.
        given: names of the columns that were taken out, since they hold the condition of each row.
    """

    columns: tuple[Any, ...] | None = None
    is_table: bool = False
    given: tuple[Any, ...] = ()
    dtypes: tuple[Any, ...] = ()

    def back(self, samples: np.ndarray, index: Any = None) -> Any:
        """Give samples (n, d) back in this form; all columns are float32.

        Args:
            index: of the frame, where it is to have one of its own.
        """
        if self.columns is None:
            return samples
        if self.is_table:
            arrays = [pa.array(np.ascontiguousarray(column)) for column in samples.T]
            return pa.Table.from_arrays(arrays, names=[str(name) for name in self.columns])
        import pandas as pd

        return pd.DataFrame(samples, columns=pd.Index(list(self.columns)), index=index)


ARRAY = Form()


@dataclass(frozen=True)
class Rows:
    """Rows of numbers as a person gave them.

    Attributes:
        samples: float32 of shape (n, d) or (n, channels, side, side), all finite.
        form: in which samples are given back.
        index: of a data frame.
        merged: columns that lose different values to float32.
        has_more: items of the data set have further parts, which were left out.
    """

    samples: np.ndarray
    form: Form = ARRAY
    index: Any = None
    merged: tuple[Any, ...] = ()
    has_more: bool = False


def rows_of(given: Any, name: str = "x") -> Rows:
    """Read data in memory, or in a file, as rows of float32.

    Example:
        >>> rows_of([[1, 2], [3, 4]]).samples.dtype
        dtype('float32')

    Args:
        name: how messages call it.

    Raises:
        Unusable: it is not rows of finite numbers; says where and what.
    """
    _require_no_pair(given, name)
    given, name = opened(given, name), location_of(given) or name
    if isinstance(given, pa.Table):
        return _of_columns(zip(given.column_names, given.columns, strict=True), _of_arrow, name, Form((), True))
    if is_of(given, "pandas", "DataFrame"):
        return replace(_of_columns(given.items(), _of_series, name, Form((), False)), index=given.index)
    firsts, others = parts_of(given, name)
    array = _array(firsts, name)
    samples = _checked(array, name)
    merged = _merged(array.T if array.ndim == 2 else (), itertools.count())
    return Rows(samples, merged=merged, has_more=others is not None)


def require_same(one: Form, other: Form, name: str, other_name: str) -> None:
    """Refuse two frames whose columns differ, or stand in another order.

    Raises:
        Unusable: names the columns.
    """
    if one.columns is not None and other.columns is not None and one.columns != other.columns:
        mine, others = (", ".join(map(str, form.columns or ())) for form in (one, other))
        raise Unusable(f"{other_name}: its columns are {others}, those of {name} {mine}")


def _require_no_pair(given: Any, name: str) -> None:
    """Refuse rows with something beside them, such as (X, y); two samples have fewer dimensions than rows or images."""
    if isinstance(given, list | tuple) and len(given) == 2 and len(shape_of(given[0]) or ()) in (2, 4):
        raise Unusable(f"{name} must be rows alone, not a pair{PAIRS.get(name, '')}")


def _array(given: Any, name: str) -> np.ndarray:
    """Make an array of what is no frame."""
    if isinstance(given, Iterator):
        raise Unusable(f"{name} {NOT_ROWS}, not a {type(given).__name__}, which can be read once only: make a list of it")
    if is_of(given, "torch", "Tensor"):
        given = given.detach().cpu().to_dense()
        given = given.float().numpy() if given.is_floating_point() and given.element_size() < 4 else given.numpy()
    elif hasattr(given, "toarray"):  # scipy's sparse ones
        given = given.toarray()
    elif isinstance(given, list | tuple) and any(is_of(each, "torch", "Tensor") for each in given):
        given = [_array(each, name) for each in given]
    elif not (isinstance(given, list | tuple) or hasattr(given, "__array__")):
        raise Unusable(f"{name} {NOT_ROWS}, not a {type(given).__name__}")
    if isinstance(given, np.ma.MaskedArray) and np.ma.is_masked(given):
        raise Unusable(
            f"{name}: row {np.flatnonzero(np.ma.getmaskarray(given).reshape(len(given), -1).any(1))[0]} has a masked value"
        )
    try:
        return np.asarray(given)
    except (ValueError, TypeError) as error:
        raise Unusable(f"{name} must be rows of one length: {describe_error(error)}") from error


def _checked(array: np.ndarray, name: str) -> np.ndarray:
    """Refuse what is not samples (n, d) or (n, channels, side, side), and say what to write in place of it."""
    if array.ndim == 1 and array.dtype.kind in "fiub":
        raise Unusable(
            f"{name} must have rows and columns, not the shape {array.shape}: write {name}[:, None] for rows of one number, "
            f"or {name}[None] for one row"
        )
    if array.ndim == 3:
        raise Unusable(f"{name} must be (n, d), or images (n, channels, side, side), not of the shape {array.shape}")
    if array.ndim == 4 and array.shape[1] == array.shape[2] != array.shape[3] and array.shape[3] <= MOST_CHANNELS:
        raise Unusable(
            f"{name} must be images (n, channels, side, side), not of the shape {array.shape}, whose channels are the last: "
            f"write np.moveaxis({name}, -1, 1)"
        )
    if array.dtype.kind == "O" and array.ndim == 2:
        for number, column in enumerate(array.T):
            if (bad := next((each for each in column if not isinstance(each, int | float | np.number)), None)) is not None:
                raise Unusable(f"{name}: column {number} holds {type(bad).__name__}, and a flow takes numbers")
        array = array.astype(np.float64)  # None becomes NaN
    if array.ndim == 2 and array.dtype.kind == "f" and 0 not in array.shape:
        require_finite(array, range(array.shape[1]), name)
    return samples_of(array, name)


def _of_columns(columns: Iterable[tuple[Any, Any]], read: Any, name: str, form: Form) -> Rows:
    """Set columns side by side; a single one whose cells are vectors is an array of them."""
    named = list(columns)
    if not named or not len(named[0][1]):
        raise Unusable(f"{name} has no {'rows' if named else 'columns'}")
    arrays = [read(column, label, name) for label, column in named]
    if len(arrays) == 1 and arrays[0].ndim > 1:
        return Rows(_checked(arrays[0], name))
    labels = [label for label, _ in named]
    for label, array in zip(labels, arrays, strict=True):
        if array.ndim > 1:
            raise Unusable(
                f"{name}: column {label!r} holds vectors beside other columns: give it alone, or a column for each number"
            )
    rows = np.stack(arrays, axis=1)
    require_finite(rows, labels, name)
    return Rows(samples_of(rows, name), Form(tuple(labels), form.is_table), merged=_merged(arrays, labels))


def _merged(columns: Iterable[np.ndarray], labels: Iterable[Any]) -> tuple[Any, ...]:
    """List the columns more than 1 % of whose different values are one with others in float32."""
    return tuple(label for label, column in zip(labels, columns, strict=False) if _loses(column[:MOST_COMPARED]))


def _loses(column: np.ndarray) -> bool:
    if column.dtype.kind not in "fiu" or column.dtype.itemsize < 4 or column.dtype == np.float32:
        return False
    different = np.unique(column)
    return len(np.unique(different.astype(np.float32))) < 0.99 * len(different)


def _of_series(column: Any, label: Any, name: str) -> np.ndarray:
    """Read a column of a pandas frame."""
    import pandas as pd

    if not pd.api.types.is_numeric_dtype(column.dtype) or column.dtype.kind == "c":
        raise no_numbers(label, column.dtype, name)
    numbers: np.ndarray = column.to_numpy(dtype=np.float64, na_value=np.nan)
    return numbers


def _of_arrow(column: Any, label: Any, name: str) -> np.ndarray:
    """Read a column of an arrow table."""
    if pa.types.is_fixed_size_list(column.type) or (pa.types.is_nested(column.type) and column.null_count):
        return list_column(column, label, None, name)
    return number_column(column, label, name)


def whole(name: str, number: Any, *, least: int) -> int:
    """Read a whole number, be it Python's or NumPy's.

    Raises:
        ValueError: it is none, or below the least.
    """
    try:
        value = operator.index(number)
    except TypeError:
        raise ValueError(f"{name} must be a whole number, not {number!r}") from None
    if isinstance(number, bool) or not least <= value < 2**63:
        raise ValueError(f"{name} must be a whole number of at least {least} and below 2^63, not {number!r}")
    return value
