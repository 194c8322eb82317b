"""What the commands of several programs read and refuse alike: a recipe with flags, workers, stores."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from pipeline import cluster as clusters
from pipeline import places
from pipeline.command import parsing, process
from pipeline.evaluation import size as evaluation_size
from pipeline.recipes.loading import resolved_recipe
from pipeline.recipes.reading import KINDS

UNCHANGED = "nothing was changed"
"""The sentence of a command that is stopped and only reads."""


def read_flow(flags: type, prog: str, words: Sequence[str]) -> Any:
    """Read a command that trains flows: the name or file of a recipe, which is valid, and flags that replace its fields.

    Raises:
        ValueError: what is wrong, in one line.
    """
    if not words or words[0].startswith("-"):
        raise ValueError(f"RECIPE must come right after `{prog.rpartition(' ')[2]}`, before all flags")
    parsed = parsing.parse(flags, prog, words)
    command = places.resolved(parsed.command)
    resolved = resolved_recipe(command.recipe, {name: value for name, value in parsed.given.items() if name in KINDS})
    if resolved.note:
        process.say(f"note: {resolved.note}")
    recipe = resolved.recipe
    return replace(command, data=recipe.data, network=recipe.network, jko=recipe.jko, training=recipe.training, seed=recipe.seed)


def check_flow(command: Any) -> None:
    """Refuse a command whose places, workers or sizes of the evaluation cannot be."""
    clusters.validate(command.cluster)
    evaluation_size.validate(command.evaluation)


def check_store(command: Any) -> None:
    """Refuse a command whose store cannot be."""
    clusters.validate_stores(command.store)
