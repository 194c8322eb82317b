"""Decoded images in a file of this machine that is mapped into memory, and is never read without its hash.

A file is an array in numpy's format, followed by one sha256 over FORMAT and the array. It is written beside and renamed; what is
not whole is made again. A file is hashed when a process opens it first, and again only when it has changed since: a gigabyte
takes about a second. What a disk loses after that, while a process has the file open, is not seen.
"""

import contextlib
import hashlib
import io
import logging
import os
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

from pipeline.data.images.pixels import Pixels
from pipeline.errors import Corrupt, Unusable
from pipeline.files import lock_at

logger = logging.getLogger(__name__)
FORMAT = b"sjko decoded 1"
SUM_BYTES = 32
BLOCK_BYTES = 2**24
_known: dict[Path, tuple[int, ...]] = {}
"""Files that this process has hashed: device, inode, size and times of then."""


def decoded(path: Path, shape: tuple[int, ...], blocks: Callable[[], Iterable[Pixels]]) -> Pixels:
    """Map the array in a file into memory; the first process that asks writes it from its blocks, again where it is damaged.

    Raises:
        Unusable: something that is no file is in its place. Corrupt: the disk does not keep what is written.
    """
    images = _mapped(path, shape)
    if images is not None:
        return images
    with lock_at(f"{path}.lock"):
        images = _mapped(path, shape)  # another process may have been quicker
        if images is None:
            if path.exists() and not path.is_file():
                raise Unusable(f"{path} is in the place of decoded images, and is no file: remove it")
            if path.exists():
                logger.warning("%s is damaged, or of another version: it is made again from the prepared images", path)
            _write(path, shape, blocks())
            images = _mapped(path, shape)
    if images is None:
        raise Corrupt(str(path), "it is not what was just written: the disk or the memory of this machine is at fault")
    return images


def _header(shape: tuple[int, ...]) -> bytes:
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "|u1", "fortran_order": False, "shape": shape})
    return header.getvalue()


def _mapped(path: Path, shape: tuple[int, ...]) -> Pixels | None:
    """Map a file's array; None where it is not there or not whole. The very file that is mapped is the one that is hashed."""
    header = _header(shape)
    if not path.is_file():
        return None
    try:
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            stamp = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
            if status.st_size != len(header) + int(np.prod(shape)) + SUM_BYTES or file.read(len(header)) != header:
                return None
            images = np.memmap(file, np.uint8, "r", offset=len(header), shape=shape)
            if _known.get(path) == stamp:
                return images
            file.seek(-SUM_BYTES, os.SEEK_END)
            kept_digest = file.read()
    except OSError:  # not to be read, or gone
        return None
    if _digest(header, images).digest() != kept_digest:
        return None
    _known[path] = stamp
    return images


def _digest(header: bytes, images: Pixels | None = None) -> "hashlib._Hash":
    digest = hashlib.sha256(FORMAT + header)
    if images is not None:
        flat = images.reshape(-1)
        for begin in range(0, len(flat), BLOCK_BYTES):
            digest.update(flat[begin : begin + BLOCK_BYTES].data)
    return digest


def _write(path: Path, shape: tuple[int, ...], blocks: Iterable[Pixels]) -> None:
    """Write the whole file under another name first: a process that is killed, or a full disk, leaves nothing under its own."""
    partial, header = path.with_name(f"{path.name}.partial"), _header(shape)
    try:
        with partial.open("wb") as file:  # written and not mapped: a full disk is then an error and not a crash
            digest = _digest(header)
            file.write(header)
            for images in blocks:
                content = np.ascontiguousarray(images).data
                digest.update(content)
                file.write(content)
            file.write(digest.digest())
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except BaseException as error:
        with contextlib.suppress(OSError):
            partial.unlink()
        if isinstance(error, OSError) and error.filename is None:  # that of a write names no file
            needed = f"{error.strerror} for {int(np.prod(shape)):,} bytes of decoded images"
            raise OSError(error.errno, needed, str(path)) from error
        raise
