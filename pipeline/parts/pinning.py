"""Own parts in a recipe: which there are, and the recipe in which each name holds the digest of its code."""

from dataclasses import replace
from typing import Any

from components.parts.loading import pinned
from components.parts.naming import Part, PartError, is_own
from pipeline.phase import Phase
from pipeline.recipe import GROUPS, PARTS, Recipe
from pipeline.recipes.values import UnfitPart


def own_parts(recipe: Recipe | Phase) -> dict[str, str]:
    """Name the own parts of a recipe or a phase that have code, by the dotted field that each stands in: none in memory.

    Example:
        >>> from pipeline.recipe import Jko
        >>> own_parts(Recipe(jko=Jko(divergence="my_parts:alpha")))
        {'jko.divergence': 'my_parts:alpha'}
    """
    return {field: name for field, name in part_names(recipe).items() if is_own(name) and not Part.read(name).is_in_memory}


def parts_in_memory(recipe: Recipe | Phase) -> dict[str, str]:
    """Name the parts of a recipe or a phase that are objects in the memory of a process, by the dotted field of each.

    Example:
        >>> from pipeline.recipe import Jko
        >>> parts_in_memory(Recipe(jko=Jko(divergence=":Alpha.1")))
        {'jko.divergence': ':Alpha.1'}
    """
    return {field: name for field, name in part_names(recipe).items() if is_own(name) and Part.read(name).is_in_memory}


def part_names(recipe: Recipe | Phase) -> dict[str, str]:
    """Name all parts of a recipe or a phase, built-in ones too, by the dotted field that each stands in.

    >>> part_names(Recipe())["data.target"]
    'two_circles'
    """
    return {field: getattr(getattr(recipe, field.partition(".")[0]), field.partition(".")[2]) for field in PARTS}


def pin(recipe: Recipe) -> Recipe:
    """Bring the names of own parts to their canonical form, with the digest of the code that is found: what phases are made of.

    Raises:
        UnfitPart: there is no such part, or its code is another than the one that its name means.
    """
    changed: dict[str, dict[str, Any]] = {group: {} for group in GROUPS}
    for field, name in own_parts(recipe).items():
        group, _, attribute = field.partition(".")
        changed[group][attribute] = pin_field(field, name)
    return replace(recipe, **{group: replace(getattr(recipe, group), **values) for group, values in changed.items() if values})


def pin_field(field: str, name: str) -> str:
    """Bring the name of a part that stands in a field to its canonical form, with the digest of the code that is found.

    Raises:
        UnfitPart: there is no such part, or its code is another than the one that its name means.
    """
    try:
        return pinned(name)
    except PartError as error:
        raise UnfitPart(field, str(error)) from error
