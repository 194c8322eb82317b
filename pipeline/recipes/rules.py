"""What makes a recipe one that can be computed: rules that types cannot say."""

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial

from components.networks.pair import NetworkPair, Rule
from components.parts.loading import describe_error
from components.parts.naming import PartError, is_own
from components.table import DIVERGENCES, divergence
from pipeline.data import table
from pipeline.data.images.image_set import image_sets
from pipeline.data.specs import sample_shape, spec_of
from pipeline.data.tables.naming import is_location
from pipeline.errors import Unusable
from pipeline.phase import step_size
from pipeline.recipe import GROUPS, Data, Jko, Recipe
from pipeline.recipes.values import Refused, UnfitPart

SMALLEST, LARGEST = 1e-12, 1e12
"""Bounds of numbers above 0: their squares and inverses are numbers of float32."""
MOST_GROWTH = 1e3
MOST_POINTS = 20_000
"""Of a dual: three matrices of so many rows and columns are ten gigabytes."""
MOST_RATE = 1e3
"""Of learning rates: Adam's steps are as long as its rate, and weights are of order 1."""
MOST_MIXED = 1024
"""Coordinates that have deviations and correlations of their own, whose matrix is measured and inverted."""
MOST_IN_A_BATCH, MOST_IN_LAYERS = 1 << 30, 1 << 28
"""Numbers of one batch of samples, and weights of all hidden layers: 4 GiB, and 1 GiB, in float32."""


def _require(holds: bool, field_name: str, rule: str, value: object) -> None:
    if not holds:
        raise Refused(field_name, rule, value)


def validate(recipe: Recipe) -> None:
    """Refuse a recipe that cannot be computed: rules that types cannot say.

    Raises:
        ValueError: the first broken rule, with the dotted field, the rule and the value.
    """
    data, network, jko, training = recipe.data, recipe.network, recipe.jko, recipe.training
    _require(0 <= recipe.seed < 2**63, "seed", "at least 0 and below 2^63", recipe.seed)
    counts: dict[str, tuple[int | None, int]] = {
        "data.dim": (data.dim, 10_000),
        "network.width": (network.width, 100_000),
        "network.depth": (network.depth, 1_000),
        "jko.num_phases": (jko.num_phases, 10_000),
        "training.num_steps": (training.num_steps, 10**9),
        "training.first_num_steps": (training.first_num_steps, 10**9),
        "training.batch_size": (training.batch_size, 10**7),
        "training.penalty_every": (training.penalty_every, 10**9),
    }
    for name, (count, limit) in counts.items():
        _require(count is None or count >= 1, name, "at least 1", count)
        _require(count is None or count <= limit, name, f"at most {limit}", count)
    positive = {
        "jko.h": jko.h,
        "jko.first_h": jko.first_h,
        "jko.max_h": jko.max_h,
        "training.lr_decay_steps": training.lr_decay_steps,
    }
    for name, number in positive.items():
        _require(number is None or number > 0, name, "above 0 (inf is allowed)", number)
        within = number is None or math.isinf(number) or SMALLEST <= number <= LARGEST
        _require(within, name, f"from {SMALLEST:g} to {LARGEST:g}, or inf", number)
    _require_growth(jko)
    _require(0 <= jko.point_phases <= jko.num_phases, "jko.point_phases", "from 0 to jko.num_phases", jko.point_phases)
    _require(2 <= jko.num_points <= MOST_POINTS, "jko.num_points", f"from 2 to {MOST_POINTS}", jko.num_points)
    for name in ("map_lr", "potential_lr"):
        rate = getattr(training, name)
        _require(0 < rate < math.inf, f"training.{name}", "above 0 and finite", rate)
        _require(SMALLEST <= rate <= MOST_RATE, f"training.{name}", f"from {SMALLEST:g} to {MOST_RATE:g}", rate)
    for name in ("r1", "r2", "target_noise"):
        weight = getattr(training, name)
        _require(0 <= weight < math.inf, f"training.{name}", "at least 0 and finite", weight)
        _require(
            weight == 0 or SMALLEST <= weight <= LARGEST, f"training.{name}", f"0, or from {SMALLEST:g} to {LARGEST:g}", weight
        )
    for name in ("beta1", "beta2", "ema_decay"):
        _require(0 <= getattr(training, name) < 1, f"training.{name}", "at least 0 and below 1", getattr(training, name))
    for name in ("z_dim", "num_frequencies"):
        _require(
            0 <= getattr(network, name) <= 100_000, f"network.{name}", "at least 0 and at most 100000", getattr(network, name)
        )
    _require_consistent(recipe)


def _require_growth(jko: Jko) -> None:
    """Check that step sizes grow, and not beyond what float32 holds."""
    _require(1 <= jko.growth <= MOST_GROWTH, "jko.growth", f"from 1 to {MOST_GROWTH:g}", jko.growth)
    _require(jko.max_h >= jko.h, "jko.max_h", f"at least jko.h, {jko.h:g}", jko.max_h)
    last = math.log(jko.h) + (jko.num_phases - 1) * math.log(jko.growth) if math.isfinite(jko.h) else 0.0
    within = math.isfinite(jko.max_h) or last <= math.log(LARGEST)
    _require(within, "jko.max_h", f"at most {LARGEST:g} where h grows beyond it in {jko.num_phases} phases", jko.max_h)


def _require_part(field_name: str, load: Callable[[], object]) -> None:
    """Load a part, and say which field names it where it cannot be used."""
    try:
        load()
    except (PartError, Unusable) as error:
        raise UnfitPart(field_name, str(error)) from error


def _require_ends(data: Data) -> None:
    """Check source and target, which know their own rules, and whether they fit each other."""
    for field_name in ("target", "source"):
        name = getattr(data, field_name)
        known = name in table.names() or is_own(name) or is_location(name)
        _require(known, f"data.{field_name}", f"one of {', '.join(table.names())}", name)
        if is_own(name):
            _require_part(f"data.{field_name}", partial(spec_of(name).shape, data))
    target, source = spec_of(data.target), spec_of(data.source)
    for field_name in (
        "size",
        "channels",
        "flip",
        "digest",
        "streamed",
        "source_digest",
        "columns",
        "weights",
        "split",
        "schema",
    ):
        end, fields = ("source", source.source_fields) if field_name == "source_digest" else ("target", target.fields)
        value = getattr(data, field_name)
        without = field_name in fields or value == getattr(Data, field_name)
        _require(without, f"data.{field_name}", f"left out for data.{end} {getattr(data, end)}", value)
    if data.condition is not None:
        offered = target.conditions(data)
        rule = f"{' or '.join(offered)}, or left out," if offered else "left out"
        _require(data.condition in offered, "data.condition", f"{rule} for data.target {data.target}", data.condition)
    target.require_target(data)
    shape = target.shape(data)
    if not source.fits(shape):
        fitting = [name for name in table.names() if spec_of(name).fits(shape)]
        raise Refused("data.source", f"{' or '.join(fitting)} for data.target {data.target}", data.source)
    source.require_source(data, shape)
    vectors = f"true or false for data.target {data.target}, whose samples are no vectors of at most {MOST_MIXED} numbers"
    _require(data.has_one_scale or (len(shape) == 1 and shape[0] <= MOST_MIXED), "data.standardise", vectors, data.standardise)


def _require_consistent(recipe: Recipe) -> None:
    """Check the rules between fields of different groups."""
    data, jko = recipe.data, recipe.jko
    _require_ends(data)
    _require_room(recipe)
    composed_z = jko.parametrization == "composed" and recipe.network.z_dim > 0  # each increment would need a z of its own
    _require(not composed_z, "network.z_dim", "0 when jko.parametrization is composed", recipe.network.z_dim)
    _require_divergences(jko)
    _require_part("jko.cost", lambda: jko.transport_cost)
    _require_points(recipe)
    network = recipe.network
    _require_part("network.kind", lambda: network.pair)
    exact = not (network.second_order and recipe.training.bfloat16)  # moments of 16 bits are none
    _require(exact, "training.bfloat16", "false when network.second_order is true", recipe.training.bfloat16)
    _require_pair(recipe, network.pair)


def _require_divergences(jko: Jko) -> None:
    """Check the rules of both divergences, of the step's and of the source side's."""
    fixed = Jko.source_divergence
    _require_part("jko.divergence", lambda: jko.functional)
    _require_part("jko.source_divergence", lambda: jko.source_functional)
    if jko.source_divergence != fixed:
        finite = [name for name in DIVERGENCES if divergence(name).finite_conjugate]
        _require(
            jko.source_functional.finite_conjugate,
            "jko.source_divergence",
            f"one of {', '.join(finite)}",
            jko.source_divergence,
        )
        takes_soft = not (jko.functional.paired or jko.functional.source_fixed)
        _require(takes_soft, "jko.source_divergence", f"{fixed} when jko.divergence is {jko.divergence}", jko.source_divergence)
    if jko.fit != Jko.fit:
        fitting = [name for name in DIVERGENCES if divergence(name).logistic_fit]
        _require(
            jko.functional.logistic_fit,
            "jko.fit",
            f"{Jko.fit} unless jko.divergence is {' or '.join(fitting)}",
            jko.fit,
        )
        _require(jko.source_divergence == fixed, "jko.fit", f"{Jko.fit} unless jko.source_divergence is {fixed}", jko.fit)


def _require_points(recipe: Recipe) -> None:
    """Check the rules of phases whose potential lives on points."""
    jko = recipe.jko
    if not jko.point_phases:
        return
    from components.divergences.base import FDivergence  # and torch with it

    when = "when jko.point_phases is above 0"
    _require(isinstance(jko.functional, FDivergence), "jko.divergence", f"an f-divergence {when}", jko.divergence)
    fixed = Jko.source_divergence
    _require(jko.source_divergence == fixed, "jko.source_divergence", f"{fixed} {when}", jko.source_divergence)
    h = max(step_size(jko, k) for k in range(jko.point_phases))
    _require(math.isfinite(h), "jko.h", f"finite {when}", h)
    _require(recipe.data.condition is None, "data.condition", f"left out {when}", recipe.data.condition)


def _require_room(recipe: Recipe) -> None:
    """Refuse sizes that no machine has memory for."""
    data, network, batch_size = recipe.data, recipe.network, recipe.training.batch_size
    dim = math.prod(sample_shape(data))
    limit = MOST_IN_A_BATCH // dim
    _require(batch_size <= limit, "training.batch_size", f"at most {limit} for samples of {dim} numbers", batch_size)
    limit = math.isqrt(MOST_IN_LAYERS // network.depth)
    _require(network.width <= limit, "network.width", f"at most {limit} for network.depth {network.depth}", network.width)
    for name in ("num_frequencies", "z_dim"):
        limit = MOST_IN_LAYERS // network.width
        _require(
            getattr(network, name) <= limit,
            f"network.{name}",
            f"at most {limit} for network.width {network.width}",
            getattr(network, name),
        )


def _require_pair(recipe: Recipe, pair: NetworkPair) -> None:
    """Check the rules of the pair of networks: fields that it does not take, those of images, and its own."""
    kind = f"when network.kind is {recipe.network.kind}"
    for name, off in (("num_frequencies", "0"), ("second_order", "false"), ("z_dim", "0")):
        value = getattr(recipe.network, name)
        _require(name in pair.takes or not value, f"network.{name}", f"{off} {kind}", value)
    condition = recipe.data.condition
    _require("condition" in pair.takes or condition is None, "data.condition", f"left out {kind}, which takes none", condition)
    if pair.sides:
        _require_images_of(recipe, pair.sides)
    groups = {group: asdict(getattr(recipe, group)) for group in GROUPS}
    given = {f"{group}.{name}": value for group, fields in groups.items() for name, value in fields.items()}
    try:
        rules = [Rule(*each) for each in pair.rules(given)]
    except Exception as error:  # of an own pair
        raise UnfitPart("network.kind", f"{recipe.network.kind}: its rules raise {describe_error(error)}") from error
    for rule in rules:
        _require(rule.holds, rule.field, f"{rule.must_be} {kind}{rule.reason}", given[rule.field])
    grouped = recipe.training.batch_size % pair.group_size == 0
    _require(grouped, "training.batch_size", f"a multiple of {pair.group_size} {kind}", recipe.training.batch_size)


def _require_images_of(recipe: Recipe, sides: Sequence[int]) -> None:
    """Check the rules of networks for images, whose maps end in tanh."""
    data, network = recipe.data, recipe.network
    kind, (*channels, side) = f"when network.kind is {network.kind}", sample_shape(data)
    images = [name for name, each in image_sets().items() if each.side is None or each.side in sides]
    _require(len(channels) == 2, "data.target", f"one of {', '.join(images)} {kind}", data.target)
    _require(side in sides, "data.size", f"{spoken(sides)} {kind}", side)
    _require(not data.standardise, "data.standardise", f"false {kind}, whose images are in [-1, 1]", data.standardise)


def spoken(sides: Sequence[int]) -> str:
    """Spell out sides in pixels for an error message."""
    return str(sides[0]) if len(sides) == 1 else f"one of {', '.join(map(str, sides[:6]))}{', ...' if len(sides) > 6 else ''}"
