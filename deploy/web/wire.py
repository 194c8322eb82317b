"""Samples as bytes: JSON, NumPy's .npy, an Arrow IPC stream, PNG; transported points also as CSV and Parquet."""

import io
import json
from collections.abc import Mapping

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import csv

from pipeline.data.given.coordinates import POINT, vectors
from pipeline.data.source import Samples

MEDIA_TYPES = {
    "json": "application/json",
    "npy": "application/x-npy",
    "arrow": "application/vnd.apache.arrow.stream",
    "png": "image/png",
}
POINT_TYPES = {
    "json": MEDIA_TYPES["json"],
    "npy": MEDIA_TYPES["npy"],
    "arrow": MEDIA_TYPES["arrow"],
    "csv": "text/csv",
    "parquet": "application/vnd.apache.parquet",
}
"""What transported points may be answered in."""
MOST_IN_PICTURE = 10_000


def format_of(accept: str, types: Mapping[str, str] = MEDIA_TYPES, default: str = "json") -> str | None:
    """Choose the first format that an Accept header names; the default where anything will do; None where it names only others.

    >>> format_of("text/html, image/png"), format_of("*/*"), format_of("text/html")
    ('png', 'json', None)
    """
    for part in accept.split(","):
        media = part.partition(";")[0].strip().lower()
        if media in ("*/*", "", "application/*"):
            return default
        for name, media_type in types.items():
            if media == media_type or (media == "image/*" and name == "png"):
                return name
    return None


def encode(samples: Samples, name: str, identity: Mapping[str, object], picture: str, table: pa.Table | None = None) -> bytes:
    """Write samples of shape (n, ...) in one of the formats of `MEDIA_TYPES`.

    >>> encode(np.zeros((1, 2), np.float32), "json", {"seed": 0}, "points")
    b'{"seed": 0, "shape": [1, 2], "samples": [[0.0, 0.0]]}'

    Args:
        name: key of `MEDIA_TYPES`.
        identity: version, phase and seed, which JSON and Arrow have a place for.
        picture: how the data's source says that its samples are drawn, for `png`.
        table: the rows that the samples stand for, where the data are a table: JSON and Arrow have those.
    """
    if table is not None and name in WRITERS:
        return WRITERS[name](table, identity)
    if name == "json":
        return json.dumps({**identity, "shape": samples.shape, "samples": samples.tolist()}).encode()
    if name == "npy":
        return _npy(samples)
    if name == "arrow":
        return _stream(pa.table({POINT: vectors(samples.reshape(len(samples), -1))}), {**identity, "shape": samples.shape[1:]})
    from pipeline.evaluation import figures  # and with it matplotlib, which a replica that draws nothing can do without

    return figures.png(picture, samples[:MOST_IN_PICTURE])


def encode_points(table: pa.Table, samples: Samples, name: str, identity: Mapping[str, object], *, is_array: bool) -> bytes:
    """Write transported points in one of the formats of `POINT_TYPES`.

    Args:
        table: that the points came in, with the samples in their place.
        samples: of shape (n, ...).
        identity: version, phase, seed and how many points were far, which JSON and Arrow have a place for.
        is_array: whether the points had no names of columns: JSON then holds rows, and CSV numbered columns.
    """
    if name == "json" and is_array:
        others = {column: table[column].to_pylist() for column in table.column_names if column != POINT}
        return json.dumps({**identity, "shape": samples.shape, "rows": samples.tolist(), **others}).encode()
    if name == "npy":
        return _npy(samples)
    if name == "csv" and is_array:
        flat = samples.reshape(len(samples), -1)
        columns = {str(number): np.ascontiguousarray(column) for number, column in enumerate(flat.T)}
        table = pa.table({**columns, **{column: table[column] for column in table.column_names if column != POINT}})
    return WRITERS[name](table, identity)


def _npy(samples: Samples) -> bytes:
    content = io.BytesIO()
    np.save(content, samples, allow_pickle=False)
    return content.getvalue()


def _columns(table: pa.Table, identity: Mapping[str, object]) -> bytes:
    columns = {name: table[name].to_pylist() for name in table.column_names}
    return json.dumps({**identity, "columns": columns}, default=str).encode()  # such as dates


def _stream(table: pa.Table, identity: Mapping[str, object]) -> bytes:
    table = table.replace_schema_metadata({"sjko": json.dumps(identity)})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue())


def _parquet(table: pa.Table, identity: Mapping[str, object]) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(table.replace_schema_metadata({"sjko": json.dumps(identity)}), sink)
    return bytes(sink.getvalue())


def _csv(table: pa.Table, _: Mapping[str, object]) -> bytes:
    sink = pa.BufferOutputStream()
    csv.write_csv(table, sink)
    return bytes(sink.getvalue())


WRITERS = {"json": _columns, "arrow": _stream, "csv": _csv, "parquet": _parquet}
