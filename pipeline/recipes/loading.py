"""From the name or the file of a recipe to a valid `Recipe`: what the commands read, and what Python calls."""

import logging
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from components.parts.loading import look_beside
from components.parts.naming import is_own
from pipeline.recipe import PARTS, Recipe
from pipeline.recipes import reading, values
from pipeline.recipes.choosing import of_folder
from pipeline.recipes.reading import KINDS
from pipeline.recipes.resolution import Resolved, resolve

logger = logging.getLogger(__name__)


def load_recipe(name_or_path: str, **fields: Any) -> Recipe:
    """Load a recipe by the name of a shipped one or the path of a YAML file, with fields that replace its own.

    A field is named as in `jko__h`, or as in YAML with `**{"jko.h": 0.5}`, and its value is read as that of a flag is.

    Example:
        >>> load_recipe("two_circles", jko__h=0.5, seed=3).jko.h
        0.5

    Raises:
        ValueError: there is no such recipe or field, or the recipe is not valid; names the file, the field and the rule.
    """
    given = {name.replace("__", "."): value for name, value in fields.items()}
    for name in given:
        if name not in KINDS:
            raise ValueError(reading.unknown(name))
    resolved = resolved_recipe(name_or_path, {name: values.read(name, str(value), KINDS[name]) for name, value in given.items()})
    if resolved.note:
        logger.warning("%s", resolved.note)
    return resolved.recipe


def resolved_recipe(name_or_path: str, given: Mapping[str, values.Value], data_uri: str | None = None) -> Resolved:
    """Find and read a recipe, and replace the fields that are given by dotted name; own parts may stand beside its file.

    Args:
        data_uri: folder or URL of prepared sets, where a recipe leaves fields to a folder of images; None: $SJKO_HOME/data.

    Raises:
        ValueError: as `load_recipe` does.
    """
    file = reading.read(reading.find(name_or_path))
    if any(is_own(str(values.get(field, ""))) for values in (file.values, given) for field in PARTS):
        look_beside(file.path)
    chosen, note = of_folder(file.values, given, data_uri)
    resolved = resolve(file, {**chosen, **given})
    return replace(resolved, note="; ".join(filter(None, (note, resolved.note))))
