"""Versions in MLflow's registry, as flows that can be sampled, and flows as versions."""

import math
import re
from dataclasses import dataclass, replace
from typing import Any

from components.parts.naming import PartName
from deploy.flags import model_and_version, model_name
from deploy.versions.code import CodeRefused, require_no_other
from deploy.versions.registered import Version
from deploy.versions.registry import Registry
from pipeline import cluster as clusters
from pipeline.cluster import Cluster
from pipeline.evaluation import judging
from pipeline.evaluation.size import FULL, Evaluation, EvaluationSize
from pipeline.generator import Generator, load_generator
from pipeline.phase import OF_POINTS, Phase, step_size
from pipeline.recipe import Jko, Recipe
from pipeline.store.maps import MapRef
from pipeline.store.phases import Store
from sjko.fitted import InStore
from sjko.trained import TrainedPhase


@dataclass(frozen=True)
class InVersion(InStore):
    """The last phase of a registered version: its metrics are those that it was registered with."""

    version: Version

    def metrics(self, generator: Generator, size: EvaluationSize) -> dict[str, float]:
        tags = self.version.tags.items()
        return {key.removeprefix("metric."): float(value) for key, value in tags if key.startswith("metric.")}


class BeforeVersion(InStore):
    """A phase before the last one of a version: its metrics are kept in the store, or measured on data that are loaded then."""

    def metrics(self, generator: Generator, size: EvaluationSize) -> dict[str, float]:
        store = Store(self.uri)

        def with_data() -> Generator:
            return load_generator(store, self.ref, data_uri=clusters.data(Cluster()))

        return judging.metrics_of(store, self.ref, generator.phase, with_data, cluster=Cluster(), size=size)


@dataclass(frozen=True)
class Loaded:
    """What a registered version is as a flow: its name, its recipe as far as its maps say, its phases."""

    name: str
    recipe: Recipe
    phases: list[TrainedPhase]


def load(store: Store, uri: str, *, allow_code: bool = False) -> Loaded:
    """Load a version and the phases before its last one that the store still has.

    Args:
        uri: "models:/NAME@ALIAS" or "models:/NAME/NUMBER".
        allow_code: run the code of own parts that the version carries or names.

    Raises:
        ValueError: the URI is none of these.
        CodeRefused: the version has own parts, and that was not allowed.
        VersionNotFound: there is no such version.
        Corrupt: a file of the version is not what was registered.
    """
    match = re.fullmatch(r"models:/([^@/]+)[@/]([^@/]+)", uri) if isinstance(uri, str) else None
    if match is None:
        raise ValueError(f"a version is written models:/NAME@ALIAS or models:/NAME/NUMBER, not {uri!r}")
    name, which = model_and_version(f"{match[1]}@{match[2]}")
    registry = Registry(store, clusters.data(Cluster()), allow_code=allow_code)
    version = registry.require(name, which)
    try:
        last, lineage = registry.load(version), registry.lineage(version)
    except CodeRefused as error:
        raise CodeRefused(f"{error}; in Python: Flow.load({uri!r}, allow_code=True)") from None
    phases = [_before(store, run_id, last, str(version)) for run_id in lineage.phase_run_ids[:-1]]
    ref = MapRef(lineage.phase_run_ids[-1], last.phase.fingerprint, last.phase.k)
    phases.append(TrainedPhase(last, InVersion(store.uri, ref, version)))
    return Loaded(name, recipe_of([each.generator.phase for each in phases]), phases)


def _before(store: Store, run_id: str, last: Generator, version: str) -> TrainedPhase:
    """Load a phase before the last one of a version from its own run."""
    ref = store.resolve(run_id)
    require_no_other(store.phase_of(ref), last.phase, version)
    size = Evaluation().of_phase(ref.k, last.phase.k + 1)
    return TrainedPhase(load_generator(store, ref, last.endpoints), BeforeVersion(store.uri, ref), size=size)


def recipe_of(phases: list[Phase]) -> Recipe:
    """Make the recipe whose flow has these phases."""
    first, last = phases[0], phases[-1]
    point_phases = sum(phase.on_points for phase in phases)
    points = {name: getattr(first.jko, name) for name in OF_POINTS}
    jko = replace(
        last.jko, num_phases=len(phases), point_phases=point_phases, **points, **_sizes_of([each.jko.h for each in phases])
    )
    same = first.num_steps == last.num_steps
    training = replace(last.training, first_num_steps=None if same else first.num_steps)
    return Recipe(last.data, last.network, jko, training, last.seed)


def _sizes_of(h: list[float]) -> dict[str, Any]:
    """Find the fields of a recipe whose phases have these step sizes: a first one, then others that grow up to the most."""
    for begin in (0, 1):  # with an h of phase 0's own, the others begin at phase 1
        if len(h) <= begin + 1 or not h[begin] < h[begin + 1] < math.inf:
            continue
        ratio = h[begin + 1] / h[begin]
        for growth in (float(f"{ratio:.12g}"), 2.0 ** math.ceil(math.log2(ratio))):  # by a power of two, the division is exact
            base = h[0] if begin == 0 else h[1] / growth
            grown: dict[str, Any] = {"h": base, "growth": growth, "max_h": h[-1], "first_h": h[0] if begin else None}
            if [step_size(Jko(**grown), k) for k in range(len(h))] == h:
                return grown
    return {"h": h[-1], "first_h": None if h[0] == h[-1] else h[0]}


def register(store: Store, name: str, phase: TrainedPhase, last: TrainedPhase, metrics: tuple[PartName, ...] = ()) -> str:
    """Make a version of a published phase, or point @candidate at the one that has it; its name is a URI of MLflow's.

    Args:
        last: phase of the flow that the version is registered as.
        metrics: own ones that it is registered with.

    Raises:
        ValueError: no model can have the name.
    """
    model_name(name)
    ref, end = store.resolve(phase.fingerprint), store.resolve(last.fingerprint)
    registry = Registry(store, clusters.data(Cluster()))
    version = registry.holding(ref, name)
    if version is None:
        version = registry.register(ref, name, store.flow_behind(end.fingerprint, end), replace(FULL, metrics=metrics))
    else:
        registry.make_candidate(version)
    return f"models:/{name}/{version.number}"
