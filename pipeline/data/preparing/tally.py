"""What a prepared set consists of, counted shard by shard: its digest, its moments, what was bad."""

import hashlib
import json
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
from jaxtyping import UInt64

from pipeline.data.images.pixels import Pixels, hash_rows
from pipeline.data.images.prepared import SPLITS
from pipeline.data.parts import FOOTER
from pipeline.data.preparing.shards import images_and_labels
from pipeline.data.preparing.suiting import extremes, looks_mirrored


@dataclass
class Tally:
    """Counts over the shards of a prepared set so far, in their order.

    Attributes:
        sums: of each pixel, and of its square, over the training images; exact, in any order.
        mirrored: whether mirror images look like images of the set, by its first shard.
        extremes: share of the first shard's pixels that are all but black or white.
    """

    digest: Any = field(default_factory=hashlib.sha256)
    shards: dict[str, list[dict[str, Any]]] = field(default_factory=lambda: {split: [] for split in SPLITS})
    bad: list[dict[str, str]] = field(default_factory=list)
    remarks: list[tuple[str, str]] = field(default_factory=list)
    sums: UInt64[np.ndarray, "2 c s s"] = field(default_factory=lambda: np.zeros((2, 1, 1, 1), dtype=np.uint64))
    mirrored: bool | None = None
    extremes: float | None = None
    num_new: int = 0
    num_kept_shards: int = 0

    def add(self, split: str, file: str, content: bytes, table: pa.Table) -> None:
        """Count one more shard of a split, with its digest, its bad images and its remarks."""
        if not self.shards[split]:
            self.digest.update(split.encode())
        images, labels = images_and_labels(table)
        hash_rows(self.digest, images, labels)
        sha256 = hashlib.sha256(content).hexdigest()
        self.shards[split].append({"file": file, "rows": len(images), "bytes": len(content), "sha256": sha256})
        footer = json.loads(table.schema.metadata[FOOTER])
        self.bad += [{"path": path, "reason": reason} for path, reason in footer["bad"]]
        self.remarks += [(path, remark) for path, remark in footer.get("remarks", [])]

    def add_pixels(self, pixels: Pixels) -> None:
        """Add the pixels of training images to the sums that moments are made of, and look at the first ones."""
        if self.mirrored is None and len(pixels):
            self.mirrored, self.extremes = looks_mirrored(pixels), extremes(pixels)
        squares = pixels.astype(np.uint16) ** 2  # 255^2 fits
        self.sums = self.sums + np.stack([pixels.sum(0, dtype=np.uint64), squares.sum(0, dtype=np.uint64)])

    def num_rows(self, split: str) -> int:
        """Count the images of a split."""
        return sum(shard["rows"] for shard in self.shards[split])

    def num_bytes(self) -> int:
        """Count the bytes of the files of all shards."""
        return sum(shard["bytes"] for shards in self.shards.values() for shard in shards)
