"""The code of an own part: its source files and their digest, or the distribution that it is installed from."""

import ast
import hashlib
import json
import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from importlib.machinery import PathFinder
from pathlib import Path

from components.parts.naming import PartError

OURS = frozenset({"components", "pipeline", "tune", "deploy", "sjko"})
"""Packages that are wherever a part is used: their versions are kept beside each phase anyway."""
DIGEST_LENGTH = 12
MOST_FILES = 1000
TRAVELLING = "sjko_own_parts"
"""Name of the folder that a driver sends along to the sub-processes of its Ray, with a folder for each digest."""
UNPACKED: dict[str, Path] = {}
"""Folders with code that a driver has sent along, or that a registered version carries, by digest."""
PREFERRED: set[str] = set()
"""Digests whose folder of a version is meant also where Python finds equal code, as other data files are beside that."""
USED: set[str] = set()
"""Digests whose code parts of this process were imported from where Python finds it."""


@dataclass(frozen=True)
class Code:
    """The code that a part needs beside what is installed.

    Attributes:
        digest: `name==version` of an installed distribution, else the beginning of a sha256 over all files.
        folder: where the files are; None where they are installed.
        files: content by path in the folder; empty where they are installed.
    """

    digest: str
    folder: Path | None
    files: Mapping[str, bytes]

    @property
    def tops(self) -> frozenset[str]:
        """Name the modules and packages at the top of the folder."""
        return frozenset(path.partition("/")[0].removesuffix(".py") for path in self.files)


def code_of(module: str, folder: Path | None = None) -> Code:
    """Find the code of a module: all of its package, and whatever stands beside that and is imported by it.

    Nothing is run. Data files are not part of it.

    Args:
        folder: where to look; None: where Python does, after what a driver has sent along.

    Raises:
        PartError: there is no such module, or it is in several folders.
    """
    find_what_travelled()
    top = module.partition(".")[0]
    spec = PathFinder.find_spec(top, None if folder is None else [str(folder)])
    if spec is None or (spec.origin is None and not spec.submodule_search_locations):
        raise PartError(f"{module}: no module {top} is in {Path.cwd()}, beside the recipe's file or on $PYTHONPATH")
    folders = list(spec.submodule_search_locations or [])
    if spec.origin is None and len(folders) > 1:
        raise PartError(f"{module}: the package {top} is spread over {' and '.join(folders)}; give it an __init__.py in one")
    path = Path(next(iter(folders), None) or str(spec.origin))
    if folder is None and (version := installed(top, path)) is not None:
        return Code(version, None, {})
    if not folders and path.suffix != ".py":
        raise PartError(f"{module}: {path} is no source file, so that its code cannot be told from another")
    files = dict(sorted(_files(top, path.parent)))
    return Code(digest_of(files), path.parent, files)


def digest_of(files: Mapping[str, bytes]) -> str:
    """Hash source files with their paths: the beginning of a sha256.

    Example:
        >>> digest_of({"mine.py": b"x = 1"})
        '092b117d506d'
    """
    content = hashlib.sha256()
    for name, text in sorted(files.items()):
        content.update(f"{name}\0{len(text)}\0".encode() + text)
    return content.hexdigest()[:DIGEST_LENGTH]


@cache
def find_what_travelled() -> None:
    """Let Python find what a driver has sent along to this sub-process, before what is installed on this machine."""
    spec = PathFinder.find_spec(TRAVELLING)
    for place in (spec.submodule_search_locations or []) if spec is not None else []:
        for folder in sorted(Path(place).iterdir()):
            UNPACKED[folder.name] = folder
            sys.path.insert(0, str(folder))


def installed(top: str, path: Path) -> str | None:
    """Give `name==version` of the distribution that a top-level module is installed from; None where its files are still changed.

    Those of an editable installation are.
    """
    if not any(part in ("site-packages", "dist-packages") for part in path.parts):
        return None
    for name in _distributions().get(top, ()):
        direct = metadata.distribution(name).read_text("direct_url.json")
        if not (direct and json.loads(direct).get("dir_info", {}).get("editable")):
            return f"{name}=={metadata.version(name)}"
    return None


@cache
def _distributions() -> Mapping[str, list[str]]:
    return metadata.packages_distributions()


def _files(top: str, folder: Path) -> Iterator[tuple[str, bytes]]:
    """Yield the source files of a top-level module, and of all beside it that they import, each once."""
    pending, seen = [top], {top, *OURS}
    number = 0
    while pending:
        for path in sources_of(folder / pending.pop()):
            number += 1
            if number > MOST_FILES:
                raise PartError(f"{top}: more than {MOST_FILES} source files in {folder}; put the part into a folder of its own")
            content = path.read_bytes()
            yield path.relative_to(folder).as_posix(), content
            for name in _imported(content, path) - seen:
                seen.add(name)
                if (folder / f"{name}.py").is_file() or (folder / name / "__init__.py").is_file() or _is_bare(folder / name):
                    if name in sys.stdlib_module_names:
                        raise PartError(f"{top}: {name} in {folder} has the name of a module of Python's own; give it another")
                    pending.append(name)


def sources_of(place: Path) -> Iterator[Path]:
    """Yield the source files of a module or a package by its path without an ending, as Python chooses between the two.

    Links are followed, also in a circle: who asks counts. Hidden files, such as a notebook's copies, are left out.
    """
    module = place.with_name(f"{place.name}.py")
    if module.is_file() and not (place / "__init__.py").is_file():
        yield module
        return
    for folder, folders, names in os.walk(place, followlinks=True):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (Path(folder, name) for name in sorted(names) if name.endswith(".py") and not name.startswith("."))


def _is_bare(package: Path) -> bool:
    """Say whether a folder without __init__.py is a package that is imported by its name: nothing else has that name."""
    spec = PathFinder.find_spec(package.name) if package.is_dir() and any(package.glob("*.py")) else None
    return spec is not None and spec.origin is None


def _imported(content: bytes, path: Path) -> set[str]:
    """Name the top-level modules that a source file imports."""
    try:
        nodes = list(ast.walk(ast.parse(content)))
    except (SyntaxError, ValueError) as error:
        raise PartError(f"{path} is no Python that can be read: {error}") from None
    names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module and not node.level}
    return {name.partition(".")[0] for name in names}
