"""The checks of a part by its name: which kind it is, and all that is tried of that kind."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from components.conditions import Condition
from components.costs import Cost
from components.divergences.base import Divergence
from components.networks.pair import NetworkPair, NetworkSpec
from components.parts.loading import load
from components.parts.naming import Part, PartError
from components.table import COSTS, DIVERGENCES, NETWORK_PAIRS, cost, divergence, network_pair
from pipeline.command.flags import KindOfPart
from pipeline.data import table
from pipeline.data.own import remade, source_of
from pipeline.data.source import Source
from pipeline.data.specs import spec_of
from pipeline.evaluation import extractors
from pipeline.evaluation.metrics import Metric, metrics, own_metric
from pipeline.parts.checks import costs, divergences, elsewhere, networks, sources
from pipeline.parts.checks.check import Check
from pipeline.parts.checks.metrics import checks_of as metric_checks
from pipeline.parts.checks.metrics import extractor_checks
from pipeline.recipe import Data
from pipeline.recipes.resolution import filled
from pipeline.training.solving.setting import network_spec

Shape = tuple[int, ...]
PLANE: Shape = (2,)
"""What is tried where nobody says a shape: most measures are of the plane."""
CONDITION = Condition("label", ("a", "b", "c"))
"""What a pair is given that takes conditions."""
CLASSES: dict[KindOfPart, type[Any]] = {
    "divergence": Divergence,
    "network": NetworkPair,
    "cost": Cost,
    "metric": Metric,
    "extractor": extractors.Extractor,
}
"""What a part of each kind is an instance of; a source has no class, but methods."""


def built_in() -> dict[KindOfPart, Sequence[str]]:
    """List the names of what is built in, by kind."""
    return {
        "divergence": list(DIVERGENCES),
        "network": list(NETWORK_PAIRS),
        "cost": list(COSTS),
        "source": table.names(),
        "metric": [metric.name for metric in metrics()],
        "extractor": list(extractors.EXTRACTORS),
    }


def kind_of(name: str) -> KindOfPart:
    """Find out which kind a part is of, from the tables or from the object itself.

    >>> kind_of("jsd"), kind_of("light")
    ('divergence', 'network')

    Raises:
        PartError: there is no such part, or it is of no kind.
    """
    part = Part.read(name)
    if not part.is_own:
        named = next((kind for kind, names in built_in().items() if part.use in names), None)
        if named is None:
            raise PartError(f"{name} is not known; a part of your own is written package.module:name")
        return named
    made = load(name, {}, object)
    for kind, class_of_kind in CLASSES.items():
        if isinstance(made, class_of_kind):
            return kind
    source_of(name)
    return "source"


def checks_of(name: str, kind: KindOfPart, shape: Shape = ()) -> list[Check]:
    """Carry out all checks of a part.

    Args:
        shape: of the samples that networks, costs and metrics are tried on; empty: as the part says, or the plane's.

    Raises:
        PartError: there is no such part, or it is not of that kind.
    """
    if not Part.read(name).is_own and Part.read(name).use not in built_in()[kind]:
        raise PartError(f"{name} is the name of a {kind_of(name)}, and of no {kind}")
    of_kind: dict[str, Callable[[], list[Check]]] = {
        "divergence": lambda: divergences.checks_of(divergence(name)),
        "network": lambda: [check for each in _shapes(name, shape) for check in _network(name, each)],
        "cost": lambda: costs.checks_of(cost(name), (shape,) if shape else costs.SHAPES),
        "source": lambda: sources.checks_of(*_source(name)),
        "metric": lambda: metric_checks(_metric(name), shape or PLANE),
        "extractor": lambda: extractor_checks(extractors.require_named(name)),
    }
    uses: dict[str, Callable[[Any], object]] = {"network": lambda pair: pair.build_map(_spec(name, _shapes(name, shape)[0]))}
    return [*of_kind[kind](), *elsewhere.checks_of(name, uses.get(kind))]


def _shapes(name: str, shape: Shape) -> list[Shape]:
    """Choose the samples that a pair is tried on: grey and coloured images of the smallest side that it takes, or vectors."""
    if shape:
        return [shape]
    sides = network_pair(name).sides
    return [(channels, min(sides), min(sides)) for channels in (1, 3)] if sides else [PLANE]


def _spec(name: str, shape: Shape) -> NetworkSpec:
    return network_spec(filled({"network.kind": name}).network, shape)


def _network(name: str, shape: Shape) -> list[Check]:
    pair, spec = network_pair(name), _spec(name, shape)
    checks = [*networks.first_checks(pair, spec), *networks.further_checks(pair, spec)]
    if "condition" in pair.takes:
        checks += networks.first_checks(pair, replace(spec, condition=CONDITION))
    return checks


def _source(name: str) -> tuple[Source, Callable[[], Source]]:
    if Part.read(name).is_own:
        return source_of(name), lambda: remade(name)
    data, spec = Data(target=name), spec_of(name)
    spec.require_target(data)  # not a set that has no size of its own

    def opened() -> Source:
        return spec.open(data, "target", spec.shape(data), None)

    return opened(), opened


def _metric(name: str) -> Metric:
    of_table = next((metric for metric in metrics() if metric.name == name), None)
    return of_table or own_metric(name)
