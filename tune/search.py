"""Ray Tune drives, Optuna proposes.

Optuna's database is the memory of the sampler and MLflow that of the results; nothing is kept in Ray. So a search that was
killed goes on as a new Ray Tune run on the old study. It proposes what was under way again, which finds its phases in the store.
"""

import logging
import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import optuna
import ray
import ray.tune
from ray.tune.schedulers import ASHAScheduler
from ray.tune.search.optuna import OptunaSearch

from pipeline import cluster as clusters
from pipeline.cluster import Cluster
from pipeline.errors import FlowError, Unschedulable
from pipeline.training import jobs
from tune import trial as trials
from tune.definition import Search
from tune.records import NUMBER
from tune.studies import distribution, sampler

DRIVER = "train_driver"
MANY_DRIVERS = 1000
"""Drivers wait for their workers nearly all the time: on this machine their number is not what limits."""
REDUCTION = 4
"""One trial in four goes on after phase 1, 4, 16, ...: ASHA's reduction factor."""
QUIET = {
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # Ctrl-C is ours: Tune would stop the trials and go on as if they were done
    "RAY_AIR_NEW_OUTPUT": "0",  # the new one ignores verbose=0
}


class SearchFailed(FlowError):
    """The error of a search of which no trial gave a result."""


class Numbered(OptunaSearch):  # type: ignore[misc]  # Ray ships no types for it
    """The search algorithm of Ray Tune that asks Optuna; each point has its number in the study, which resumes count on."""

    def suggest(self, trial_id: str) -> dict[str, Any]:
        """Propose a point for a new trial, with the trial's number."""
        point: dict[str, Any] = super().suggest(trial_id)
        return {**point, NUMBER: self._ot_trials[trial_id].number + 1}


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
