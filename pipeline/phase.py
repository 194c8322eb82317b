"""A phase's identity: k, its parent, and exactly the recipe fields that its result depends on."""

import hashlib
import json
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields, replace
from functools import cached_property
from typing import Any, Self, TypeVar

from pipeline.data.specs import spec_of
from pipeline.recipe import GROUPS, Data, Jko, Network, Recipe, Training

Group = TypeVar("Group", Data, Jko, Training)
METHOD_VERSION, FOR_ALL = 7, 3
"""The first is raised when a change of the code changes what a recipe computes; FOR_ALL is the last that changed it for every
recipe. The version of a phase is part of its fingerprint."""
CHANGES: dict[int, Callable[["Phase"], bool]] = {
    4: lambda phase: phase.network.second_order,
    5: lambda phase: phase.on_points,
    6: lambda phase: phase.on_points,
    7: lambda phase: phase.on_points,
}
"""Which phases a version beyond FOR_ALL changed: others keep the version before it, and with it their fingerprints."""
OF_FLOWS = ("num_phases", "first_h", "growth", "max_h", "first_num_steps")
"""Fields of a flow as a whole: in a phase they stand at their defaults, and in its canonical form not at all."""
RESOLVED = ("columns", "weights", "split", "schema")
"""Fields that the name of prepared rows has in it (`pipeline.data.resolution`): in a phase they are left out."""
LATER_FIELDS = (
    "size",
    "channels",
    "flip",
    "digest",
    "source_digest",
    "streamed",
    "target_noise",
    "bfloat16",
    "condition",
    "lr_schedule",
    "point_phases",
    "num_points",
    "regression",
)
"""Fields that are younger than published flows: at their defaults they do not enter, and fingerprints stay."""
OF_POINTS = ("num_points", "regression")
"""Fields of phases whose potential lives on points."""
OF_NETWORKS = ("fit", "potential_lr", "r1", "r2", "target_noise")
"""Fields of phases whose potential is a network."""
UNUSED: dict[str, Any] = {
    "dim": Data.dim,
    "cost": "squared",
    "z": "shared",
    "parametrization": "direct",
    "penalty_every": 1,
    "steps_before": 0,
    "lr_decay_steps": Training.lr_decay_steps,
    "fit": Jko.fit,
    "num_points": Jko.num_points,
    "regression": Jko.regression,
    "potential_lr": Training.potential_lr,
    "r1": Training.r1,
    "r2": Training.r2,
    "target_noise": Training.target_noise,
}
"""Fields that may be without influence, and the value that then stands for any: null in the canonical form."""


@dataclass(frozen=True, eq=False)
class Phase:
    """The values that the result of phase k depends on. Equal phases have equal fingerprints and results, whatever machine
    trains them.

    A value without influence is replaced by the one in `UNUSED`, so readers take every field as it is.

        >>> first, second = phases_of(Recipe(jko=Jko(num_phases=2, first_h=1.0, h=3.0)))
        >>> first.jko.h, second.jko.h
        (1.0, 3.0)

    Attributes:
        k: number of the phase, counted from 0.
        parent: fingerprint of phase k - 1; None for phase 0, whose anchor T_{-1} is the identity.
        jko: the step, with the h of this phase; `num_phases`, `first_h`, `growth` and `max_h` say nothing
            here.
        training: how it is solved, with the number of steps of this phase; `first_num_steps` says nothing here.
        steps_before: optimizer steps of all earlier phases, over which learning rates have fallen.
        method_version: of the code that computes it.
    """

    k: int
    parent: str | None
    seed: int
    data: Data
    network: Network
    jko: Jko
    training: Training
    steps_before: int
    method_version: int

    @classmethod
    def of(cls, recipe: Recipe, *, k: int, parent: str | None) -> Self:
        """Make phase k of a recipe's flow. K never enters, so a longer flow shares the phases of a shorter one."""
        data, network, jko, training = recipe.data, recipe.network, recipe.jko, recipe.training
        first_num_steps = training.first_num_steps or training.num_steps
        steps_before = first_num_steps + (k - 1) * training.num_steps if k else 0
        of_flows = {name: getattr(Jko, name) for name in OF_FLOWS if hasattr(Jko, name)}
        jko = replace(jko, **of_flows, h=step_size(jko, k), point_phases=int(k < jko.point_phases))
        training = replace(training, num_steps=training.num_steps if k else first_num_steps, first_num_steps=None)
        data = spec_of(data.target).normal_form(data)
        if "depth" not in network.pair.takes:  # it has one of its own
            network = replace(network, depth=Network.depth)
        phase = cls(k, parent, recipe.seed, data, network, _as_floats(jko), _as_floats(training), steps_before, FOR_ALL)
        unused = {name: UNUSED[name] for name in phase.unused()}
        return replace(
            phase,
            data=_with(phase.data, unused),
            jko=_with(phase.jko, unused),
            training=_with(phase.training, unused),
            steps_before=unused.get("steps_before", steps_before),
            method_version=version_of(phase),
        )

    def unused(self) -> set[str]:
        """Name the fields that have no influence on the result of this phase, whatever they are."""
        has_cost = math.isfinite(self.jko.h)
        has_anchor = self.k > 0 and has_cost
        over_flow = self.training.lr_schedule == Training.lr_schedule
        without_influence = {
            "dim": "dim" not in spec_of(self.data.target).fields,  # the others have their own
            "cost": not has_cost,
            "z": not has_anchor or self.network.z_dim == 0,
            "parametrization": self.k == 0,  # with one map there is nothing to compose
            "penalty_every": self.on_points or self.training.r1 == self.training.r2 == 0,
            **dict.fromkeys(OF_POINTS, not self.on_points),
            **dict.fromkeys(OF_NETWORKS, self.on_points),  # they are the potential's
            "lr_decay_steps": not over_flow,
            "steps_before": not over_flow or math.isinf(self.training.lr_decay_steps),  # the same rates, wherever in the flow
        }
        return {name for name, holds in without_influence.items() if holds}

    def to_json(self) -> str:
        """Write the phase in its canonical form, which is hashed: sorted keys, no spaces, shortest exact floats."""
        return self._canonical

    @cached_property
    def _canonical(self) -> str:
        groups = {name: asdict(getattr(self, name)) for name in GROUPS}
        groups["training"]["steps_before"] = self.steps_before
        unused = self.unused()
        problem: dict[str, Any] = {"method_version": self.method_version, "seed": self.seed}
        for name, group in groups.items():
            problem[name] = {
                field: None if field in unused else "inf" if value == math.inf else value
                for field, value in group.items()
                if field not in (*OF_FLOWS, *RESOLVED) and (field not in LATER_FIELDS or value != getattr(GROUPS[name], field))
            }
        return _dumped({"k": self.k, "parent": self.parent, "problem": problem})

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read a phase from its canonical form; that of an earlier version keeps its fingerprint, whatever fields it knew."""
        value = json.loads(text)
        problem = value["problem"]

        def group(name: str) -> Any:
            types = {field.name: field.type for field in fields(GROUPS[name])}
            present = {field: UNUSED.get(field) if each is None else each for field, each in problem[name].items()}
            given = {field: each for field, each in present.items() if field != "steps_before" and each is not None}
            return GROUPS[name](**{field: float(each) if types.get(field) is float else each for field, each in given.items()})

        groups = {name: group(name) for name in GROUPS}
        steps_before = problem["training"].get("steps_before") or UNUSED["steps_before"]
        head = {"k": value["k"], "parent": value["parent"], "seed": problem["seed"]}
        phase = cls(**head, **groups, steps_before=steps_before, method_version=problem["method_version"])
        vars(phase)["_canonical"] = _dumped(value)  # not made anew, since earlier versions left out other fields
        return phase

    def values(self) -> dict[str, Any]:
        """Give all that the result depends on beside k and the parent, by group, as the canonical form has it."""
        return dict(json.loads(self.to_json())["problem"])

    @cached_property
    def fingerprint(self) -> str:
        """Hash the canonical form: the first 80 bits of its sha256, in hexadecimal."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()[:20]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Phase) and self.fingerprint == other.fingerprint

    def __hash__(self) -> int:
        return hash(self.fingerprint)

    @property
    def num_steps(self) -> int:
        """Count the optimizer steps of this phase."""
        return self.training.num_steps

    @property
    def on_points(self) -> bool:
        """Say whether the potential of this phase lives on points, and is no network."""
        return self.jko.point_phases > 0

    @property
    def composed(self) -> bool:
        """Say whether T_k is an increment on top of phases 0, ..., k - 1."""
        return self.jko.parametrization == "composed"

    @property
    def target_noise(self) -> float:
        """Give the standard deviation of the noise on target samples in this phase: training.target_noise / (k + 1)."""
        return self.training.target_noise / (self.k + 1)


def step_size(jko: Jko, k: int) -> float:
    """Compute h of phase k, in squared units of the space the flow lives in: min(h * growth^k, max_h), or first_h in phase 0.

    Example:
        >>> [step_size(Jko(h=0.5, growth=3.0, max_h=10.0), k) for k in range(5)]
        [0.5, 1.5, 4.5, 10.0, 10.0]
    """
    if k == 0 and jko.first_h is not None:
        return jko.first_h
    return min(jko.h * jko.growth**k, jko.max_h)


def version_of(phase: Phase) -> int:
    """Find the newest version of the method that changed what such a phase computes.

    >>> from pipeline.recipe import Recipe
    >>> plain, exact = Recipe(), Recipe(network=Network(second_order=True))
    >>> [version_of(Phase.of(recipe, k=0, parent=None)) for recipe in (plain, exact)]
    [3, 4]
    """
    changed = (version for version, concerns in CHANGES.items() if version <= METHOD_VERSION and concerns(phase))
    return max(changed, default=min(METHOD_VERSION, FOR_ALL))


def _dumped(value: object) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def _with(group: Group, values: dict[str, Any]) -> Group:
    """Replace those values of a group that are among its fields, and leave the others alone."""
    return replace(group, **{field.name: values[field.name] for field in fields(group) if field.name in values})


def _as_floats(group: Group) -> Group:
    """Make floats of whole numbers where floats are meant: h = 3 and h = 3.0 are one recipe, and so are 0.0 and -0.0."""
    return _with(group, {field.name: float(getattr(group, field.name)) + 0.0 for field in fields(group) if field.type is float})


def phases_of(recipe: Recipe) -> list[Phase]:
    """List all phases of a recipe's flow, in order, each with the fingerprint of the one before it.

    Example:
        >>> from pipeline.recipe import Recipe
        >>> [phase.k for phase in phases_of(Recipe(jko=Jko(num_phases=3)))]
        [0, 1, 2]
    """
    phases: list[Phase] = []
    for k in range(recipe.jko.num_phases):
        phases.append(Phase.of(recipe, k=k, parent=phases[-1].fingerprint if phases else None))
    return phases
