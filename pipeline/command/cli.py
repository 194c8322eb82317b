"""The command line: a recipe's file, and flags that replace its fields.

Nothing heavy is imported before the arguments are known to be right, so --help answers at once.
"""

import os
import re
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

from pipeline import cluster as clusters
from pipeline import places
from pipeline.command import parsing as parser
from pipeline.command import prepare, program
from pipeline.command.flags import Command, Evaluate, FlowFlags, List, Run, Show, Status, Stop, Submit
from pipeline.command.prepare import Prepare
from pipeline.evaluation import size as evaluation_size
from pipeline.provenance import redacted
from pipeline.recipe import Recipe
from pipeline.recipes import reading
from pipeline.recipes.reading import KINDS
from pipeline.recipes.resolution import resolve
from pipeline.words import command_line


def parse(arguments: Sequence[str]) -> Any:
    """The command of an argument vector.

    Raises:
        ValueError: what is wrong, in one line.
        SystemExit: help was asked for.
    """
    return parse_as(Command, "python -m pipeline", arguments)


def parse_as(commands: Any, prog: str, arguments: Sequence[str]) -> Any:
    """One of a union of commands; one that trains flows has the whole recipe, which is valid.

    Raises:
        ValueError: what is wrong, in one line.
        SystemExit: help was asked for.
    """
    for before, word in pairwise(["", *arguments]):
        if re.fullmatch(r"(--[\w.-]+=)?\s*", word):  # as a variable leaves it that is not set
            raise ValueError(f"{word.rstrip(' =') or before or 'the command'} must not be empty")
    flow = issubclass(parser.by_name(commands).get(arguments[0], object), FlowFlags)
    if flow and not parser.HELP & set(arguments) and (len(arguments) < 2 or arguments[1].startswith("-")):
        raise ValueError(f"RECIPE must come right after `{arguments[0]}`, before all flags")
    parsed = parser.parse(commands, prog, arguments)
    command = places.resolved(parsed.command)
    if not isinstance(command, FlowFlags):
        return command
    flags = {name: value for name, value in parsed.given.items() if name in KINDS}
    resolved = resolve(reading.read(reading.find(command.recipe)), flags)
    if resolved.note:
        program.say(f"note: {resolved.note}")
    recipe = resolved.recipe
    return replace(command, data=recipe.data, network=recipe.network, jko=recipe.jko, training=recipe.training, seed=recipe.seed)


def check_json(path: Path | None) -> None:
    """Refuse a file that could not be written, before hours of work and not after."""
    if path is None:
        return
    folder = next(place for place in (path.absolute(), *path.absolute().parents) if place.exists())
    if path.is_dir() or not (folder.is_dir() or folder == path.absolute()) or not os.access(folder, os.W_OK):
        raise ValueError(f"--json must be a file that can be written, not {path}")


def recipe_of(command: FlowFlags) -> Recipe:
    """The recipe that a command line resolves to."""
    return Recipe(command.data, command.network, command.jko, command.training, command.seed)


def main(arguments: Sequence[str]) -> int:
    """Run a command; the exit code is 2 for the user's mistakes, 1 for other failures, 128 + n after signal n."""
    return program.main(arguments, read, partial(execute, arguments=arguments), partial(what_goes_on, arguments=arguments))


def read(arguments: Sequence[str]) -> Any:
    """The command of an argument vector, after all that can be refused at once.

    Raises:
        ValueError: what is wrong, in one line.
    """
    command = parse(arguments)
    if isinstance(command, Prepare):
        prepare.check(command)
    elif not isinstance(command, Status | Stop):
        clusters.validate(command.cluster)
    if isinstance(command, Run | Submit | Evaluate):
        evaluation_size.validate(command.evaluation)
    if isinstance(command, Evaluate):
        command.require_consistent()
    check_json(command.json)
    return command


def what_goes_on(command: Any, arguments: Sequence[str]) -> str:
    """What a command leaves that was stopped, and how to go on."""
    if isinstance(command, Submit | Status | Stop):
        return "what the cluster was told to do goes on; python -m pipeline status shows its jobs"
    if isinstance(command, List | Show):
        return "nothing was changed"
    again = command_line("python", "-m", "pipeline", *(redacted(argument) for argument in arguments))
    kept = {Run: "finished phases are in the store", Prepare: "finished shards are kept", Evaluate: "nothing was changed"}
    return f"{kept[type(command)]}, and the same command goes on:\n    {again}"


def execute(command: Any, arguments: Sequence[str]) -> None:
    """Do what a parsed command says."""
    from pipeline.command import report

    if isinstance(command, Prepare):  # needs none of what the others load
        prepare.prepare(command)
        return
    if isinstance(command, Submit | Status | Stop):
        from pipeline.command import submission

        report.quieten()  # Ray tells of its uploads
        submission.execute(command, arguments)
        return

    if isinstance(command, Run) and command.dry_run:
        with report.status("loading torch"):
            from pipeline.command.dry_run import dry_run

        dry_run(recipe_of(command), Path(command.recipe).stem, command.cluster, command.json)
        return

    if isinstance(command, List | Show):
        with report.status("loading MLflow"):
            from pipeline.command import listing

        report.quieten()
        if isinstance(command, List):
            listing.list_flows(command.cluster, command.json)
        else:
            listing.show(command.run, command.cluster, command.json)
        return

    with report.status("loading torch, MLflow and Ray"):
        from pipeline.command import actions  # seconds that --help must not cost

    report.quieten()  # now: MLflow and Ray set their loggers when they are imported
    match command:
        case Run():
            actions.run(recipe_of(command), Path(command.recipe).stem, command.cluster, command.evaluation, command.json)
        case Evaluate():
            actions.evaluate_reference(command)
