"""One driver per phase: a claim is the phase's own MLflow run, in state RUNNING.

A driver makes its run, then looks at all runs of the phase. It holds the claim only if no other living driver has one; otherwise
it takes its run back. Of two drivers that both see nobody else, the later to look would have seen the earlier, so at most one
holds the claim; when each sees the other, both step back and try again after a random pause.
"""

import contextlib
import os
import random
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from functools import cache

import psutil

from pipeline.errors import FlowError, StoreUnavailable
from pipeline.phase import Phase
from pipeline.runs import Run
from pipeline.store import OWNER, Store

HEARTBEAT = "sjko.heartbeat"
SECONDS_BETWEEN_BEATS = 10.0
SECONDS_WITHOUT_BEAT = 60.0


@cache
def this_process() -> str:
    """host:pid:start time, which names a process across restarts of its host."""
    return f"{socket.gethostname()}:{os.getpid()}:{psutil.Process().create_time():.2f}"


class Drivers:
    """Which other drivers are alive, as far as this one can tell.

    A driver is alive while its heartbeat changes, and on this host no longer than its process. Only this process's own monotonic
    clock is read, never the time of another machine.
    """

    def __init__(self) -> None:
        self._beats: dict[str, tuple[str, float]] = {}

    def is_alive(self, run_id: str, owner: str, beat: str) -> bool:
        """Whether the driver that owns a run is at work."""
        host, pid, created = [*owner.split(":"), "", "", ""][:3]
        if host == socket.gethostname() and pid.isdigit():
            try:
                if f"{psutil.Process(int(pid)).create_time():.2f}" != created:
                    return False
            except psutil.NoSuchProcess:
                return False
        seen, since = self._beats.get(run_id, ("", 0.0))
        if run_id not in self._beats or beat != seen:
            self._beats[run_id] = (beat, time.monotonic())
            return True
        return time.monotonic() - since < SECONDS_WITHOUT_BEAT


def try_claim(store: Store, phase: Phase, flow_run_id: str, drivers: Drivers) -> str | None:
    """The run to train a phase in, or None while another driver has it. Runs of dead drivers are closed as KILLED."""
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
    return run_id


def other_is_at_work(store: Store, runs: Sequence[Run], drivers: Drivers) -> bool:
    """Whether one of the runs is that of a living driver."""
    for run in runs:
        tags = run.data.tags
        if run.info.status == "RUNNING":
            if drivers.is_alive(run.info.run_id, tags.get(OWNER, ""), tags.get(HEARTBEAT, "")):
                return True
            store.set_status(run.info.run_id, "KILLED")
    return False


@contextlib.contextmanager
def held(store: Store, run_ids: Sequence[str]) -> Iterator[None]:
    """Keep claims alive with heartbeats from a thread; in the end close the runs whose phases were not published."""
    done = threading.Event()

    def beat() -> None:
        count = 0
        while not done.wait(SECONDS_BETWEEN_BEATS):
            count += 1
            for run_id in run_ids:
                with contextlib.suppress(Exception):  # whatever is wrong, who publishes finds out and says so
                    store.tag(run_id, HEARTBEAT, str(count))

    thread = threading.Thread(target=beat, name="heartbeat", daemon=True)
    thread.start()
    status = "KILLED"
    try:
        yield
    except StoreUnavailable:
        status = "FAILED" if store.is_there() else ""  # nobody to tell: who comes next misses the heartbeat
        raise
    except FlowError:
        status = "FAILED"
        raise
    finally:
        done.set()
        thread.join()
        with contextlib.suppress(StoreUnavailable):
            for run_id in run_ids if status else []:
                if store.run(run_id).info.status == "RUNNING":
                    store.set_status(run_id, status)
