"""Data in whatever form a person has them: files, tables, frames, data sets; their columns, and the parts of their items."""

import os
import re
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline.data.tables import reading
from pipeline.errors import Unusable


def opened(given: Any, name: str = "x") -> Any:
    """Read what has columns as a table of pyarrow or a frame of pandas, and give anything else back as it is.

    Example:
        >>> opened(pa.table({"a": [1, 2]})).column_names, opened([1, 2])
        (['a'], [1, 2])

    Raises:
        Unusable: it is a file that cannot be read, or a data set of Ray without rows.
    """
    if (location := location_of(given)) is not None:
        return opened(reading.read_any(location, name), location)
    if isinstance(given, pa.Table):
        return _without_index(given)
    if is_of(given, "ray.data", "Dataset"):
        return _of_ray(given, name)
    if hasattr(given, "to_arrow") and hasattr(given, "columns"):  # polars
        return opened(given.to_arrow(), name)
    return given


def location_of(given: Any) -> str | None:
    """Give the path or URL of what is given as one.

    Example:
        >>> location_of("x.csv"), location_of([[1.0]])
        ('x.csv', None)
    """
    return os.fspath(given) if isinstance(given, str | os.PathLike) else None


def columns_of(given: Any) -> list[Any]:
    """List the names of the columns of what `opened` gives; none of what has none.

    Example:
        >>> columns_of(pa.table({"a": [1], "b": [2]})), columns_of([[1, 2]])
        (['a', 'b'], [])
    """
    if isinstance(given, pa.Table):
        return list(given.column_names)
    return list(given.columns) if is_of(given, "pandas", "DataFrame") else []


def taken_out(given: Any, labels: Sequence[Any], name: str = "x") -> tuple[Any, list[Any]]:
    """Take columns out of a table or frame: what is left, and the columns.

    Example:
        >>> taken_out(pa.table({"a": [1], "b": [2]}), ["b"])[0].column_names
        ['a']

    Raises:
        Unusable: there are several columns of a name.
    """
    for label in labels:
        if columns_of(given).count(label) > 1:
            raise Unusable(f"{name}: {columns_of(given).count(label)} columns have the name {label!r}; give each another")
    if isinstance(given, pa.Table):
        return given.drop_columns(list(labels)), [given.column(label) for label in labels]
    kept = [label for label in given.columns if label not in labels]
    return given[kept], [given[label] for label in labels]


def parts_of(given: Any, name: str = "x") -> tuple[Any, list[tuple[Any, ...]] | None]:
    """Read the items of a torch Dataset: their first parts, and the further ones of each, such as a label, where there are any.

    Of what is no such data set: itself, and None.

    Raises:
        Unusable: it has no length, or its items have different numbers of parts.
    """
    if not is_data_set(given):
        return given, None
    items = list(_items(given, name))
    lengths = {len(item) if isinstance(item, list | tuple) else 0 for item in items}
    if len(lengths) > 1:
        raise Unusable(f"{name}: items of the data set have different numbers of parts")
    if lengths <= {0}:
        return items, None
    further = [tuple(part.tolist() if hasattr(part, "tolist") else part for part in item[1:]) for item in items]
    return [item[0] for item in items], None if lengths == {1} else further


def shape_of(given: Any) -> tuple[int, ...] | None:
    """Give the shape of what is, or could be, an array; None of rows of several lengths.

    Example:
        >>> shape_of([[1, 2], [3, 4]]), shape_of([[1, 2], [3]])
        ((2, 2), None)
    """
    try:
        shape: tuple[int, ...] = np.shape(given)
    except ValueError:
        return None
    return shape


def is_data_set(given: Any) -> bool:
    """Say whether this is a data set of torch.

    Example:
        >>> is_data_set([[1.0]])
        False
    """
    return is_of(given, "torch.utils.data", "Dataset") and not hasattr(given, "__array__")


def is_of(given: Any, module: str, name: str) -> bool:
    """Say whether this is an object of a library that has been imported, which it then must be.

    Example:
        >>> is_of([1], "pandas", "DataFrame")
        False
    """
    kind = getattr(sys.modules.get(module), name, None)
    return kind is not None and isinstance(given, kind)


def _items(data_set: Any, name: str) -> Iterator[Any]:
    """Yield the items of a torch Dataset."""
    if not hasattr(data_set, "__len__") or not hasattr(data_set, "__getitem__"):
        raise Unusable(f"{name}: an {type(data_set).__name__} has no length; give a data set whose items are numbered")
    for number in range(len(data_set)):
        yield data_set[number]


def _without_index(table: pa.Table) -> pa.Table:
    """Leave out the columns that pandas has made of an index without a name."""
    index = (table.schema.pandas_metadata or {}).get("index_columns", ())
    unnamed = [name for name in index if isinstance(name, str) and re.fullmatch(r"__index_level_\d+__", name)]
    return table.drop_columns([name for name in unnamed if name in table.column_names])


def _of_ray(data_set: Any, name: str) -> "pa.Table | np.ndarray":
    """Read a data set of Ray Data, its blocks in their order, so that it has the same digest each time."""
    ordered = data_set.context.execution_options
    before, ordered.preserve_order = ordered.preserve_order, True
    try:
        batches = list(data_set.iter_batches(batch_size=None, batch_format="pyarrow"))
    finally:
        ordered.preserve_order = before
    tables = [batch for batch in batches if len(batch)]
    if not tables:
        raise Unusable(f"{name} has no rows")
    table = pa.concat_tables(tables, promote_options="permissive")
    if len(table.column_names) == 1 and hasattr(table.column(0).type, "shape"):  # Ray's own type of arrays in cells
        arrays = [np.asarray(chunk.to_numpy_ndarray()) for chunk in table.column(0).chunks]
        return np.concatenate(arrays)
    return table
