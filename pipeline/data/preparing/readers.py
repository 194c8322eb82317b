"""How the originals of each set are read: idx files, CIFAR-10's binary files, folders of PNG, JPEG and the like."""

import gzip
import hashlib
import tarfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from pipeline.data.originals import Layout, Original, Originals, Show
from pipeline.data.preparing.image_folders import read_folder
from pipeline.errors import Unusable

IMAGES_MAGIC, LABELS_MAGIC = 0x803, 0x801
CIFAR10_FILES = {"train": [f"data_batch_{i}.bin" for i in range(1, 6)], "test": ["test_batch.bin"]}
CIFAR10_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


def _unpacked(path: Path) -> bytes:
    try:
        content = path.read_bytes()
        return gzip.decompress(content) if path.suffix == ".gz" else content
    except (OSError, EOFError, zlib.error) as error:
        raise Unusable(f"{path} cannot be read: {error}") from error


def read_idx(path: Path, magic: int = IMAGES_MAGIC) -> np.ndarray:
    """A gzipped idx file: big-endian integers (magic, size of each dimension), then bytes.

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


def _idx(prefix: str, test: str, *, transposed: bool = False) -> Callable[..., Originals]:
    def read(folder: Path, *_: object) -> Originals:
        arrays = {}
        for split, begin in (("train", f"{prefix}train"), ("test", f"{prefix}{test}")):
            images, labels = (_find(folder, f"{begin}-{kind}-ubyte") for kind in ("images-idx3", "labels-idx1"))
            pixels = read_idx(images)
            arrays[split] = (pixels.transpose(0, 2, 1) if transposed else pixels)[:, None], read_idx(labels, LABELS_MAGIC)
        return _from_arrays(arrays)

    return read


def _find(folder: Path, name: str) -> Path:
    for path in (folder / f"{name}.gz", folder / name):
        if path.is_file():
            return path
    raise Unusable(f"--from must be a folder with {name}.gz, not {folder}")


def _from_arrays(arrays: dict[str, tuple[np.ndarray, np.ndarray]], classes: tuple[str, ...] = ()) -> Originals:
    digest, splits = hashlib.sha256(), dict[str, Sequence[Original]]()
    for split, (images, labels) in arrays.items():
        if len(images) != len(labels):
            raise Unusable(f"--from has {len(images)} {split} images and {len(labels)} labels")
        digest.update(np.ascontiguousarray(images).data)
        digest.update(np.ascontiguousarray(labels).data)
        splits[split] = [Original(f"{split} {i}", int(labels[i]), images[i]) for i in range(len(images))]
    return Originals(splits, digest.hexdigest(), classes)


def _cifar10(path: Path, *_: object) -> Originals:
    """The binary version: rows of one label and 3 x 32 x 32 bytes. The Python version would have to be executed."""
    inside = path / "cifar-10-batches-bin"
    folder = inside if inside.is_dir() else path
    if path.is_file() and tarfile.is_tarfile(path):
        content = dict(_members(path))
    else:
        wanted = {name for names in CIFAR10_FILES.values() for name in names}
        content = {name: (folder / name).read_bytes() for name in wanted if (folder / name).is_file()}
    arrays = {}
    for split, names in CIFAR10_FILES.items():
        for name in names:
            if name not in content:
                raise Unusable(
                    f"--from must be cifar-10-binary.tar.gz or its folder cifar-10-batches-bin with {name}, not {path} (the "
                    "Python version, cifar-10-batches-py, can only be read by executing what it contains)"
                )
            if not content[name] or len(content[name]) % 3073:
                raise Unusable(f"{path}: {name} is cut short, it must be rows of 3073 bytes")
        rows = np.frombuffer(b"".join(content[name] for name in names), dtype=np.uint8).reshape(-1, 3073)
        arrays[split] = rows[:, 1:].reshape(-1, 3, 32, 32), rows[:, 0]
    return _from_arrays(arrays, CIFAR10_CLASSES)


def _members(path: Path) -> Iterator[tuple[str, bytes]]:
    try:
        with tarfile.open(path) as archive:
            for member in archive:
                file = archive.extractfile(member) if member.isfile() else None
                if file is not None and member.name.endswith(".bin"):
                    yield Path(member.name).name, file.read()
    except (OSError, EOFError, zlib.error, tarfile.TarError) as error:
        raise Unusable(f"{path} cannot be read: {error}") from error


def _folder(root: Path, layout: Layout | None = None, show: Show = lambda done, total: None) -> Originals:
    return read_folder(root, layout or Layout(), show)


READERS: dict[str, Callable[..., Originals]] = {
    "fashion_mnist": _idx("", "t10k"),
    "mnist": _idx("", "t10k"),
    "emnist_letters": _idx("emnist-letters-", "test", transposed=True),
    "cifar10": _cifar10,
    "celeba_hq": _folder,
    "image_folder": _folder,
}
"""How the originals of each set are read: from a path, and folders with a `Layout` and a function that is shown the progress."""
