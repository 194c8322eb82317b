"""What a flow of Python has trained: in this process, or in a store as the command does."""

from dataclasses import asdict, dataclass, replace
from typing import Any

from components.parts.naming import PartName
from pipeline import cluster as clusters
from pipeline.cluster import Cluster
from pipeline.data.endpoints import Endpoints, load_endpoints
from pipeline.data.resolution import resolve
from pipeline.data.tables import kept
from pipeline.errors import Unusable
from pipeline.evaluation import judging
from pipeline.evaluation.judging import CURVES
from pipeline.evaluation.measure import evaluate
from pipeline.evaluation.size import Evaluation, EvaluationSize
from pipeline.generator import Generator, generator_of, load_generator
from pipeline.phase import Phase, phases_of
from pipeline.store.maps import MapRef
from pipeline.store.phases import Store
from pipeline.training.flow import run_flow
from sjko.data.bound import BoundRecipe
from sjko.progress import counting, watching
from sjko.storing import require_storable
from sjko.trained import TrainedPhase
from sjko.training import Curve, Kept, publish, train


@dataclass(frozen=True)
class InProcess:
    """A phase that this process has trained, and that no store has."""

    curve: Curve

    def curves(self) -> dict[str, list[tuple[int, float]]]:
        return {name: [(step, losses[name]) for step, losses in self.curve if name in losses] for name in CURVES}

    def metrics(self, generator: Generator, size: EvaluationSize) -> dict[str, float]:
        return evaluate(generator, size, logged=self.curve[-1][1] if self.curve else {})


@dataclass(frozen=True)
class InStore:
    """A phase that is published in a store, with which its metrics are kept."""

    uri: str
    ref: MapRef

    def curves(self) -> dict[str, list[tuple[int, float]]]:
        store = Store(self.uri)
        return {name: store.metric_history(self.ref.run_id, name) for name in CURVES}

    def metrics(self, generator: Generator, size: EvaluationSize) -> dict[str, float]:
        return judging.metrics_of(Store(self.uri), self.ref, generator.phase, lambda: generator, cluster=Cluster(), size=size)


class Fitted:
    """The phases that a flow has trained, and where they are.

    Args:
        metrics: names of metrics beside those of the data.

    Attributes:
        phases: those that are finished, in order.
        uri: tracking URI of the store that they are in; None: they are in this process alone.
    """

    def __init__(self, metrics: tuple[PartName, ...] = ()) -> None:
        self.phases: list[TrainedPhase] = []
        self.uri: str | None = None
        self._metrics, self._kept = metrics, Kept()

    def fit_here(self, bound: BoundRecipe, cluster: Cluster, *, progress: bool) -> None:
        """Train in this process the phases that it has not trained yet."""
        if cluster.num_workers:
            raise ValueError(
                f"fit(cluster=...) with {cluster.num_workers} workers needs a store: fit(store=True), or a tracking URI"
            )
        recipe = resolve(bound.recipe, cluster)
        phases = phases_of(recipe)
        if [each.fingerprint for each in self.phases] == [phase.fingerprint for phase in phases]:
            self.phases = [each.in_form(bound.form) for each in self.phases]
            return
        endpoints = load_endpoints(recipe.data, clusters.data(cluster))
        self._kept.forget_all_but(phases)
        self.phases, self.uri = [self._in_process(phase, bound, endpoints) for phase in self._kept.curves], None
        with counting(sum(phase.num_steps for phase in phases), progress) as show:
            for phase in train(phases, endpoints, cluster, self._kept, show):
                self.phases.append(self._in_process(phase, bound, endpoints))

    def fit_in(self, store: Store, bound: BoundRecipe, cluster: Cluster, *, name: str, progress: bool) -> None:
        """Train in a store as the command does, with workers or without; what this process has trained is published first."""
        require_storable("fit(store=...)", bound.recipe, self._metrics)
        # The place of data is named, since in a Ray that was there before workers may have another $SJKO_HOME.
        cluster = replace(cluster, tracking_uri=store.uri, data=kept.place_of(clusters.data(cluster)))
        recipe = resolve(bound.recipe, cluster)
        phases = phases_of(recipe)
        if self._kept.curves and list(self._kept.curves) == phases[: len(self._kept.curves)]:
            self._publish(store, bound, name)
        self.phases, self.uri = [], store.uri
        with watching(store, phases, progress) as display:
            for result in run_flow(recipe, name=name, store=store, cluster=cluster, observer=display):
                display.published(result.phase)
                generator = load_generator(store, result.ref, data_uri=clusters.data(cluster))
                self.phases.append(self._in_store(store, result.ref, bound, generator))

    def move_to(self, store: Store, bound: BoundRecipe, name: str) -> None:
        """Publish what this process has trained in a store, where it is from then on.

        Raises:
            Unusable: the phases are in another store.
        """
        if not self._kept.curves:
            raise Unusable(f"the flow is in the store at {self.uri}: register it there, or fit it with store={store.uri!r}")
        published = zip(self._publish(store, bound, name), self.phases, strict=True)
        self.phases = [self._in_store(store, ref, bound, phase.generator) for ref, phase in published]
        self.uri = store.uri

    def _publish(self, store: Store, bound: BoundRecipe, name: str) -> list[MapRef]:
        """Publish what this process has trained, as a flow of so many phases."""
        recipe = resolve(bound.recipe, Cluster())
        recipe = replace(recipe, jko=replace(recipe.jko, num_phases=len(self._kept.curves)))
        return publish(self._kept, store, name, asdict(recipe))

    def _in_process(self, phase: Phase, bound: BoundRecipe, endpoints: Endpoints) -> TrainedPhase:
        generator, origin = generator_of(phase, endpoints, self._kept.maps(phase)), InProcess(self._kept.curves[phase])
        return TrainedPhase(generator, origin, bound.form, self._size(bound, phase.k))

    def _in_store(self, store: Store, ref: MapRef, bound: BoundRecipe, generator: Generator) -> TrainedPhase:
        return TrainedPhase(generator, InStore(store.uri, ref), bound.form, self._size(bound, ref.k))

    def _size(self, bound: BoundRecipe, k: int) -> EvaluationSize:
        return Evaluation(metrics=self._metrics).of_phase(k, bound.recipe.jko.num_phases)

    def __getstate__(self) -> dict[str, Any]:
        """Give what a copy in another process needs: all but the files that a process goes on training from."""
        return {**vars(self), "_kept": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update({**state, "_kept": Kept()})
