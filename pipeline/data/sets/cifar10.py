"""CIFAR-10 (Krizhevsky 2009): 50,000 + 10,000 photographs in ten classes, from its binary files."""

import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from pipeline.data.images.image_set import ImageSet
from pipeline.data.preparing.originals import Originals, from_arrays
from pipeline.errors import Unusable

FILES = {"train": [f"data_batch_{i}.bin" for i in range(1, 6)], "test": ["test_batch.bin"]}
CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


def read_files(path: Path, *_: object) -> Originals:
    """Read CIFAR-10's binary version: rows of one label and 3 x 32 x 32 bytes. The Python version would have to be executed."""
    inside = path / "cifar-10-batches-bin"
    folder = inside if inside.is_dir() else path
    if path.is_file() and tarfile.is_tarfile(path):
        content = dict(_members(path))
    else:
        expected = {name for names in FILES.values() for name in names}
        content = {name: (folder / name).read_bytes() for name in expected if (folder / name).is_file()}
    arrays = {}
    for split, names in FILES.items():
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
    return from_arrays(arrays, CLASSES)


def _members(path: Path) -> Iterator[tuple[str, bytes]]:
    try:
        with tarfile.open(path) as archive:
            for member in archive:
                file = archive.extractfile(member) if member.isfile() else None
                if file is not None and member.name.endswith(".bin"):
                    yield Path(member.name).name, file.read()
    except (OSError, EOFError, zlib.error, tarfile.TarError) as error:
        raise Unusable(f"{path} cannot be read: {error}") from error


CIFAR10 = ImageSet(channels=3, side=32, originals=read_files, classes=CLASSES)
