"""Code that Inductor compiled and keeps on a disk: loaded only under its hash, since a damaged library computes something else.

Inductor finds its files by the hash of their source and never looks at what they hold. So their own hashes stand in SUMS, which
is written after a phase; what has no hash there, or another one, is compiled again. While a process uses the folder it holds a
shared lock, which ends with it, and only a process that finds the folder unused looks through it.
"""

import fcntl
import hashlib
import json
import logging
import os
import shutil
import tempfile
from pathlib import Path
from typing import IO

from pipeline.files import lock_at

logger = logging.getLogger(__name__)
SUMS, CHECKED = "sums.json", "checked"
VARIABLE = "TORCHINDUCTOR_CACHE_DIR"
UNCHECKED = (".lock", ".tmp", ".partial")
_in_use: dict[Path, IO[str]] = {}
"""The folder that this process uses, and its lock."""


def use_checked_code() -> Path:
    """Let Inductor keep its files in a folder of this user, whose damaged files are removed before.

    Returns:
        The folder.
    """
    for folder in _in_use:
        return folder
    given = Path(os.environ.get(VARIABLE) or f"{tempfile.gettempdir()}/sjko-inductor-{os.getuid()}")
    parent = given.parent if given.name == CHECKED else given  # as a parent process has set it
    folder = parent / CHECKED
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    lock = (parent / "in-use.lock").open("a")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:  # whoever uses it has looked
        pass
    else:
        remove_damaged(folder)
    fcntl.flock(lock, fcntl.LOCK_SH)
    _in_use[folder] = lock
    os.environ[VARIABLE] = str(folder)
    return folder


def remove_damaged(folder: Path) -> None:
    """Remove compiled files of no known hash, and where a known one differs, all of them."""
    known = _known(folder)
    for path in _files(folder):
        name = path.relative_to(folder).as_posix()
        if name not in known:  # of a process that did not come to its end
            path.unlink()
        elif _sha256(path) != known[name]:
            logger.warning("%s is damaged: steps are compiled again", path)
            shutil.rmtree(folder)
            folder.mkdir(mode=0o700)
            return


def keep_code(folder: Path) -> None:
    """Write down the hashes of the files that have been compiled; those that are known stay as they are."""
    with lock_at(folder.parent / "sums.lock"):
        known = _known(folder)
        sums = {(name := path.relative_to(folder).as_posix()): known.get(name) or _sha256(path) for path in _files(folder)}
        partial = folder / f"{SUMS}.partial"
        partial.write_text(json.dumps(sums, indent=1))
        partial.replace(folder / SUMS)


def _known(folder: Path) -> dict[str, str]:
    try:
        return dict(json.loads((folder / SUMS).read_text()))
    except (OSError, ValueError, TypeError):
        return {}


def _files(folder: Path) -> list[Path]:
    """List the files that Inductor may load, without those that other processes may be writing."""
    return [path for path in sorted(folder.rglob("*")) if path.is_file() and path.suffix not in UNCHECKED and path.name != SUMS]


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
