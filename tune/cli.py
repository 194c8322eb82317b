"""The command line of the search. Nothing heavy is imported before the arguments are known to be right."""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from pipeline import cluster as clusters
from pipeline import places
from pipeline.cluster import Cluster
from pipeline.command import program
from pipeline.command.cli import check_json, parse_as, recipe_of
from pipeline.command.flags import FlowFlags
from pipeline.evaluation import size as evaluation_size
from pipeline.evaluation.size import EvaluationSize
from pipeline.places import Database, Tracking
from pipeline.provenance import redacted
from pipeline.words import command_line
from tune import space
from tune.metrics import mode_of
from tune.space import Axis


@dataclass(frozen=True)
class Where:
    """Which MLflow, and which Optuna."""

    tracking_uri: Tracking | None = None
    """MLflow tracking server; None keeps a sqlite database under $SJKO_HOME"""
    storage: Database | None = None
    """Optuna's database, sqlite:///FILE or postgresql://...; None keeps a sqlite database under $SJKO_HOME"""


@dataclass(frozen=True)
class Run(FlowFlags):
    """Search for the best recipe: --space.FIELD LOW HIGH [log] or --space.FIELD CHOICE CHOICE ... for each field to search.

    Without --space: h from 0.1 to 10 (log) and divergence in kl, jsd, softplus. Every phase of a trial is judged, so the best K
    up to jko.num_phases is found as well. With --space.kind, kinds of network that are not the recipe's have their own defaults.
    """

    name: str | None = None
    """name of the search; None: that of the recipe"""
    num_trials: int = 24
    """points of the space to try; the recipe's own values are the first where the space has them"""
    metric: str = "w2"
    """what `pipeline evaluate` measures: w2, sliced_w2, on_support, ..."""
    mode: Literal["min", "max"] | None = None
    """whether small or large values of the metric are good; None: what is known of it"""
    against_cost: bool = False
    """two objectives, the metric and the seconds of training: no trial is stopped early, the Pareto front is shown"""
    sampler: Literal["tpe", "random"] = "tpe"
    """who proposes points"""
    search_seed: int = 0
    """seed of the proposals"""
    num_confirmed: int = 3
    """trials that are trained again with two more seeds in the end; 0 for none"""
    max_concurrent: int | None = None
    """trials side by side; None: as many as the cluster has room for"""
    evaluation: EvaluationSize = field(default_factory=EvaluationSize)
    storage: Database | None = None
    """Optuna's database, sqlite:///FILE or postgresql://...; None keeps a sqlite database under $SJKO_HOME"""


@dataclass(frozen=True)
class Resume:
    """Go on with a search that was interrupted; no finished phase is trained again."""

    name: tyro.conf.Positional[str]
    """name of the search"""
    where: Where = field(default_factory=Where)
    json: Path | None = None
    """also write the result to this file"""


@dataclass(frozen=True)
class Show:
    """Show the trials of a search."""

    name: tyro.conf.Positional[str]
    """name of the search"""
    where: Where = field(default_factory=Where)
    json: Path | None = None
    """also write the result to this file"""


@dataclass(frozen=True)
class Best:
    """Write the best recipe of a search as YAML, for `python -m pipeline run`."""

    name: tyro.conf.Positional[str]
    """name of the search"""
    to: Path
    """the file"""
    where: Where = field(default_factory=Where)
    json: Path | None = None
    """also write the result to this file"""


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


def storage_url(given: str | None) -> str:
    """Optuna's database."""
    if given is None and (variable := os.environ.get("SJKO_OPTUNA_STORAGE")) is not None:
        return places.database("$SJKO_OPTUNA_STORAGE", variable)
    return given or places.sqlite_url(clusters.home() / "optuna.db")


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
