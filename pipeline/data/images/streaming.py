"""Training batches of a set that is too large to be decoded onto a disk: Ray Data streams its Parquet shards.

Each window of `pipeline.data.images.shuffle` is one Ray Data task, and Ray Data keeps their order. `ray.data.read_parquet`
would keep it as well, but its tasks neither check a file's sha256 nor know which rows they hold: every row of every shard would
travel to every worker.
"""

import atexit
import logging
import math
import threading
from collections.abc import Generator, Iterator, Mapping
from dataclasses import replace
from typing import Any
from weakref import WeakSet

import numpy as np

from pipeline.cluster import Cluster
from pipeline.data.images.images import unit_moments_of
from pipeline.data.images.pixels import Pixels
from pipeline.data.images.prepared import PreparedSet
from pipeline.data.images.shuffle import SHARDS_PER_WINDOW, Shuffle, Span, Window
from pipeline.data.source import At, Moments
from pipeline.errors import FlowError, Unreachable
from pipeline.provenance import redacted

WINDOWS_PER_EXECUTION = 64
"""Windows that one run of Ray Data reads; at the end of a run a few tenths of a second pass until the next one gives images."""
MOST_TASKS = 16
"""Windows that are read at once for one rank, where the cluster has so many CPUs; at least two are."""
RAY_DATA_THREADS = ("StreamingExecutor", "iter_threaded", "ray-data-metadata")
LEAST_AHEAD = 2**29
"""Bytes in Ray's object store that one rank may read ahead; more where four windows for each task are more."""


class Streamed:
    """A prepared set, as a `PixelReader`, that is read while training goes on: quick step after step, right in any order."""

    def __init__(self, images: PreparedSet) -> None:
        self.images = images
        self._expected: tuple[Any, ...] = ()
        self._batches: Generator[Pixels, None, None] | None = None
        _OPEN.add(self)

    def close(self) -> None:
        """End the run of Ray Data that reads ahead, if there is one."""
        if self._batches is not None:
            self._batches.close()
        self._expected, self._batches = (), None

    @property
    def shape(self) -> tuple[int, ...]:
        """Give the shape of one image: (channels, side, side)."""
        return self.images.shape

    @property
    def digest(self) -> str:
        """Hash all images and labels, as the manifest has it."""
        return self.images.digest

    @property
    def num_distinct(self) -> int:
        """Count test images, or training images where they are fewer."""
        return min(self.images.num_rows("test"), self.images.num_rows("train"))

    def unit_moments(self) -> Moments:
        """Read the moments of the training images, brought to [-1, 1]."""
        return unit_moments_of(self.images.levels())

    def batch(self, at: At) -> Pixels:
        """Give one rank's rows of the global batch of a step.

        Raises:
            Corrupt: names the shard.
        """
        low, high, _ = at.rows.indices(at.n)
        if low == high:
            return np.empty((0, *self.shape), dtype=np.uint8)
        shuffle = Shuffle(at.end, at.seed, at.phase, tuple(shard.rows for shard in self.images.splits["train"]))
        key = (shuffle, at.n, low, high)
        if self._batches is None or self._expected != (*key, at.step):
            self.close()
            self._batches = _endless(self.images, Span(shuffle, at.n, low, high, at.step, at.step))
        try:
            pixels = next(self._batches)
        except BaseException:
            self.close()
            raise
        self._expected = (*key, at.step + 1)
        return pixels

    def sample(self, n: int, rng: np.random.Generator) -> Pixels:
        """Draw n training images with replacement from a few shards: rows have no order that would make these special."""
        return self._few("train", n, rng, lambda count: rng.integers(count, size=n))

    def seen(self, n: int, rng: np.random.Generator) -> Pixels:
        """Draw n training images without replacement, from a few shards."""
        return self._few("train", n, rng, lambda count: rng.permutation(count)[:n])

    def held_out(self, n: int, rng: np.random.Generator) -> Pixels:
        """Draw n test images without replacement, from a few shards."""
        return self._few("test", n, rng, lambda count: rng.permutation(count)[:n])

    def _few(self, split: str, n: int, rng: np.random.Generator, choose: Any) -> Pixels:
        shards = [self.images.splits[split][number] for number in rng.permutation(len(self.images.splits[split]))]
        ends = np.cumsum([shard.rows for shard in shards])
        ends = ends[: int(np.searchsorted(ends, 4 * n)) + 1]  # four times as many as are asked for
        chosen = choose(int(ends[-1]))
        pixels = np.empty((len(chosen), *self.shape), dtype=np.uint8)
        for shard, end in zip(shards, ends, strict=False):
            mine = (end - shard.rows <= chosen) & (chosen < end)
            if mine.any():
                pixels[mine] = self.images.pixels(shard, chosen[mine] - (end - shard.rows))
        return pixels


_OPEN: WeakSet[Streamed] = WeakSet()


def close_streams() -> None:
    """End all reading ahead in this process: Ray shut down under a run of Ray Data waits for ever, or ends the process."""
    for each in list(_OPEN):
        each.close()
    for thread in threading.enumerate():
        if thread.name.startswith(RAY_DATA_THREADS):
            thread.join(timeout=5)


def _endless(images: PreparedSet, span: Span) -> Generator[Pixels, None, None]:
    """Yield the rank's rows of every global batch from a step on, a limited number of windows at a time."""
    shard_rows = span.shuffle.shard_rows
    num_windows = -(-len(shard_rows) // SHARDS_PER_WINDOW)
    steps = max(1, WINDOWS_PER_EXECUTION * sum(shard_rows) // (num_windows * span.n))
    while True:
        span = replace(span, start=span.stop, stop=span.stop + steps)
        yield from _execute(images, span)


def _execute(images: PreparedSet, span: Span) -> Iterator[Pixels]:
    """Yield the rank's rows of each step of a span, through one run of Ray Data."""
    import ray
    import ray.data

    _ensure_ray()
    windows, num_rows = span.windows(), span.high - span.low
    numbers, cpus = list(range(len(windows))), int(ray.cluster_resources().get("CPU", 0))
    num_tasks = max(2, min(MOST_TASKS, cpus * num_rows // span.n))
    window_bytes = max(window.num_rows for window in windows) * math.prod(images.shape) * num_rows // span.n
    ahead = ray.data.ExecutionResources(object_store_memory=max(LEAST_AHEAD, 4 * num_tasks * window_bytes))
    dataset = ray.data.from_items(numbers, override_num_blocks=len(numbers)).map_batches(
        _read_window,
        fn_kwargs={"images": images, "span": span, "windows": windows},
        batch_size=None,
        num_cpus=0,  # Ray Train's workers may hold every CPU, and would wait for ever
        compute=ray.data.TaskPoolStrategy(size=num_tasks),
    )
    dataset.context.execution_options.resource_limits = ahead
    dataset.context.execution_options.preserve_order = True
    dataset.context.enable_progress_bars = False
    batches = dataset.iter_batches(batch_size=num_rows, prefetch_batches=2)
    try:
        for step, batch in enumerate(batches, span.start):
            if batch["failed"].any():  # again, here: this raises what the task met, or was a passing fault of the network
                again = replace(span, start=step, stop=step + 1)
                yield np.concatenate([again.read(images, window) for window in again.windows()])
            else:
                yield batch["image"]
    except ray.exceptions.RayError as error:
        raise Unreachable(f"{redacted(images.uri)} could not be read: {str(error).strip().splitlines()[-1]}") from error


def _read_window(
    batch: Mapping[str, np.ndarray], images: PreparedSet, span: Span, windows: list[Window]
) -> dict[str, np.ndarray]:
    """Read one window in a task of Ray Data. A fault is marked and not raised: Ray would hide it among its own."""
    (number,) = batch["item"]
    num_rows = len(span.positions(windows[number]))
    try:
        return {"image": span.read(images, windows[number]), "failed": np.zeros(num_rows, dtype=bool)}
    except FlowError:
        return {"image": np.zeros((num_rows, *images.shape), dtype=np.uint8), "failed": np.ones(num_rows, dtype=bool)}


def quieten_ray_data() -> None:
    """Let Ray Data, which sets up its loggers when it is imported, speak up for errors only."""
    for handler in logging.getLogger("ray.data").handlers:
        if handler.name == "console":
            handler.setLevel(logging.ERROR)


def _ensure_ray() -> None:
    """Start Ray for a process that trains without workers; it lasts until the process ends."""
    import ray

    from pipeline import ray_session  # seconds that reading what is mapped need not wait for

    quieten_ray_data()
    ray_session.before_shutdown(close_streams)
    if not ray.is_initialized():
        context = ray_session.started(Cluster())
        context.__enter__()
        atexit.register(context.__exit__, None, None, None)
