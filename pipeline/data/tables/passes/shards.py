"""A table that is read again and again, batch by batch: in memory, or in Parquet files that need not fit into it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import pyarrow as pa
from fsspec import AbstractFileSystem
from pyarrow import parquet

from components.parts.loading import describe_error
from pipeline import files, places
from pipeline.data.tables import reading
from pipeline.data.tables.naming import ending_of
from pipeline.errors import Unusable
from pipeline.provenance import redacted

BATCH = 1 << 16
"""Rows that are looked at together."""
LEAST_STREAMED = 1 << 26
"""Bytes of Parquet files from which on they are not read whole."""


class Shards(Protocol):
    """A table in batches."""

    @property
    def schema(self) -> pa.Schema:
        """Name the columns, with their types."""

    def batches(self, columns: Sequence[str]) -> Iterator[pa.Table]:
        """Read some columns of all rows, in the same order each time."""


@dataclass(frozen=True)
class Whole:
    """A table in memory.

    >>> [len(batch) for batch in Whole(pa.table({"x": range(70_000)})).batches(["x"])]
    [65536, 4464]
    """

    table: pa.Table

    @property
    def schema(self) -> pa.Schema:
        """Name the columns, with their types."""
        return self.table.schema

    def batches(self, columns: Sequence[str]) -> Iterator[pa.Table]:
        """Cut the table into batches, one at least."""
        chosen = self.table.select(list(columns))
        for start in range(0, max(1, len(chosen)), BATCH):
            yield chosen.slice(start, BATCH)


@dataclass(frozen=True)
class ParquetFiles:
    """Parquet files with the same columns, in the order of their names.

    Attributes:
        stamps: what changes when a file does.
        shown: how messages call them.
    """

    system: AbstractFileSystem
    paths: Sequence[str]
    schema: pa.Schema
    stamps: Sequence[Any]
    shown: str

    def batches(self, columns: Sequence[str]) -> Iterator[pa.Table]:
        """Read the files, a row group at a time.

        Raises:
            Unusable: one has changed since it was first looked at, or cannot be read.
        """
        schema = pa.schema([self.schema.field(name) for name in columns])
        for path, stamp in zip(self.paths, self.stamps, strict=True):
            shown = f"{self.shown}: {path.rpartition('/')[2]}"
            try:
                with self.system.open(path, "rb") as file:
                    for batch in parquet.ParquetFile(file).iter_batches(BATCH, columns=list(columns), use_threads=False):
                        yield pa.table(batch).select(list(columns)).cast(schema)
                changed = reading.stamp_of(self.system, path) != stamp
            except (pa.ArrowException, OSError) as error:
                raise Unusable(f"{shown} cannot be read: {describe_error(error)}") from error
            if changed:
                raise Unusable(f"{shown} has changed while it was read; read it again when it is whole")


def shards_at(location: str, name: str) -> Shards:
    """Open a table: large Parquet files to be read in batches, all else whole.

    Args:
        name: how messages call it.

    Raises:
        Unusable: there is no such table, or it cannot be read.
    """
    system, path = files.at(places.source(name, location))
    shown = redacted(location)
    with reading.in_one_sentence(shown, name):
        paths = reading.paths_of(system, path, shown, name)
        stamps = [reading.stamp_of(system, each) for each in paths]
        sizes = [system.size(each) or 0 for each in paths]
        if ending_of(paths[0]) != ".parquet" or sum(sizes) < LEAST_STREAMED:
            return Whole(reading.read(location, name=name))
        schemas = [_schema_of(system, each) for each in paths]
    for each, other in zip(schemas, paths, strict=True):
        if each.names != schemas[0].names:
            columns = f"{reading.named(each.names)}, and {paths[0].rpartition('/')[2]} {reading.named(schemas[0].names)}"
            raise Unusable(f"{shown}: {other.rpartition('/')[2]} has the columns {columns}")
    try:
        schema = pa.unify_schemas([each.remove_metadata() for each in schemas], promote_options="permissive")
    except pa.ArrowException as error:
        raise Unusable(f"{shown}: columns of its files have types that do not go together: {describe_error(error)}") from error
    schema = pa.schema([schema.field(name) for name in reading.without_index(schema.names)])
    return ParquetFiles(system, paths, schema, stamps, shown)


def _schema_of(system: AbstractFileSystem, path: str) -> pa.Schema:
    with system.open(path, "rb") as file:
        return parquet.read_schema(file)
