"""The phases of one job: found in the store, claimed and trained, or waited for while another driver trains them."""

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from pipeline.cluster import Cluster
from pipeline.phase import Phase
from pipeline.store import claims
from pipeline.store.maps import MapRef
from pipeline.store.phases import Store
from pipeline.training import jobs


@dataclass(frozen=True)
class PhaseResult:
    """A phase that is in the store, and how it came there.

    Attributes:
        cached: it was there, trained by an earlier command or by another driver.
        seconds: wall time until this command had it published, job start-up included; 0 where cached.
    """

    phase: Phase
    ref: MapRef
    cached: bool
    seconds: float


class Observer(Protocol):
    """An observer of a flow: it is told what is trained and what is waited for."""

    def training(self, runs: dict[Phase, str]) -> contextlib.AbstractContextManager[None]:
        """Hear that these phases are being trained, in these MLflow runs, until the context ends."""
        ...

    def waiting(self, phase: Phase) -> None:
        """Hear that another driver is training this phase, and that the flow waits for it."""
        ...


class Unwatched:
    """An observer of a flow that nobody watches."""

    def training(self, runs: dict[Phase, str]) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext()

    def waiting(self, phase: Phase) -> None:
        pass


def ensure_published(
    group: Sequence[Phase],
    flow_run_id: str,
    connect: Callable[[], None],
    *,
    store: Store,
    cluster: Cluster,
    observer: Observer,
) -> Iterator[PhaseResult]:
    """Yield the phases of one job: the missing ones are claimed and trained, those that another driver has are waited for."""
    drivers, began, trained = claims.Drivers(), time.monotonic(), set[Phase]()
    published: dict[Phase, MapRef] = {}  # a phase is verified once
    while missing := missing_of(group, published, store):
        connect()
        runs = claims.claim_first(store, missing, flow_run_id, drivers)
        if not runs:
            observer.waiting(missing[0])
            time.sleep(1.0)
            continue
        with claims.held(store, list(runs.values())), observer.training(runs):
            jobs.run_job(runs, name=jobs.job_name(group), cluster=cluster)
        trained |= runs.keys()
    seconds = (time.monotonic() - began) / max(1, len(trained))
    for phase in group:
        yield PhaseResult(phase, published[phase], cached=phase not in trained, seconds=seconds if phase in trained else 0.0)


def missing_of(group: Sequence[Phase], published: dict[Phase, MapRef], store: Store) -> list[Phase]:
    """List the phases that are not in the store, and add the others to `published`."""
    for phase in group:
        if phase not in published and (ref := store.find(phase)) is not None:
            published[phase] = ref
    return [phase for phase in group if phase not in published]
