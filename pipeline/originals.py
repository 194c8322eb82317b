"""Sets of images as they are found: idx files, CIFAR-10's binary files, folders of PNG, JPEG and the like."""

import gzip
import hashlib
import os
import tarfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from pipeline.errors import Unusable

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff")
IMAGES_MAGIC, LABELS_MAGIC = 0x803, 0x801
CIFAR10_FILES = {"train": [f"data_batch_{i}.bin" for i in range(1, 6)], "test": ["test_batch.bin"]}
CIFAR10_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


@dataclass(frozen=True)
class Original:
    """One image before it is prepared.

    Attributes:
        name: path in its folder, or split and number in its file.
        label: number of its class; -1 where there are no classes.
        pixels: grey levels or colours, or the file that holds them.
    """

    name: str
    label: int
    pixels: UInt8[np.ndarray, "c h w"] | Path


@dataclass(frozen=True)
class Originals:
    """A set before it is prepared; the order of its images is that of the prepared rows.

    Attributes:
        identity: hash of all that the images are; of a folder names, sizes and times of its files.
        classes: names of the classes, where they are known.
        num_ignored: other files in the folder.
    """

    splits: Mapping[str, Sequence[Original]]
    identity: str
    classes: tuple[str, ...] = ()
    num_ignored: int = 0


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


def _idx(prefix: str, test: str, *, transposed: bool = False) -> Callable[[Path], Originals]:
    def read(folder: Path) -> Originals:
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


def _cifar10(path: Path) -> Originals:
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


def _folder(root: Path) -> Originals:
    """Images below a folder, in an order that is as good as random and fixed: that of the hashes of their relative paths.

    `test/` is held out where there is one, and then `train/`, or all that is elsewhere, is for training. Otherwise the last
    tenth is held out. The class is the first folder below; images that lie in none have label -1.
    """
    paths, num_ignored = _walk(root)
    bases = {"train": root / "train" if (root / "train").is_dir() else root, "test": root / "test"}
    if (root / "test").is_dir():
        test = [path for path in paths if path.is_relative_to(bases["test"])]
        train = [path for path in paths if path.is_relative_to(bases["train"]) and not path.is_relative_to(bases["test"])]
        num_ignored += len(paths) - len(test) - len(train)
    elif (root / "train").is_dir():
        raise Unusable(f"--from has train/ but no test/: give {root / 'train'}, or name the held-out folder test/")
    else:
        count = max(1, len(paths) // 10)
        train, test = paths[:-count], paths[-count:]
        bases["test"] = root
    if not train or not test:
        raise Unusable(f"--from must be a folder with at least one training and one test image ({len(paths)} found), not {root}")
    split_paths = {"train": train, "test": test}
    folders = {path: path.relative_to(bases[split]).parts[:-1] for split in bases for path in split_paths[split]}
    classes = tuple(sorted({parts[0] for parts in folders.values() if parts}))
    numbers = {name: number for number, name in enumerate(classes)}
    digest, splits = hashlib.sha256(), {split: list[Original]() for split in split_paths}
    for split, paths_of_split in split_paths.items():
        for path in paths_of_split:
            name, parts = path.relative_to(root).as_posix(), folders[path]
            splits[split].append(Original(name, numbers[parts[0]] if parts else -1, path))
            digest.update(f"{split} {_stamp(path)} {name}\0".encode(errors="surrogateescape"))
    return Originals(splits, digest.hexdigest(), classes, num_ignored)


def _stamp(path: Path) -> str:
    try:
        status = path.stat()
    except OSError:  # a link that leads nowhere: it will be listed as a bad image
        return "-"
    return f"{status.st_size} {status.st_mtime_ns}"


def _walk(root: Path) -> tuple[list[Path], int]:
    """Image files in the order of their hashes, and how many other files there are; hidden ones do not count."""
    if not root.is_dir():
        raise Unusable(f"--from must be a folder of images, not {root}")
    found, num_ignored = [], 0
    for folder, inner, files in os.walk(root):
        inner[:] = [name for name in inner if not name.startswith(".")]
        for name in files:
            if name.lower().endswith(IMAGE_SUFFIXES) and not name.startswith("."):
                path = Path(folder, name)
                relative = path.relative_to(root).as_posix().encode(errors="surrogateescape")
                found.append((hashlib.sha256(relative).digest(), path))
            else:
                num_ignored += not name.startswith(".")
    return [path for _, path in sorted(found)], num_ignored


READERS: dict[str, Callable[[Path], Originals]] = {
    "fashion_mnist": _idx("", "t10k"),
    "mnist": _idx("", "t10k"),
    "emnist_letters": _idx("emnist-letters-", "test", transposed=True),
    "cifar10": _cifar10,
    "celeba_hq": _folder,
    "image_folder": _folder,
}
