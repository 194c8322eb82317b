"""From what was given to a whole recipe: flags replace fields of the file, the rest are defaults of the network's kind."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from components.parts.naming import PartError
from components.table import divergence, network_pair
from pipeline.recipe import GROUPS, Jko, Network, Recipe
from pipeline.recipes import values
from pipeline.recipes.reading import KINDS, RecipeFile
from pipeline.recipes.rules import validate
from pipeline.recipes.values import Refused, UnfitPart, Value


@dataclass(frozen=True)
class Resolved:
    """A recipe, and what should be said about how it came to be; empty where it is plain."""

    recipe: Recipe
    note: str = ""


def filled(given: Mapping[str, Value]) -> Recipe:
    """Make the recipe with these fields, such as {"jko.h": 0.1}, and defaults that suit its kind of network for all others.

    Example:
        >>> filled({"network.kind": "light"}).network.width
        32
    """
    complete = {**defaults_of(kind_of(given)), **given}
    groups: dict[str, dict[str, Any]] = {name: {} for name in GROUPS}
    for name, value in complete.items():
        group, _, field = name.rpartition(".")
        if group:
            groups[group][field] = value
    seed = complete.get("seed", Recipe.seed)
    assert isinstance(seed, int)
    return Recipe(**{name: kind(**groups[name]) for name, kind in GROUPS.items()}, seed=seed)


def defaults_of(kind: str) -> dict[str, Value]:
    """Give the defaults that a kind of network has of its own: as the shipped recipes have them, on data that it can make."""
    try:
        pair = network_pair(kind)
    except PartError as error:
        raise UnfitPart("network.kind", str(error)) from error
    for name, value in pair.defaults.items():
        try:
            values.read(name, str(value), KINDS[name])
        except (KeyError, Refused) as error:
            reason = error if isinstance(error, Refused) else f"{name} is no field of a recipe"
            raise UnfitPart("network.kind", f"{kind}: its defaults cannot be: {reason}") from error
    left_out: dict[str, Value] = {} if "num_frequencies" in pair.takes else {"network.num_frequencies": 0}
    in_pixels: dict[str, Value] = {"data.standardise": False} if pair.sides else {}
    return {**left_out, **in_pixels, **pair.defaults}


def kind_of(given: Mapping[str, Value]) -> str:
    """Find the kind of network that given fields mean, the default one where they name none."""
    return str(given.get("network.kind", Network.kind))


def with_kind(recipe: Recipe, kind: str) -> Recipe:
    """Give a recipe another kind of network, which has defaults of its own, on the same data."""
    suited = filled({"network.kind": kind})
    standardise = suited.data.standardise and recipe.data.standardise  # not of images, whose networks make [-1, 1]
    return replace(recipe, network=suited.network, data=replace(recipe.data, standardise=standardise))


def fit_of(name: str, fit: str) -> str:
    """Choose how v is learned where a divergence takes another one's place: as before, if it can be.

    >>> fit_of("forward_kl", "logistic"), fit_of("chi2", "logistic")
    ('logistic', 'conjugate')
    """
    if fit == Jko.fit:
        return fit
    try:
        return fit if divergence(name).logistic_fit else Jko.fit
    except PartError:  # which is refused with its own reason
        return fit


def resolve(file: RecipeFile, flags: Mapping[str, Value]) -> Resolved:
    """Make a valid recipe of a file and flags. A kind by flag that is not the file's replaces the file's network as a whole, and
    a divergence by flag the file's fit, if that is not for it.

    Raises:
        ValueError: the first broken rule, with the line of a field that the file gives.
    """
    kind, kind_of_file = kind_of({**file.values, **flags}), kind_of(file.values)
    dropped = {name: value for name, value in file.values.items() if name.startswith("network.") and kind != kind_of_file}
    given = {name: value for name, value in {**file.values, **flags}.items() if name in flags or name not in dropped}
    fit, functional = str(given.get("jko.fit", Jko.fit)), str(given.get("jko.divergence", Jko.divergence))
    unfit = "jko.divergence" in flags and "jko.fit" not in flags and fit_of(functional, fit) != fit
    if unfit:
        del given["jko.fit"]
    try:
        recipe = filled(given)
        validate(recipe)
    except Refused as error:
        raise ValueError(_placed(error, file, given, flags, kind)) from None
    dropped.pop("network.kind", None)
    lost = {name: value for name, value in dropped.items() if name not in flags}
    note = f"jko.fit is {Jko.fit} with jko.divergence {functional}: {fit} of {file.path} is not for it" if unfit else ""
    if not lost:
        return Resolved(recipe, note)
    before = ", ".join(f"{name.partition('.')[2]} {value}" for name, value in lost.items())
    after = ", ".join(f"{name.partition('.')[2]} {getattr(recipe.network, name.partition('.')[2])}" for name in lost)
    sentence = f"network.kind {kind} has its own {after}: {before} of {file.path} belong to {kind_of_file}"
    return Resolved(recipe, f"{sentence}; {note}" if note else sentence)


def _placed(error: Refused, file: RecipeFile, given: Mapping[str, Value], flags: Mapping[str, Value], kind: str) -> str:
    """Tell a broken rule with where the value comes from: a line of the file, or the kind's defaults."""
    if error.field in flags:
        return str(error)
    if error.field in given:
        return f"{file.path}, line {file.lines[error.field]}: {error}"
    by_default = not isinstance(error, UnfitPart) and error.field in defaults_of(kind)
    return f"{error}, the default of network.kind {kind}" if by_default else str(error)
