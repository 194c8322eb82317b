"""Tables and arrays from the bytes of one file, by its ending: what reads each format."""

import io
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import feather, parquet

from components.parts.loading import describe_error
from pipeline.data.tables.naming import COMPRESSED, TEXTS
from pipeline.data.tables.texts import delimited
from pipeline.errors import Unusable


def parsed(content: bytes, ending: str, shown: str) -> "np.ndarray | pa.Table":
    """Read the bytes of a file.

    Example:
        >>> parsed(b"a,b\\n1,2\\n", ".csv", "x").column_names
        ['a', 'b']

    Args:
        ending: of such a file's name, one of `pipeline.data.tables.naming.ENDINGS`.
        shown: how messages call it.

    Raises:
        Unusable: it cannot be read.
    """
    try:
        return read(content, ending, shown)
    except Unusable:
        raise
    except Exception as error:  # each format has its own
        raise Unusable(f"{shown} cannot be read: {describe_error(error)}") from error


def read(content: bytes, ending: str, shown: str) -> "np.ndarray | pa.Table":
    """Read the bytes of a file, as `parsed` does; what a format raises passes as it is."""
    if ending.endswith(COMPRESSED):
        packing = {".gz": "gzip", ".zst": "zstd"}[ending[ending.rfind(".") :]]
        with pa.CompressedInputStream(pa.BufferReader(content), packing) as packed:
            content = packed.read()
    kind = next((each for each in TEXTS if ending.startswith(each)), ending)
    table_or_array: np.ndarray | pa.Table = READERS[kind](content, shown)
    return table_or_array


def _numpy(content: bytes, shown: str) -> "np.ndarray | pa.Table":
    """Read an array; or of an npz of several, columns of numbers."""
    loaded = np.load(io.BytesIO(content), allow_pickle=False)
    if not isinstance(loaded, np.lib.npyio.NpzFile):  # whatever its name ends in
        return np.asarray(loaded)
    arrays = {name: loaded[name] for name in loaded.files}
    if len(arrays) == 1:
        return next(iter(arrays.values()))
    if not arrays or any(array.ndim != 1 for array in arrays.values()) or len({len(array) for array in arrays.values()}) > 1:
        raise Unusable(f"{shown} holds {', '.join(arrays) or 'no array'}; give one array, or columns of equal length")
    return pa.table(arrays)


def _arrow(content: bytes, shown: str) -> pa.Table:
    """Read a file of Arrow's, or a stream of it."""
    source = pa.BufferReader(content)
    if content.startswith((b"ARROW1", b"FEA1")):
        return feather.read_table(source)
    return pa.ipc.open_stream(source).read_all()


def _h5ad(content: bytes, shown: str) -> pa.Table:
    """Read cells of AnnData: one column for each variable, then those of the observations."""
    try:
        import anndata  # type: ignore[import-not-found, unused-ignore]  # where it is not installed
    except ImportError:
        raise Unusable(f"{shown}: files of AnnData need its package: pip install 'sjko-on-ray[h5ad]'") from None
    import tempfile

    with tempfile.NamedTemporaryFile(suffix=".h5ad") as file:
        file.write(content)
        file.flush()
        cells = anndata.read_h5ad(file.name)
    counts = cells.X.toarray() if hasattr(cells.X, "toarray") else np.asarray(cells.X)
    columns = {str(name): pa.array(np.ascontiguousarray(column)) for name, column in zip(cells.var_names, counts.T, strict=True)}
    return pa.table({**columns, **{str(name): pa.Array.from_pandas(cells.obs[name]) for name in cells.obs}})


READERS: dict[str, Any] = {
    ".parquet": lambda content, shown: parquet.read_table(pa.BufferReader(content)),
    ".arrow": _arrow,
    ".feather": _arrow,
    ".npy": _numpy,
    ".npz": _numpy,
    ".h5ad": _h5ad,
    **dict.fromkeys(TEXTS, delimited.read),
}
"""What reads the bytes of a file, by its ending."""
