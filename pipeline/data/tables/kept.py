"""Rows in files under their name: written once, by the process that has them, and mapped into memory by all who train on them.

A folder `rows/NAME` of the place of data holds arrays and texts, and `rows.json`, written last, which says what class the rows
are of. The name has the digest of all of it, so that what is read is verified.
"""

import hashlib
import io
import json
import mmap
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, Self, TypeGuard, cast

import numpy as np

from pipeline import files, places
from pipeline.errors import Corrupt
from pipeline.provenance import redacted

if TYPE_CHECKING:
    import fsspec  # which measuring an accelerator goes without

FOLDER, MANIFEST = "rows", "rows.json"
CLASSES = {
    "points": "pipeline.data.points:Points",
    "conditioned": "pipeline.data.joint:Conditioned",
    "table": "pipeline.data.tables.source:TableRows",
}
"""Classes of rows, by the word that `rows.json` has for each."""
File = np.ndarray | bytes
WINDOW = 1 << 25
"""Bytes of an array that are looked at together."""


class Keepable(Protocol):
    """Rows that files can hold."""

    kept_as: ClassVar[str]

    @property
    def picture(self) -> str:
        """Name how samples are drawn."""

    def files(self) -> dict[str, File]:
        """Give all that the rows are, by the name of the file that each part is kept in."""

    @classmethod
    def of_files(cls, contents: Mapping[str, Any], **others: Any) -> Self:
        """Make the rows again of what `files` has given."""


def place_of(data_uri: str | None) -> str:
    """Name the folder or URL of all data: the one that is given, else $SJKO_HOME/data."""
    return (data_uri or str(places.home() / "data")).rstrip("/")


def write(name: str, points: Keepable, data_uri: str | None) -> None:
    """Write rows under their name, once."""
    system, folder = files.at(f"{place_of(data_uri)}/{FOLDER}/{name.lstrip(':')}")
    if system.exists(f"{folder}/{MANIFEST}"):
        return
    sums = {}
    for file, content in points.files().items():
        sums[file] = _put(system, f"{folder}/{file}", content)
    about = {"class": points.kept_as, "picture": points.picture, "files": sums}
    files.put(system, f"{folder}/{MANIFEST}", json.dumps(about, indent=1).encode())


def read(name: str, data_uri: str | None) -> Keepable | None:
    """Read rows by their name, arrays mapped from files of this machine; None where they are not there.

    Raises:
        Corrupt: a file is missing, or another than was written.
    """
    uri = f"{place_of(data_uri)}/{FOLDER}/{name.lstrip(':')}"
    system, folder = files.at(uri)
    try:
        about = json.loads(system.cat_file(f"{folder}/{MANIFEST}"))
    except FileNotFoundError:
        return None
    local = Path(folder) if files.is_local(system) else _fetched(uri, name, about["files"])
    contents = {file: _mapped(local / file, sha256) for file, sha256 in about["files"].items()}
    kind = cast(type[Keepable], resolve_name(CLASSES[about["class"]]))
    return kind.of_files(contents, picture=about["picture"])


def _put(system: "fsspec.AbstractFileSystem", path: str, content: File) -> str:
    """Write one file of rows, and give its sha256; an array that is a file already is copied as it is."""
    stored = path_of(content) if is_file(content) else _bytes(content)
    sha256 = _sha256(stored)
    files.put(system, path, stored)
    return sha256


def _sha256(stored: bytes | Path) -> str:
    if isinstance(stored, bytes):
        return hashlib.sha256(stored).hexdigest()
    with stored.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def numbered(name: str, arrays: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
    """Name the arrays of training and held-out rows as files."""
    return {f"{name}-train.npy": arrays[0], f"{name}-test.npy": arrays[1]}


def pair(name: str, contents: Mapping[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """Find the two arrays that `numbered` has named among files."""
    return contents[f"{name}-train.npy"], contents[f"{name}-test.npy"]


def is_file(content: object) -> TypeGuard[np.memmap]:
    """Say whether an array is all of a file of this machine, mapped into memory."""
    return isinstance(content, np.memmap) and isinstance(cast(object, content.base), mmap.mmap) and content.filename is not None


def path_of(mapped: np.memmap) -> Path:
    """Name the file that an array is mapped from."""
    assert mapped.filename is not None
    return Path(mapped.filename)


def windows(array: np.ndarray) -> Iterator[np.ndarray]:
    """Go through the rows of an array in parts; of one that is mapped, no more than a part is in this process's memory.

    >>> [len(part) for part in windows(np.zeros((3, 2)))]
    [3]
    """
    rows = max(1, WINDOW // max(1, array[:1].nbytes))
    for start in range(0, len(array), rows):
        if is_file(array):  # mapped anew, so that the part goes when it is done with
            shape, offset = array[start : start + rows].shape, array.offset + start * array[:1].nbytes
            yield np.memmap(path_of(array), array.dtype, "r", offset, shape)
        else:
            yield array[start : start + rows]


def _bytes(content: File) -> bytes:
    if isinstance(content, bytes):
        return content
    written = io.BytesIO()
    np.save(written, np.ascontiguousarray(content), allow_pickle=False)
    return written.getvalue()


def _fetched(uri: str, name: str, sums: Mapping[str, str]) -> Path:
    """Copy the files of rows to this machine, once."""
    local = places.home() / "cache" / FOLDER / name.lstrip(":")
    if local.is_dir():  # also where nothing can be written
        return local
    with files.lock_at(f"{local}.lock"):
        if local.is_dir():
            return local
        partial = local.with_name(f"{local.name}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir()
        system, folder = files.at(uri)
        for file in sums:
            try:
                system.get_file(f"{folder}/{file}", str(partial / file))
            except FileNotFoundError:
                raise Corrupt(redacted(f"{uri}/{file}"), "it is missing; remove the folder, and start the flow again") from None
        partial.rename(local)
    return local


def _mapped(path: Path, sha256: str) -> File:
    """Map an array, or read a text, whose hash must be the one that is known."""
    try:
        digest = _sha256(path)
    except FileNotFoundError:
        raise Corrupt(str(path), "it is missing; remove the folder, and start the flow again") from None
    if digest != sha256:
        raise Corrupt(str(path), f"its sha256 is {digest}, not {sha256}; remove the folder, and start the flow again")
    return np.load(path, mmap_mode="r", allow_pickle=False) if path.suffix == ".npy" else path.read_bytes()
