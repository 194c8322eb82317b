"""What is tried of the files of a part: that they are all it needs where nothing else of it is, in workers and versions."""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from components.parts.loading import advice, code_meant, describe_error, made_of, pinned
from components.parts.naming import Part, PartError, shown
from pipeline.data.tables.reading import named
from pipeline.parts import travel
from pipeline.parts.checks.check import Check, Failed, tried


def checks_of(name: str, use: Callable[[Any], object] | None = None) -> list[Check]:
    """Try to make a part of the files alone that go with it; nothing of one that is built in, in memory or installed.

    >>> checks_of("jsd")
    []

    Args:
        use: what is done with the part then, as building its networks.

    Raises:
        PartError: its code is not here, or too large to go anywhere.
    """
    files = files_of(name)

    def look() -> str:
        try:
            require_whole(name, use)
        except PartError as error:
            raise Failed(str(error).replace(shown(name), "it", 1)) from error
        return named(files)

    return [tried("its files", "be all that it needs in workers and versions", look)] if files else []


def files_of(name: str) -> list[str]:
    """List the files that go with a part to workers and into versions, by their paths."""
    part = Part.read(name)
    if not part.is_own or part.is_in_memory or (code := code_meant(part)).folder is None:
        return []
    return sorted(travel.files_of(part, code))


def require_whole(name: str, use: Callable[[Any], object] | None = None) -> None:
    """Make a part of the files alone that go with it, and use it.

    Raises:
        PartError: it needs another file, or fails in another way.
    """
    part = Part.read(pinned(name))
    code = code_meant(part)
    with tempfile.TemporaryDirectory(prefix="sjko-parts-") as place:
        folder = Path(place) / code.digest
        travel.write(folder, travel.files_of(part, code))
        made = made_of(str(part), folder)
        try:
            if use is not None:
                use(made)
        except (Exception, SystemExit) as error:
            raise PartError(f"{shown(name)} fails: {describe_error(error)}{advice(part, error)}") from error
