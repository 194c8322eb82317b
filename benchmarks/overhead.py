"""What the platform costs per phase: flows of one step per phase, so that nearly all of their time is not spent in steps.

In this process (Ray Train's local mode), and on one real worker with 1, 5 and all phases per job, beside a Ray Train job that
does nothing. Evaluation and pictures are off; the store is a sqlite database on this disk.
"""

import contextlib
import os
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from functools import wraps
from typing import Any

import ray.train
from ray.train.torch import TorchTrainer

from benchmarks.harness import main
from benchmarks.rows import Pivot, Row
from pipeline import cluster as clusters
from pipeline import ray_session
from pipeline.cluster import Cluster
from pipeline.data.resolution import resolve
from pipeline.recipe import Jko, Recipe, Training
from pipeline.store.phases import Store
from pipeline.training import jobs
from pipeline.training.flow import run_flow
from pipeline.training.group import Unwatched

PARTS = ("find", "runs_of", "create", "write", "publish", "set_status", "load", "log_metrics", "run", "open_flow")
"""Methods of the store that are timed, nested calls counted in the outer one."""

PER_JOB = {"1 per job": 1, "5 per job": 5}
"""Phases per job by mode; in other modes one job trains all phases."""


def cases(quick: bool) -> list[Row]:
    """List the cases: local flows, empty jobs of Ray Train, and jobs of one, five and all phases."""
    return [
        {"mode": mode, "num_phases": num_phases, "seed": 0}
        for mode, num_phases in (
            [("local", 5)]
            if quick
            else [("local", 50), ("empty job", 3), ("1 per job", 3), ("5 per job", 10), ("all in one job", 30)]
        )
    ]


def measure(case: Row) -> Iterator[Row]:
    """Time a case's flow; yield its seconds per phase, and in local mode those of the store's methods."""
    began_cpu = time.process_time()
    with tempfile.TemporaryDirectory(prefix="sjko-overhead-") as home:
        os.environ["SJKO_HOME"] = home
        if case["mode"] == "local":
            seconds, parts = flow_seconds(case["num_phases"], Cluster())
        else:
            with ray_session.started(Cluster(num_workers=1)):
                flow_seconds(1, Cluster(num_workers=1))  # Ray's first job starts its own processes
                if case["mode"] == "empty job":
                    seconds, parts = empty_seconds(case["num_phases"]), {}
                else:
                    per_job = PER_JOB.get(case["mode"]) or int(case["num_phases"])
                    seconds, parts = flow_seconds(case["num_phases"], Cluster(num_workers=1, phases_per_job=per_job))
    common = {"cpu_seconds": time.process_time() - began_cpu}
    yield {"part": "all", "seconds_per_phase": seconds / case["num_phases"], **common}
    for part, spent in sorted(parts.items(), key=lambda pair: -pair[1]) if case["mode"] == "local" else ():
        yield {"part": part, "seconds_per_phase": spent / case["num_phases"], **common}


def flow_seconds(num_phases: int, cluster: Cluster) -> tuple[float, dict[str, float]]:
    """Time a new flow, and the store's methods within it, in seconds of wall time."""
    seed = time.time_ns() % 2**31  # no flow before has its phases
    recipe = Recipe(jko=Jko(num_phases=num_phases), training=Training(num_steps=1), seed=seed)
    store = Store(clusters.tracking_uri(Cluster()))
    with timed(Store, PARTS) as parts:
        began = time.perf_counter()
        for _ in run_flow(resolve(recipe, cluster), name="overhead", store=store, cluster=cluster, observer=Unwatched()):
            pass
        return time.perf_counter() - began, dict(parts)


def empty_seconds(num_jobs: int) -> float:
    """Time Ray Train jobs of one worker whose function returns at once, in seconds of wall time."""

    def nothing(config: dict[str, Any]) -> None:
        """Do nothing, inside `empty_seconds`: Ray would look for a module's function in a module that its workers lack."""

    began = time.perf_counter()
    for _ in range(num_jobs):
        storage = ray.train.RunConfig(storage_path=clusters.checkpoints(Cluster()))
        trainer = TorchTrainer(nothing, scaling_config=ray.train.ScalingConfig(num_workers=1), run_config=storage)
        jobs._fit_workers(trainer, Cluster(num_workers=1))
    return time.perf_counter() - began


@contextlib.contextmanager
def timed(cls: type, names: tuple[str, ...]) -> Iterator[dict[str, float]]:
    """Time the methods of a class while the context lasts, in seconds by name; one that another calls counts for that one."""
    spent: dict[str, float] = defaultdict(float)
    is_running = [False]
    originals = {name: getattr(cls, name) for name in names}

    def timer(name: str, original: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(original)
        def call(*args: Any, **kwargs: Any) -> Any:
            if is_running[0]:
                return original(*args, **kwargs)
            is_running[0], began = True, time.perf_counter()
            try:
                return original(*args, **kwargs)
            finally:
                is_running[0] = False
                spent[name] += time.perf_counter() - began

        return call

    for name, original in originals.items():
        setattr(cls, name, timer(name, original))
    try:
        yield spent
    finally:
        for name, original in originals.items():
            setattr(cls, name, original)


PIVOTS = [
    Pivot(
        ("mode", "num_phases", "part"),
        None,
        ("seconds_per_phase",),
        "wall seconds per phase beyond its steps; goals: local 0.15, all in one job 0.5",
    ),
]

if __name__ == "__main__":
    main("overhead", __doc__, cases=cases, measure=measure, pivots=PIVOTS, processes=1)
