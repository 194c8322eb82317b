"""What a set of images is before it is prepared: its images in order, and how a folder of them is divided."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

Show = Callable[[int, int], None]
"""Is shown how many images are done, of how many."""


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
    """Where a folder's training and held-out images lie, relative to it; None: where folders are called so.

    Attributes:
        train: `.` for all that is not in `test`.
        test: None where `train` is given: a tenth of that.
    """

    train: str | None = None
    test: str | None = None
