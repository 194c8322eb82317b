"""From the name of a part to the object: its code imported, the object made with its options, its type checked."""

import importlib
import inspect
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from components.parts.code import code_of
from components.parts.naming import Part, PartError

Kind = TypeVar("Kind")
IN_MEMORY: dict[str, Any] = {}
"""Objects that have no import name, by the name that recipes of this process have for them."""
UNPACKED: dict[str, Path] = {}
"""Folders with the code that a registered version carries, by digest."""


def load(name: str, table: Mapping[str, str], kind: type[Kind]) -> Kind:
    """Load a part by its name, once in a process.

    Args:
        table: names of what is built in -> `module:name`.
        kind: the class that the part must be an instance of.

    Raises:
        PartError: there is no such part, its code is another than the one that is meant, or it is not of that kind.
    """
    made = _made(name, table.get(Part.read(name).use))
    if not isinstance(made, kind):
        expected = f"{kind.__module__}.{kind.__qualname__}"
        raise PartError(f"{name} must make a {expected}, and makes a {type(made).__name__}")
    return made


@cache
def _made(name: str, location: str | None) -> Any:
    """Make the object that a name means; `location` is that of a part that is built in."""
    part = Part.read(name)
    if part.is_in_memory:
        if part.use not in IN_MEMORY:
            raise PartError(f"{name} was in the memory of another process")
        return IN_MEMORY[part.use]
    if location is None and not part.is_own:
        raise PartError(f"{name} is not known; a part of your own is written package.module:name")
    factory = factory_of(part, location)
    if not callable(factory):
        if part.options:
            raise PartError(f"{part.use} is an object and no class or function, so that it takes no options")
        return factory
    try:
        return factory(**part.options)
    except Exception as error:
        if inspect.isabstract(factory):
            missing = ", ".join(sorted(factory.__abstractmethods__))
            raise PartError(f"{part.use} lacks what its kind of part must have: {missing}") from error
        raise PartError(f"{name} could not be made: {described(error)}") from error


def factory_of(part: Part, location: str | None = None) -> Any:
    """Import what makes a part: a class, a function, or the part itself."""
    module, _, path = (location or part.use).partition(":")
    with imported_from(part):
        try:
            found: Any = importlib.import_module(module)
        except ModuleNotFoundError as error:
            if error.name and (module == error.name or module.startswith(f"{error.name}.")):
                raise PartError(
                    f"{part.use}: there is no module {error.name} in {Path.cwd()} or where Python finds any"
                ) from error
            raise PartError(f"{part.use}: the module {module} cannot be imported: {described(error)}") from error
        except Exception as error:
            raise PartError(f"{part.use}: the module {module} cannot be imported: {described(error)}") from error
    for attribute in path.split("."):
        if not hasattr(found, attribute):
            offered = ", ".join(sorted(each for each in vars(found) if not each.startswith("_"))) or "nothing"
            raise PartError(f"{part.use}: {module} has no {path}; it has {offered}")
        found = getattr(found, attribute)
    return found


@contextmanager
def imported_from(part: Part) -> Iterator[None]:
    """Let a module be imported from the code that a part's digest means, be it found by Python or carried by a version.

    Raises:
        PartError: the code that is found is another, and no version carries the one that is meant.
    """
    if part.digest is None:
        yield
        return
    try:
        found = code_of(part.module).digest
    except PartError:
        if part.digest not in UNPACKED:
            raise
        found = ""
    if found == part.digest:
        yield
        return
    if part.digest not in UNPACKED:
        raise PartError(f"{part.use} has changed: its code is {found} here, and {part.digest} is meant")
    folder = UNPACKED[part.digest]
    top = part.module.partition(".")[0]
    hidden = {name: module for name, module in sys.modules.items() if name.partition(".")[0] in _tops(folder)}
    for name in hidden:
        del sys.modules[name]
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))
        for name in [name for name in sys.modules if name.partition(".")[0] in (top, *_tops(folder))]:
            del sys.modules[name]
        sys.modules.update(hidden)


def _tops(folder: Path) -> set[str]:
    return {path.stem for path in folder.iterdir()}


def pinned(name: str) -> str:
    """Write the canonical name of a part: options in order, without those that are defaults, and the digest of its code.

    Parts that are built in and have no options stay as they are.

    Example:
        >>> pinned("jsd")
        'jsd'

    Raises:
        PartError: there is no such part, or its code is another than the one that the name means.
    """
    part = Part.read(name)
    if not part.is_own or part.is_in_memory:
        return str(part)
    digest = code_of(part.module).digest
    if part.digest not in (None, digest):
        raise PartError(f"{part.use} has changed: its code is {digest} here, and {part.digest} is meant")
    factory = factory_of(part)
    return str(Part(part.use, _normal(part, factory) if callable(factory) else part.options, digest))


def _normal(part: Part, factory: Any) -> dict[str, Any]:
    """Bring options to the form that equal parts share: floats where floats are meant, and no defaults."""
    try:
        parameters = inspect.signature(factory).parameters
    except (TypeError, ValueError):
        return dict(part.options)
    takes_any = any(each.kind is each.VAR_KEYWORD for each in parameters.values())
    taken = [name for name, each in parameters.items() if each.kind in (each.KEYWORD_ONLY, each.POSITIONAL_OR_KEYWORD)]
    for name in part.options:
        if name not in taken and not takes_any:
            raise PartError(f"{part.use} has no option {name}; it has {', '.join(taken) or 'none'}")
    options: dict[str, Any] = {}
    for name, value in part.options.items():
        meant = parameters.get(name)
        is_float = meant is not None and (meant.annotation in (float, "float") or isinstance(meant.default, float))
        normal = float(value) if is_float and isinstance(value, int) and not isinstance(value, bool) else value
        if meant is None or type(meant.default) is not type(normal) or meant.default != normal:
            options[name] = normal
    return options


def described(error: BaseException) -> str:
    """Put an error of somebody's code into one line."""
    return " ".join(f"{type(error).__name__}: {error}".split())
