"""The search space: axes over fields of a recipe, from the command line to a recipe with one point of the space."""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from pipeline.recipe import GROUPS, Recipe
from pipeline.recipes.reading import KINDS
from pipeline.recipes.resolution import with_kind
from pipeline.recipes.rules import validate
from pipeline.recipes.values import Value, kinds_of, like_dotted, meant, read

DEFAULTS = {"jko.h": ["0.1", "10"], "jko.divergence": ["kl", "jsd", "softplus"]}
"""Searched where nothing is said."""
MOST_COMBINATIONS = 1000
NUM_DIGITS = 2
"""Significant digits of a number in a trial's recipe: trials that come close meet, and share their phases."""
NEAR_ONE = ("training.beta1", "training.beta2", "training.ema_decay")
"""Decays: it is the digits of their distance from 1 that count."""


@dataclass(frozen=True)
class Axis:
    """One field and what it may be: a range from `low` to `high`, or `choices`.

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
        """A suggested value as a recipe has it."""
        if self.choices or isinstance(value, str) or value is None or value == 0:
            return value
        if self.integer:
            return int(value)
        rest = 1 - value if self.name in NEAR_ONE and value < 1 else abs(value)
        digits = NUM_DIGITS - 1 - math.floor(math.log10(rest))
        return min(self.high, max(self.low, round(float(value), digits)))

    def contains(self, value: Value) -> bool:
        """Whether a value is in the space."""
        if self.choices:
            return value in self.choices
        return isinstance(value, int | float) and self.low <= value <= self.high

    def __str__(self) -> str:
        if self.choices:
            return f"{self.name} in {', '.join(map(str, self.choices))}"
        return f"{self.name} from {self.low:g} to {self.high:g}{' (log)' if self.log else ''}"


def field_types() -> dict[str, Any]:
    """Kind of every field of a recipe but `data` and the seed, by dotted name."""
    return {name: kind for name, kind in KINDS.items() if "." in name and not name.startswith("data.")}


def full_name(text: str) -> str:
    """`h` or `jko.h` as jko.h.

    Raises:
        ValueError: there is no such field.
    """
    text = text.replace("-", "_")
    known = field_types()
    found = [name for name in known if text in (name, name.partition(".")[2])]
    if text == "jko.num_phases" or found == ["jko.num_phases"]:
        raise ValueError("--space.num-phases is not needed: every phase is judged, so K is searched anyway up to jko.num_phases")
    if len(found) != 1:
        close = like_dotted(text, known)
        hint = meant(close and f"--space.{close.partition('.')[2]}")
        raise ValueError(f"--space.{text} must name a field of network, jko or training, such as --space.h{hint}")
    return found[0]


def axis(text: str, words: Sequence[str]) -> Axis:
    """An axis from a flag `--space.TEXT WORDS`: LOW HIGH [log] for a number, else choices.

    Raises:
        ValueError: what is wrong, in one line.
    """
    name, flag, said = full_name(text), f"--space.{text}", " ".join(words)
    kind = field_types()[name]
    number = next((each for each in kinds_of(kind) if each in (int, float)), None)
    log = words[-1:] == ["log"]
    values = tuple(read(flag, word, kind) for word in words[: len(words) - log] or [""])
    if number is None or len(values) != 2 or not all(value is not None and math.isfinite(value) for value in values):
        if log:
            raise ValueError(f"{flag} must be LOW HIGH log, not {said}")
        if number is not None and len(values) == 1 and values != (None,):
            raise ValueError(f"{flag} must be LOW HIGH [log], or several choices, not {said} alone")
        if len(set(values)) < len(values):
            raise ValueError(f"{flag} must name each value once, not {said}")
        return Axis(name, choices=values)
    low, high = map(float, values)
    log = log or name == "jko.h"
    if not low < high or (log and low <= 0):
        raise ValueError(f"{flag} must be LOW below HIGH{', both above 0' if log else ''}, not {said}")
    found = Axis(name, low, high, integer=number is int, log=log)
    if found.rounded(low) == found.rounded(high):
        raise ValueError(f"{flag} must differ in {NUM_DIGITS} digits, or all trials were one, not {said}")
    return found


def take_axes(arguments: Sequence[str]) -> tuple[list[str], list[Axis]]:
    """The arguments without their `--space.` flags, and the axes that these name.

    Raises:
        ValueError: an axis is wrong or named twice.
    """
    rest: list[str] = []
    found: dict[str, list[str]] = {}
    into = rest
    for argument in arguments:
        if argument.partition("=")[0] == "--space":
            raise ValueError("--space must name a field, such as --space.h 0.1 10")
        if argument.startswith("--space."):
            name, equals, value = argument.removeprefix("--space.").partition("=")
            if name in found:
                raise ValueError(f"--space.{name} must be given once")
            into = found.setdefault(name, [value] if equals else [])
        else:
            into = rest if argument.startswith("--") else into
            into.append(argument)
    axes = [axis(name, values) for name, values in found.items()]
    if len({each.name for each in axes}) < len(axes):
        raise ValueError(f"--space must name each field once, not {', '.join(found)}")
    return rest, axes


def rebuilt(values: Mapping[str, Any]) -> Recipe:
    """The recipe behind `asdict(recipe)`."""
    groups = {name: kind(**values[name]) for name, kind in GROUPS.items()}
    return Recipe(**groups, seed=values["seed"])


def applied(recipe: Recipe, axes: Sequence[Axis], point: Mapping[str, Value]) -> Recipe:
    """The recipe with a point of the space.

    Raises:
        ValueError: a rule between fields forbids it.
    """
    kind = point.get("network.kind", recipe.network.kind)
    values = asdict(recipe if kind == recipe.network.kind else with_kind(recipe, str(kind)))
    for each in axes:
        if each.name in point:
            group, _, field = each.name.partition(".")
            values[group][field] = each.rounded(point[each.name])
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
    """Why no recipe can have a point; None where one can."""
    try:
        applied(recipe, axes, point)
    except ValueError as error:
        return error
    return None


def default_axes(recipe: Recipe) -> list[Axis]:
    """The axes where nothing is said, without choices that this recipe cannot have."""
    axes = [axis(name, values) for name, values in DEFAULTS.items()]
    fitting = [
        replace(each, choices=tuple(value for value in each.choices if refusal(recipe, [each], {each.name: value}) is None))
        for each in axes
    ]
    return [each for each in fitting if each.choices or each.high]
