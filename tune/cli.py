"""The command line of the search. Nothing heavy is imported before the arguments are known to be right."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import tyro

from pipeline import cluster as clusters
from pipeline.cluster import Cluster
from pipeline.command import program
from pipeline.command.cli import check_json, parse_as, recipe_of
from pipeline.evaluation import size as evaluation_size
from pipeline.provenance import redacted
from pipeline.words import command_line
from tune import space
from tune.flags import Best, Resume, Run, Show, storage_url
from tune.metrics import mode_of
from tune.space import Axis

Command = (
    Annotated[Run, tyro.conf.subcommand("run")]
    | Annotated[Resume, tyro.conf.subcommand("resume")]
    | Annotated[Show, tyro.conf.subcommand("show")]
    | Annotated[Best, tyro.conf.subcommand("best")]
)


def parse(arguments: Sequence[str]) -> tuple[Any, list[Axis]]:
    """The command of an argument vector, and the axes of its space.

    Raises:
        ValueError: what is wrong, in one line.
        SystemExit: help was asked for.
    """
    rest, axes = list(arguments), list[Axis]()
    if rest[0] == "run" and not {"-h", "--help"} & set(rest):
        rest, axes = space.take_axes(rest)
        own = [word for word in rest if word.startswith("--network.") and not word.startswith("--network.kind")]
        if own and any(axis.name == "network.kind" for axis in axes):
            name = own[0].partition("=")[0]
            raise ValueError(
                f"{name} must be left out beside --space.kind, since each kind has its own; it can be searched as well"
            )
    command = parse_as(Command, "python -m tune", rest)
    return command, axes or (space.default_axes(recipe_of(command)) if isinstance(command, Run) else [])


def check(command: Any, axes: Sequence[Axis]) -> None:
    """Refuse what cannot work before anything is loaded.

    Raises:
        ValueError: what is wrong, in one line.
    """
    check_json(command.json)
    storage_url(command.storage if isinstance(command, Run) else command.where.storage)
    if not isinstance(command, Run):
        clusters.validate(Cluster(tracking_uri=command.where.tracking_uri))
        if isinstance(command, Best) and (command.to.is_dir() or not command.to.absolute().parent.is_dir()):
            raise ValueError(f"--to must be a file in an existing folder, not {command.to}")
        return
    clusters.validate(command.cluster)
    evaluation_size.validate(command.evaluation)
    name = command.name or Path(command.recipe).stem
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}", name):
        raise ValueError(f"--name must be letters, digits, '.', '_' and '-', not {name!r}")
    bounds = {"num_trials": (1, 10**6), "num_confirmed": (0, 50), "max_concurrent": (1, 10**6), "search_seed": (0, 2**32 - 1)}
    for flag, (least, most) in bounds.items():
        value = getattr(command, flag)
        if value is not None and not least <= value <= most:
            rule = f"at least {least}" if value < least else f"at most {most}"
            raise ValueError(f"--{flag.replace('_', '-')} must be {rule}, not {value}")
    mode_of(command.data, command.metric, command.mode)
    space.check(recipe_of(command), axes)


def main(arguments: Sequence[str]) -> int:
    """Run a command; the exit code is 2 for the user's mistakes, 1 for other failures, 128 + n after signal n."""
    return program.main(arguments, read, execute, what_goes_on)


def read(arguments: Sequence[str]) -> tuple[Any, list[Axis]]:
    """The command of an argument vector, after all that can be refused at once.

    Raises:
        ValueError: what is wrong, in one line.
    """
    command, axes = parse(arguments)
    check(command, axes)
    return command, axes


def execute(read: tuple[Any, list[Axis]]) -> None:
    """Do what a parsed command says."""
    from pipeline.command import report

    with report.status("loading torch, MLflow, Ray and Optuna"):
        from tune import commands  # seconds that --help must not cost
    report.quieten()
    commands.execute(*read)


def what_goes_on(read: tuple[Any, list[Axis]]) -> str:
    """What a command leaves that was stopped, and how to go on."""
    command, _ = read
    if isinstance(command, Show | Best):
        return "nothing was changed"
    name = (command.name or Path(command.recipe).stem) if isinstance(command, Run) else command.name
    again = command_line("python", "-m", "tune", "resume", name, *where_flags(command))
    return f"finished phases are in the store, and this goes on:\n    {again}"


def where_flags(command: Any) -> list[str]:
    """Flags with which `resume` finds the servers of a command."""
    uri, storage = (
        (command.cluster.tracking_uri, command.storage)
        if isinstance(command, Run)
        else (command.where.tracking_uri, command.where.storage)
    )
    given = {"--where.tracking-uri": uri, "--where.storage": storage}
    return [word for flag, value in given.items() if value is not None for word in (flag, redacted(value))]
