"""The commands behind `python -m tune`, after their arguments have been parsed."""

import contextlib
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import optuna

from pipeline import cluster as clusters
from pipeline import ray_session
from pipeline.cluster import Cluster
from pipeline.command import report
from pipeline.command.cli import recipe_of
from pipeline.errors import FlowError, RecipeMismatch
from pipeline.files import write_json, write_text
from pipeline.provenance import redacted
from pipeline.store import claims
from pipeline.store.phases import OWNER, Store
from pipeline.words import command_line
from tune import figures, flags, records, search, summary
from tune.metrics import mode_of
from tune.records import Found, Search, Trial
from tune.space import Axis
from tune.summary import Finalist
from tune.watch import Watch, shown, text_of


def execute(command: Any, axes: Sequence[Axis]) -> None:
    """Do what a parsed command says."""
    match command:
        case flags.Run():
            result = run(command, axes)
        case flags.Resume():
            result = resume(command)
        case flags.Show() | flags.Best():
            store = open_store(command.where.tracking_uri)
            found, wanted = records.require(store, command.name, command.where.tracking_uri)
            result = show(store, found, wanted) if isinstance(command, flags.Show) else best(store, found, wanted, command.to)
    write_json(command.json, result)


def open_store(tracking_uri: str | None) -> Store:
    """The store that a command names."""
    return Store(clusters.tracking_uri(Cluster(tracking_uri=tracking_uri)))


def run(command: flags.Run, axes: Sequence[Axis]) -> Mapping[str, Any]:
    """A new search."""
    wanted = Search(
        command.name or Path(command.recipe).stem,
        recipe_of(command),
        tuple(axes),
        command.num_trials,
        command.metric,
        mode_of(command.data, command.metric, command.mode),
        command.against_cost,
        command.sampler,
        command.search_seed,
        command.num_confirmed,
        command.max_concurrent,
        command.cluster,
        command.evaluation,
    )
    store = open_store(command.cluster.tracking_uri)
    storage = flags.storage_url(command.storage)
    clusters.home().mkdir(parents=True, exist_ok=True)
    run_id = records.create(store, wanted, claims.this_process())
    with contextlib.ExitStack() as stack:
        try:
            study = stack.enter_context(search.opened(wanted, storage, create=True))
        except FlowError:
            records.forget(store, run_id)  # nothing of it is there
            raise
        if (own := search.own_point(wanted)) is not None:
            study.enqueue_trial(own)
        with forgotten_without_result(store, wanted, run_id, study, Exception):
            return carry_out(store, wanted, run_id, study, wanted.num_trials)


@contextlib.contextmanager
def forgotten_without_result(
    store: Store, wanted: Search, run_id: str, study: optuna.Study, error: type[Exception]
) -> Iterator[None]:
    """Free the name of a search that ends with an error before any trial gave a result: there is nothing to go on with."""
    try:
        yield
    except error:
        with contextlib.suppress(Exception):  # it is the first error that is to be told
            if not summary.ranked(wanted, records.trials(store, wanted, run_id)):
                search.forget(study)
                records.forget(store, run_id)
        raise


def resume(command: flags.Resume) -> Mapping[str, Any]:
    """The rest of a search.

    Raises:
        RecipeMismatch: another driver is at it.
    """
    store = open_store(command.where.tracking_uri)
    found, wanted = records.require(store, command.name, command.where.tracking_uri)
    require_idle(store, found, wanted.name)
    begun = bool(records.trials(store, wanted, found.run_id))
    with search.opened(wanted, flags.storage_url(command.where.storage), create=not begun, again=True) as study:
        store.tag(found.run_id, OWNER, claims.this_process())
        store.set_status(found.run_id, "RUNNING")
        records.close_trials(store, found.run_id, "KILLED")
        done = search.propose_again(study)
        report.line(f"{wanted.name}: {done} of {wanted.num_trials} trials are done")
        with forgotten_without_result(store, wanted, found.run_id, study, search.SearchFailed):
            return carry_out(store, wanted, found.run_id, study, wanted.num_trials - done)


def require_idle(store: Store, found: Found, name: str) -> None:
    """See to it that no other driver works on a search; one on another host shows itself by its heartbeat.

    Raises:
        RecipeMismatch: one does.
    """
    if found.status != "RUNNING":
        return
    drivers, (host, pid, *_) = claims.Drivers(), found.owner.split(":")
    first = beat = store.run(found.run_id).data.tags.get(claims.HEARTBEAT, "")
    if host != socket.gethostname():
        report.line(f"{name}: listening {claims.SECONDS_WITHOUT_BEAT:.0f} s for its driver on {host}")
    while drivers.is_alive(found.run_id, found.owner, beat):
        if host == socket.gethostname() or beat != first:
            raise RecipeMismatch(f"search {name} is at work in process {pid} of {host}")
        time.sleep(1)
        beat = store.run(found.run_id).data.tags.get(claims.HEARTBEAT, "")


def carry_out(store: Store, wanted: Search, run_id: str, study: Any, num_trials: int) -> Mapping[str, Any]:
    """Trials, confirmation, figures, verdict."""
    for axis in wanted.axes:
        report.line(f"{wanted.name}: {axis}")
    status = "KILLED"
    try:
        with claims.held(store, [run_id]), ray_session.started(wanted.cluster, {search.DRIVER: search.MANY_DRIVERS}):
            if num_trials > 0:
                watch = Watch(wanted, run_id, wanted.num_trials - num_trials, search.last_number(study, num_trials))
                with shown(watch):
                    search.run(wanted, run_id, study, num_trials, [watch])
            records.close_trials(store, run_id, "KILLED")
            confirm(store, wanted, run_id)
            store.set_status(run_id, "FINISHED")
        pictures = figures.draw(clusters.home() / "searches" / wanted.name, wanted, records.trials(store, wanted, run_id), study)
        for picture in pictures:
            store.log_file(run_id, picture, "pictures")
        found = records.find(store, wanted.name)
        assert found is not None
        result = show(store, found, wanted)
        for picture in pictures:
            report.line(f"picture: {picture}")
        status = "FINISHED"
    except Exception:
        status = "FAILED"
        raise
    finally:
        with contextlib.suppress(FlowError):
            records.close_trials(store, run_id, "KILLED")  # of a search that was stopped; no trial is at work any more
            store.set_status(run_id, status)
    return result


def confirm(store: Store, wanted: Search, run_id: str) -> None:
    """Train the best trials again with more seeds, and keep what they gave."""
    trials = records.trials(store, wanted, run_id)
    if not summary.ranked(wanted, trials):
        reasons = sorted({trial.error for trial in trials if trial.error})
        raise search.SearchFailed(f"no trial of {wanted.name} gave a result: {reasons[0] if reasons else 'see the MLflow runs'}")
    todo = summary.confirmations(wanted, trials)
    if todo:
        report.line(f"training the best {len(todo) // summary.NUM_SEEDS} again with {summary.NUM_SEEDS} seeds")
        values = search.confirm(wanted, run_id, todo)
        for start, trial in zip(range(0, len(todo), summary.NUM_SEEDS), summary.ranked(wanted, trials), strict=False):
            records.keep_confirmation(store, wanted, trial, values[start : start + summary.NUM_SEEDS])


def found_by(store: Store, found: Found, wanted: Search) -> list[Finalist]:
    """The best trials with what their confirmation gave.

    Raises:
        RecipeMismatch: no trial has a result yet.
    """
    trials = records.trials(store, wanted, found.run_id)
    if not summary.ranked(wanted, trials):
        raise RecipeMismatch(f"no trial of {wanted.name} has a result yet: {standing(found, wanted)}")
    return summary.finalists(wanted, trials)


def standing(found: Found, wanted: Search) -> str:
    """How it stands with a search, and where nobody works on it any more, the command that goes on."""
    words = {"RUNNING": "is at work", "FINISHED": "is finished", "FAILED": "has failed"}
    said = f"the search {words.get(found.told, 'was interrupted')}"
    if found.told in ("RUNNING", "FINISHED"):
        return said
    return f"{said}; go on with: {command_line('python', '-m', 'tune', 'resume', wanted.name, *server(wanted, 'where'))}"


def seen(store: Store, found: Found, wanted: Search) -> list[Trial]:
    """The trials as a person is told of them: a driver that was killed has left those running that it was at."""
    status = "RUNNING" if found.told == "RUNNING" else "INTERRUPTED"
    return [
        replace(trial, status=status) if trial.status == "RUNNING" else trial
        for trial in records.trials(store, wanted, found.run_id)
    ]


def show(store: Store, found: Found, wanted: Search) -> Mapping[str, Any]:
    """Trials, the Pareto front where there are two objectives, what was spared, the verdict."""
    finalists, trials = found_by(store, found, wanted), seen(store, found, wanted)
    heads = ["trial", "point", "phases", wanted.metric, "K", "seconds", ""]
    report.table(f"search {wanted.name}, MLflow run {found.run_id}", heads, summary.rows(wanted, trials))
    front = summary.pareto(wanted, trials) if wanted.against_cost else []
    if front:
        rows = [[trial.number, seconds, value, text_of(trial.point), k + 1] for seconds, value, trial, k in front]
        report.table("Pareto front", ["trial", "seconds", wanted.metric, "point", "K"], rows)
    for trial in trials:
        if trial.error and trial.diverged is None:
            report.sentence(f"trial {trial.number} failed: {trial.error}")
    counts = summary.spared(wanted, trials, records.num_trained(store, trials))
    report.sentence(summary.spared_sentence(counts))
    report.sentence(f"best: {summary.verdict(wanted, finalists)}")
    if found.told != "FINISHED":
        report.line(standing(found, wanted))
    report.line(
        f"next: {command_line('python', '-m', 'tune', 'best', wanted.name, '--to', 'best.yaml', *server(wanted, 'where'))}"
    )
    first = finalists[0]
    return {
        "name": wanted.name,
        "run_id": found.run_id,
        "status": found.told,
        "phases": counts,
        "trials": [
            {
                "number": t.number,
                "run_id": t.run_id,
                "status": t.state(wanted),
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
            "num_phases": first.trial.best_k(wanted) + 1,
            "value": first.score(wanted),
            "by_seed": first.values,
        },
        "verdict": summary.verdict(wanted, finalists),
    }


def server(wanted: Search, group: str) -> list[str]:
    """The flag with which another command finds the MLflow of a search, where it was given one."""
    uri = wanted.cluster.tracking_uri
    return [] if uri is None else [f"--{group}.tracking-uri", redacted(uri)]


def best(store: Store, found: Found, wanted: Search, to: Path) -> Mapping[str, Any]:
    """The best recipe as a file."""
    first = found_by(store, found, wanted)[0]
    text = summary.as_yaml(wanted, first)
    write_text(to, text)
    report.line(f"{to}: {summary.verdict(wanted, [first])}")
    if found.told != "FINISHED":
        report.line(standing(found, wanted))
    report.line(f"next: {command_line('python', '-m', 'pipeline', 'run', to, *server(wanted, 'cluster'))}")
    return {"file": str(to), "recipe": asdict(summary.best_recipe(wanted, first.trial))}
