"""The chain of phases: T_{-1} is the identity, each phase is found in the store or trained, the last T_k is the generator."""

import contextlib
from collections.abc import Collection, Iterator
from dataclasses import asdict
from functools import cache

from pipeline import cluster as clusters
from pipeline import ray_session
from pipeline.cluster import Cluster
from pipeline.data import rows
from pipeline.data.resolution import ResolvedRecipe
from pipeline.errors import IndivisibleBatch
from pipeline.parts.pinning import part_names
from pipeline.phase import phases_of
from pipeline.recipe import Recipe
from pipeline.store import claims
from pipeline.store.ending import ending
from pipeline.store.phases import OWNER, Store
from pipeline.training.group import Observer, PhaseResult, ensure_published
from pipeline.training.solving.setting import indivisible


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
        >>> from pipeline.training.group import Unwatched
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
