"""Which training image stands at which position of a phase that is streamed.

The training images of a phase are one endless stream of epochs. In each epoch the shards come in an order drawn from (seed,
phase, epoch). A *window* is a few consecutive shards of it, whose rows are shuffled among each other. So which row stands at
which position is a pure function of (seed, phase, position), found by arithmetic on row counts. Step s of a global batch of n
takes positions s n to (s + 1) n - 1. A resumed phase opens the windows of its step, and rank r decodes only its own rows.
"""

import itertools
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int

from components.streams import stream
from pipeline.data.images.pixels import Pixels
from pipeline.data.images.prepared import PreparedSet
from pipeline.data.source import EndName

SHARDS_PER_WINDOW = 4
PURPOSES = {"target": ("shards", "rows"), "source": ("source_shards", "source_rows")}


@dataclass(frozen=True)
class Window:
    """Consecutive shards of an epoch, whose rows are shuffled among each other.

    Attributes:
        first: position of its first row in the stream.
        num_rows: of all its shards.
        number: counted over all epochs.
        shards: numbers of its shards in the manifest.
    """

    first: int
    num_rows: int
    number: int
    shards: tuple[int, ...]


@dataclass(frozen=True)
class Shuffle:
    """The order of a phase's training images: which one stands at which position of its stream.

    Attributes:
        shard_rows: rows of each shard of the manifest.
    """

    end: EndName
    seed: int
    phase: int
    shard_rows: tuple[int, ...]

    def epoch(self, epoch: int) -> list[Window]:
        """List the windows of an epoch."""
        purpose, _ = PURPOSES[self.end]
        shards = stream(self.seed, purpose, phase=self.phase, step=epoch).permutation(len(self.shard_rows)).tolist()
        first, num_windows = epoch * sum(self.shard_rows), -(-len(shards) // SHARDS_PER_WINDOW)
        windows = []
        for i in range(num_windows):
            inside = tuple(shards[i * SHARDS_PER_WINDOW : (i + 1) * SHARDS_PER_WINDOW])
            num_rows = sum(self.shard_rows[shard] for shard in inside)
            windows.append(Window(first, num_rows, epoch * num_windows + i, inside))
            first += num_rows
        return windows

    def windows(self, start: int, stop: int) -> list[Window]:
        """List the windows that hold a position from `start` to `stop` - 1."""
        num_rows = sum(self.shard_rows)
        epochs = range(start // num_rows, -(-stop // num_rows))
        windows = itertools.chain.from_iterable(map(self.epoch, epochs))
        return [window for window in windows if window.first < stop and start < window.first + window.num_rows]

    def rows(self, window: Window) -> Int[np.ndarray, " n"]:
        """Give the rows of a window, counted over its shards, in the order of their positions."""
        _, purpose = PURPOSES[self.end]
        return stream(self.seed, purpose, phase=self.phase, step=window.number).permutation(window.num_rows)


@dataclass(frozen=True)
class Span:
    """The part of a shuffle that is one rank's rows of the global batches from one step to another.

    Attributes:
        n: samples of a global batch; rows `low` to `high` - 1 of each are the rank's.
    """

    shuffle: Shuffle
    n: int
    low: int
    high: int
    start: int
    stop: int

    def windows(self) -> list[Window]:
        """List the windows that hold rows of this rank."""
        windows = self.shuffle.windows(self.start * self.n, self.stop * self.n)
        return [window for window in windows if len(self.positions(window))]

    def positions(self, window: Window) -> Int[np.ndarray, " m"]:
        """Give the positions in a window, in order, that are the rank's."""
        first, last = max(window.first, self.start * self.n), min(window.first + window.num_rows, self.stop * self.n)
        positions = np.arange(first, last)
        row = positions % self.n
        return positions[(self.low <= row) & (row < self.high)] - window.first

    def read(self, images: PreparedSet, window: Window) -> Pixels:
        """Read the rank's images of a window, in order; of the others not even a shard is read that holds no other."""
        rows = self.shuffle.rows(window)[self.positions(window)]
        pixels = np.empty((len(rows), *images.shape), dtype=np.uint8)
        begin = 0
        for number in window.shards:
            shard = images.splits["train"][number]
            mine = (begin <= rows) & (rows < begin + shard.rows)
            if mine.any():
                pixels[mine] = images.pixels(shard, rows[mine] - begin)
            begin += shard.rows
        return pixels
