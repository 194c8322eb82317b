"""The program `python -m pipeline`: its commands, what is refused at once, and what a command leaves that is stopped."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from pipeline import cluster as clusters
from pipeline.command.flags import CheckPart, Evaluate, List, Report, Run, Schema, Show, Status, Stop, Submit, Ui
from pipeline.command.flows import UNCHANGED, check_evaluation, check_flow, check_store, read_flow
from pipeline.command.prepare import Prepare, prepare_set, require_usable
from pipeline.command.program import Action, Later, Program, Result, check_file


def read_submission(flags: type, prog: str, words: Sequence[str]) -> Any:
    """Read a command that sends a flow elsewhere, which gets the words as they were written."""
    return replace(read_flow(flags, prog, words), words=tuple(words))


def check_evaluate(command: Evaluate) -> None:
    """Refuse an `evaluate` whose stores, sizes or extractor cannot be."""
    clusters.validate_stores(command.store)
    check_evaluation(command.evaluation)
    command.require_consistent()


def check_shape(command: CheckPart) -> None:
    """Refuse a shape that no samples have."""
    if command.shape and (len(command.shape) not in (1, 3) or min(command.shape) < 1):
        raise ValueError(f"--shape must be D, or CHANNELS SIDE SIDE, not {' '.join(map(str, command.shape))}")


def check_page(command: Report) -> None:
    """Refuse a page that could not be written, before minutes of work and not after."""
    check_file("--to", command.to)
    command.require_consistent()
    clusters.validate_stores(command.store)


def check_schema(command: Schema) -> None:
    """Refuse a file of a schema that could not be written."""
    if command.to is not None:
        check_file("--to", command.to)


def check_ui(command: Ui) -> None:
    """Refuse a store that cannot be, and a port that there is not."""
    clusters.validate_stores(command.store)
    if not 1 <= command.port <= 65_535:
        raise ValueError(f"--port must be from 1 to 65535, not {command.port}")


def nothing(_: Any) -> None:
    """Refuse nothing of a command that asks a cluster, which alone knows its submissions."""


def run(command: Run) -> Result:
    """Carry out `run`: train a flow, or show what it would be where the command says --dry-run."""
    show = Later("torch", "pipeline.command.dry_run:dry_run")
    train = Later("torch, MLflow and Ray", "pipeline.command.actions:run")
    return show(command) if command.dry_run else train(command)


SENT = "what the cluster was told to do goes on; python -m pipeline status shows it"
PROGRAM = Program(
    "pipeline",
    {
        "run": Action(Run, check_flow, run, "finished phases are in the store, and the same command goes on:", read=read_flow),
        "list": Action(List, check_store, Later("MLflow", "pipeline.command.listing:list_flows"), UNCHANGED),
        "ui": Action(Ui, check_ui, Later("MLflow", "pipeline.command.listing:show_page"), UNCHANGED),
        "show": Action(Show, check_store, Later("MLflow", "pipeline.command.listing:show"), UNCHANGED),
        "evaluate": Action(
            Evaluate,
            check_evaluate,
            Later("torch, MLflow and Ray", "pipeline.command.actions:evaluate_reference"),
            f"{UNCHANGED}, and the same command goes on:",
        ),
        "prepare": Action(Prepare, require_usable, prepare_set, "finished shards are kept, and the same command goes on:"),
        "schema": Action(Schema, check_schema, Later("pyarrow", "pipeline.data.tables.schemas.command:show_schema"), UNCHANGED),
        "check-part": Action(CheckPart, check_shape, Later("torch", "pipeline.parts.checks.command:check_part"), UNCHANGED),
        "report": Action(Report, check_page, Later("scikit-learn", "pipeline.report.command:report"), UNCHANGED),
        "submit": Action(Submit, check_flow, Later("Ray", "pipeline.command.submission:submit"), SENT, read=read_submission),
        "status": Action(Status, nothing, Later("Ray", "pipeline.command.submission:status"), SENT),
        "stop": Action(Stop, nothing, Later("Ray", "pipeline.command.submission:stop"), SENT),
    },
)
main = PROGRAM.main
