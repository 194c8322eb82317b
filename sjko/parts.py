"""From objects and classes to the names that recipes have for parts, and back in the same process."""

import inspect
import sys
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from pkgutil import resolve_name
from typing import Any
from uuid import uuid4

import numpy as np

from components.parts.loading import IN_MEMORY, describe_error
from components.parts.naming import Option, Part, PartError, PartName
from components.table import COSTS, DIVERGENCES, NETWORK_PAIRS

TABLES: Mapping[str, Mapping[str, str]] = {
    "jko.divergence": DIVERGENCES,
    "jko.source_divergence": DIVERGENCES,
    "jko.cost": COSTS,
    "network.kind": NETWORK_PAIRS,
}
"""Where each field of a recipe that names a part has its built-in ones."""
METRICS = "evaluation.metrics"


def name_of(part: Any, field: str, maker: str = "") -> str:
    """Name a part for a recipe: a name as it is, a class or an object by its import name and options, else one in memory.

    Example:
        >>> from components.divergences.kl import KL
        >>> name_of(KL(), "jko.divergence"), name_of("my_parts:alpha( alpha = 1 )", "jko.divergence")
        ('kl', 'my_parts:alpha(alpha=1)')

    Args:
        field: of the recipe, dotted.
        maker: name of the class or function that has made it.

    Raises:
        ValueError: a name that is none.
    """
    if isinstance(part, str):
        try:
            return str(Part.read(part))
        except PartError as error:
            raise ValueError(f"{field}: {error}") from None
    table = {location: name for name, location in TABLES.get(field, {}).items()}
    if isinstance(part, type) or inspect.isroutine(part):
        use = import_name(part)
        return table.get(use, use) if use else name_of(_made(part, field), field, part.__name__)
    use, options = import_name(type(part)), options_of(part)
    if use is None or options is None:
        return in_memory(part, maker)
    return str(Part(table.get(use, use), options))


def names_of_metrics(given: Any) -> tuple[PartName, ...]:
    """Name metrics as `--evaluation.metrics` does: a name as it is, what a module has by its import name, else one in memory.

    Example:
        >>> names_of_metrics(["my_metrics:HAUSDORFF"])
        ('my_metrics:HAUSDORFF',)

    Raises:
        ValueError: it is a name that is none.
    """
    several = given if isinstance(given, list | tuple) else [] if given is None else [given]
    return tuple(PartName(_of_module(each) or name_of(each, METRICS)) for each in several)


def _of_module(made: Any) -> str | None:
    """Find the `module:name` of an object that a module made once: where its function is from, if it has one."""
    module = sys.modules.get(getattr(getattr(made, "measure", None), "__module__", None) or "")
    if module is None or module.__name__ == "__main__" or getattr(module, "__file__", None) is None:
        return None
    return next((f"{module.__name__}:{name}" for name, each in vars(module).items() if each is made), None)


def _made(factory: Any, field: str) -> Any:
    try:
        return factory()
    except Exception as error:
        raise ValueError(f"{field}: {factory.__qualname__} could not be made: {describe_error(error)}; give an object") from error


def in_memory(part: Any, maker: str = "") -> str:
    """Name an object that has no import name: anew each time, as it may have changed, and as no other process names one.

    A person sees the first of these in messages: the name that it has itself, as a metric does; what made it; its class.
    """
    names = (getattr(part, "name", None), maker, type(part).__name__)
    called = next(name for name in names if isinstance(name, str) and name.isidentifier())
    name = f":{called}.{uuid4().hex[:12]}"
    IN_MEMORY[name] = part
    return name


def import_name(made: Any) -> str | None:
    """Find the `module:name` that a class or function is imported by; None where it has none, as in a notebook's cell."""
    module, path = getattr(made, "__module__", None), getattr(made, "__qualname__", "")
    if module in (None, "__main__", "builtins") or not path.replace(".", "").isidentifier():  # a lambda, or within a function
        return None
    source = getattr(sys.modules.get(module), "__file__", None)
    try:
        imported = resolve_name(f"{module}:{path}")
    except (ImportError, AttributeError):
        return None
    same = (getattr(imported, "__module__", None), getattr(imported, "__qualname__", None)) == (
        module,
        path,
    )  # edited: imported anew
    return f"{module}:{path}" if same and source is not None else None


def options_of(part: Any) -> dict[str, Option] | None:
    """Find the options that an object was made with: its attributes of the names of its constructor's parameters.

    Returns:
        None where an object that is made with them would be another one, or they cannot be written down.
    """
    if is_dataclass(part):
        names = [field.name for field in fields(part) if field.init]
    else:
        try:
            parameters = inspect.signature(type(part)).parameters.values()
        except ValueError:  # some of Python's own types tell none
            return None
        names = [each.name for each in parameters if each.kind in (each.POSITIONAL_OR_KEYWORD, each.KEYWORD_ONLY)]
    attributes = {name: getattr(part, name, ...) for name in names}
    options: dict[str, Any] = {
        name: value.item() if isinstance(value, np.generic) else value for name, value in attributes.items()
    }
    if not all(isinstance(value, Option) for value in options.values()):
        return None
    try:
        Part.read(str(Part("its_module:its_name", options)))  # not every number can be written: inf
        return options if vars(type(part)(**options)) == vars(part) else None
    except Exception:  # of somebody's code: a state that is not compared, a constructor that takes no names
        return None
