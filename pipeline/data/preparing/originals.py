"""What a set of images is before it is prepared: its images in order, and how a folder of them is divided."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from pipeline.errors import Unusable

Show = Callable[[int, int], None]
"""Is shown how many images are done, of how many."""


@dataclass(frozen=True)
class Original:
    """One image of a set before it is prepared.

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
    """All images of a set before it is prepared; their order is that of the prepared rows.

    Attributes:
        identity: hash of all that the images are; of a folder names and contents of its files.
        classes: names of the classes, where they are known.
        notes: what a user should know of how they were found, and of what is left out.
    """

    splits: Mapping[str, Sequence[Original]]
    identity: str
    classes: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Layout:
    """The folders where training and held-out images lie, relative to that of the set; None: found by their usual names.

    Attributes:
        train: `.` for all that is not in `test`.
        test: None where `train` is given: a tenth of that.
    """

    train: str | None = None
    test: str | None = None


def from_arrays(arrays: dict[str, tuple[np.ndarray, np.ndarray]], classes: tuple[str, ...] = ()) -> Originals:
    """Make the originals of a set from arrays of images and labels, by split."""
    digest, splits = hashlib.sha256(), dict[str, Sequence[Original]]()
    for split, (images, labels) in arrays.items():
        if len(images) != len(labels):
            raise Unusable(f"--from has {len(images)} {split} images and {len(labels)} labels")
        digest.update(np.ascontiguousarray(images).data)
        digest.update(np.ascontiguousarray(labels).data)
        splits[split] = [Original(f"{split} {i}", int(labels[i]), images[i]) for i in range(len(images))]
    return Originals(splits, digest.hexdigest(), classes)
