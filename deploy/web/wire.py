"""Samples as bytes: JSON, NumPy's .npy, an Arrow IPC stream, PNG."""

import io
import json
from collections.abc import Mapping

import numpy as np
import pyarrow as pa

from pipeline.data.source import Samples

MEDIA_TYPES = {
    "json": "application/json",
    "npy": "application/x-npy",
    "arrow": "application/vnd.apache.arrow.stream",
    "png": "image/png",
}
MOST_IN_PICTURE = 10_000


def format_of(accept: str) -> str | None:
    """Choose the first format that an Accept header names; JSON where anything will do; None where it names only others.

    >>> format_of("text/html, image/png"), format_of("*/*"), format_of("text/html")
    ('png', 'json', None)
    """
    for part in accept.split(","):
        media = part.partition(";")[0].strip().lower()
        if media in ("*/*", "", "application/*"):
            return "json"
        for name, media_type in MEDIA_TYPES.items():
            if media == media_type or (media == "image/*" and name == "png"):
                return name
    return None


def encode(samples: Samples, name: str, identity: Mapping[str, object], picture: str) -> bytes:
    """Write samples of shape (n, ...) in one of the formats of `MEDIA_TYPES`.

    >>> encode(np.zeros((1, 2), np.float32), "json", {"seed": 0}, "points")
    b'{"seed": 0, "shape": [1, 2], "samples": [[0.0, 0.0]]}'

    Args:
        name: key of `MEDIA_TYPES`.
        identity: version, phase and seed, which JSON and Arrow have a place for.
        picture: how the data's source says that its samples are drawn, for `png`.
    """
    if name == "json":
        return json.dumps({**identity, "shape": samples.shape, "samples": samples.tolist()}).encode()
    if name == "npy":
        content = io.BytesIO()
        np.save(content, samples, allow_pickle=False)
        return content.getvalue()
    if name == "arrow":
        return _arrow(samples, identity)
    from pipeline.evaluation import figures  # and with it matplotlib, which a replica that draws nothing can do without

    return figures.png(picture, samples[:MOST_IN_PICTURE])


def _arrow(samples: Samples, identity: Mapping[str, object]) -> bytes:
    flat = np.ascontiguousarray(samples.reshape(len(samples), -1))
    column = pa.FixedSizeListArray.from_arrays(pa.array(flat.ravel()), flat.shape[1])
    metadata = {"sjko": json.dumps({**identity, "shape": samples.shape[1:]})}
    table = pa.table({"sample": column}).replace_schema_metadata(metadata)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue())
