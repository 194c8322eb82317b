"""Sets in the form of MNIST: four idx files, with or without gzip."""

import gzip
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np

from pipeline.data.preparing.originals import Originals, from_arrays
from pipeline.errors import Unusable

IMAGES_MAGIC, LABELS_MAGIC = 0x803, 0x801


def _unpacked(path: Path) -> bytes:
    try:
        content = path.read_bytes()
        return gzip.decompress(content) if path.suffix == ".gz" else content
    except (OSError, EOFError, zlib.error) as error:
        raise Unusable(f"{path} cannot be read: {error}") from error


def read_idx(path: Path, magic: int = IMAGES_MAGIC) -> np.ndarray:
    """Read an idx file, gzipped or not: big-endian integers (magic, size of each dimension), then bytes.

    Raises:
        Unusable: it is none, or another kind than its magic number says.
    """
    content = _unpacked(path)
    num_dims = magic & 0xFF
    header = np.frombuffer(content[: 4 * (1 + num_dims)], dtype=">u4")
    if len(header) != 1 + num_dims or header[0] != magic:
        raise Unusable(f"{path} is not an idx file of {'images' if magic == IMAGES_MAGIC else 'labels'}")
    shape = tuple(int(size) for size in header[1:])
    if len(content) != header.nbytes + int(np.prod(shape)):
        raise Unusable(f"{path} is cut short, or longer than its header says ({' x '.join(map(str, shape))})")
    return np.frombuffer(content, dtype=np.uint8, offset=header.nbytes).reshape(shape)


def mnist_files(prefix: str, test: str, *, transposed: bool = False) -> Callable[..., Originals]:
    """Make a reader of the four idx files of a set such as MNIST in a folder.

    Args:
        prefix: of all their names.
        test: how the names of held-out images go on; those of training images go on with `train`.
        transposed: rows and columns of each image have changed places.
    """

    def read(folder: Path, *_: object) -> Originals:
        arrays = {}
        for split, begin in (("train", f"{prefix}train"), ("test", f"{prefix}{test}")):
            images, labels = (_find(folder, f"{begin}-{kind}-ubyte") for kind in ("images-idx3", "labels-idx1"))
            pixels = read_idx(images)
            arrays[split] = (pixels.transpose(0, 2, 1) if transposed else pixels)[:, None], read_idx(labels, LABELS_MAGIC)
        return from_arrays(arrays)

    return read


def _find(folder: Path, name: str) -> Path:
    for path in (folder / f"{name}.gz", folder / name):
        if path.is_file():
            return path
    raise Unusable(f"--from must be a folder with {name}.gz, not {folder}")
