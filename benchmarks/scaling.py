"""One and two Ray Train workers of one thread each at a fixed global batch: seconds per step of the light image pair."""

import os
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from statistics import median

from benchmarks.flows import shipped
from benchmarks.harness import main
from benchmarks.rows import Pivot, Row
from pipeline import cluster as clusters
from pipeline import ray_session
from pipeline.cluster import Cluster
from pipeline.data.resolution import resolve
from pipeline.store.phases import Store
from pipeline.training.flow import run_flow
from pipeline.training.group import Unwatched

BATCH_SIZES, WORKERS = (32, 64, 256), (1, 2)


def cases(quick: bool) -> list[Row]:
    """List the cases: each global batch size."""
    return [
        {"batch_size": n, "num_steps": 10 if quick else 200, "rounds": 1 if quick else 3, "seed": 0}
        for n in (BATCH_SIZES[:1] if quick else BATCH_SIZES)
    ]


def measure(case: Row) -> Iterator[Row]:
    """Time steps with each number of workers in turns; yield a row per number of workers."""
    began = time.process_time()
    with tempfile.TemporaryDirectory(prefix="sjko-scaling-") as home:
        os.environ["SJKO_HOME"] = home
        with ray_session.started(Cluster(num_workers=max(WORKERS))):
            rounds = [{workers: seconds_per_step(case, workers, i) for workers in WORKERS} for i in range(case["rounds"])]
    seconds = {workers: median(figures[workers] for figures in rounds) for workers in WORKERS}
    for workers in WORKERS:
        yield {
            "workers": workers,
            "seconds_per_step": seconds[workers],
            "speedup": seconds[1] / seconds[workers],
            "cpu_seconds": time.process_time() - began,
        }


def seconds_per_step(case: Row, num_workers: int, seed: int) -> float:
    """Time a step in seconds of wall time, as the difference of a short and a long phase: what a job costs falls out."""
    short, long = (train_seconds(case, num_workers, factor * case["num_steps"], seed) for factor in (1, 3))
    return (long - short) / (2 * int(case["num_steps"]))


def train_seconds(case: Row, num_workers: int, num_steps: int, seed: int) -> float:
    """Train one phase with Ray Train; return its seconds of wall time within the worker."""
    recipe = shipped("fashion_mnist")
    training = replace(recipe.training, num_steps=num_steps, batch_size=case["batch_size"])
    recipe = replace(recipe, jko=replace(recipe.jko, num_phases=1), training=training, seed=10 * seed + num_workers)
    store, cluster = Store(clusters.tracking_uri(Cluster())), Cluster(num_workers=num_workers, checkpoint_every=0)
    (result,) = run_flow(resolve(recipe, cluster), name="scaling", store=store, cluster=cluster, observer=Unwatched())
    return float(store.run(result.ref.run_id).data.metrics["train_seconds"])


PIVOTS = [Pivot(("batch_size", "workers"), None, ("seconds_per_step", "speedup"), "light pair, float32; goal: two workers 1.7")]

if __name__ == "__main__":
    main("scaling", __doc__, cases=cases, measure=measure, pivots=PIVOTS, processes=1)
