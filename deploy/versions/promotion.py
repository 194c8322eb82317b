"""Promotion and rollback: verify, load, measure on fresh samples, compare, then move the alias in one update."""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, replace

from deploy.rules import Rule
from deploy.versions.registered import Version
from deploy.versions.registry import CANDIDATE, Registry
from pipeline.errors import FlowError, Incomparable
from pipeline.evaluation.measure import evaluate
from pipeline.evaluation.metrics import FLOOR, with_figure
from pipeline.evaluation.size import FULL, EvaluationSize


class PromotionRefused(FlowError):
    """The error of a candidate that does not fulfil the rule; no alias was moved."""

    exit_code = 3


@dataclass(frozen=True)
class Promotion:
    """The result of a promotion: what was measured, and what the alias points at now.

    Attributes:
        version: that the alias points at now.
        before: that it pointed at before; None where it was unset.
        metrics: of `version`, on fresh samples.
        value, bound: the rule's two numbers; None without a rule, and `bound` None where there was no champion.
    """

    version: Version
    before: Version | None
    metrics: Mapping[str, float]
    value: float | None
    bound: float | None


def promote(
    registry: Registry, name: str, number: str | None, alias: str, rule: Rule | None, *, size: EvaluationSize = FULL
) -> Promotion:
    """Promote a version: point `alias` at it, if it is whole and fulfils the rule.

    Candidate and champion are measured on the same samples, which neither training nor any earlier measurement has seen. Figures
    that are measured for who asks alone, as those of a report, are logged to the run of the version's map.

    Raises:
        VersionNotFound: the registry has no such version.
        Corrupt: a file of the version does not match its manifest, or its samples are not finite.
        PromotionRefused: the rule does not hold.
    """
    version, before = registry.require(name, number or CANDIDATE), registry.find(name, alias)
    first_draw = secrets.randbelow(2**31) + 2**16  # beyond every draw that `pipeline evaluate` uses
    generator = registry.load(version, with_data=True)
    size = replace(size, metrics=size.metrics if rule is None else with_figure(size.metrics, rule.metric))
    with_floors = rule is not None and (rule.reference == "floor" or rule.metric.endswith(FLOOR))
    metrics = evaluate(generator, size, first_draw, with_floors=with_floors)
    registry.log(version, {name: figure for name, figure in metrics.items() if name.removesuffix(FLOOR) in size.metrics})
    value = bound = None
    if rule is not None:
        champion = None
        if before is not None and rule.reference == "champion":
            other = registry.load(before, with_data=True)
            if other.phase.data != generator.phase.data:
                raise Incomparable(f"{version} and {before} were trained on different data, so their metrics cannot be compared")
            champion = evaluate(other, size, first_draw, with_floors=with_floors)
        bound = rule.bound(metrics, champion)
        value = metrics[rule.metric]
        if bound is not None and not rule.holds(value, bound):
            raise PromotionRefused(
                f"{version} is not promoted: {rule.metric} {value:.6g} must be {rule.comparison} {bound:.6g}"
                + (f" = {rule.number:g} x {rule.reference}" if rule.reference else "")
                + f". @{alias} stays {'unset' if before is None else f'version {before.number}'}."
            )
    note = {f"fresh.{key}": f"{figure:.6g}" for key, figure in metrics.items()} | {"fresh.first_draw": str(first_draw)}
    registry.move(version, alias, note, reason(rule, value, bound))
    return Promotion(version, before, metrics, value, bound)


def reason(rule: Rule | None, value: float | None, bound: float | None) -> str:
    """Say which rule a version was promoted by, with its numbers.

    >>> reason(Rule.parse("w2 <= 1.2 * floor"), 0.5, 0.6)
    'w2 0.5 <= 0.6 = 1.2 x floor'
    >>> reason(Rule.parse("w2 <= 1 * champion"), 0.5, None)
    'w2 0.5, with no champion to compare with'
    """
    if rule is None or value is None:
        return "no rule was given"
    if bound is None:
        return f"{rule.metric} {value:.6g}, with no {rule.reference} to compare with"
    return f"{rule.metric} {value:.6g} {rule.comparison} {bound:.6g}" + (
        f" = {rule.number:g} x {rule.reference}" if rule.reference else ""
    )


def rollback(registry: Registry, name: str, alias: str) -> tuple[Version, Version]:
    """Point `alias` back at the version that it pointed at before, which is verified and loaded first.

    Returns:
        The version that was in use, and the one that is now.
    """
    current = registry.require(name, alias)
    before = registry.before(current, alias)
    registry.load(before)
    registry.restore(before, alias, current)
    return current, before
