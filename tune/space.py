"""The search space: axes over fields of a recipe, from the command line to a recipe with one point of the space."""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from pipeline.recipe import GROUPS, Recipe
from pipeline.recipes.reading import KINDS
from pipeline.recipes.resolution import fit_of, with_kind
from pipeline.recipes.rules import validate
from pipeline.recipes.values import Value, kinds_of, like_dotted, meant, read

DEFAULTS = {"jko.h": ["0.1", "10"], "jko.divergence": ["kl", "jsd", "softplus"]}
"""Axes of a search without --space, as words of the command line."""
MOST_COMBINATIONS = 1000
NUM_DIGITS = 2
"""Significant digits of a number in a trial's recipe: trials that come close meet, and share their phases."""
NEAR_ONE = ("training.beta1", "training.beta2", "training.ema_decay")
"""Decays, which are rounded to digits of their distance from 1."""


@dataclass(frozen=True)
class Axis:
    """One axis of the space: a field of the recipe, and its range from `low` to `high` or its `choices`.

    >>> str(axis("h", ["0.1", "10"]))
    'jko.h from 0.1 to 10 (log)'

    Attributes:
        name: group and field, such as jko.h.
        integer: whole numbers only.
        log: uniform in the logarithm.
    """

    name: str
    low: float = 0.0
    high: float = 0.0
    integer: bool = False
    log: bool = False
    choices: tuple[Value, ...] = ()

    def rounded(self, value: Value) -> Value:
        """Round a proposed value to the digits that a recipe has, so that near trials share their phases."""
        if self.choices or isinstance(value, str) or value is None or value == 0:
            return value
        if self.integer:
            return int(value)
        magnitude = 1 - value if self.name in NEAR_ONE and value < 1 else abs(value)
        digits = NUM_DIGITS - 1 - math.floor(math.log10(magnitude))
        return min(self.high, max(self.low, round(float(value), digits)))

    def contains(self, value: Value) -> bool:
        """Say whether the axis contains a value."""
        if self.choices:
            return value in self.choices
        return isinstance(value, int | float) and self.low <= value <= self.high

    def __str__(self) -> str:
        if self.choices:
            return f"{self.name} in {', '.join(map(str, self.choices))}"
        return f"{self.name} from {self.low:g} to {self.high:g}{' (log)' if self.log else ''}"


def field_types() -> dict[str, Any]:
    """List the type of every field that can be searched, by dotted name: all but `data` and the seed."""
    return {name: kind for name, kind in KINDS.items() if "." in name and not name.startswith("data.")}


def full_name(field: str) -> str:
    """Complete the name of a field with its group.

    >>> full_name("h"), full_name("training.beta1")
    ('jko.h', 'training.beta1')

    Raises:
        ValueError: there is no such field, or it needs no axis.
    """
    field = field.replace("-", "_")
    names = field_types()
    matches = [name for name in names if field in (name, name.partition(".")[2])]
    if field == "jko.num_phases" or matches == ["jko.num_phases"]:
        raise ValueError("--space.num-phases is not needed: every phase is judged, so K is searched anyway up to jko.num_phases")
    if len(matches) != 1:
        close = like_dotted(field, names)
        hint = meant(close and f"--space.{close.partition('.')[2]}")
        raise ValueError(f"--space.{field} must name a field of network, jko or training, such as --space.h{hint}")
    return matches[0]


def axis(field: str, words: Sequence[str]) -> Axis:
    """Read an axis from a flag `--space.FIELD WORDS`: LOW HIGH [log] for a number, else choices.

    Raises:
        ValueError: what is wrong, in one line.
    """
    name, flag, written = full_name(field), f"--space.{field}", " ".join(words)
    kind = field_types()[name]
    number = next((candidate for candidate in kinds_of(kind) if candidate in (int, float)), None)
    log = words[-1:] == ["log"]
    values = tuple(read(flag, word, kind) for word in words[: len(words) - log] or [""])
    if number is None or len(values) != 2 or not all(value is not None and math.isfinite(value) for value in values):
        if log:
            raise ValueError(f"{flag} must be LOW HIGH log, not {written}")
        if number is not None and len(values) == 1 and values != (None,):
            raise ValueError(f"{flag} must be LOW HIGH [log], or several choices, not {written} alone")
        if len(set(values)) < len(values):
            raise ValueError(f"{flag} must name each value once, not {written}")
        return Axis(name, choices=values)
    low, high = map(float, values)
    log = log or name == "jko.h"  # h is a scale: its effect is by factors
    if not low < high or (log and low <= 0):
        raise ValueError(f"{flag} must be LOW below HIGH{', both above 0' if log else ''}, not {written}")
    result = Axis(name, low, high, integer=number is int, log=log)
    if result.rounded(low) == result.rounded(high):
        raise ValueError(f"{flag} must differ in {NUM_DIGITS} digits, or all trials were one, not {written}")
    return result


def take_axes(arguments: Sequence[str]) -> tuple[list[str], list[Axis]]:
    """Take the flags `--space.FIELD` out of arguments: the arguments that are left, and the axes.

    >>> arguments, (h,) = take_axes(["two_circles", "--space.h", "0.1", "10"])
    >>> arguments, h.name
    (['two_circles'], 'jko.h')

    Raises:
        ValueError: an axis is wrong or named twice.
    """
    others: list[str] = []
    words_of: dict[str, list[str]] = {}
    into = others
    for argument in arguments:
        if argument.partition("=")[0] == "--space":
            raise ValueError("--space must name a field, such as --space.h 0.1 10")
        if argument.startswith("--space."):
            name, equals, value = argument.removeprefix("--space.").partition("=")
            if name in words_of:
                raise ValueError(f"--space.{name} must be given once")
            into = words_of.setdefault(name, [value] if equals else [])
        else:
            into = others if argument.startswith("--") else into
            into.append(argument)
    axes = [axis(name, values) for name, values in words_of.items()]
    if len({each.name for each in axes}) < len(axes):
        raise ValueError(f"--space must name each field once, not {', '.join(words_of)}")
    return others, axes


def rebuilt(values: Mapping[str, Any]) -> Recipe:
    """Build the recipe again that `asdict` was called on.

    >>> rebuilt(asdict(Recipe(seed=7))).seed
    7
    """
    groups = {name: kind(**values[name]) for name, kind in GROUPS.items()}
    return Recipe(**groups, seed=values["seed"])


def applied(recipe: Recipe, axes: Sequence[Axis], point: Mapping[str, Value]) -> Recipe:
    """Give a recipe the values of a point of the space.

    >>> applied(Recipe(), [axis("h", ["0.1", "10"])], {"jko.h": 0.5}).jko.h
    0.5

    Raises:
        ValueError: a rule between fields forbids the values.
    """
    kind = point.get("network.kind", recipe.network.kind)
    values = asdict(recipe if kind == recipe.network.kind else with_kind(recipe, str(kind)))
    for each in axes:
        if each.name in point:
            group, _, field = each.name.partition(".")
            values[group][field] = each.rounded(point[each.name])
    if "jko.fit" not in point:
        values["jko"]["fit"] = fit_of(values["jko"]["divergence"], values["jko"]["fit"])
    changed = rebuilt(values)
    validate(changed)
    return changed


def require_valid(recipe: Recipe, axes: Sequence[Axis]) -> None:
    """Refuse values that no recipe can have, whatever the choices of the other axes are, before anything is trained.

    Raises:
        ValueError: names the field and the rule.
    """
    for each in axes:
        others = [other for other in axes if other is not each and other.choices]
        for value in each.choices or (each.low, each.high):
            points = [
                {each.name: value, **dict(zip((other.name for other in others), combination, strict=True))}
                for combination in itertools.islice(itertools.product(*(other.choices for other in others)), MOST_COMBINATIONS)
            ]
            errors = [error for point in points if (error := refusal(recipe, axes, point)) is not None]
            if len(errors) == len(points):
                raise errors[0]


def refusal(recipe: Recipe, axes: Sequence[Axis], point: Mapping[str, Value]) -> ValueError | None:
    """Return the error that says why no recipe can have a point; None where one can."""
    try:
        applied(recipe, axes, point)
    except ValueError as error:
        return error
    return None


def default_axes(recipe: Recipe) -> list[Axis]:
    """Make the axes of a search without --space, but for choices that this recipe cannot have."""
    axes = [axis(name, values) for name, values in DEFAULTS.items()]
    fitting = [
        replace(each, choices=tuple(value for value in each.choices if refusal(recipe, [each], {each.name: value}) is None))
        for each in axes
    ]
    return [each for each in fitting if each.choices or each.high]
