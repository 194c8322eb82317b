"""Coded rows on their way: gathered into blocks, and written to memory, or to a file of this machine where they are many."""

import atexit
import os
import shutil
import tempfile
import weakref
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np
import psutil
import pyarrow as pa

from pipeline import places

MOST_IN_MEMORY = 1 << 27
"""Bytes of rows from which on they are written to a file, and mapped into memory."""


class Blocks:
    """Rows that are given in parts, cut into blocks of one size.

    >>> blocks = Blocks(2)
    >>> [len(block) for part in ([1], [2, 3, 4, 5]) for block in blocks.add(pa.table({"x": part}))]
    [2, 2]
    >>> [len(block) for block in blocks.rest()]
    [1]
    """

    def __init__(self, size: int) -> None:
        self._size, self._count = size, 0
        self._parts: list[pa.Table] = []

    def add(self, part: pa.Table) -> Iterator[pa.Table]:
        """Take further rows; give the blocks that are full."""
        self._parts.append(part)
        self._count += len(part)
        while self._count >= self._size:
            table = pa.concat_tables(self._parts)
            yield table.slice(0, self._size)
            self._parts, self._count = [table.slice(self._size)], self._count - self._size

    def rest(self) -> Iterator[pa.Table]:
        """Give the rows that fill no block, if there are any."""
        if self._count:
            yield pa.concat_tables(self._parts)


class Sink:
    """An array (n, width) of 32 bits that is written from its first row on.

    >>> sink = Sink(3, 2)
    >>> sink.write(np.ones((3, 2)))
    >>> sink.rows().shape
    (3, 2)
    """

    def __init__(self, n: int, width: int) -> None:
        self._shape, self._done = (n, width), 0
        self._array = np.empty(self._shape, np.float32) if 4 * n * width <= MOST_IN_MEMORY else None
        if self._array is None:
            self._file = tempfile.NamedTemporaryFile(dir=folder(), suffix=".npy", delete=False)  # noqa: SIM115  # until the process ends
            about = {"descr": np.lib.format.dtype_to_descr(np.dtype(np.float32)), "fortran_order": False, "shape": self._shape}
            np.lib.format.write_array_header_1_0(self._file, about)

    def write(self, rows: np.ndarray) -> None:
        """Write further rows."""
        if self._array is None:
            self._file.write(np.ascontiguousarray(rows, np.float32).data)
        else:
            self._array[self._done : self._done + len(rows)] = rows
        self._done += len(rows)

    def rows(self) -> np.ndarray:
        """Give all rows, mapped where they are in a file."""
        assert self._done == self._shape[0]
        if self._array is not None:
            return self._array
        self._file.close()
        mapped = np.load(self._file.name, mmap_mode="r")
        weakref.finalize(mapped, Path(self._file.name).unlink, missing_ok=True)
        return np.asanyarray(mapped)


@cache
def folder() -> Path:
    """Make the folder of rows that are coded by this process.

    It goes with the process, and so do folders that killed ones have left.
    """
    root = places.home() / "cache" / "coding"
    root.mkdir(parents=True, exist_ok=True)
    for left in root.iterdir():
        if not psutil.pid_exists(int(left.name.partition("-")[0])):
            shutil.rmtree(left, ignore_errors=True)
    made = Path(tempfile.mkdtemp(dir=root, prefix=f"{os.getpid()}-"))
    atexit.register(shutil.rmtree, made, ignore_errors=True)
    return made
