"""How the code of own parts reaches the sub-processes of Ray: one folder among the `py_modules` of their runtime environment.

In it is a folder for each digest: Ray would put each module into a folder of its own, without the modules beside it, which are
part of its code. `components.parts.code.find_what_travelled` lets a sub-process find them.
"""

import json
import socket
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from components.parts.code import TRAVELLING, Code
from components.parts.loading import IN_MEMORY, code_meant, factory_of
from components.parts.naming import Part, PartError, shown
from pipeline.errors import FlowError
from pipeline.files import folder_of_process

MOST_BYTES = 64 * 2**20
"""Most bytes of the files of one part that travel: they pass through the memory of the cluster's head."""
MOST_FILES = 5000


class PartMissing(FlowError):
    """An own part cannot be used in a sub-process."""

    exit_code = 2


def py_modules(names: Iterable[str]) -> list[str]:
    """Write the code of own parts into a folder for the `py_modules` of a Ray runtime environment: its path, or nothing.

    Names of what is built in, in memory or installed are passed over.

    Example:
        >>> py_modules(["jsd"])
        []

    Raises:
        PartError: a part is not there, or is too large to travel.
    """
    parts = [part for part in map(Part.read, names) if part.is_own and not part.is_in_memory]
    codes = {code.digest: (part, code) for part in parts if (code := code_meant(part)).folder is not None}
    if not codes:
        return []
    folder = Path(tempfile.mkdtemp(dir=folder_of_process("sjko-parts-"))) / TRAVELLING
    for digest, (part, code) in sorted(codes.items()):
        write(folder / digest, files_of(part, code))
    return [str(folder)]


def files_of(part: Part, code: Code) -> dict[str, bytes]:
    """Read the files that a part needs elsewhere, by path: its code, and the data files in its packages.

    Raises:
        PartError: they are too many, or too large.
    """
    assert code.folder is not None
    files = dict(code.files)
    num_bytes = sum(map(len, files.values()))
    for top in sorted({name.partition("/")[0] for name in files if "/" in name}):
        for path in (code.folder / top).rglob("*"):
            name = path.relative_to(code.folder)
            if path.suffix in (".py", ".pyc") or not path.is_file() or any(each.startswith(".") for each in name.parts):
                continue
            size = path.stat().st_size
            num_bytes += size
            if num_bytes > MOST_BYTES or len(files) >= MOST_FILES:
                raise PartError(
                    f"{part.use}: the files of its package {code.folder / top} travel to other processes, at most "
                    f"{MOST_BYTES >> 20} MiB and {MOST_FILES} files, which {name} ({size:,} bytes) exceeds; keep it elsewhere"
                )
            files[name.as_posix()] = path.read_bytes()
    return files


def write(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write files into a folder, by their paths in it."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def sent_along(environment: dict[str, Any], names: Iterable[str], job: str | None = None) -> None:
    """Add the code of own parts to a Ray runtime environment.

    Args:
        environment: its `excludes`, which are meant for `working_dir`, are made to leave the code in.
        job: JSON of the job that this process is, whose own `py_modules` stay.
    """
    modules = py_modules(names)
    if not modules:
        return
    before = list(json.loads(job).get("runtime_env", {}).get("py_modules", [])) if job else []
    environment["py_modules"] = [*environment.get("py_modules", before), *modules]
    if "excludes" in environment:
        environment["excludes"] = [*environment["excludes"], *(f"!/{each.name}" for each in Path(modules[0]).iterdir())]


def require(parts: Iterable[tuple[str, str]]) -> None:
    """Refuse to work in a sub-process of Ray that cannot use an own part.

    Args:
        parts: the field, or flag, that each stands in, and its name.

    Raises:
        PartMissing: says which, where, and what to do.
    """
    parts = list(parts)
    for field, name in parts:
        part = Part.read(name)
        if not part.is_own:
            continue
        if part.is_in_memory and part.use not in IN_MEMORY:
            raise PartMissing(
                f"{field}: {shown(name)} is an object in the memory of another process; only what has an import name reaches "
                "the sub-processes of Ray: give it one, or train with cluster.num_workers 0"
            )
        try:
            if not part.is_in_memory:
                factory_of(part)
        except PartError as error:
            raise PartMissing(
                f"{field}: {error}, in a sub-process of Ray on {socket.gethostname()}; install the part there, or connect to Ray "
                f"with runtime_env={{'py_modules': pipeline.parts.travel.py_modules({sorted({name for _, name in parts})})}}"
            ) from error
