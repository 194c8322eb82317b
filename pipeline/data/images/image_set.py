"""A set of square images by name: what a recipe may say of it, how its originals are read, and which images come built in."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
from jaxtyping import Int, UInt8

from components.conditions import Condition
from pipeline.data import table
from pipeline.data.preparing.originals import Layout, Originals, Show, from_arrays
from pipeline.data.source import EndName, Source
from pipeline.data.specs import SourceSpec, spec_of
from pipeline.errors import FlowError, Unusable
from pipeline.provenance import redacted
from pipeline.recipe import Data
from pipeline.recipes.values import Refused
from pipeline.words import counted

if TYPE_CHECKING:
    from pipeline.data.images.prepared import PreparedSet

SMALLEST_SIDE, LARGEST_SIDE = 8, 1024
CHANNELS = (1, 3)
"""Of images: grey, or red, green and blue."""
DIGEST = re.compile("[0-9a-f]{64}")
LABEL = "label"
"""What recipes call the condition that is the class of an image."""
Pair = tuple[UInt8[np.ndarray, "n s s"], UInt8[np.ndarray, "m s s"]]
LabelPair = tuple[Int[np.ndarray, " n"], Int[np.ndarray, " m"]]


@dataclass(frozen=True)
class BuiltIn:
    """Images that need no `python -m pipeline prepare` in the size that they come with.

    Attributes:
        images: reads training and test images, of one channel.
        labels: reads their classes, in the same order.
        sha256: of the training images, then the test images.
    """

    images: Callable[[], Pair]
    labels: Callable[[], LabelPair]
    sha256: str

    def originals(self) -> Originals:
        """Give the built-in images as originals, to prepare a set from them in another size."""
        splits = zip(("train", "test"), self.images(), self.labels(), strict=True)
        return from_arrays({split: (images[:, None], labels.astype(np.uint8)) for split, images, labels in splits})


@dataclass(frozen=True)
class ImageSet(SourceSpec):
    """The specification of a set of square images: what recipes must know of it, and how it is opened.

    Attributes:
        channels: 1 or 3; of originals of any size 3, where nothing says that they are grey.
        side: in pixels, that the set comes with; None: originals of any size.
        originals: reads what `python -m pipeline prepare --from` names; None where all originals are built in.
        built_in: images that are there without being prepared.
        classes: names of the classes, in the order of their labels; empty where images have none that all sets share.
        first_label: that of the first class, in the files.
    """

    channels: int
    side: int | None
    originals: Callable[[Path, Layout, Show], Originals] | None = None
    built_in: BuiltIn | None = None
    classes: tuple[str, ...] = ()
    first_label: int = 0
    picture: str = "images"
    fields = frozenset({"size", "channels", "flip", "digest", "streamed"})
    source_fields = frozenset({"source_digest"})

    def originals_of(self, path: Path | None, layout: Layout, show: Show) -> Originals:
        """Read the originals that a set is prepared from.

        Args:
            path: where it is; None: what is built in.
            layout: which images of a folder are held out.
            show: is shown how many images are done, of how many.

        Raises:
            Unusable: it is not what it should be.
        """
        if path is None:
            assert self.built_in is not None
            return self.built_in.originals()
        assert self.originals is not None
        return self.originals(path, layout, show)

    def conditions(self, data: Data) -> Mapping[str, Condition]:
        """Offer the class that an image shows, where the set has classes."""
        return {LABEL: Condition(LABEL, self.classes)} if self.classes else {}

    def shape(self, data: Data) -> tuple[int, ...]:
        """Give the shape (channels, side, side) with the size that the recipe says, else the set's own."""
        side = data.size or self.side
        assert side is not None
        return data.channels or self.channels, side, side

    def fits(self, shape: tuple[int, ...]) -> bool:
        """Say whether a target is images with as many channels; those of a folder may have one or three."""
        return len(shape) == 3 and (shape[0] == self.channels or (self.side is None and shape[0] == 1))

    def require_target(self, data: Data) -> None:
        """Refuse sizes and channels that there are not, streaming of what is built in, and what is no digest."""
        if data.size is not None and not SMALLEST_SIDE <= data.size <= LARGEST_SIDE:
            raise Refused("data.size", f"from {SMALLEST_SIDE} to {LARGEST_SIDE}", data.size)
        if data.size is None and self.side is None:
            raise Refused("data.size", f"given for data.target {data.target}", data.size)
        if data.channels is not None and self.side is not None:
            raise Refused("data.channels", f"left out for data.target {data.target}, which has {self.channels}", data.channels)
        if data.channels not in (None, *CHANNELS):
            raise Refused("data.channels", "1 or 3", data.channels)
        _require_digest("data.digest", data.digest)
        if data.streamed and self._needs_none(Chosen.of(data, "target")):
            raise Refused("data.streamed", f"false for data.target {data.target}, which fits", data.streamed)
        if data.streamed and data.condition is not None:
            raise Refused("data.streamed", "false where data.condition is given, since labels are not streamed", data.streamed)

    def require_source(self, data: Data, shape: tuple[int, ...]) -> None:
        """Refuse a target that comes in another size, where the recipe says none, and what is no digest."""
        if data.size is None and self.side not in (None, shape[-1]):
            sides = f"{data.source} has side {self.side} and {data.target} {shape[-1]}"
            raise Refused("data.size", f"given where {sides}", data.size)
        _require_digest("data.source_digest", data.source_digest)

    def normal_form(self, data: Data) -> Data:
        """Leave out the size and the channels where they are the set's own."""
        data = replace(data, size=None) if data.size == self.side else data
        return replace(data, channels=None) if data.channels == self.channels else data

    def resolve(self, data: Data, end: EndName, data_uri: str | None, most_bytes: float) -> Data:
        """Fill in the digest of prepared images, their channels, and whether they are streamed."""
        chosen = Chosen.of(data, end)
        prepared = self._prepared(chosen, data_uri)
        if prepared is None or self._needs_none(chosen):
            return data
        if end == "target" and data.channels is None and self.side is None:
            data = self.normal_form(replace(data, channels=prepared.channels))
        (channels, *_) = spec_of(data.target).shape(data)
        if prepared.channels != channels:
            held, other = counted(prepared.channels, "channel"), "data.channels" if end == "target" else data.target
            raise Unusable(f"data.{end}: {redacted(prepared.uri)} holds images of {held}, {other} has {channels}")
        too_large = prepared.decoded_bytes("train") > most_bytes
        if too_large and data.condition is not None:
            needed = f"{prepared.decoded_bytes('train') / 1e9:.3g}"
            raise Unusable(f"data.condition needs images in memory: cluster.max_cached_gb must be at least {needed} for these")
        data = replace(data, streamed=data.streamed or too_large)
        return replace(data, digest=prepared.digest) if end == "target" else replace(data, source_digest=prepared.digest)

    def open(self, data: Data, end: EndName, shape: tuple[int, ...], data_uri: str | None) -> Source:
        """Read what is built in, or map prepared images into memory, or stream them."""
        from pipeline.data.images.images import Images, Mapped  # these import pyarrow and Pillow: half a second
        from pipeline.data.images.streaming import Streamed

        chosen, flip = Chosen.of(data, end), data.flip and end == "target"
        prepared = self._prepared(chosen, data_uri)
        if not self._needs_none(chosen):
            assert prepared is not None
            if data.streamed:
                return Images(Streamed(prepared), flip)
            mapped = Mapped(prepared.mapped("train"), prepared.mapped("test"), levels=prepared.levels())
            return Images(mapped, flip, partial(self._labels, prepared))
        assert self.built_in is not None
        if prepared is None:
            train, test = (images[:, None] for images in self.built_in.images())
        else:
            train, test = prepared.mapped("train"), prepared.mapped("test")
        images = Images(Mapped(train, test), flip, partial(self._labels, prepared))
        if images.digest != self.built_in.sha256:
            place = "on this machine" if prepared is None else f"at {redacted(prepared.uri)}"
            raise FlowError(f"data.{end}: {chosen.name} {place} has sha256 {images.digest}, not {self.built_in.sha256}")
        return images

    def _labels(self, prepared: "PreparedSet | None") -> LabelPair:
        """Read the classes of training and test images, counted from 0.

        Raises:
            Unusable: images of the set have no label, or one that is none of its classes.
        """
        if prepared is None:
            assert self.built_in is not None
            return self.built_in.labels()
        train, test = (prepared.labels(split) - self.first_label for split in ("train", "test"))
        strange = sum(int(((labels < 0) | (labels >= len(self.classes))).sum()) for labels in (train, test))
        if strange:
            raise Unusable(
                f"data.condition: {strange:,} images of {redacted(prepared.uri)} have no label from {self.first_label} to "
                f"{self.first_label + len(self.classes) - 1}; prepare the set from files with labels, or leave data.condition out"
            )
        return train, test

    def _needs_none(self, chosen: "Chosen") -> bool:
        """Say whether the images that a recipe means come built in, so that no prepared set is needed."""
        return self.built_in is not None and chosen.size in (None, self.side) and chosen.digest is None

    def _prepared(self, chosen: "Chosen", data_uri: str | None) -> "PreparedSet | None":
        """Open the prepared set of an end; None where there is none and none is needed.

        Raises:
            Unusable: it is needed.
        """
        from pipeline.data.images.prepared import open_images, read_manifest, uri_of  # imports pyarrow and Pillow

        uri = uri_of(chosen.name, chosen.size or self.side or 0, data_uri)
        if self._needs_none(chosen) and (data_uri is None or read_manifest(uri) is None):
            return None
        try:
            return open_images(uri, chosen.digest)
        except Unusable as error:
            words = [chosen.name] if self.built_in else [chosen.name, "--from PATH"]
            words += ([f"--to {redacted(data_uri)}"] if data_uri else []) + ([f"--size {chosen.size}"] if chosen.size else [])
            raise Unusable(f"data.{chosen.end}: {error}. Prepare it: python -m pipeline prepare {' '.join(words)}") from error


@dataclass(frozen=True)
class Chosen:
    """The images that a recipe means at one of its ends."""

    end: EndName
    name: str
    size: int | None
    digest: str | None

    @classmethod
    def of(cls, data: Data, end: EndName) -> "Chosen":
        """Take name, size and digest of one end's images from the fields of a recipe."""
        name, digest = (data.target, data.digest) if end == "target" else (data.source, data.source_digest)
        return cls(end, name, data.size, digest)


def _require_digest(field: str, digest: str | None) -> None:
    if digest is not None and not DIGEST.fullmatch(digest):
        raise Refused(field, "64 hexadecimal digits", digest)


def image_sets() -> dict[str, ImageSet]:
    """Load the specifications of all sets of images, by the names that recipes have for them.

    Example:
        >>> image_sets()["cifar10"].side
        32
    """
    return {name: cast(ImageSet, spec_of(name)) for name in table.IMAGE_SETS}
