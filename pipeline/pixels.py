"""Between the bytes of an image and its pixels: what is stored of an original, and how that is decoded."""

import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
from jaxtyping import UInt8
from PIL import Image, ImageOps

from pipeline.originals import Original

Pixels = UInt8[np.ndarray, "n c s s"]
Encoding = Literal["raw", "encoded"]
KEPT_FORMATS, KEPT_MODES = ("PNG", "JPEG"), ("RGB", "L")


class Bad(Exception):
    """An original that is no usable image."""


def stored(original: Original, size: int, channels: int, encoding: Encoding) -> bytes:
    """The bytes of one image: its pixels, or its own PNG or JPEG where that has the right size already, or a new PNG."""
    if not isinstance(original.pixels, Path):
        if encoding == "raw" and original.pixels.shape == (channels, size, size):
            return original.pixels.tobytes()
        return _written(Image.fromarray(np.ascontiguousarray(original.pixels.transpose(1, 2, 0).squeeze())), size, encoding)
    content = original.pixels.read_bytes()
    with Image.open(io.BytesIO(content)) as image:
        image.load()
        if encoding == "encoded" and _fits_as_it_is(image, size):
            return content
        return _written(_as_rgb(image), size, encoding)


def _fits_as_it_is(image: Image.Image, size: int) -> bool:
    upright = image.getexif().get(0x0112, 1) == 1
    still = getattr(image, "n_frames", 1) == 1
    as_rgb = image.mode in KEPT_MODES and "transparency" not in image.info
    return image.format in KEPT_FORMATS and image.size == (size, size) and as_rgb and upright and still


def _as_rgb(image: Image.Image) -> Image.Image:
    """Upright, in RGB, what is transparent over white."""
    if image.mode.startswith(("I", "F")):
        raise Bad(f"mode {image.mode}: more than 8 bits per channel")
    image = ImageOps.exif_transpose(image)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    return image.convert("RGB")


def _written(image: Image.Image, size: int, encoding: Encoding) -> bytes:
    """The centre square, brought to its size by Lanczos' filter."""
    if image.size != (size, size):
        image = ImageOps.fit(image, (size, size), Image.Resampling.LANCZOS)
    if encoding == "raw":
        return channels_first(image).tobytes()
    content = io.BytesIO()
    image.save(content, "PNG")
    return content.getvalue()


def decode(column: pa.Array, shape: tuple[int, int, int]) -> Pixels:
    """Pixels of a column: raw ones have a fixed number of bytes, channels first; PNG and JPEG are decoded."""
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
    """Pixels of one PNG or JPEG."""
    with Image.open(io.BytesIO(content)) as image:
        return channels_first(image.convert("L" if channels == 1 else "RGB"))


def channels_first(image: Image.Image) -> UInt8[np.ndarray, "c h w"]:
    """Pixels of an L or RGB image."""
    pixels = np.asarray(image)
    return pixels[None] if pixels.ndim == 2 else np.ascontiguousarray(pixels.transpose(2, 0, 1))


def hash_rows(digest: Any, images: Sequence[bytes], labels: Sequence[int]) -> None:
    """Go on with a digest over rows: each the length of its image, its label, its image."""
    for image, label in zip(images, labels, strict=True):
        digest.update(len(image).to_bytes(8, "little") + int(label).to_bytes(8, "little", signed=True))
        digest.update(image)
