"""From the name of a part to the object: its code imported, the object made with its options, its type checked."""

import importlib
import inspect
import sys
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from components.parts.code import OURS, PREFERRED, UNPACKED, USED, Code, code_of
from components.parts.importing import as_it_is_now, beside
from components.parts.naming import Part, PartError, shown

Kind = TypeVar("Kind")
IN_MEMORY: dict[str, Any] = {}
"""Objects that have no import name, by the name that recipes of this process have for them."""


class OtherFiles(PartError):
    """The code of a part is here with other data files than a version has brought along, and which are meant is not said."""


def load(name: str, table: Mapping[str, str], kind: type[Kind]) -> Kind:
    """Load a part by its name, once in a process.

    Args:
        table: names of what is built in -> `module:name`.
        kind: the class that the part must be an instance of.

    Raises:
        PartError: there is no such part, its code is another than the one that is meant, or it is not of that kind.
    """
    made = _made(name, table.get(Part.read(name).use), digest_now(name))
    if not isinstance(made, kind):
        expected = f"{kind.__module__}.{kind.__qualname__}"
        raise PartError(f"{shown(name)} must make a {expected}, and makes a {type(made).__name__}")
    return made


def remade(name: str) -> Any:
    """Make an own part anew, which equals the one that `load` gives where making it is deterministic."""
    return _made.__wrapped__(name, None, None)


def made_of(name: str, folder: Path) -> Any:
    """Make an own part anew of the code in a folder alone, as another machine does to which it was sent.

    Raises:
        PartError: it cannot be made, as where it reads a file that is not there.
    """
    part = Part.read(name)
    with beside(folder, code_of(part.module, folder).tops).present():
        factory = _imported(part, part.use)
    return _called(part, factory)


def digest_now(name: str) -> str | None:
    """Hash the code that a name without digest means now, which an edit changes; None for any other name, which means one object.

    None as well where the code cannot be read, as importing it will tell.
    """
    part = Part.read(name)
    if part.digest is not None or part.is_in_memory or not part.is_own:
        return None
    try:
        return code_of(part.module).digest
    except PartError:
        return None


@cache
def _made(name: str, location: str | None, digest: str | None) -> Any:
    """Make the object that a name means.

    Args:
        location: of a part that is built in.
        digest: of the code as it is now, where the name has none: an edit makes another object.
    """
    part = Part.read(name)
    if part.is_in_memory:
        if part.use not in IN_MEMORY:
            raise PartError(f"{shown(name)} was in the memory of another process")
        return IN_MEMORY[part.use]
    if location is None and not part.is_own:
        raise PartError(f"{name} is not known; a part of your own is written package.module:name")
    return _called(part, factory_of(part, location))


def _called(part: Part, factory: Any) -> Any:
    """Make a part of what makes it: a class or a function called with its options, or the part itself."""
    if not callable(factory):
        if part.options:
            raise PartError(f"{part.use} is an object and no class or function, so that it takes no options")
        return factory
    try:
        return factory(**part.options)
    except (Exception, SystemExit) as error:
        if inspect.isabstract(factory):
            missing = ", ".join(sorted(factory.__abstractmethods__))
            raise PartError(f"{part.use} lacks what its kind of part must have: {missing}") from error
        raise PartError(f"{shown(str(part))} could not be made: {describe_error(error)}{advice(part, error)}") from error


def advice(part: Part, error: BaseException) -> str:
    """Say how a file that is missing beside code that was sent here comes along; code is sent in a folder named by its digest."""
    if not isinstance(error, FileNotFoundError) or part.digest is None or part.digest not in str(error):
        return ""
    return (
        f"; a module goes without the files beside it, a package with its own: make {part.module}.py the __init__.py of a folder "
        f"{part.module} that has them"
    )


def factory_of(part: Part, location: str | None = None) -> Any:
    """Import what makes a part: a class, a function, or the part itself."""
    with nullcontext() if location else imported_from(part):
        return _imported(part, location or part.use)


def _imported(part: Part, location: str) -> Any:
    """Import what a `module:name` means, for the messages of a part."""
    module, _, path = location.partition(":")
    try:
        value: Any = importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name and (module == error.name or module.startswith(f"{error.name}.")):
            raise PartError(f"{part.use}: there is no module {error.name} in {Path.cwd()} or where Python finds any") from error
        raise PartError(f"{part.use}: the module {module} cannot be imported: {describe_error(error)}") from error
    except (Exception, SystemExit) as error:
        raise PartError(f"{part.use}: the module {module} cannot be imported: {describe_error(error)}") from error
    for attribute in path.split("."):
        if not hasattr(value, attribute):
            offered = ", ".join(sorted(each for each in vars(value) if not each.startswith("_"))) or "nothing"
            raise PartError(f"{part.use}: {module} has no {path}; it has {offered}")
        value = getattr(value, attribute)
    return value


def imported_from(part: Part) -> AbstractContextManager[None]:
    """Let a module be imported from the code that a part means, for the time of the context.

    Raises:
        PartError: the code that is found is another, and none was sent along or is carried by a version.
    """
    try:
        code, is_found = _code_meant(part)
    except OtherFiles:
        raise
    except PartError:
        if part.digest is not None:
            raise
        return nullcontext()  # importing it says what is wrong
    if code.folder is None or code.tops & OURS:  # which are imported already, and stay what they are
        return nullcontext()
    if is_found:
        USED.add(code.digest)
    return as_it_is_now(code) if is_found else beside(code.folder, code.tops).present()


def code_meant(part: Part) -> Code:
    """Find the code that a part means: what Python finds, else what a driver has sent along or a version carries.

    Raises:
        PartError: there is none, or it is another.
    """
    return _code_meant(part)[0]


def _code_meant(part: Part) -> tuple[Code, bool]:
    """Find the code that a part means, and say whether it is where Python finds it."""
    try:
        code = code_of(part.module)
    except PartError as error:
        if part.digest not in UNPACKED:
            raise PartError(f"{part.use}{str(error).removeprefix(part.module)}") from error
    else:
        if part.digest is None and code.digest in PREFERRED:
            raise OtherFiles(
                f"{part.use}: a version that this process has loaded carries this code with other data files than those in "
                f"{code.folder}; use one of the two in a process of its own"
            )
        if part.digest in (None, code.digest) and code.digest not in PREFERRED:
            return code, True
        if part.digest not in UNPACKED:
            raise changed(part, code.digest)
    code = code_of(part.module, UNPACKED[part.digest])
    if code.digest != part.digest:
        raise changed(part, code.digest)
    return code, False


def changed(part: Part, digest: str) -> PartError:
    """Make the error of a part whose code is another here than the one that is meant."""
    return PartError(f"{part.use} has changed: its code is {digest} here, and {part.digest} is meant")


def look_beside(path: Path) -> None:
    """Let own parts be found in the folder of a file too, after all other places, such as beside the recipe that names them."""
    folder = str(path.resolve().parent)
    if folder not in sys.path:
        sys.path.append(folder)
        importlib.invalidate_caches()


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
    digest = code_meant(part).digest
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
        try:
            normal = float(value) if is_float and isinstance(value, int) and not isinstance(value, bool) else value
        except OverflowError:
            raise PartError(f"{part.use}: the option {name} is too large a number") from None
        if meant is None or type(meant.default) is not type(normal) or meant.default != normal:
            options[name] = normal
    return options


def describe_error(error: BaseException) -> str:
    """Put an error of another's code into one line, behind its type."""
    return " ".join(f"{type(error).__name__}: {error}".split())
