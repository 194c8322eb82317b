"""Sets of images that `python -m pipeline prepare` wrote: Parquet shards at any fsspec URL, under a manifest written last.

A set exists only when its manifest verifies. Every shard's bytes are checked against the manifest before they are decoded. This
file finds and decodes; training draws its batches from what `mapped` gives or, where that does not fit, from
`pipeline.data.images.streaming`.
"""

import hashlib
import io
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import Float, Int

from components.parts.loading import describe_error
from pipeline import files as places
from pipeline.data.images.decoded import decoded
from pipeline.data.images.pixels import Pixels, decode
from pipeline.errors import Corrupt, Unreachable, Unusable
from pipeline.places import home
from pipeline.provenance import redacted

FORMAT = 1
MANIFEST, MOMENTS, BAD_IMAGES = "manifest.json", "moments.npy", "bad_images.json"
SPLITS = ("train", "test")
Levels = tuple[Float[np.ndarray, "c s s"], Float[np.ndarray, "c s s"]]
"""Mean and variance of each pixel, in grey levels from 0 to 255."""


@dataclass(frozen=True)
class Shard:
    """One Parquet file of a prepared set, as the manifest has it."""

    file: str
    rows: int
    bytes: int
    sha256: str


@dataclass(frozen=True)
class PreparedSet:
    """A prepared set of images whose manifest has been verified.

    Attributes:
        uri: folder, any URL that fsspec knows.
        encoding: `raw` pixels, or `encoded` PNG and JPEG.
        digest: sha256 over images and labels, what a recipe means by `data.digest`: as stored, in the order of rows and not by
            file, so that shards may be cut anew.
        splits: shards of `train` and `test`, in order.
    """

    uri: str
    name: str
    size: int
    channels: int
    encoding: str
    digest: str
    moments_sha256: str
    splits: Mapping[str, tuple[Shard, ...]]

    @property
    def shape(self) -> tuple[int, int, int]:
        """Give the shape of one image."""
        return self.channels, self.size, self.size

    def num_rows(self, split: str) -> int:
        """Count the images of a split."""
        return sum(shard.rows for shard in self.splits[split])

    def decoded_bytes(self, split: str) -> int:
        """Count the bytes of a split's pixels."""
        return self.num_rows(split) * math.prod(self.shape)

    def pixels(self, shard: Shard, rows: Int[np.ndarray, " m"] | None = None) -> Pixels:
        """Decode the images of a shard, or some of its rows in the order asked for.

        Raises:
            Corrupt: names the shard.
        """
        path = f"{self.uri}/{shard.file}"
        content = _checked(path, shard.sha256)
        try:
            column = pq.read_table(io.BytesIO(content), columns=["image"])["image"].combine_chunks()
            return decode(column if rows is None else column.take(pa.array(rows)), self.shape)
        except (pa.ArrowException, OSError, ValueError) as error:
            raise Corrupt(redacted(path), describe_error(error)) from error

    def labels(self, split: str) -> Int[np.ndarray, " n"]:
        """Read the labels of all images of a split, in the order of `mapped`.

        Raises:
            Corrupt: names the shard.
        """
        return np.concatenate(list(places.in_order(self._labels_of, self.splits[split])))

    def _labels_of(self, shard: Shard) -> Int[np.ndarray, " n"]:
        path = f"{self.uri}/{shard.file}"
        content = _checked(path, shard.sha256)
        try:
            labels: np.ndarray = pq.read_table(io.BytesIO(content), columns=["label"])["label"].to_numpy()
        except (pa.ArrowException, OSError, ValueError) as error:
            raise Corrupt(redacted(path), describe_error(error)) from error
        return labels.astype(np.int64)

    def levels(self) -> Levels:
        """Read mean and variance of the training images.

        Raises:
            Corrupt: the file of the moments.
        """
        mean, variance = np.load(io.BytesIO(_checked(f"{self.uri}/{MOMENTS}", self.moments_sha256)))
        return mean, variance

    def mapped(self, split: str) -> Pixels:
        """Map all images of a split into memory from a file of this machine, decoded by the first process that asks.

        Raises:
            Corrupt: names the shard.
        """
        shards = self.splits[split]
        grey = "-grey" if self.encoding == "encoded" and self.channels == 1 else ""  # the same files may have been three channels
        path = home() / "cache" / f"{self.digest}{grey}-{split}.npy"
        return decoded(path, (self.num_rows(split), *self.shape), lambda: places.in_order(self.pixels, shards))


def uri_of(name: str, size: int, data_uri: str | None) -> str:
    """Name the folder of a prepared set in the folder of all, by default $SJKO_HOME/data."""
    return f"{(data_uri or str(home() / 'data')).rstrip('/')}/{name}-{size}"


def sizes_of(name: str, data_uri: str | None) -> list[int]:
    """List the sides in which a set is prepared, in the folder of all.

    Raises:
        FlowError: it is no place that can be read.
    """
    start = uri_of(name, 0, data_uri).removesuffix("0")
    files, inside = places.at(start)
    try:
        found = [path.split("/")[-2].rpartition("-")[2] for path in files.glob(f"{inside}*/{MANIFEST}")]
    except Exception as error:  # each file system has its own
        raise Unreachable(f"{redacted(start)} cannot be listed: {describe_error(error)}") from error
    return sorted(int(size) for size in found if size.isdecimal())


def open_images(uri: str, digest: str | None = None) -> PreparedSet:
    """Open the prepared set in a folder.

    Args:
        digest: the images that are meant; None: those that are there.

    Raises:
        Unusable: there is no set, or one of other images. Corrupt: the manifest, or a shard that is missing or cut short.
    """
    manifest = read_manifest(uri)
    if manifest is None:
        raise Unusable(f"{redacted(uri)} holds no prepared images: it has no {MANIFEST}, which is written last")
    if digest is not None and manifest["digest"] != digest:
        raise Unusable(f"{redacted(uri)} holds images with digest {manifest['digest']}, not {digest}")
    splits = {split: tuple(Shard(**shard) for shard in manifest["splits"][split]["shards"]) for split in SPLITS}
    values = {name: manifest[name] for name in ("name", "size", "channels", "encoding", "digest")}
    images = PreparedSet(uri=uri, **values, moments_sha256=manifest["moments"], splits=splits)
    _check_sizes(images)
    return images


def read_manifest(uri: str) -> dict[str, Any] | None:
    """Read and verify the manifest of a folder; None where it has none.

    Raises:
        Corrupt: it is not what was written. FlowError: the folder cannot be read.
    """
    path = f"{uri}/{MANIFEST}"
    try:
        manifest = json.loads(_read(path))
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise Corrupt(redacted(path), "it is not JSON") from error
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise Corrupt(redacted(path), f"it is not a manifest of format {FORMAT}")
    if manifest.get("sha256") != manifest_sum(manifest):
        raise Corrupt(redacted(path), "its sha256 is not the one that it carries")
    return manifest


def manifest_sum(manifest: Mapping[str, Any]) -> str:
    """Compute the sha256 of a manifest without its own sum."""
    rest = {name: value for name, value in manifest.items() if name != "sha256"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()


def _check_sizes(images: PreparedSet) -> None:
    files, folder = places.at(images.uri)
    try:
        files.invalidate_cache(folder)
        sizes = {entry["name"].rpartition("/")[2]: entry["size"] for entry in files.ls(folder, detail=True)}
    except Exception as error:
        raise Unreachable(f"{redacted(images.uri)} cannot be listed: {describe_error(error)}") from error
    for shards in images.splits.values():
        for shard in shards:
            if sizes.get(shard.file) != shard.bytes:
                fault = "it is missing" if shard.file not in sizes else f"it has {sizes[shard.file]} bytes, not {shard.bytes}"
                raise Corrupt(redacted(f"{images.uri}/{shard.file}"), fault)


def _read(path: str) -> bytes:
    files, inside = places.at(path)
    try:
        content: bytes = files.cat_file(inside)
    except FileNotFoundError:
        raise
    except (PermissionError, NotADirectoryError, IsADirectoryError) as error:
        raise Unusable(f"{redacted(path)} cannot be read: {describe_error(error)}") from error
    except Exception as error:  # each file system has its own
        raise Unreachable(f"{redacted(path)} cannot be read: {describe_error(error)}") from error
    return content


def _checked(path: str, sha256: str) -> bytes:
    try:
        content = _read(path)
    except FileNotFoundError:
        raise Corrupt(redacted(path), "it is missing") from None
    if hashlib.sha256(content).hexdigest() != sha256:
        raise Corrupt(redacted(path), "its sha256 is not the manifest's")
    return content
