"""Images per second of both readers of prepared sets: mapped into memory, and streamed as Parquet shards through Ray Data.

Noise in the shape of a set, prepared by the same code as any set, read in batches of 64 by one worker that does nothing else. The
first batch is counted apart: it is where a set is decoded into the cache, or a run of Ray Data and its processes start.
"""

import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from benchmarks.harness import main
from benchmarks.rows import Pivot, Row
from components.streams import stream
from pipeline import ray_session
from pipeline.cluster import Cluster
from pipeline.data.images.images import Mapped
from pipeline.data.images.pixels import Encoding
from pipeline.data.images.prepared import PreparedSet, open_images
from pipeline.data.images.streaming import Streamed
from pipeline.data.preparing.originals import Original, Originals
from pipeline.data.preparing.plan import plan_of
from pipeline.data.preparing.write import write_set
from pipeline.data.source import At

BATCH_SIZE, NUM_TEST = 64, 64
SHAPES = {"1 x 28 x 28 raw": (1, 28), "3 x 32 x 32 raw": (3, 32), "3 x 64 x 64 png": (3, 64)}


def cases(quick: bool) -> list[Row]:
    """List the cases: each kind of images with each reader."""
    shapes, num_images = (list(SHAPES)[:2], 8_192) if quick else (list(SHAPES), 65_536)
    readers = ("mapped", "streamed")
    return [{"images": images, "reader": reader, "num_images": num_images, "seed": 0} for images in shapes for reader in readers]


def measure(case: Row) -> Iterator[Row]:
    """Read an epoch of batches, and yield the row of a case."""
    with tempfile.TemporaryDirectory(prefix="sjko-") as folder:
        os.environ["SJKO_HOME"] = folder
        images, streamed = prepared(case, Path(folder)), case["reader"] == "streamed"
        with ray_session.connected(Cluster(num_workers=int(streamed))):
            cpu_before, began = time.process_time(), time.perf_counter()
            reader = Streamed(images) if streamed else Mapped(images.mapped("train"), images.mapped("test"))
            rows = slice(0, BATCH_SIZE)
            reader.batch(At("target", 0, 0, 0, BATCH_SIZE, rows))
            first = time.perf_counter()
            num_steps = case["num_images"] // BATCH_SIZE
            for step in range(1, num_steps):
                reader.batch(At("target", 0, 0, step, BATCH_SIZE, rows))
            seconds = time.perf_counter() - first
        yield {
            "seconds_to_first": first - began,
            "images_per_second": (num_steps - 1) * BATCH_SIZE / seconds,
            "megabytes_per_second": (num_steps - 1) * BATCH_SIZE * np.prod(images.shape) / seconds / 1e6,
            "cpu_seconds": time.process_time() - cpu_before,
        }


def prepared(case: Row, folder: Path) -> PreparedSet:
    """Write a prepared set of noise, in shards of the usual size, and open it."""
    channels, side = SHAPES[case["images"]]
    splits = {}
    for number, (split, n) in enumerate((("train", case["num_images"]), ("test", NUM_TEST))):
        pixels = stream(case["seed"], "problem", step=number).integers(0, 256, (n, channels, side, side), dtype=np.uint8)
        splits[split] = [Original(f"{split} {i}", -1, image) for i, image in enumerate(pixels)]
    encoding: Encoding = "raw" if case["images"].endswith("raw") else "encoded"
    uri = str(folder / "set")
    write_set(plan_of("noise", Originals(splits, "noise"), uri, size=side, channels=channels, encoding=encoding))
    return open_images(uri)


PIVOTS = [
    Pivot(("images",), "reader", ("images_per_second",), "images per second of one reader, batches of 64"),
    Pivot(("images",), "reader", ("seconds_to_first",), "seconds until the first batch"),
]

if __name__ == "__main__":
    main("readers", __doc__, cases=cases, measure=measure, pivots=PIVOTS, processes=1)
