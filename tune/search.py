"""Ray Tune drives, Optuna proposes.

Optuna's database is the memory of the sampler and MLflow that of the results; nothing is kept in Ray. So a search that was
killed goes on as a new Ray Tune run on the old study. It proposes what was under way again, which finds its phases in the store.
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
from pipeline import places
from pipeline.cluster import Cluster
from pipeline.errors import FlowError, StoreUnavailable, Unschedulable, Unusable
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
"""One trial in four goes on after phase 1, 4, 16, ...: ASHA's reduction factor."""
AGAIN = "again"
"""Name of the user attribute of a trial in Optuna: number of the trial whose point it tries again."""
QUIET = {
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # Ctrl-C is ours: Tune would stop the trials and go on as if they were done
    "RAY_AIR_NEW_OUTPUT": "0",  # the new one ignores verbose=0
}


class SearchFailed(FlowError):
    """The error of a search of which no trial gave a result."""


@contextlib.contextmanager
def study_of(search: Search, storage: str, *, create: bool, again: bool = False) -> Iterator[optuna.Study]:
    """Open the Optuna study of a search for the time of the context.

    Args:
        storage: address of Optuna's database.
        create: whether the study is made.
        again: whether it may then exist already.

    Raises:
        StoreUnavailable: the database does not answer, or the study is not there.
        Unusable: the file of the database cannot be written to.
    """
    file = places.sqlite_file(storage)
    if not create and file is not None and not file.is_file():  # Optuna would make it
        raise StoreUnavailable(f"the study {search.name} is not at {redacted(storage)}: give its --store.optuna")
    if file is not None:
        require_writable(file)
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


def require_writable(database: Path) -> None:
    """Refuse a file of a database that cannot be written to, or that cannot be made.

    Raises:
        Unusable: says why.
    """
    try:
        with database.open("ab"):
            pass
    except OSError as error:
        raise Unusable(f"Optuna's database {database} cannot be written to: {error.strerror}") from error


def forget(study: optuna.Study) -> None:
    """Delete the Optuna study of a search that gave no result."""
    optuna.delete_study(study_name=study.study_name, storage=study._storage)


def distribution(axis: Axis) -> BaseDistribution:
    """Describe an axis as Optuna's distribution of its values.

    >>> distribution(Axis("jko.h", low=0.1, high=10.0, log=True))
    FloatDistribution(high=10.0, log=True, low=0.1, step=None)
    """
    if axis.choices:
        return CategoricalDistribution(axis.choices)
    if axis.integer:
        return IntDistribution(int(axis.low), int(axis.high), log=axis.log)
    return FloatDistribution(axis.low, axis.high, log=axis.log)


class Numbered(OptunaSearch):  # type: ignore[misc]  # Ray ships no types for it
    """The search algorithm of Ray Tune that asks Optuna; each point has its number in the study, which resumes count on."""

    def suggest(self, trial_id: str) -> dict[str, Any]:
        """Propose a point for a new trial, with the trial's number."""
        point: dict[str, Any] = super().suggest(trial_id)
        return {**point, NUMBER: self._ot_trials[trial_id].number + 1}


def last_number(study: optuna.Study, num_trials: int) -> int:
    """Compute the number of the last of `num_trials` more trials; points that wait in the study come first, numbered."""
    return len(study.trials) - len(study.get_trials(states=(TrialState.WAITING,))) + num_trials


def own_point(search: Search) -> dict[str, Value] | None:
    """Return the recipe's own values as a point of the space; None where the space does not contain them."""
    values = {}
    for axis in search.axes:
        group, _, field = axis.name.partition(".")
        values[axis.name] = getattr(getattr(search.recipe, group), field)
    return values if all(axis.contains(values[axis.name]) for axis in search.axes) else None


def propose_again(study: optuna.Study) -> int:
    """Propose points again that were under way when a driver died, or failed; return how many trials are done."""
    proposed = {trial.user_attrs.get(AGAIN) for trial in study.trials}
    for old in study.get_trials(states=(TrialState.RUNNING, TrialState.FAIL)):
        if old.number not in proposed:
            study.enqueue_trial(old.params, user_attrs={AGAIN: old.number})
        if old.state == TrialState.RUNNING:
            study.tell(old.number, state=TrialState.FAIL)
    return len(study.get_trials(states=(TrialState.COMPLETE,)))


def capacity(search: Search) -> int:
    """Count the trials that fit side by side into the Ray that this process is connected to.

    Raises:
        Unschedulable: not one fits, or the cluster has no resource for drivers.
    """
    cluster, resources = search.cluster, ray.cluster_resources()
    if cluster.address and cluster.num_workers and DRIVER not in resources:
        start = f"ray start --head --resources='{{\"{DRIVER}\": {MANY_DRIVERS}}}'"
        raise Unschedulable(f"the cluster has no resource {DRIVER}, which keeps drivers on the head node: {start}")
    needs = jobs.resources_per_worker(cluster)
    fits = min(int(resources.get(name, 0) // (amount * max(1, cluster.num_workers))) for name, amount in needs.items())
    if search.max_concurrent is not None and (fits or cluster.address):
        return search.max_concurrent if cluster.address else min(search.max_concurrent, fits)
    if fits < 1:
        available = {name: resources.get(name, 0) for name in needs}
        raise Unschedulable(
            f"a trial asks for {max(1, cluster.num_workers)} x {needs} and the cluster has {available}; on one that grows, give "
            "--max-concurrent"
        )
    return fits


def resources_of_trial(cluster: Cluster) -> dict[str, float]:
    """Say what Ray reserves for a trial itself: its CPUs in local mode, else a driver's place, without its workers."""
    if cluster.num_workers == 0:
        return jobs.resources_per_worker(cluster)
    return {"CPU": 0, DRIVER: 1}


def run(search: Search, search_run_id: str, study: optuna.Study, num_trials: int, callbacks: Sequence[ray.tune.Callback]) -> None:
    """Train `num_trials` more trials with Ray Tune; what they give is written to MLflow and to the study.

    Raises:
        Unschedulable: the cluster has no room for a trial.
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
    """Make Optuna's sampler, which proposes points; a `salt` keeps a resumed search from repeating its first proposals."""
    seed = (search.seed + 1000 * salt) % 2**32  # numpy's bound
    if search.sampler == "random":
        return optuna.samplers.RandomSampler(seed)
    return optuna.samplers.TPESampler(seed=seed, n_startup_trials=max(4, search.num_trials // 4), constant_liar=True)


def confirm_trials(search: Search, search_run_id: str, todo: Sequence[Mapping[str, Any]]) -> list[float | None]:
    """Run `tune.trial.confirm_trial` for each entry of `todo`: its metric on fresh samples, None where it failed."""
    config = ray.tune.TuneConfig(max_concurrent_trials=capacity(search), reuse_actors=True)
    space = {"number": ray.tune.grid_search(list(range(len(todo)))), "jobs": list(todo)}
    results = fit(trials.confirm_trial, search, search_run_id, config, [], space)
    values: list[float | None] = [None] * len(todo)
    for result in results:
        if result.metrics and "value" in result.metrics:
            values[result.config["number"]] = result.metrics["value"]
    return values


def fit(  # noqa: PLR0917
    work: Callable[..., None],
    search: Search,
    search_run_id: str,
    config: ray.tune.TuneConfig,
    callbacks: Sequence[ray.tune.Callback],
    param_space: Mapping[str, Any] | None = None,
) -> ray.tune.ResultGrid:
    """Run Ray Tune on the trials' function `work`, in a temporary folder, since nobody needs Ray Tune's own files."""
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
