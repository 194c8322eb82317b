"""The files that a person gives points in, as rows numbered through: Parquet is read where it is needed, all else once."""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq

from components.parts.loading import describe_error
from pipeline.data.given.coordinates import as_table
from pipeline.data.tables import formats, reading
from pipeline.data.tables.naming import ending_of
from pipeline.errors import Unusable
from pipeline.files import at
from pipeline.provenance import redacted

PARQUET = ".parquet"
FLAG = "--from"


@dataclass(frozen=True)
class Piece:
    """Rows start to stop of one file."""

    shard: "Shard"
    start: int
    stop: int


@dataclass(frozen=True)
class Shard:
    """One file of points.

    Attributes:
        url: of the file, as fsspec takes it.
        path: in its file system.
        state: what the file system says of its content.
    """

    url: str
    path: str
    num_rows: int
    state: str

    @property
    def name(self) -> str:
        """Name the file as messages do."""
        return redacted(self.url)

    def rows(self, start: int, stop: int, columns: tuple[str, ...] | None = None) -> pa.Table:
        """Read rows of a Parquet file.

        Args:
            columns: to read; None: all.

        Raises:
            Unusable: the file has changed since it was first looked at, or cannot be read.
        """
        files, _ = at(self.url)
        try:
            with files.open(self.path) as file:
                metadata = pq.read_metadata(file)
            pieces, first = [], 0
            for group in range(metadata.num_row_groups):
                size = metadata.row_group(group).num_rows
                if first < stop and first + size > start:
                    rows = _row_group(self.url, self.path, self.state, group, columns)
                    pieces.append(rows.slice(max(0, start - first), min(size, stop - first) - max(0, start - first)))
                first += size
        except (OSError, pa.ArrowException) as error:
            raise Unusable(f"{self.name} cannot be read: {describe_error(error)}") from error
        if state_of(files, self.path) != self.state or first != self.num_rows:
            raise Unusable(f"{self.name} has changed while it was read: give the same command again when it is complete")
        return pa.concat_tables(pieces)


@lru_cache(maxsize=2)
def _row_group(url: str, path: str, state: str, group: int, columns: tuple[str, ...] | None) -> pa.Table:
    """Read a row group, which neighbouring parts share where it is large.

    Args:
        state: of the file's content; another one is not the same group.
    """
    files, _ = at(url)
    with files.open(path) as file:
        return pq.ParquetFile(file).read_row_group(group, columns=None if columns is None else list(columns))


@dataclass(frozen=True)
class Inputs:
    """The files of points of one command.

    Attributes:
        shards: in the order of their names.
        schema: that all are read with.
        tables: of files that are no Parquet, by the URL of each.
    """

    shards: tuple[Shard, ...]
    schema: pa.Schema
    tables: Mapping[str, pa.Table]

    @property
    def num_rows(self) -> int:
        """Count the rows of all files."""
        return sum(shard.num_rows for shard in self.shards)

    @property
    def digest(self) -> str:
        """Hash what the file systems say of the files' contents."""
        facts = [(shard.path.rpartition("/")[2], shard.num_rows, shard.state) for shard in self.shards]
        return hashlib.sha256(repr(facts).encode()).hexdigest()[:16]

    def held(self, start: int, stop: int) -> bytes:
        """Give rows as an Arrow stream for the worker that needs them; nothing where all files are Parquet, which it reads."""
        if not self.tables:
            return b""
        rows = [table.cast(self.schema) for _, table in self.tables_of(start, stop, tuple(self.schema.names))]
        return _stream(pa.concat_tables(rows))

    def pieces(self, start: int, stop: int) -> Iterator[Piece]:
        """Find rows of all files together in the files that have them."""
        return pieces_of(self.shards, start, stop)

    def tables_of(self, start: int, stop: int, columns: tuple[str, ...]) -> Iterator[tuple[Piece, pa.Table]]:
        """Read columns of rows, file by file, with the piece of the file that each table is."""
        for piece in self.pieces(start, stop):
            table = self.tables.get(piece.shard.url)
            if table is None:
                yield piece, piece.shard.rows(piece.start, piece.stop, columns)
            else:
                yield piece, table.select(list(columns)).slice(piece.start, piece.stop - piece.start)


def pieces_of(shards: tuple[Shard, ...], start: int, stop: int) -> Iterator[Piece]:
    """Find rows of all files together in the files that have them."""
    first = 0
    for shard in shards:
        if first < stop and first + shard.num_rows > start:
            yield Piece(shard, max(0, start - first), min(shard.num_rows, stop - first))
        first += shard.num_rows


def inputs_at(location: str) -> Inputs:
    """Look at the files of points that a person names: one file, a pattern of such, or a folder of them.

    Raises:
        Unusable: there are none, or one cannot be read or has other columns than the rest.
    """
    files, path = at(location)
    shards, schemas, tables = [], [], dict[str, pa.Table]()
    try:
        for each in reading.paths_of(files, path, redacted(location), FLAG):
            url = files.unstrip_protocol(each) if "://" in location else each
            before = state_of(files, each)
            schema, num_rows, table = _looked_at(files, each, redacted(url))
            shards.append(Shard(url, each, num_rows, before))
            schemas.append(schema)
            if table is not None:
                tables[url] = table
    except FileNotFoundError:
        raise Unusable(f"{FLAG}: there is no file {redacted(location)}") from None
    except (OSError, ValueError, pa.ArrowException) as error:
        if isinstance(error, Unusable):
            raise
        raise Unusable(f"{FLAG}: {redacted(location)} cannot be read: {describe_error(error)}") from error
    inputs = Inputs(tuple(shards), _common(schemas, shards), tables)
    if not inputs.num_rows:
        raise Unusable(f"{FLAG}: {redacted(location)} has no rows")
    return inputs


def _looked_at(files: fsspec.AbstractFileSystem, path: str, name: str) -> tuple[pa.Schema, int, pa.Table | None]:
    """Read the columns of a file and how many rows it has, and its rows where it is no Parquet."""
    ending = ending_of(path)
    if ending == PARQUET:
        with files.open(path) as file:
            parquet = pq.ParquetFile(file)
            return parquet.schema_arrow.remove_metadata(), parquet.metadata.num_rows, None
    content = files.cat_file(path)
    table = as_table(formats.parsed(content, ending, name), name)
    return table.schema.remove_metadata(), table.num_rows, table


def _common(schemas: list[pa.Schema], shards: list[Shard]) -> pa.Schema:
    """Give the schema that the rows of all files can be read with.

    Raises:
        Unusable: a file has other columns than the first, or holds something else in one.
    """
    common = schemas[0]
    for schema, shard in zip(schemas[1:], shards[1:], strict=True):
        if schema.names != common.names:
            mine, others = ", ".join(schema.names), ", ".join(common.names)
            raise Unusable(f"{FLAG}: {shard.name} has the columns {mine}, and {shards[0].name} has {others}")
        try:
            common = pa.unify_schemas([common, schema], promote_options="permissive")
        except pa.ArrowException as error:
            raise Unusable(f"{FLAG}: {shard.name} holds other types than {shards[0].name}: {describe_error(error)}") from error
    return common


def state_of(files: fsspec.AbstractFileSystem, path: str) -> str:
    """Say what the file system tells of a file's content now: a hash of the content would read all of it once more."""
    files.invalidate_cache()
    return repr(reading.stamp_of(files, path))


def _stream(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue())
