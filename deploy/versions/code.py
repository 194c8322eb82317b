"""The code of own parts in a registered version: packed as it is registered, unpacked and run only where that was allowed."""

import tempfile
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from components.parts.code import PREFERRED, UNPACKED, USED, code_of, digest_of
from components.parts.loading import code_meant
from components.parts.naming import Part, PartError, shown
from pipeline.errors import Corrupt, FlowError, Unusable
from pipeline.files import folder_of_process
from pipeline.generator import Generator
from pipeline.parts import travel
from pipeline.parts.checks import elsewhere
from pipeline.parts.pinning import own_parts
from pipeline.phase import Phase
from pipeline.store import manifest
from pipeline.training.solving.setting import network_spec

CODE = "code"
"""Folder inside a version's own part, with a folder for each digest."""
DRAWING = ("network.kind", "data.source")
"""Fields whose parts run wherever samples are drawn."""


class CodeRefused(FlowError):
    """The error of a version with code of its own, where it was not allowed that such code runs."""

    exit_code = 2


def packed(generator: Generator) -> dict[str, bytes]:
    """Read the files of all own parts of a map's phase, by their paths in a version.

    Raises:
        Unusable: the code of a part is not here any more, is too large, or draws nothing without further files; says which.
    """
    files: dict[str, bytes] = {}
    for field, name in own_parts(generator.phase).items():
        part = Part.read(name)
        if part.is_in_memory:
            raise Unusable(f"{field}: {shown(name)} is an object without an import name, whose code no version can carry")
        try:
            code = code_meant(part)
            content = travel.files_of(part, code) if code.folder is not None else {}
        except PartError as error:
            raise Unusable(f"{field}: {error}; a version carries the code that its phases were trained with") from error
        files |= {f"{CODE}/{code.digest}/{path}": each for path, each in content.items()}
        if field in DRAWING and content:
            _require_whole(field, name, generator)
    return files


def _require_whole(field: str, name: str, generator: Generator) -> None:
    """Refuse a part that draws here, and would not where a version has nothing but the files that go with it."""
    endpoints = generator.endpoints
    spec = network_spec(generator.phase.network, endpoints.shape, endpoints.condition)
    try:
        elsewhere.require_whole(name, {"network.kind": lambda pair: pair.build_map(spec)}.get(field))
    except PartError as error:
        raise Unusable(f"{field}: {error}") from error


def needed(phase: Phase, *, with_data: bool = False) -> dict[str, str]:
    """Name the own parts of a phase that run where its map draws samples, or where it is also measured against its data."""
    fields = (*DRAWING, "data.target") if with_data else DRAWING
    return {field: name for field, name in own_parts(phase).items() if field in fields}


def require_allowed(parts: Mapping[str, str], version: str, *, allow_code: bool) -> None:
    """Refuse a version with code of its own, unless it was allowed that such code runs.

    Also where this machine has the code: names and options are the version's, and `subprocess:run(args=...)` is such a name.

    Raises:
        CodeRefused: names the parts and the flag.
    """
    if parts and not allow_code:
        names = ", ".join(f"{field} {name}" for field, name in parts.items())
        raise CodeRefused(
            f"{version} runs code that it brings along or names: {names}. Read it among its files in MLflow, under sjko/{CODE}, "
            "then allow it with --allow-code (`allow_code: true` among the args in deploy/serve.yaml)"
        )


def require_no_other(phase: Phase, allowed: Phase, version: str) -> None:
    """Refuse an earlier phase of a version, as the store has it, that names other own parts than the version itself.

    Raises:
        Corrupt: it does.
    """
    if needed(phase) != needed(allowed):
        raise Corrupt(f"phase {phase.k} of {version}", "it names other parts than the version")


def unpack(folder: Path, parts: Mapping[str, str]) -> None:
    """Let the parts of a version be imported from the code that it carries, where this machine has no equal code and data files.

    Args:
        folder: our own part of a version, verified against its manifest.

    Raises:
        Corrupt: the code that is carried is not the one that the phase means.
        Unusable: a version in this process, or a part that it has used, has the same code and other data files beside it.
    """
    names = manifest.names(folder)
    for name in parts.values():
        part = Part.read(name)
        prefix = f"{CODE}/{part.digest}/"
        files = {path.removeprefix(prefix): manifest.read_bytes(folder, path) for path in names if path.startswith(prefix)}
        if not files or part.digest is None:  # installed
            continue
        differs = _differs(part, files)
        if differs and part.digest in USED and part.digest not in PREFERRED:
            raise Unusable(
                f"{name}: this process has used this code with other data files than {folder.parent.name} carries; load the "
                "version in a process of its own"
            )
        if part.digest not in UNPACKED:
            place = Path(tempfile.mkdtemp(dir=folder_of_process("sjko-code-"))) / part.digest
            travel.write(place, files)
            if code_of(part.module, place).digest != part.digest:
                raise Corrupt(f"{folder / prefix}", f"it is not the code of {name}")
            UNPACKED[part.digest] = place
        elif digest_of(files) != digest_of(_data(UNPACKED[part.digest], files)):
            raise Unusable(f"{name}: another version here has this code with other data files; serve one of them in a process")
        if differs:
            PREFERRED.add(part.digest)


def _differs(part: Part, carried: Mapping[str, bytes]) -> bool:
    """Say whether Python finds a part's code on this machine with other data files beside it than a version carries."""
    try:
        here = code_of(part.module)
        return here.digest == part.digest and digest_of(travel.files_of(part, here)) != digest_of(carried)
    except PartError:  # it is not here, or its data files are too large to be those
        return False


def _data(place: Path, files: Mapping[str, bytes]) -> dict[str, bytes]:
    """Read the files of these paths that were unpacked before."""
    return {path: (place / PurePosixPath(path)).read_bytes() for path in files if (place / path).is_file()}
