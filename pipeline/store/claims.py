"""One driver per phase: a claim is the phase's own MLflow run, in state RUNNING.

A driver makes its run, then looks at all runs of the phase. It holds the claim only if no other living driver has one; otherwise
it takes its run back. Two drivers cannot both see nobody else, since the later to look sees the earlier one. So at most one
holds the claim. When each sees the other, both step back and try again after a random pause.
"""

import contextlib
import logging
import os
import random
import socket
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from functools import cache

import psutil

from pipeline.phase import Phase
from pipeline.store.ending import ending
from pipeline.store.phases import OWNER, Store
from pipeline.store.runs import Run

logger = logging.getLogger(__name__)
HEARTBEAT = "sjko.heartbeat"
SECONDS_BETWEEN_BEATS = 10.0
SECONDS_WITHOUT_BEAT = 60.0
SECONDS_UNTIL_INTERRUPTED = 300.0
"""More than the clocks of two machines differ by."""


@cache
def this_process() -> str:
    """Name this process as host:pid:start time, which stays its own across restarts of its host."""
    return f"{socket.gethostname()}:{os.getpid()}:{psutil.Process().create_time():.2f}"


def is_gone(owner: str) -> bool:
    """Say whether a driver was a process of this host that is no more."""
    host, pid, created = [*owner.split(":"), "", "", ""][:3]
    if host != socket.gethostname() or not pid.isdigit():
        return False
    try:
        return f"{psutil.Process(int(pid)).create_time():.2f}" != created
    except psutil.NoSuchProcess:
        return True


def status_of(run: Run) -> str:
    """Give the status of a flow's or search's run for a person: MLflow's, or INTERRUPTED where its driver is gone.

    The driver of another host is taken for gone when its last heartbeat, by the clocks of both, is minutes old.
    """
    status, beat = str(run.info.status), run.data.tags.get(HEARTBEAT, "")
    if status != "RUNNING":
        return status
    last = float(beat) if beat else run.info.start_time / 1000
    overdue = time.time() - last > SECONDS_UNTIL_INTERRUPTED
    return "INTERRUPTED" if overdue or is_gone(run.data.tags.get(OWNER, "")) else status


class Drivers:
    """The other drivers as far as this one can tell: which of them are alive.

    A driver is alive while its heartbeat changes, and on this host no longer than its process. Only this process's own monotonic
    clock is read, never the time of another machine.
    """

    def __init__(self) -> None:
        self._beats: dict[str, tuple[str, float]] = {}

    def is_alive(self, run_id: str, owner: str, beat: str) -> bool:
        """Say whether the driver that owns a run is still at work on it."""
        if is_gone(owner):
            return False
        seen, since = self._beats.get(run_id, ("", 0.0))
        if run_id not in self._beats or beat != seen:
            self._beats[run_id] = (beat, time.monotonic())
            return True
        return time.monotonic() - since < SECONDS_WITHOUT_BEAT


def claim_first(store: Store, missing: Sequence[Phase], flow_run_id: str, drivers: Drivers) -> dict[Phase, str]:
    """Claim the first phases of `missing`, up to one that another driver has: each with the run to train it in."""
    runs: dict[Phase, str] = {}
    for phase in missing:
        run_id = try_claim(store, phase, flow_run_id, drivers)
        if run_id is None:
            break
        runs[phase] = run_id
    return runs


def try_claim(store: Store, phase: Phase, flow_run_id: str, drivers: Drivers) -> str | None:
    """Claim a phase: give the run to train it in, or None while another driver has it. Runs of dead drivers are closed as
    KILLED.
    """
    if other_is_at_work(store, store.runs_of(phase.fingerprint), drivers):
        return None
    run_id = store.create_phase_run(phase, flow_run_id, this_process())
    others = [run for run in store.runs_of(phase.fingerprint) if run.info.run_id != run_id]
    if other_is_at_work(store, others, drivers):
        store.delete_run(run_id)
        time.sleep(random.uniform(0.05, 0.5))  # nosec B311
        return None
    if store.find(phase, runs=others) is not None:  # published since the caller looked
        store.delete_run(run_id)
        return None
    for deleted in store.once_published(phase.fingerprint)[:1]:
        logger.warning("phase %d is trained again, since it %s", phase.k, store.restoring(deleted))
    return run_id


def other_is_at_work(store: Store, runs: Sequence[Run], drivers: Drivers) -> bool:
    """Say whether one of the runs is that of a living driver; those of dead ones are closed as KILLED."""
    for run in runs:
        tags = run.data.tags
        if run.info.status == "RUNNING":
            if drivers.is_alive(run.info.run_id, tags.get(OWNER, ""), tags.get(HEARTBEAT, "")):
                return True
            store.set_status(run.info.run_id, "KILLED")
    return False


@contextlib.contextmanager
def beating(store: Store, run_ids: Sequence[str], signed: Mapping[str, str] | None = None) -> Iterator[None]:
    """Show by heartbeats from a thread that runs are worked on.

    Args:
        signed: tags set with every beat. Two drivers may share a flow: so the one that lives is seen.
    """
    done = threading.Event()

    def beat() -> None:
        for run_id in run_ids:
            for key, value in {**(signed or {}), HEARTBEAT: f"{time.time():.1f}"}.items():
                with contextlib.suppress(Exception):  # whatever is wrong, who publishes finds out and says so
                    store.tag(run_id, key, value)

    def beat_on() -> None:
        while not done.wait(SECONDS_BETWEEN_BEATS):
            beat()

    beat()
    thread = threading.Thread(target=beat_on, name="heartbeat", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


@contextlib.contextmanager
def held(store: Store, run_ids: Sequence[str]) -> Iterator[None]:
    """Keep claims alive with heartbeats; in the end say what became of their runs."""
    with ending(store, run_ids), beating(store, run_ids):
        yield
