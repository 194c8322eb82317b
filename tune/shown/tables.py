"""Tables of what a search has found, and sentences about how it stands."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from pipeline.command import report
from pipeline.errors import NoResult
from pipeline.provenance import redacted
from pipeline.store.phases import Store
from pipeline.words import command_line
from tune import records, summary
from tune.definition import Search, Trial, text_of
from tune.records import Stored
from tune.summary import Finalist


def finalists_of(store: Store, stored: Stored, definition: Search) -> list[Finalist]:
    """Read the best trials of a search, each with what its confirmation gave.

    Raises:
        NoResult: no trial has a result yet.
    """
    trials = records.trials(store, definition, stored.run_id)
    if not summary.ranked(definition, trials):
        raise NoResult(f"no trial of {definition.name} has a result yet: {standing(stored, definition)}")
    return summary.finalists(definition, trials)


def standing(stored: Stored, definition: Search) -> str:
    """Say how it stands with a search, and where nobody works on it any more, the command that goes on."""
    words = {"RUNNING": "is at work", "FINISHED": "is finished", "FAILED": "has failed"}
    sentence = f"the search {words.get(stored.told, 'was interrupted')}"
    if stored.told in ("RUNNING", "FINISHED"):
        return sentence
    return f"{sentence}; go on with: {command_line('python', '-m', 'tune', 'resume', definition.name, *server(definition))}"


def seen(store: Store, stored: Stored, definition: Search) -> list[Trial]:
    """Read the trials of a search, with INTERRUPTED for RUNNING where the driver is gone and cannot have ended them."""
    status = "RUNNING" if stored.told == "RUNNING" else "INTERRUPTED"
    return [
        replace(trial, status=status) if trial.status == "RUNNING" else trial
        for trial in records.trials(store, definition, stored.run_id)
    ]


def show(store: Store, stored: Stored, definition: Search) -> Mapping[str, Any]:
    """Print a search's trials, Pareto front (of two objectives), spared phases and verdict; return what `--json` writes."""
    finalists, trials = finalists_of(store, stored, definition), seen(store, stored, definition)
    heads = ["trial", "point", "phases", definition.metric, "K", "seconds", ""]
    report.table(f"search {definition.name}, MLflow run {stored.run_id}", heads, summary.rows(definition, trials))
    front = summary.pareto(definition, trials) if definition.against_cost else []
    if front:
        rows = [[trial.number, seconds, value, text_of(trial.point), k + 1] for seconds, value, trial, k in front]
        report.table("Pareto front", ["trial", "seconds", definition.metric, "point", "K"], rows)
    for trial in trials:
        if trial.error and trial.diverged is None:
            report.sentence(f"trial {trial.number} failed: {trial.error}")
    counts = summary.spared(definition, trials, records.num_trained(store, trials))
    report.sentence(summary.spared_sentence(counts))
    report.sentence(f"best: {summary.verdict(definition, finalists)}")
    if stored.told != "FINISHED":
        report.line(standing(stored, definition))
    report.line(
        f"next: {command_line('python', '-m', 'tune', 'best', definition.name, '--to', 'best.yaml', *server(definition))}"
    )
    first = finalists[0]
    return {
        "name": definition.name,
        "run_id": stored.run_id,
        "status": stored.told,
        "phases": counts,
        "trials": [
            {
                "number": t.number,
                "run_id": t.run_id,
                "status": t.state(definition),
                "point": dict(t.point),
                "values": t.values,
                "seconds": t.seconds,
                "error": t.error,
            }
            for t in trials
        ],
        "pareto": [{"number": t.number, "seconds": s, "value": v, "run_id": t.run_id, "k": k} for s, v, t, k in front],
        "best": {
            "number": first.trial.number,
            "point": dict(first.trial.point),
            "num_phases": first.trial.best_k(definition) + 1,
            "value": first.score(definition),
            "by_seed": first.values,
        },
        "verdict": summary.verdict(definition, finalists),
    }


def server(definition: Search) -> list[str]:
    """Write the flag by which another command finds the MLflow of a search, where the search was given one."""
    uri = definition.cluster.tracking_uri
    return [] if uri is None else ["--store.tracking-uri", redacted(uri)]
