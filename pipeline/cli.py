"""The command line: a recipe's YAML is flattened into flags, so that one parser reads both and speaks with one voice.

Nothing heavy is imported before the arguments are known to be right, so --help answers at once.
"""

import contextlib
import io
import os
import re
from collections.abc import Mapping, Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import tyro
import yaml

from pipeline import cluster as clusters
from pipeline import places, prepare_command, program
from pipeline import recipe as recipes
from pipeline.flags import Command, Evaluate, FlowFlags, List, Run, Show, Status, Stop, Submit
from pipeline.prepare_command import Prepare
from pipeline.provenance import redacted
from pipeline.recipe import Recipe
from pipeline.words import command_line

RECIPES = Path(__file__).parent / "recipes"
GROUPS = ("data", "network", "jko", "training")


def flags_of(value: Mapping[str, Any], prefix: str = "") -> list[str]:
    """A recipe's YAML as command-line flags: {"jko": {"h": 0.1}} is --jko.h 0.1."""
    flags: list[str] = []
    for name, inner in value.items():
        if not re.fullmatch(r"[a-z0-9_]+", str(name)):
            raise ValueError(f"{prefix}{name} must be a field's name, in lower case with underscores")
        if isinstance(inner, Mapping):
            flags += flags_of(inner, f"{prefix}{name}.")
        elif isinstance(inner, list):
            raise ValueError(f"{prefix}{name} must be one value, not a list")
        elif isinstance(inner, bool):
            flags.append(f"--{prefix}{'' if inner else 'no-'}{name}".replace("_", "-"))
        else:
            flags += [f"--{prefix}{name}".replace("_", "-"), str(inner)]
    return flags


def read_recipe(name: str) -> list[str]:
    """The flags of a recipe by name or path.

    Raises:
        ValueError: there is no such recipe, or it is not a mapping.
    """
    if re.fullmatch(r"[a-z0-9_]+", name):
        path = RECIPES / f"{name}.yaml"
    elif name.endswith((".yaml", ".yml")):
        path = places.path("RECIPE", name)
    else:
        raise ValueError(f"RECIPE must be a name of pipeline/recipes or a path ending in .yaml, not {name}")
    if not path.is_file():
        known = ", ".join(sorted(found.stem for found in RECIPES.glob("*.yaml")))
        raise ValueError(f"RECIPE must be an existing file or one of {known}, not {name}")
    try:
        content = yaml.safe_load(path.read_text())
    except (yaml.YAMLError, UnicodeDecodeError, OSError) as error:
        raise ValueError(f"{path} cannot be read as YAML: {' '.join(str(error).split())}") from error
    if not isinstance(content, Mapping):
        raise ValueError(f"{path} must be a mapping of the groups {', '.join(GROUPS)} and of seed")
    for key, inner in content.items():
        if key not in (*GROUPS, "seed"):
            raise ValueError(f"{path}: {key} is not part of a recipe, which has {', '.join(GROUPS)} and seed")
        if (key in GROUPS) != isinstance(inner, Mapping):
            raise ValueError(f"{path}: {key} must be {'a group of fields' if key in GROUPS else 'a number'}, not {inner}")
    try:
        return flags_of(content)
    except RecursionError:
        raise ValueError(f"{path} contains itself") from None


def parse(arguments: Sequence[str]) -> Any:
    """The command of an argument vector.

    Raises:
        ValueError: what is wrong, in one line.
        SystemExit: help was asked for.
    """
    arguments = list(arguments)
    if arguments[0] in ("run", "submit") and not {"-h", "--help"} & set(arguments):
        if len(arguments) < 2 or arguments[1].startswith("-"):
            raise ValueError(f"RECIPE must come right after `{arguments[0]}`, before all flags")
        arguments[2:2] = read_recipe(arguments[1])
    return parse_as(Command, "python -m pipeline", arguments)


def parse_as(commands: Any, prog: str, arguments: Sequence[str]) -> Any:
    """One of a union of commands.

    Raises:
        ValueError: what is wrong, in one line.
        SystemExit: help was asked for.
    """
    for before, word in pairwise(["", *arguments]):
        if re.fullmatch(r"(--[\w.-]+=)?\s*", word):  # as a variable leaves it that is not set
            raise ValueError(f"{word.rstrip(' =') or before or 'the command'} must not be empty")
    spoken = io.StringIO()
    try:
        with contextlib.redirect_stderr(spoken):
            command = tyro.cli(commands, prog=prog, args=arguments, config=(tyro.conf.OmitSubcommandPrefixes,))
    except SystemExit as stopped:
        if stopped.code in (0, None):
            raise
        raise ValueError(one_line(spoken.getvalue())) from None
    return places.resolved(command)


def one_line(box: str) -> str:
    """The first section of the parser's framed message as one line."""
    lines = [line.strip("│ ").strip() for line in box.splitlines()]
    body = [line for line in lines if line and not line.startswith(("╭", "╰"))]
    end = next((i for i, line in enumerate(body) if set(line) == {"─"}), len(body))
    return " ".join(body[:end])


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
        prepare_command.check(command)
    elif not isinstance(command, Status | Stop):
        clusters.validate(command.cluster)
    check_json(command.json)
    if isinstance(command, FlowFlags):
        recipes.validate(recipe_of(command))
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
    from pipeline import report

    if isinstance(command, Prepare):  # needs none of what the others load
        prepare_command.prepare(command)
        return
    if isinstance(command, Submit | Status | Stop):
        from pipeline import submission

        submission.execute(command, arguments)
        return

    if isinstance(command, Run) and command.dry_run:
        with report.status("loading torch"):
            from pipeline.dry_run import dry_run

        dry_run(recipe_of(command), Path(command.recipe).stem, command.cluster, command.json)
        return

    with report.status("loading torch, MLflow and Ray"):
        from pipeline import commands  # seconds that --help must not cost

    report.quieten()  # now: MLflow and Ray set their loggers when they are imported
    match command:
        case Run():
            commands.run(recipe_of(command), Path(command.recipe).stem, command.cluster, command.json)
        case List():
            commands.list_flows(command.cluster, command.json)
        case Show():
            commands.show(command.run, command.cluster, command.json)
        case Evaluate():
            commands.evaluate_reference(command)
