"""Small sets of images in the true form of the real ones, and their preparation with small shards."""

import gzip
import struct
from pathlib import Path

import numpy as np
from PIL import Image

from pipeline.data.images.image_set import image_sets
from pipeline.data.images.images import Mapped
from pipeline.data.images.pixels import Encoding
from pipeline.data.images.prepared import PreparedSet, open_images, uri_of
from pipeline.data.images.streaming import Streamed
from pipeline.data.preparing.originals import Layout
from pipeline.data.preparing.plan import Plan, plan_of
from pipeline.data.preparing.write import Written, write_set
from pipeline.data.source import At


def pixels(n: int, channels: int = 1, side: int = 28, seed: int = 0) -> np.ndarray:
    """Images that no two of are equal."""
    return np.random.default_rng(seed).integers(0, 256, (n, channels, side, side), dtype=np.uint8)


def labels(n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed + 1).integers(0, 10, n, dtype=np.uint8)


def write_idx(path: Path, array: np.ndarray) -> None:
    magic = 0x800 + array.ndim
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(struct.pack(f">{1 + array.ndim}I", magic, *array.shape) + array.tobytes(), 1))


def mnist(folder: Path, num_train: int = 100, num_test: int = 30, *, prefix: str = "", test: str = "t10k", seed: int = 0) -> Path:
    """The four files of MNIST, or with other names of EMNIST."""
    for i, (name, n) in enumerate((("train", num_train), (test, num_test))):
        write_idx(folder / f"{prefix}{name}-images-idx3-ubyte.gz", pixels(n, seed=seed + i)[:, 0])
        write_idx(folder / f"{prefix}{name}-labels-idx1-ubyte.gz", labels(n, seed=seed + i))
    return folder


def emnist(folder: Path, num_train: int = 100, num_test: int = 30, seed: int = 50) -> Path:
    return mnist(folder, num_train, num_test, prefix="emnist-letters-", test="test", seed=seed)


def cifar10(folder: Path, per_file: int = 10) -> Path:
    """cifar-10-batches-bin: one label and 3072 bytes per row."""
    folder.mkdir(parents=True)
    for i, name in enumerate([*(f"data_batch_{i}.bin" for i in range(1, 6)), "test_batch.bin"]):
        rows = np.concatenate([labels(per_file, i)[:, None], pixels(per_file, 3, 32, seed=i).reshape(per_file, -1)], axis=1)
        (folder / name).write_bytes(rows.tobytes())
    return folder


def photos(folder: Path, n: int = 40, side: int = 16, seed: int = 0) -> Path:
    """PNG files of the right size in two folders."""
    for i, image in enumerate(pixels(n, 3, side, seed)):
        path = folder / ("cats" if i % 2 else "dogs") / f"{i:03d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image.transpose(1, 2, 0)).save(path)
    return folder


def plan(
    name: str,
    source: Path,
    data_uri: str | Path,
    size: int | None = None,
    *,
    encoding: Encoding | None = None,
    per_shard: int | None = 16,
    channels: int | None = None,
) -> Plan:
    images = image_sets()[name]
    size = size or images.side
    assert size is not None
    uri = uri_of(name, size, str(data_uri))
    encoding = encoding or ("raw" if images.side else "encoded")
    originals = images.originals_of(source, Layout(), lambda done, total: None)
    return plan_of(
        name, originals, uri, size=size, channels=channels or images.channels, encoding=encoding, num_originals=per_shard
    )


def prepared(
    name: str,
    source: Path,
    data_uri: str | Path,
    size: int | None = None,
    *,
    encoding: Encoding | None = None,
    per_shard: int | None = 16,
    channels: int | None = None,
) -> Written:
    """Prepare with a few images per shard."""
    return write_set(plan(name, source, data_uri, size, encoding=encoding, per_shard=per_shard, channels=channels))


def open_set(name: str, data_uri: str | Path, size: int) -> PreparedSet:
    return open_images(uri_of(name, size, str(data_uri)))


def flip_a_byte(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))


def batches(
    reader: Mapped | Streamed, steps: range, *, n: int = 24, rank: int = 0, workers: int = 1, phase: int = 0
) -> np.ndarray:
    """The rows of one rank in the batches of some steps, (steps, rows, c, s, s)."""
    rows = slice(rank * n // workers, (rank + 1) * n // workers)
    return np.stack([reader.batch(At("target", 3, phase, step, n, rows)) for step in steps])
