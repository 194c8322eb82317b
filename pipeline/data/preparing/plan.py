"""What is to be prepared: which originals go into which shard, in which size and encoding."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version

from pipeline.data.images.pixels import Encoding
from pipeline.data.images.prepared import FORMAT, SPLITS
from pipeline.data.preparing.originals import Original, Originals

SHARD_BYTES = 32 * 2**20
"""Most bytes of pixels in one shard: what one thread decodes at a time."""
MOST_ROWS = 8192


@dataclass(frozen=True)
class ShardPlan:
    """One shard of a plan: images of one split in order, usable or not."""

    split: str
    number: int
    originals: Sequence[Original]

    @property
    def file(self) -> str:
        """Name the Parquet file of the shard."""
        return f"{self.split}-{self.number:05d}.parquet"


@dataclass(frozen=True)
class Plan:
    """All that decides the bytes of a prepared set.

    Attributes:
        uri: folder of this set, any URL that fsspec knows.
        size: side of the square images in pixels.
        num_originals: per shard, usable or not.
    """

    name: str
    originals: Originals
    uri: str
    size: int
    channels: int
    encoding: Encoding
    num_originals: int

    @property
    def identity(self) -> str:
        """Hash all that the shards' bytes depend on."""
        values = [FORMAT, self.name, self.originals.identity, self.size, self.channels, self.encoding, self.num_originals]
        return hashlib.sha256(json.dumps([*values, version("pillow")]).encode()).hexdigest()

    def shards(self) -> Iterator[ShardPlan]:
        """Divide the originals among shards, in order, training images first."""
        for split in SPLITS:
            originals = self.originals.splits[split]
            for number, begin in enumerate(range(0, len(originals), self.num_originals)):
                yield ShardPlan(split, number, originals[begin : begin + self.num_originals])


def plan_of(
    name: str, originals: Originals, uri: str, *, size: int, channels: int, encoding: Encoding, num_originals: int | None = None
) -> Plan:
    """Make a plan whose shards have a size that suits reading."""
    fitting = max(1, min(MOST_ROWS, SHARD_BYTES // (channels * size * size)))
    return Plan(name, originals, uri, size, channels, encoding, num_originals or fitting)
