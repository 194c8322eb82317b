"""Folders of safetensors and JSON that exist only when their manifest verifies.

Published phases and mid-phase checkpoints are such folders.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
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
    """Write the manifest of a folder whose files are all there."""
    sums = {path.name: _sha256(path) for path in sorted(folder.iterdir()) if path.name != MANIFEST}
    (folder / MANIFEST).write_text(json.dumps({"sha256": sums}, indent=1))


def _sums(folder: Path) -> dict[str, str]:
    path = folder / MANIFEST
    if not path.is_file():
        raise Corrupt(str(path), "it is missing, so the folder was never completed")
    try:
        sums = json.loads(path.read_text())["sha256"]
    except (ValueError, KeyError, TypeError) as error:
        raise Corrupt(str(path), "it is not a manifest") from error
    if not isinstance(sums, dict) or any(Path(name).name != name for name in sums):
        raise Corrupt(str(path), "it names files outside its folder")
    return sums


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


def _verified_bytes(folder: Path, name: str) -> bytes:
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
        return load(_verified_bytes(folder, f"{name}.safetensors"))
    except SafetensorError as error:
        raise Corrupt(str(folder / f"{name}.safetensors"), str(error)) from error


def read_record(folder: Path) -> dict[str, object]:
    """Read the content of phase.json, verified against the manifest."""
    return dict(json.loads(_verified_bytes(folder, PHASE)))
