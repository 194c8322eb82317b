"""The own parts of a recipe, tried before anything starts: what fails is one sentence, and nothing has been written."""

from collections.abc import Callable, Sequence

from components.parts.naming import PartError, is_own, shown
from components.table import cost, divergence, network_pair
from pipeline.data.own import remade, source_of
from pipeline.data.specs import condition_of, sample_shape
from pipeline.evaluation.metrics import figures, own_metric
from pipeline.evaluation.offer import offer_of
from pipeline.parts.checks import costs, divergences, metrics, networks, sources
from pipeline.parts.checks.check import Check
from pipeline.parts.pinning import own_parts, parts_in_memory
from pipeline.recipe import PARTS, Recipe
from pipeline.recipes.values import UnfitPart
from pipeline.training.solving.setting import network_spec

METRICS = "evaluation.metrics"
ALL_LOGGED = ("divergence", "transport_cost")
"""Numbers that every phase has logged when it is judged."""


def require_working(recipe: Recipe, own_metrics: Sequence[str] = (), fields: Sequence[str] = PARTS) -> None:
    """Try each own part of a recipe on its data's shape, and own metrics beside it; of data in memory nothing is tried.

    Args:
        fields: those whose parts are tried.

    Raises:
        UnfitPart: the first that fails: the field, the part's name, the method, what it must do and what it does.
    """
    objects = {field: name for field, name in parts_in_memory(recipe).items() if not field.startswith("data.")}
    for field, name in {**own_parts(recipe), **objects}.items():
        if field in fields:
            _require(field, name, lambda field=field, name=name: first_checks(field, name, recipe))  # type: ignore[misc]  # mypy cannot infer a lambda with a default
    shape = sample_shape(recipe.data)
    require_metrics(own_metrics, shape)
    offered = {metric.name for metric in figures(offer_of(recipe.data, ALL_LOGGED, own_metrics)).values()}
    for name in own_metrics:
        if own_metric(name).name not in offered:
            raise UnfitPart(METRICS, f"{shown(name)} has no figure for data.target {recipe.data.target}")


def require_metrics(own_metrics: Sequence[str], shape: tuple[int, ...] = (2,)) -> None:
    """Try own metrics on samples of a shape.

    Raises:
        UnfitPart: the first that fails.
    """
    named: dict[str, str] = {}
    for name in own_metrics:
        _require(METRICS, name, lambda name=name: metrics.checks_of(own_metric(name), shape) if is_own(name) else _known(name))  # type: ignore[misc]  # mypy cannot infer a lambda with a default
        other = named.setdefault(own_metric(name).name, name)
        if other != name:
            raise UnfitPart(METRICS, f"{shown(other)} and {shown(name)} both have the name {own_metric(name).name}")


def _known(name: str) -> list[Check]:
    """Try nothing of a metric that is built in, which must be one.

    Raises:
        PartError: it is none.
    """
    own_metric(name)
    return []


def _require(field: str, name: str, checks: Callable[[], list[Check]]) -> None:
    try:
        failed = next((check for check in checks() if not check.passed), None)
    except PartError as error:
        raise UnfitPart(field, str(error)) from error
    if failed:
        raise UnfitPart(field, f"{shown(name)}: {failed}")


def first_checks(field: str, name: str, recipe: Recipe) -> list[Check]:
    """Carry out the checks of a part that take no time, beside what a flow takes anyway.

    Args:
        field: dotted, where the part stands in the recipe.
    """
    kind = field.partition(".")[2]
    if kind in ("divergence", "source_divergence"):
        return divergences.checks_of(divergence(name))
    if kind == "cost":
        return costs.checks_of(cost(name), (sample_shape(recipe.data),))
    if kind == "kind":
        spec = network_spec(recipe.network, sample_shape(recipe.data), condition_of(recipe.data))
        return networks.first_checks(network_pair(name), spec)
    return sources.checks_of(source_of(name), lambda: remade(name))
