"""Ray Tune drives, Optuna proposes.

Optuna's database is the memory of the sampler and MLflow that of the results; nothing is kept in Ray. So a search that was
killed goes on as a new Ray Tune run on the old study: what was under way is proposed again, and finds its phases in the store.
"""

import contextlib
import logging
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import optuna
import ray
import ray.tune
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.study import StudyDirection
from optuna.trial import TrialState
from ray.tune.schedulers import ASHAScheduler
from ray.tune.search.optuna import OptunaSearch

from pipeline import cluster as clusters
from pipeline.cluster import Cluster
from pipeline.errors import FlowError, StoreUnavailable, Unschedulable
from pipeline.provenance import redacted
from pipeline.recipes.values import Value
from pipeline.training import jobs
from tune import trial as trials
from tune.definition import Search
from tune.records import NUMBER
from tune.space import Axis

DRIVER = "train_driver"
MANY_DRIVERS = 1000
"""Drivers wait for their workers nearly all the time: on this machine their number is not what limits."""
REDUCTION = 4
"""ASHA lets one in four go on from phase 1, 4, 16, ..."""
AGAIN = "again"
"""User attribute of a trial: number of the one whose point it tries again."""
QUIET = {
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # Ctrl-C is ours: Tune would stop the trials and go on as if they were done
    "RAY_AIR_NEW_OUTPUT": "0",  # the new one ignores verbose=0
}


class SearchFailed(FlowError):
    """No trial gave a result."""


@contextlib.contextmanager
def study_of(search: Search, storage: str, *, create: bool, again: bool = False) -> Iterator[optuna.Study]:
    """The Optuna study of a search.

    Args:
        again: it may be there already.

    Raises:
        StoreUnavailable: the database does not answer, or the study is not there.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    first = StudyDirection.MINIMIZE if search.mode == "min" else StudyDirection.MAXIMIZE
    directions = [first, StudyDirection.MINIMIZE] if search.against_cost else [first]
    try:
        backend = optuna.storages.RDBStorage(storage.replace("{", "{{").replace("}", "}}"))  # Optuna takes it for a template
        if create:
            study = optuna.create_study(storage=backend, study_name=search.name, directions=directions, load_if_exists=again)
        else:
            study = optuna.load_study(storage=backend, study_name=search.name)
    except KeyError:
        raise StoreUnavailable(f"the study {search.name} is not at {redacted(storage)}: give its --store.optuna") from None
    except optuna.exceptions.DuplicatedStudyError:
        raise StoreUnavailable(
            f"there is a study {search.name} at {redacted(storage)} already and no such search in this MLflow: choose another "
            f"--name, or see what python -m tune show {search.name} says"
        ) from None
    except Exception as error:  # SQLAlchemy's own, and Optuna's about them
        reason = str(error).strip().splitlines()[0]
        raise StoreUnavailable(f"Optuna's database at {redacted(storage)} cannot be opened: {reason}") from error
    try:
        yield study
    finally:
        backend.remove_session()
        backend.engine.dispose()


def forget(study: optuna.Study) -> None:
    """Delete a study that found nothing."""
    optuna.delete_study(study_name=study.study_name, storage=study._storage)


def distribution(axis: Axis) -> BaseDistribution:
    """An axis for Optuna."""
    if axis.choices:
        return CategoricalDistribution(axis.choices)
    if axis.integer:
        return IntDistribution(int(axis.low), int(axis.high), log=axis.log)
    return FloatDistribution(axis.low, axis.high, log=axis.log)


class Numbered(OptunaSearch):  # type: ignore[misc]
    """Optuna's proposals, each with its number among all of the study, from 1: so a resumed search goes on counting."""

    def suggest(self, trial_id: str) -> dict[str, Any]:
        """Propose a point for a new trial."""
        point: dict[str, Any] = super().suggest(trial_id)
        return {**point, NUMBER: self._ot_trials[trial_id].number + 1}


def last_number(study: optuna.Study, num_trials: int) -> int:
    """The number that the last of so many more trials will have; what waits in the study comes first and has its own already."""
    return len(study.trials) - len(study.get_trials(states=(TrialState.WAITING,))) + num_trials


def own_point(search: Search) -> dict[str, Value] | None:
    """The recipe's own values, where the space has them."""
    values = {}
    for axis in search.axes:
        group, _, field = axis.name.partition(".")
        values[axis.name] = getattr(getattr(search.recipe, group), field)
    return values if all(axis.contains(values[axis.name]) for axis in search.axes) else None


def propose_again(study: optuna.Study) -> int:
    """Points that were under way when a driver died, and those that failed, are proposed again; how many trials are done."""
    proposed = {trial.user_attrs.get(AGAIN) for trial in study.trials}
    for old in study.get_trials(states=(TrialState.RUNNING, TrialState.FAIL)):
        if old.number not in proposed:
            study.enqueue_trial(old.params, user_attrs={AGAIN: old.number})
        if old.state == TrialState.RUNNING:
            study.tell(old.number, state=TrialState.FAIL)
    return len(study.get_trials(states=(TrialState.COMPLETE,)))


def capacity(search: Search) -> int:
    """Trials that fit side by side.

    Raises:
        Unschedulable: not one fits, or a cluster has no resource for drivers.
    """
    cluster, have = search.cluster, ray.cluster_resources()
    if cluster.address and cluster.num_workers and DRIVER not in have:
        start = f"ray start --head --resources='{{\"{DRIVER}\": {MANY_DRIVERS}}}'"
        raise Unschedulable(f"the cluster has no resource {DRIVER}, which keeps drivers on the head node: {start}")
    each = jobs.resources_per_worker(cluster)
    fits = min(int(have.get(name, 0) // (amount * max(1, cluster.num_workers))) for name, amount in each.items())
    if search.max_concurrent is not None and (fits or cluster.address):
        return search.max_concurrent if cluster.address else min(search.max_concurrent, fits)
    if fits < 1:
        shown = {name: have.get(name, 0) for name in each}
        raise Unschedulable(
            f"a trial asks for {max(1, cluster.num_workers)} x {each} and the cluster has {shown}; on one that grows, give "
            "--max-concurrent"
        )
    return fits


def resources_of_trial(cluster: Cluster) -> dict[str, float]:
    """What Ray reserves for a trial itself: its own CPUs in local mode, else a driver's place and nothing its workers need."""
    if cluster.num_workers == 0:
        return jobs.resources_per_worker(cluster)
    return {"CPU": 0, DRIVER: 1}


def run(search: Search, search_run_id: str, study: optuna.Study, num_trials: int, callbacks: Sequence[ray.tune.Callback]) -> None:
    """That many more trials; what they find is in MLflow and in the study.

    Raises:
        Unschedulable: the cluster has no room for one.
    """
    space = {axis.name: distribution(axis) for axis in search.axes}
    names = (["best", "seconds"], [search.mode, "min"]) if search.against_cost else ("best", search.mode)
    proposer = Numbered(space, *names, study_name=search.name, storage=study._storage, sampler=sampler(search, len(study.trials)))
    max_phases = search.recipe.jko.num_phases
    scheduler = ASHAScheduler("phase", "value", search.mode, max_t=max_phases, grace_period=1, reduction_factor=REDUCTION)
    config = ray.tune.TuneConfig(
        search_alg=proposer,
        scheduler=None if search.against_cost or max_phases == 1 else scheduler,
        num_samples=num_trials,
        max_concurrent_trials=capacity(search),
        reuse_actors=True,
    )
    fit(trials.trial, search, search_run_id, config, callbacks)


def sampler(search: Search, salt: int) -> optuna.samplers.BaseSampler:
    """Who proposes; a resumed search does not repeat its first proposals."""
    seed = (search.seed + 1000 * salt) % 2**32  # numpy's bound
    if search.sampler == "random":
        return optuna.samplers.RandomSampler(seed)
    return optuna.samplers.TPESampler(seed=seed, n_startup_trials=max(4, search.num_trials // 4), constant_liar=True)


def confirm_trials(search: Search, search_run_id: str, todo: Sequence[Mapping[str, Any]]) -> list[float | None]:
    """The metric on fresh samples of every job of `tune.trial.confirm`; None where it failed."""
    config = ray.tune.TuneConfig(max_concurrent_trials=capacity(search), reuse_actors=True)
    space = {"number": ray.tune.grid_search(list(range(len(todo)))), "jobs": list(todo)}
    results = fit(trials.confirm_trial, search, search_run_id, config, [], space)
    found: list[float | None] = [None] * len(todo)
    for result in results:
        if result.metrics and "value" in result.metrics:
            found[result.config["number"]] = result.metrics["value"]
    return found


def fit(  # noqa: PLR0917
    work: Callable[..., None],
    search: Search,
    search_run_id: str,
    config: ray.tune.TuneConfig,
    callbacks: Sequence[ray.tune.Callback],
    param_space: Mapping[str, Any] | None = None,
) -> ray.tune.ResultGrid:
    """A Ray Tune run whose own files nobody needs."""
    os.environ |= QUIET
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)  # why a trial failed is said in our words, without a traceback
    with tempfile.TemporaryDirectory(prefix="sjko-tune-") as folder:
        tuner = ray.tune.Tuner(
            ray.tune.with_resources(
                ray.tune.with_parameters(work, search=search, search_run_id=search_run_id, places=clusters.variables()),
                resources_of_trial(search.cluster),
            ),
            tune_config=config,
            param_space=dict(param_space or {}),
            run_config=ray.tune.RunConfig(name=search.name, storage_path=str(Path(folder)), verbose=0, callbacks=list(callbacks)),
        )
        return tuner.fit()
