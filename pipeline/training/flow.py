"""The chain of phases: T_{-1} is the identity, each phase is found in the store or trained, the last T_k is the generator."""

import contextlib
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from typing import Protocol

from pipeline import cluster as clusters
from pipeline import ray_session
from pipeline.cluster import Cluster
from pipeline.data import rows
from pipeline.data.resolution import ResolvedRecipe
from pipeline.errors import IndivisibleBatch
from pipeline.parts.pinning import part_names
from pipeline.phase import Phase, phases_of
from pipeline.recipe import Recipe
from pipeline.store import claims
from pipeline.store.ending import ending
from pipeline.store.phases import OWNER, MapRef, Store
from pipeline.training import jobs
from pipeline.training.solving.setting import indivisible


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


def run_flow(
    recipe: ResolvedRecipe,
    *,
    name: str,
    store: Store,
    cluster: Cluster,
    observer: Observer,
    run_id: str | None = None,
    parts: Collection[str] = (),
) -> Iterator[PhaseResult]:
    """Train a recipe's flow: yield each phase in order as soon as it is in the store; what is there is not trained again.

    Example:
        >>> from pipeline.cluster import tracking_uri
        >>> from pipeline.data.resolution import resolve
        >>> from pipeline.recipes.loading import load_recipe
        >>> cluster = Cluster()
        >>> recipe = resolve(load_recipe("two_circles", training__num_steps=1, jko__num_phases=2), cluster)
        >>> flow = run_flow(recipe, name="circles", store=Store(tracking_uri(cluster)), cluster=cluster, observer=Unwatched())
        >>> [result.ref.k for result in flow]
        [0, 1]

    Args:
        recipe: as `pipeline.data.resolution.resolve` gives it.
        run_id: MLflow run that stands for the flow, ended by who gives it; None: the flow's own, opened again or new.
        parts: names of parts beside the recipe's, such as metrics, that sub-processes need meanwhile.

    Raises:
        FlowError: what went wrong. All phases published so far stay, and the same call goes on from there.
    """
    require_shares(recipe, cluster)
    rows.keep((recipe.data.source, recipe.data.target), clusters.data(cluster))
    phases = phases_of(recipe)
    flow_run_id = run_id or store.open_flow(name, phases[-1].fingerprint, asdict(recipe))
    with contextlib.ExitStack() as stack:
        if run_id is None:
            stack.enter_context(ending(store, [flow_run_id]))
            stack.enter_context(claims.beating(store, [flow_run_id], {OWNER: claims.this_process()}))
        needed = [*part_names(recipe).values(), *parts]

        @cache
        def connect() -> None:  # once, at the first phase that is missing: a flow that is wholly in the store starts no Ray
            stack.enter_context(ray_session.connected(cluster, parts=needed))

        for start in range(0, len(phases), cluster.phases_per_job):
            group = phases[start : start + cluster.phases_per_job]
            yield from ensure_published(group, flow_run_id, connect, store=store, cluster=cluster, observer=observer)


def require_shares(recipe: Recipe, cluster: Cluster) -> None:
    """Refuse a batch that workers and microbatches cannot share.

    Raises:
        IndivisibleBatch: a worker would have nothing to do, microbatches would differ in size, or batch norm in what it sees.
    """
    kind = recipe.network.kind
    if recipe.network.pair.shares_batch_statistics and cluster.num_microbatches > 1:
        raise IndivisibleBatch(
            f"cluster.num_microbatches must be 1 with network.kind {kind}, whose batch norm would see each part alone, "
            f"not {cluster.num_microbatches}"
        )
    unit, workers = indivisible(recipe.network, cluster.num_microbatches), max(1, cluster.num_workers)
    if recipe.training.batch_size % unit or recipe.training.batch_size < unit * workers:
        by = f"{workers} workers, {cluster.num_microbatches} microbatches and network.kind {kind}"
        rule = f"a multiple of {unit}, and at least {unit * workers}"
        raise IndivisibleBatch(f"training.batch_size must be {rule}, with {by}, not {recipe.training.batch_size}")


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
