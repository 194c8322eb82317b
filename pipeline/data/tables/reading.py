"""Tables in files at any fsspec URL, read whole: one file, a pattern of files, or a folder of shards with the same columns."""

import re
from collections.abc import Hashable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import fsspec
import numpy as np
import pyarrow as pa

from components.parts.loading import describe_error
from pipeline import files, places
from pipeline.data.tables import formats
from pipeline.data.tables.naming import ENDINGS, ending_of
from pipeline.errors import Unusable
from pipeline.provenance import redacted
from pipeline.recipes import values

HIDDEN = (".", "_")
"""How the names of files begin that are not data, such as `_SUCCESS`."""
MOST_NAMED = 12
INDEX = re.compile(r"__index_level_\d+__")
"""The columns in which pandas keeps an index without a name."""


def read(location: str, *, columns: Sequence[str] = (), name: str = "data.target") -> pa.Table:
    """Read a table; an array (n, d) becomes one with the columns 0, 1, ...

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     np.save(f"{folder}/x.npy", np.eye(3))
        ...     read(f"{folder}/x.npy").column_names
        ['0', '1', '2']

    Args:
        location: path or URL of a file, of a folder, or of a pattern such as s3://bucket/day=*/*.parquet.
        columns: those that are read, in their order; empty: all.
        name: how messages call it.

    Raises:
        Unusable: there is no such file, it cannot be read as a table, or it lacks a column; says what and where.
    """
    content = read_any(location, name)
    table = content if isinstance(content, pa.Table) else table_of(content, redacted(location))
    return select(table, columns, redacted(location))


def without_index(names: Sequence[str]) -> list[str]:
    """Leave out the index that pandas writes beside the columns of a frame that was shuffled, filtered or put together.

    >>> without_index(["x", "__index_level_0__"])
    ['x']
    """
    return [name for name in names if not INDEX.fullmatch(name)]


def read_any(location: str, name: str = "x") -> "np.ndarray | pa.Table":
    """Read a file, a pattern or a folder as what it holds: a table, or an array of any shape.

    Raises:
        Unusable: there is no such file, or it cannot be read.
    """
    system, path = files.at(places.source(name, location))
    shown = redacted(location)
    with in_one_sentence(shown, name):
        paths = paths_of(system, path, shown, name)
        before = [stamp_of(system, each) for each in paths]
        parts = [_file(system, each, f"{shown}: {each.rpartition('/')[2]}" if len(paths) > 1 else shown) for each in paths]
        if before != [stamp_of(system, each) for each in paths]:
            raise Unusable(f"{name}: {shown} has changed while it was read; read it again when it is whole")
    content = parts[0] if len(parts) == 1 else _together(parts, paths, shown)
    if isinstance(content, pa.Table) and len(without_index(content.column_names)) < content.num_columns:
        return content.select([place for place, name in enumerate(content.column_names) if not INDEX.fullmatch(name)])
    return content


def stamp(location: str, name: str) -> tuple[Hashable, ...]:
    """Give what changes when a table's files do, without reading them: their paths, sizes and times.

    Raises:
        Unusable: there is no such file.
    """
    system, path = files.at(places.source(name, location))
    shown = redacted(location)
    with in_one_sentence(shown, name):
        return tuple((each, *stamp_of(system, each)) for each in paths_of(system, path, shown, name))


@contextmanager
def in_one_sentence(shown: str, name: str) -> Iterator[None]:
    """Turn what a file system or a format raises into one sentence."""
    try:
        yield
    except Unusable:
        raise
    except FileNotFoundError:
        raise Unusable(f"{name}: there is no file {shown}") from None
    except Exception as error:  # each file system and each format has its own
        raise Unusable(f"{name}: {shown} cannot be read: {describe_error(error)}{_hint(error)}") from error


def table_of(array: np.ndarray, name: str) -> pa.Table:
    """Make a table of an array (n, d), whose columns are called 0, 1, ...

    Raises:
        Unusable: it is of another shape.
    """
    if array.ndim != 2:
        raise Unusable(f"{name}: a table is an array of rows and columns, not one of the shape {array.shape}")
    columns = [pa.array(np.ascontiguousarray(column)) for column in array.T]
    return pa.Table.from_arrays(columns, names=[str(i) for i in range(array.shape[1])])


def select(table: pa.Table, columns: Sequence[str], name: str) -> pa.Table:
    """Take some columns of a table, in the order asked for.

    Raises:
        Unusable: there is no such column, or two columns have one name.
    """
    twice = next((each for each in table.column_names if table.column_names.count(each) > 1), None)
    if twice is not None:
        raise Unusable(f"{name}: two columns are called {twice!r}")
    for column in columns:
        if column not in table.column_names:
            hint = values.meant(values.like(column, table.column_names))
            raise Unusable(f"{name} has no column {column!r}; it has {named(table.column_names)}{hint}")
    return table.select(list(columns)) if columns else table


def named(columns: Sequence[str]) -> str:
    """Name columns in a message, a dozen of them at most."""
    more = f" and {len(columns) - MOST_NAMED} more" if len(columns) > MOST_NAMED else ""
    return ", ".join(columns[:MOST_NAMED]) + more


def paths_of(system: fsspec.AbstractFileSystem, path: str, shown: str, name: str) -> list[str]:
    """Find the files that a location means, in the order of their names."""
    if any(letter in path for letter in "*?["):
        paths = [str(each) for each in system.glob(path) if not str(each).rpartition("/")[2].startswith(HIDDEN)]
    elif system.isdir(path):
        paths = [str(each) for each in system.find(path)]
        inside = len(path.rstrip("/"))
        paths = [each for each in paths if not any(part.startswith(HIDDEN) for part in each[inside:].strip("/").split("/"))]
    else:
        if not ending_of(path):
            raise Unusable(f"{name} must end in one of {', '.join(ENDINGS)}, or be a folder of such files, not {shown}")
        return [path]
    tables = sorted(each for each in paths if ending_of(each))
    kinds = sorted({ending_of(each) for each in tables})
    if not tables:
        raise Unusable(f"{name}: there is no file at {shown} that ends in one of {', '.join(ENDINGS)}")
    if len(kinds) > 1:
        raise Unusable(f"{name}: {shown} holds files of several kinds, {', '.join(kinds)}: name one, as in {shown}/*{kinds[0]}")
    return tables


def stamp_of(system: fsspec.AbstractFileSystem, path: str) -> tuple[Any, ...]:
    """Give what changes when a file does."""
    about = system.info(path)
    return tuple(str(about.get(key)) for key in ("size", "mtime", "ETag", "LastModified", "etag", "generation"))


def _file(system: fsspec.AbstractFileSystem, path: str, shown: str) -> "np.ndarray | pa.Table":
    """Read one file."""
    return formats.read(system.cat_file(path), ending_of(path), shown)


def _together(parts: "list[np.ndarray | pa.Table]", paths: Sequence[str], shown: str) -> pa.Table:
    """Make one table of those of several files, set below each other.

    Raises:
        Unusable: one has other columns than the first.
    """
    tables = [part if isinstance(part, pa.Table) else table_of(part, shown) for part in parts]
    first = tables[0]
    for table, path in zip(tables, paths, strict=True):
        if table.column_names != first.column_names:
            other, expected = (each.rpartition("/")[2] for each in (path, paths[0]))
            columns = f"{named(table.column_names)}, and {expected} {named(first.column_names)}"
            raise Unusable(f"{shown}: {other} has the columns {columns}")
    try:
        return pa.concat_tables(tables, promote_options="permissive")
    except pa.ArrowException as error:
        raise Unusable(f"{shown}: columns of its files have types that do not go together: {describe_error(error)}") from error


def _hint(error: Exception) -> str:
    """Say what a storage that refuses most likely lacks."""
    words, told = describe_error(error).lower(), ("credential", "forbidden", "denied", "authenti")
    refused = isinstance(error, PermissionError) or any(word in words for word in told)
    return "; are the credentials of this storage set, such as AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY?" if refused else ""
