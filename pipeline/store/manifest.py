"""Folders of safetensors and JSON that exist only when their manifest verifies.

Published phases and mid-phase checkpoints are such folders.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from pipeline.errors import Corrupt

if TYPE_CHECKING:
    from torch import Tensor  # loaded by who reads or writes tensors, not by who looks at records

MANIFEST = "manifest.json"
PHASE = "phase.json"


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write(folder: Path, tensors: Mapping[str, Mapping[str, "Tensor"]], record: Mapping[str, object]) -> None:
    """Write the files of a folder, and last the manifest of their sha256 sums."""
    write_files(folder, tensors, record)
    seal(folder)


def write_files(folder: Path, tensors: Mapping[str, Mapping[str, "Tensor"]], record: Mapping[str, object]) -> None:
    """Write NAME.safetensors for each name, and the record as phase.json."""
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    for name, content in tensors.items():
        save_file(dict(content), folder / f"{name}.safetensors")
    (folder / PHASE).write_text(json.dumps(record, indent=1))


def seal(folder: Path) -> None:
    """Write the manifest of a folder whose files are all there, in folders inside it as well."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path != folder / MANIFEST)
    sums = {path.relative_to(folder).as_posix(): _sha256(path) for path in files}
    (folder / MANIFEST).write_text(json.dumps({"sha256": sums}, indent=1))


def _sums(folder: Path) -> dict[str, str]:
    path = folder / MANIFEST
    if not path.is_file():
        raise Corrupt(str(path), "it is missing, so the folder was never completed")
    try:
        sums = json.loads(path.read_text())["sha256"]
    except (ValueError, KeyError, TypeError) as error:
        raise Corrupt(str(path), "it is not a manifest") from error
    if not isinstance(sums, dict) or not all(map(_is_inside, sums)):
        raise Corrupt(str(path), "it names files outside its folder")
    return sums


def _is_inside(name: str) -> bool:
    """Say whether a name in a manifest is that of a file in its folder, and not one elsewhere."""
    path = PurePosixPath(name)
    return not path.is_absolute() and ".." not in path.parts and "\\" not in name and path.as_posix() == name != "."


def names(folder: Path) -> list[str]:
    """List the files of a folder, by their paths in it, as its manifest has them."""
    return sorted(_sums(folder))


def verify(folder: Path) -> None:
    """Check every file of a folder against its manifest.

    Raises:
        Corrupt: names the first file that is missing or differs.
    """
    for name, expected in _sums(folder).items():
        if not (folder / name).is_file():
            raise Corrupt(str(folder / name), "it is missing")
        if _sha256(folder / name) != expected:
            raise Corrupt(str(folder / name), "its sha256 is not the manifest's")


def read_bytes(folder: Path, name: str) -> bytes:
    """Read a file; the very bytes that are given are the ones that were verified.

    Raises:
        Corrupt: it is missing, or is not the manifest's.
    """
    path, expected = folder / name, _sums(folder).get(name)
    if expected is None or not path.is_file():
        raise Corrupt(str(path), "it is missing")
    content = path.read_bytes()
    if hashlib.sha256(content).hexdigest() != expected:
        raise Corrupt(str(path), "its sha256 is not the manifest's")
    return content


def read_tensors(folder: Path, name: str) -> dict[str, "Tensor"]:
    """Read the tensors of NAME.safetensors; the very bytes that are parsed are the ones that were verified."""
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        return load(read_bytes(folder, f"{name}.safetensors"))
    except SafetensorError as error:
        raise Corrupt(str(folder / f"{name}.safetensors"), str(error)) from error


def read_record(folder: Path) -> dict[str, object]:
    """Read the content of phase.json, verified against the manifest."""
    return dict(json.loads(read_bytes(folder, PHASE)))
