"""Many short phases while drivers and workers are killed at random: nothing lost, nothing twice, the same numbers in the end."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import psutil
import pytest
from flows import ROOT, assert_identical, command_environment, tiny, train, weights
from homes import new_store

from pipeline.cluster import Cluster
from pipeline.phase import phases_of
from pipeline.store.phases import Store

DRIVER = """
import json, sys
sys.path.insert(0, "tests")
from flows import tiny, train
from pipeline import cluster as clusters
from pipeline.cluster import Cluster
from pipeline.store.phases import Store
changes, cluster = (json.loads(text) for text in sys.argv[1:])
train(tiny(**changes), Store(clusters.tracking_uri(Cluster())), Cluster(**cluster))
"""
LOCAL, WORKER = {"num_workers": 0}, {"num_workers": 1, "phases_per_job": 10, "checkpoint_every": 10}


@pytest.mark.parametrize(
    ("num_phases", "num_kills"),
    [
        pytest.param(20, 3, marks=pytest.mark.thorough),
        pytest.param(200, 20, marks=[pytest.mark.soak, pytest.mark.timeout(3600)]),
    ],
)
def test_random_kills_lose_nothing_and_train_nothing_twice(num_phases: int, num_kills: int, store: Store, home: Path) -> None:
    chance = random.Random(num_phases)
    changes = {"num_phases": num_phases, "num_steps": 30, "seed": 9}
    phases = phases_of(tiny(**changes))
    published: set[str] = set()
    for _ in range(num_kills):
        driver = start(home, changes, chance.choice([LOCAL, WORKER]))
        goal = len(published) + chance.randint(0, 2 * num_phases // num_kills)
        while driver.poll() is None and len(now := finished(store)) < goal:
            time.sleep(0.1)
        time.sleep(chance.uniform(0, 8 if goal == len(published) else 0.5))
        kill(driver, chance)
        now = finished(store)
        assert published <= now.keys(), "what was published is lost"
        published = set(now)
    driver = start(home, changes, LOCAL)
    out, _ = driver.communicate(timeout=1800)
    assert driver.returncode == 0, out
    runs = finished(store)
    assert runs == Counter(phase.fingerprint for phase in phases), "each phase once"
    undisturbed = new_store(home / "undisturbed")
    expected = train(tiny(**changes), undisturbed, Cluster(tracking_uri=undisturbed.uri))[-1]
    assert_identical(weights(store, store.require(phases[-1])), weights(undisturbed, expected.ref))


def start(home: Path, changes: dict[str, int], cluster: dict[str, int]) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", DRIVER, json.dumps(changes), json.dumps(cluster)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    return subprocess.Popen(command, cwd=ROOT, env=command_environment(home), start_new_session=True, **pipes)


def finished(store: Store) -> Counter[str]:
    """How often each phase was published."""
    runs = store.select("tags.`sjko.kind` = 'phase' and attributes.status = 'FINISHED'")
    return Counter(run.data.tags["sjko.fingerprint"] for run in runs)


def kill(driver: subprocess.Popen[str], chance: random.Random) -> None:
    """The worker alone, and then sooner or later, or at once, all that the driver has started, and the driver."""
    try:
        processes = [psutil.Process(driver.pid), *psutil.Process(driver.pid).children(recursive=True)]
    except psutil.NoSuchProcess:
        processes = []
    workers = [each for each in processes if "RayTrainWorker" in " ".join(each.cmdline())]
    if workers and chance.random() < 0.5:
        os.kill(workers[0].pid, signal.SIGKILL)
        time.sleep(chance.uniform(0, 6))
    for process in reversed(processes):
        if process.is_running():
            process.kill()
    psutil.wait_procs(processes, timeout=30)
    driver.communicate()
