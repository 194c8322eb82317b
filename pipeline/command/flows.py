"""What the commands of several programs read and refuse alike: a recipe with flags, workers, stores."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

from components.parts.loading import look_beside
from pipeline import cluster as clusters
from pipeline import places
from pipeline.command import parsing, process
from pipeline.data.tables.naming import is_location
from pipeline.evaluation import size as evaluation_size
from pipeline.evaluation.size import EvaluationSize
from pipeline.parts.pinning import own_parts
from pipeline.recipes.loading import resolved_recipe
from pipeline.recipes.reading import KINDS

OF_TABLES = "table"
"""The recipe of a table for which none is named."""
UNCHANGED = "nothing was changed"
"""The sentence of a command that is stopped and only reads."""


def read_flow(flags: type, prog: str, words: Sequence[str]) -> Any:
    """Read a command that trains flows: the name or file of a recipe, which is valid, and flags that replace its fields.

    Raises:
        ValueError: what is wrong, in one line.
    """
    if not words or words[0].startswith("-"):
        targets = _targets(words)
        if not any(map(is_location, targets)):
            no_table = f"; a table alone needs none, and {targets[0]} is none such as cells.csv or ./folder" if targets else ""
            raise ValueError(f"RECIPE must come right after `{prog.rpartition(' ')[2]}`, before all flags{no_table}")
        words = [OF_TABLES, *words]
    parsed = parsing.parse(flags, prog, words)
    command = places.resolved(parsed.command)
    given = {name: value for name, value in parsed.given.items() if name in KINDS}
    resolved = resolved_recipe(command.recipe, given, clusters.data(command.cluster))
    if resolved.note:
        process.say(f"note: {resolved.note}")
    recipe = resolved.recipe
    return replace(command, data=recipe.data, network=recipe.network, jko=recipe.jko, training=recipe.training, seed=recipe.seed)


def _targets(words: Sequence[str]) -> list[str]:
    """Find the words that may be the target of a flow, in a command line that names no recipe."""
    following = [word for flag, word in pairwise(words) if flag == "--data.target"]
    return following + [word.removeprefix("--data.target=") for word in words if word.startswith("--data.target=")]


def check_flow(command: Any) -> None:
    """Refuse a command whose places, workers or evaluation cannot be, or whose own parts fail when they are tried.

    Raises:
        ValueError: what is wrong, in one line; nothing has been written.
    """
    clusters.validate(command.cluster)
    evaluation_size.validate(command.evaluation)
    recipe, own_metrics = command.resolved(), command.evaluation.metrics
    if own_metrics and Path(command.recipe).suffix:
        look_beside(Path(command.recipe))
    if own_metrics or own_parts(recipe):
        tried_first("require_working")(recipe, own_metrics)


def check_evaluation(size: EvaluationSize) -> None:
    """Refuse an evaluation of sizes that cannot be, or by own metrics that fail when they are tried."""
    evaluation_size.validate(size)
    if size.metrics:
        tried_first("require_metrics")(size.metrics)


def tried_first(name: str) -> Callable[..., None]:
    """Import a function that tries parts, which takes seconds and only somebody with own parts waits for."""
    from pipeline.command import report

    with report.status("loading torch"):
        function: Callable[..., None] = resolve_name(f"pipeline.parts.checks.of_recipe:{name}")
    return function


def check_store(command: Any) -> None:
    """Refuse a command whose store cannot be."""
    clusters.validate_stores(command.store)
