"""The driver of a search: trials, their confirmation, figures, verdict."""

import contextlib
import socket
import time
from collections.abc import Iterator, Mapping
from typing import Any

import optuna

from pipeline import places, ray_session
from pipeline.command import report
from pipeline.errors import FlowError, SearchAtWork
from pipeline.store import claims
from pipeline.store.phases import Store
from tune import records, search, studies, summary
from tune.definition import Search
from tune.records import Stored
from tune.shown import figures, tables
from tune.shown.watch import Watch, shown


@contextlib.contextmanager
def forgotten_without_result(
    store: Store, definition: Search, run_id: str, study: optuna.Study, error: type[Exception]
) -> Iterator[None]:
    """Free the name of a search that ends with an error before any trial gave a result: there is nothing to go on with."""
    try:
        yield
    except error:
        with contextlib.suppress(Exception):  # it is the first error that is to be told
            if not summary.ranked(definition, records.trials(store, definition, run_id)):
                studies.forget(study)
                records.forget(store, run_id)
        raise


def require_idle(store: Store, stored: Stored, name: str) -> None:
    """Refuse to go on with a search that another driver works on; one on another host shows itself by its heartbeat.

    Raises:
        SearchAtWork: a driver works on it.
    """
    if stored.status != "RUNNING":
        return
    drivers, (host, pid, *_) = claims.Drivers(), stored.owner.split(":")
    first = beat = store.run(stored.run_id).data.tags.get(claims.HEARTBEAT, "")
    if host != socket.gethostname():
        report.line(f"{name}: listening {claims.SECONDS_WITHOUT_BEAT:.0f} s for its driver on {host}")
    while drivers.is_alive(stored.run_id, stored.owner, beat):
        if host == socket.gethostname() or beat != first:
            raise SearchAtWork(f"search {name} is at work in process {pid} of {host}")
        time.sleep(1)
        beat = store.run(stored.run_id).data.tags.get(claims.HEARTBEAT, "")


def carry_out(store: Store, definition: Search, run_id: str, study: Any, num_trials: int) -> Mapping[str, Any]:
    """Carry a search out: num_trials trials, confirmation of the best, figures, verdict; return what `--json` writes."""
    for axis in definition.axes:
        report.line(f"{definition.name}: {axis}")
    with claims.held(store, [run_id]):
        try:
            drivers = {search.DRIVER: search.MANY_DRIVERS}
            with ray_session.started(definition.cluster, drivers, parts=[name for _, name in definition.parts()]):
                if num_trials > 0:
                    watch = Watch(definition, run_id, definition.num_trials - num_trials, studies.last_number(study, num_trials))
                    with shown(watch):
                        search.run(definition, run_id, study, num_trials, [watch])
                records.close_trials(store, run_id, "KILLED")
                confirm(store, definition, run_id)
        finally:
            with contextlib.suppress(FlowError):
                records.close_trials(store, run_id, "KILLED")  # of a search that was stopped; no trial is at work any more
        folder = places.home() / "searches" / definition.name
        pictures = figures.draw(folder, definition, records.trials(store, definition, run_id), study)
        for picture in pictures:
            store.log_file(run_id, picture, "pictures")
    stored = records.find(store, definition.name)
    assert stored is not None
    result = tables.show(store, stored, definition)
    for picture in pictures:
        report.line(f"picture: {picture}")
    return result


def confirm(store: Store, definition: Search, run_id: str) -> None:
    """Train the best trials of a search again with more seeds, and keep what they gave in MLflow.

    Raises:
        SearchFailed: no trial gave a result.
    """
    trials = records.trials(store, definition, run_id)
    if not summary.ranked(definition, trials):
        reasons = sorted({trial.error for trial in trials if trial.error})
        reason = reasons[0] if reasons else "see the MLflow runs"
        raise search.SearchFailed(f"no trial of {definition.name} gave a result: {reason}")
    todo = summary.confirmations(definition, trials)
    if todo:
        report.line(f"training the best {len(todo) // summary.NUM_SEEDS} again with {summary.NUM_SEEDS} seeds")
        values = search.confirm_trials(definition, run_id, todo)
        for start, trial in zip(range(0, len(todo), summary.NUM_SEEDS), summary.ranked(definition, trials), strict=False):
            records.keep_confirmation(store, definition, trial, values[start : start + summary.NUM_SEEDS])
