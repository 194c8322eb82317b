"""The commands of `python -m tune`, after their arguments have been read."""

import contextlib
from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

from pipeline import places
from pipeline.command import report
from pipeline.command.listing import open_store
from pipeline.errors import FlowError
from pipeline.evaluation.metrics import with_figure
from pipeline.files import write_text
from pipeline.store import claims
from pipeline.store.phases import OWNER
from pipeline.words import command_line
from tune import flags, records, search, studies, summary
from tune.definition import Search
from tune.driver import carry_out, forgotten_without_result, require_idle
from tune.metrics import mode_of
from tune.shown import tables


def run(command: flags.Run) -> Mapping[str, Any]:
    """Carry out `run`: begin a search under a new name, and train its trials."""
    definition = Search(
        command.search_name,
        command.resolved(),
        command.axes,
        command.num_trials,
        command.metric,
        mode_of(command.data, command.metric, command.mode, command.evaluation.metrics),
        command.against_cost,
        command.sampler,
        command.search_seed,
        command.num_confirmed,
        command.max_concurrent,
        command.cluster,
        replace(command.evaluation, metrics=with_figure(command.evaluation.metrics, command.metric)),
    ).pinned()
    store = open_store(command.cluster, create=True)
    places.home().mkdir(parents=True, exist_ok=True)
    run_id = records.create(store, definition, claims.this_process())
    with contextlib.ExitStack() as stack:
        try:
            study = stack.enter_context(studies.study_of(definition, flags.optuna_url(command.optuna), create=True))
        except FlowError:
            records.forget(store, run_id)  # nothing of it is there
            raise
        if (point := studies.own_point(definition)) is not None:
            study.enqueue_trial(point)
        with forgotten_without_result(store, definition, run_id, study, Exception):
            return carry_out(store, definition, run_id, study, definition.num_trials)


def resume(command: flags.Resume) -> Mapping[str, Any]:
    """Carry out `resume`: go on with a search that was interrupted.

    Raises:
        SearchNotFound: there is none of that name.
        SearchAtWork: another driver is at it.
    """
    store = open_store(command.store)
    stored, definition = records.require(store, command.name, command.store.tracking_uri)
    definition.pinned()  # refuses other code than that of the trials before
    require_idle(store, stored, definition.name)
    has_trials = bool(records.trials(store, definition, stored.run_id))
    with studies.study_of(definition, flags.optuna_url(command.store.optuna), create=not has_trials, again=True) as study:
        store.tag(stored.run_id, OWNER, claims.this_process())
        store.set_status(stored.run_id, "RUNNING")
        records.close_trials(store, stored.run_id, "KILLED")
        done = studies.propose_again(study)
        report.line(f"{definition.name}: {done} of {definition.num_trials} trials are done")
        with forgotten_without_result(store, definition, stored.run_id, study, search.SearchFailed):
            return carry_out(store, definition, stored.run_id, study, definition.num_trials - done)


def show(command: flags.Show) -> Mapping[str, Any]:
    """Carry out `show`: show the trials of a search and its verdict.

    Raises:
        SearchNotFound: there is none of that name.
        NoResult: no trial has a result yet.
    """
    store = open_store(command.store)
    return tables.show(store, *records.require(store, command.name, command.store.tracking_uri))


def best(command: flags.Best) -> Mapping[str, Any]:
    """Carry out `best`: write the best recipe of a search as a file.

    Raises:
        SearchNotFound: there is none of that name.
        NoResult: no trial has a result yet.
    """
    store = open_store(command.store)
    stored, definition = records.require(store, command.name, command.store.tracking_uri)
    first = tables.finalists_of(store, stored, definition)[0]
    write_text(command.to, summary.as_yaml(definition, first))
    report.line(f"{command.to}: {summary.verdict(definition, [first])}")
    if stored.told != "FINISHED":
        report.line(tables.standing(stored, definition))
    report.line(f"next: {command_line('python', '-m', 'pipeline', 'run', command.to, *tables.server(definition))}")
    return {"file": str(command.to), "recipe": asdict(summary.best_recipe(definition, first.trial))}
