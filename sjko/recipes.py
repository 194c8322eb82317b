"""A recipe that was made in Python, brought to the values that one from a file has."""

from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

from pipeline.recipe import GROUPS, PARTS, Data, Network, Recipe
from pipeline.recipes import values
from pipeline.recipes.loading import load_recipe
from pipeline.recipes.reading import KINDS
from pipeline.recipes.resolution import filled
from sjko import parts


def default_recipe(given: Mapping[str, Any]) -> Recipe:
    """Choose the recipe of a flow for which none is named: that of tables, as the command does, or plain defaults.

    The settings of `table` were chosen for its divergence and network; own ones get those that suit any.

    Args:
        given: parts by dotted field.
    """
    chosen = {"jko.divergence", "jko.source_divergence", "jko.cost", "network.kind"}
    return Recipe() if chosen & given.keys() else replace(load_recipe("table"), data=Data())


def checked(recipe: Recipe, given: Mapping[str, Any]) -> Recipe:
    """Read every field of a recipe as that of a file is read, with parts in place of its own; objects become names.

    Args:
        given: parts by dotted field.

    Raises:
        ValueError: the recipe is none, or a field holds what it cannot be; names the field, the rule and the value.
    """
    if not isinstance(recipe, Recipe):
        raise ValueError(
            f"recipe must be a Recipe, not a {type(recipe).__name__}; Flow.from_yaml takes a name or a path, and fit takes data"
        )
    if "network.kind" in given:
        recipe = with_network(recipe, parts.name_of(given["network.kind"], "network.kind"))
    groups: dict[str, dict[str, Any]] = {name: {} for name in GROUPS}
    for field, kind in KINDS.items():
        group, _, name = field.rpartition(".")
        if not group:
            continue
        value = given.get(field, getattr(getattr(recipe, group), name))
        text = parts.name_of(value, field) if field in PARTS else str(value)
        groups[group][name] = values.read(field, text, kind)
    return Recipe(
        **{name: kind(**groups[name]) for name, kind in GROUPS.items()}, seed=values.read("seed", str(recipe.seed), int)
    )


def with_network(recipe: Recipe, kind: str) -> Recipe:
    """Give a recipe another kind of networks: what the recipe leaves at its default is then the kind's own.

    Example:
        >>> with_network(Recipe(), "residual").network.num_frequencies
        0
    """
    sizes = {f"network.{name}": value for name, value in asdict(recipe.network).items() if value != getattr(Network, name)}
    if kind == recipe.network.kind:
        return recipe
    suited = filled({**sizes, "network.kind": kind})
    data = replace(recipe.data, standardise=suited.data.standardise and recipe.data.standardise)  # not of images
    return replace(recipe, network=suited.network, data=data)
