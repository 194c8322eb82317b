"""The program `python -m tune`: its commands, what is refused at once, and how the flags of a space are read."""

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from components.parts.naming import is_own
from pipeline import cluster as clusters
from pipeline.command.flows import UNCHANGED, check_flow, check_store, read_flow, tried_first
from pipeline.command.program import Action, Later, Program
from pipeline.provenance import redacted
from tune import space
from tune.flags import Best, Resume, Run, Show, optuna_url
from tune.metrics import mode_of

BOUNDS = {"num_trials": (1, 10**6), "num_confirmed": (0, 50), "max_concurrent": (1, 10**6), "search_seed": (0, 2**32 - 1)}


def read_search(flags: type, prog: str, words: Sequence[str]) -> Any:
    """Read a new search: a recipe with the fields that replace its own, and an axis for each --space.FIELD.

    Raises:
        ValueError: what is wrong, in one line.
    """
    other_words, axes = space.take_axes(words)
    fields = [word for word in other_words if word.startswith("--network.") and not word.startswith("--network.kind")]
    if fields and any(axis.name == "network.kind" for axis in axes):
        name = fields[0].partition("=")[0]
        raise ValueError(f"{name} must be left out beside --space.kind, since each kind has its own; it can be searched as well")
    command = read_flow(flags, prog, other_words)
    return replace(command, axes=tuple(axes or space.default_axes(command.resolved())))


def check_run(command: Run) -> None:
    """Refuse a `run` whose search cannot be carried out.

    Raises:
        ValueError: what is wrong, in one line.
    """
    optuna_url(command.optuna)
    check_flow(command)
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}", command.search_name):
        raise ValueError(f"--name must be letters, digits, '.', '_' and '-', not {command.search_name!r}")
    for flag, (lowest, highest) in BOUNDS.items():
        value = getattr(command, flag)
        if value is not None and not lowest <= value <= highest:
            rule = f"at least {lowest}" if value < lowest else f"at most {highest}"
            raise ValueError(f"--{flag.replace('_', '-')} must be {rule}, not {value}")
    mode_of(command.data, command.metric, command.mode, command.evaluation.metrics)
    space.require_valid(command.resolved(), command.axes)
    for axis in command.axes:
        for choice in filter(is_own, map(str, axis.choices)):
            if space.refusal(command.resolved(), [axis], {axis.name: choice}) is None:
                recipe = space.applied(command.resolved(), [axis], {axis.name: choice})
                tried_first("require_working")(recipe, fields=(axis.name,))


def check_resume(command: Resume) -> None:
    """Refuse a `resume` whose stores cannot be."""
    clusters.validate_stores(command.store)
    optuna_url(command.store.optuna)


def check_best(command: Best) -> None:
    """Refuse a `best` whose store cannot be, or whose file cannot be written."""
    check_store(command)
    if command.to.is_dir() or not command.to.absolute().parent.is_dir():
        raise ValueError(f"--to must be a file in an existing folder, not {command.to}")


def resume_words(name: str, tracking_uri: str | None, optuna: str | None) -> list[str]:
    """Write the command that goes on with a search, with the flags by which it finds its stores.

    >>> resume_words("h", "sqlite:///mlflow.db", None)
    ['resume', 'h', '--store.tracking-uri', 'sqlite:///mlflow.db']
    """
    flags = {"--store.tracking-uri": tracking_uri, "--store.optuna": optuna}
    return ["resume", name, *(word for flag, uri in flags.items() if uri is not None for word in (flag, redacted(uri)))]


LOADS = "torch, MLflow, Ray and Optuna"
GOES_ON = "finished phases are in the store, and this goes on:"
PROGRAM = Program(
    "tune",
    {
        "run": Action(
            Run,
            check_run,
            Later(LOADS, "tune.actions:run"),
            GOES_ON,
            lambda command: resume_words(command.search_name, command.cluster.tracking_uri, command.optuna),
            read_search,
        ),
        "resume": Action(
            Resume,
            check_resume,
            Later(LOADS, "tune.actions:resume"),
            GOES_ON,
            lambda command: resume_words(command.name, command.store.tracking_uri, command.store.optuna),
        ),
        "show": Action(Show, check_store, Later(LOADS, "tune.actions:show"), UNCHANGED),
        "best": Action(Best, check_best, Later(LOADS, "tune.actions:best"), UNCHANGED),
    },
)
main = PROGRAM.main
