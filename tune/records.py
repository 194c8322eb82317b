"""A search in MLflow: the search's run, a run per trial below it, the phases' runs below those."""

import contextlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from pipeline.errors import Diverged, FlowError, SearchExists, SearchNotFound
from pipeline.recipes.values import Value
from pipeline.store import claims
from pipeline.store.ending import ending
from pipeline.store.maps import FINGERPRINT, KIND
from pipeline.store.phases import OWNER, Store
from pipeline.store.runs import PARENT
from tune.definition import Search, Trial

NAME, DEFINITION, POINT, ERROR = "sjko.search", "sjko.definition", "sjko.point", "sjko.error"
DIVERGED, NUMBER, CONFIRMED = "sjko.diverged", "sjko.trial", "sjko.confirmed"
RESULT, PENALTY = "result", "penalty"
"""Kinds of a trial's reports: a phase's metric, or the figure that counts for a flow that gave none."""


@dataclass(frozen=True)
class Stored:
    """The record of a search in MLflow.

    Attributes:
        run_id: of the search's own run.
        owner: the driver that last worked on it.
        status: of its MLflow run, which a driver that was killed leaves RUNNING.
        told: status as a person is told it: INTERRUPTED where the driver is gone.
    """

    run_id: str
    owner: str
    status: str
    told: str
    definition: str


def create(store: Store, search: Search, owner: str) -> str:
    """Create the run of a new search, and return its id.

    Raises:
        SearchExists: there is a search of that name already.
    """
    if find(store, search.name) is not None:
        raise SearchExists(
            f"there is a search {search.name} already: go on with python -m tune resume {search.name}, or choose another --name"
        )
    tags = {KIND: "search", NAME: search.name, DEFINITION: search.to_json(), OWNER: owner}
    params = {**asdict(search.recipe), "space": {axis.name.replace(".", "_"): str(axis) for axis in search.axes}}
    return store.create(f"search {search.name}", tags, params)


def find(store: Store, name: str) -> Stored | None:
    """Look a search up by name; None where MLflow has none."""
    for run in store.select(called(name)):
        tags = run.data.tags
        return Stored(str(run.info.run_id), tags[OWNER], str(run.info.status), claims.status_of(run), tags[DEFINITION])
    return None


def called(name: str) -> str:
    """Write MLflow's filter for the searches of a name."""
    return f"tags.`{KIND}` = 'search' and tags.`{NAME}` = '{name}'"


def forget(store: Store, run_id: str) -> None:
    """Delete the run of a search without results; in MLflow's trash it is then no search that one could restore."""
    store.tag(run_id, KIND, "search without a result")
    store.delete_run(run_id)


def require(store: Store, name: str, tracking_uri: str | None) -> tuple[Stored, Search]:
    """Look a search up by name, which must exist: its record and its definition.

    Raises:
        SearchNotFound: there is no search of that name, or it was deleted in MLflow.
    """
    stored = find(store, name) if "'" not in name else None
    if stored is None:
        for run in store.deleted(called(name)) if "'" not in name else []:
            raise SearchNotFound(f"search {name} {store.restoring(run)}")
        names = sorted({run.data.tags[NAME] for run in store.select(f"tags.`{KIND}` = 'search'")})
        raise SearchNotFound(f"there is no search {name}; there is {', '.join(names) or 'none yet: python -m tune run RECIPE'}")
    return stored, Search.from_json(stored.definition, tracking_uri)


def open_trial(store: Store, search: Search, search_run_id: str, number: int, point: Mapping[str, Value]) -> str:
    """Create the run of a new trial below its search's run, and return its id."""
    tags = {KIND: "trial", NAME: search.name, POINT: json.dumps(dict(point)), NUMBER: str(number)}
    label = ", ".join(f"{name.partition('.')[2]} {value}" for name, value in point.items())
    return store.create(label, tags, point, parent=search_run_id)


def trials(store: Store, search: Search, search_run_id: str) -> list[Trial]:
    """Read all trials of a search, in the order of their numbers."""
    unsorted = [_trial(store, search, run, number) for number, run in enumerate(reversed(_runs(store, search_run_id)), 1)]
    return sorted(unsorted, key=lambda trial: trial.number)


def keep_confirmation(store: Store, search: Search, trial: Trial, values: Sequence[float | None]) -> None:
    """Write down in a trial's run the metric of each seed that its best phase was trained again with, and which phase."""
    store.tag(trial.run_id, CONFIRMED, json.dumps({"num_phases": trial.best_k(search) + 1, "values": list(values)}))


def _confirmed(search: Search, trial: Trial, tag: str | None) -> Trial:
    """Add to a trial what its confirmation gave, unless another phase has become its best one since."""
    confirmation = json.loads(tag or "{}")
    if not trial.values or confirmation.get("num_phases") != trial.best_k(search) + 1:
        return trial
    return replace(trial, confirmed=tuple(confirmation["values"]))


def trial_of(store: Store, search: Search, search_run_id: str, number: int) -> Trial | None:
    """Read the trial of a number; None where it did not come so far as to open its run."""
    runs = _runs(store, search_run_id, f" and tags.`{NUMBER}` = '{number}'")
    return _trial(store, search, runs[0], number) if runs else None


def _runs(store: Store, search_run_id: str, condition: str = "") -> list[Any]:
    return store.select(f"tags.`{KIND}` = 'trial' and tags.`{PARENT}` = '{search_run_id}'{condition}")


def _trial(store: Store, search: Search, run: Any, number: int) -> Trial:
    """Read a trial from its run; `number` is used where the run names none, as runs of earlier versions do not."""
    tags, run_id = run.data.tags, str(run.info.run_id)
    history = {name: store.metric_history(run_id, name) for name in (search.metric, "seconds") if name in run.data.metrics}
    trial = Trial(
        run_id,
        int(tags.get(NUMBER, number)),
        json.loads(tags[POINT]),
        tuple(value for _, value in sorted(history.get(search.metric, []))),
        tuple(value for _, value in sorted(history.get("seconds", []))),
        str(run.info.status),
        tags.get(ERROR, ""),
        int(tags[DIVERGED]) if DIVERGED in tags else None,
    )
    return _confirmed(search, trial, tags.get(CONFIRMED))


def num_trained(store: Store, trials: Sequence[Trial]) -> int:
    """Count the phases that these trials trained and published themselves."""
    parents = {trial.run_id for trial in trials}
    phases = store.select(f"tags.`{KIND}` = 'phase' and attributes.status = 'FINISHED'")
    return sum(run.data.tags.get(PARENT) in parents for run in phases)


def close_trials(store: Store, search_run_id: str, status: str) -> None:
    """Give a status to the runs of a search's trials that still say RUNNING: nobody works on them any more."""
    for run in _runs(store, search_run_id):
        if run.info.status == "RUNNING":
            store.set_status(run.info.run_id, status)


def log_phase(store: Store, run_id: str, k: int, fingerprint: str, row: Mapping[str, Any]) -> None:
    """Log in a trial's run what is known after phase k, whose map the run stands for from now on."""
    store.log_metrics(run_id, {k: {name: float(value) for name, value in row.items()}})
    store.tag(run_id, FINGERPRINT, fingerprint)


@contextlib.contextmanager
def attempted(store: Store, run_id: str) -> Iterator[None]:
    """End the run of a trial, and keep the error that it ends with; one that Ray Tune stops is closed by the driver."""
    with ending(store, [run_id], stopped=""):
        try:
            yield
        except Exception as error:
            with contextlib.suppress(FlowError):
                if isinstance(error, Diverged):
                    store.tag(run_id, DIVERGED, str(error.k))
                store.tag(run_id, ERROR, str(error))
            raise
