"""Between the bytes of an image and its pixels: what is stored of an original, and how that is decoded."""

import io
import math
import re
import threading
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import pyarrow as pa
from jaxtyping import UInt8
from PIL import Image, ImageOps, UnidentifiedImageError

from components.parts.loading import describe_error
from pipeline.data.preparing.originals import Original

Pixels = UInt8[np.ndarray, "n c s s"]
Encoding = Literal["raw", "encoded"]
KEPT_FORMATS, KEPT_MODES = ("PNG", "JPEG"), ("RGB", "L")
MODES = {1: "L", 3: "RGB"}
"""Of Pillow, by the number of channels."""


class Bad(Exception):
    """An original is no usable image: its message says why."""


def stored(original: Original, size: int, channels: int, encoding: Encoding, remarks: list[str]) -> bytes:
    """Make the bytes that are stored of an image: its pixels, its own PNG or JPEG where that has the right size, or a new PNG.

    Args:
        remarks: is told what of the image is not kept.

    Raises:
        Bad, or whatever Pillow raises at a damaged file.
    """
    if not isinstance(original.pixels, Path):
        if encoding == "raw" and original.pixels.shape == (channels, size, size):
            return original.pixels.tobytes()
        return _written(Image.fromarray(np.ascontiguousarray(original.pixels.transpose(1, 2, 0).squeeze())), size, encoding)
    content = content_of(original.pixels)
    with Image.open(io.BytesIO(content)) as image:
        deep = image.mode.startswith("I;16") or any(";16" in str(tile) for tile in image.tile)  # before load() empties it
        image.load()
        if getattr(image, "n_frames", 1) > 1:
            remarks.append("the first of several frames")
        if encoding == "encoded" and not deep and _fits_as_it_is(image, size):
            return content
        if deep:
            remarks.append("16 bits per channel, of which the upper 8 are kept")
        return _written(as_rgb(image, remarks).convert(MODES[channels]), size, encoding)


def content_of(path: Path) -> bytes:
    """Read the bytes of a file.

    Raises:
        Bad: it is none, or empty.
    """
    if not path.is_file():  # a pipe would be waited for
        raise Bad("no regular file" if path.exists() else "a link that leads nowhere")
    content = path.read_bytes()
    if not content:
        raise Bad("empty")
    return content


def _fits_as_it_is(image: Image.Image, size: int) -> bool:
    upright = image.getexif().get(0x0112, 1) == 1
    still = getattr(image, "n_frames", 1) == 1
    as_rgb = image.mode in KEPT_MODES and "transparency" not in image.info
    return image.format in KEPT_FORMATS and image.size == (size, size) and as_rgb and upright and still


def as_rgb(image: Image.Image, remarks: list[str]) -> Image.Image:
    """Turn an image upright and make it RGB of 8 bits: the upper 8 of 16, and white behind what is transparent.

    Args:
        remarks: is told what of the image is not kept.

    Raises:
        Bad: nothing says what its numbers mean.
    """
    image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I;16"):  # as Pillow reads 16-bit colours
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if image.mode in ("I", "F"):
        raise Bad(f"mode {image.mode}: numbers of 32 bits, and nothing says which of them are black and white")
    if image.mode == "CMYK":
        remarks.append("CMYK, made RGB without its colour profile")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        lowest, _ = image.getchannel("A").getextrema()
        if lowest != 255:
            remarks.append("transparent, laid over white")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    return image.convert("RGB")


def reason(error: Exception) -> str:
    """Say why an original is bad, in words that are the same on each machine and at each run: without paths and addresses."""
    if isinstance(error, Bad):
        return str(error)
    if isinstance(error, UnidentifiedImageError):
        return "no image that Pillow knows"
    if isinstance(error, OSError) and error.strerror:
        return f"{type(error).__name__}: {error.strerror}"
    return re.sub(r"<[^<>]* at 0x[0-9a-f]+>", "...", describe_error(error))


class Remarks:
    """Pillow's warnings while it is open, each put to the image that the thread which warns is at.

    Example:
        with Remarks() as heard: remarks = heard.of_this_thread(); ...
    """

    def __init__(self) -> None:
        self._local, self._catching = threading.local(), warnings.catch_warnings()

    def __enter__(self) -> Self:
        self._catching.__enter__()
        warnings.simplefilter("always")
        otherwise = warnings.showwarning

        def show(message: Warning | str, *more: Any, **named: Any) -> None:
            remarks = getattr(self._local, "remarks", None)
            if remarks is None:
                otherwise(message, *more, **named)
            else:
                remarks.append(f"Pillow warns: {' '.join(str(message).split())}")

        warnings.showwarning = show
        return self

    def __exit__(self, *error: Any) -> None:
        self._catching.__exit__(*error)

    def of_this_thread(self) -> list[str]:
        """Begin a new list, which this thread's warnings go to from now on."""
        self._local.remarks = remarks = list[str]()
        return remarks


def _written(image: Image.Image, size: int, encoding: Encoding) -> bytes:
    """Cut out the centre square, bring it to its size by Lanczos' filter, and write it as pixels or PNG."""
    if image.size != (size, size):
        image = ImageOps.fit(image, (size, size), Image.Resampling.LANCZOS)
    if encoding == "raw":
        return channels_first(image).tobytes()
    content = io.BytesIO()
    image.save(content, "PNG")
    return content.getvalue()


def decode(column: pa.Array, shape: tuple[int, int, int]) -> Pixels:
    """Decode a column of images: raw ones have a fixed number of bytes, channels first; others are PNG and JPEG."""
    if pa.types.is_fixed_size_binary(column.type):
        width = math.prod(shape)
        begin = column.offset * width
        content = memoryview(column.buffers()[1] or b"")[begin : begin + len(column) * width]
        return np.frombuffer(content, dtype=np.uint8).reshape(len(column), *shape)
    images = np.empty((len(column), *shape), dtype=np.uint8)
    for i, image in enumerate(column.to_pylist()):
        images[i] = decode_one(image, shape[0])
    return images


def decode_one(content: bytes, channels: int) -> UInt8[np.ndarray, "c h w"]:
    """Decode one PNG or JPEG to pixels, channels first."""
    with Image.open(io.BytesIO(content)) as image:
        return channels_first(image.convert(MODES[channels]))


def channels_first(image: Image.Image) -> UInt8[np.ndarray, "c h w"]:
    """Take the pixels of an L or RGB image, with the channels first."""
    pixels = np.asarray(image)
    return pixels[None] if pixels.ndim == 2 else np.ascontiguousarray(pixels.transpose(2, 0, 1))


def hash_rows(digest: Any, images: Sequence[bytes], labels: Sequence[int]) -> None:
    """Go on with a digest over rows: each the length of its image, its label, its image."""
    for image, label in zip(images, labels, strict=True):
        digest.update(len(image).to_bytes(8, "little") + int(label).to_bytes(8, "little", signed=True))
        digest.update(image)
