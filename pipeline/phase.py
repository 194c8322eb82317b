"""A phase's identity: k, its parent, and exactly the recipe fields that its result depends on."""

import hashlib
import json
import math
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from typing import Any, Self

from pipeline.recipe import DATASETS, SIDES, Data, Jko, Network, Recipe, Training

METHOD_VERSION = 3
"""Part of every fingerprint; raised when a change of the code changes what a recipe computes."""
LATER_FIELDS = ("size", "flip", "digest", "source_digest", "streamed")
"""Fields of `Data` that are younger than published flows: at their defaults they do not enter, and fingerprints stay."""


@dataclass(frozen=True)
class Phase:
    """What phase k computes. Equal phases have equal fingerprints and equal results, whatever machine trains them.

    Attributes:
        k: number of the phase, counted from 0.
        parent: fingerprint of phase k - 1; None for phase 0, whose anchor T_{-1} is the identity.
        problem: every other value that the result depends on, JSON-ready; values without influence are None.
    """

    k: int
    parent: str | None
    problem: dict[str, Any]

    @classmethod
    def of(cls, recipe: Recipe, *, k: int, parent: str | None) -> Self:
        """Phase k of a recipe's flow. K never enters, so a longer flow shares the phases of a shorter one."""
        first = k == 0
        jko = {name: value for name, value in fields_of(recipe.jko).items() if name not in ("num_phases", "first_h")}
        training = {name: value for name, value in fields_of(recipe.training).items() if name != "first_num_steps"}
        if first and recipe.jko.first_h is not None:
            jko["h"] = float(recipe.jko.first_h)
        if first and recipe.training.first_num_steps is not None:
            training["num_steps"] = recipe.training.first_num_steps
        if math.isinf(jko["h"]):  # no cost: its convention has no influence
            jko |= {"h": "inf", "cost": None}
        anchored = not first and jko["h"] != "inf"
        if not anchored or recipe.network.z_dim == 0:  # no anchor, or one without z
            jko["z"] = None
        if recipe.training.r1 == recipe.training.r2 == 0:
            training["penalty_every"] = None
        if first:  # with one map there is nothing to compose
            jko["parametrization"] = None
        for name in ("target_noise", "bfloat16"):
            if training[name] == getattr(Training, name):
                del training[name]
        first_steps = recipe.training.first_num_steps or recipe.training.num_steps
        training["steps_before"] = 0 if first else first_steps + (k - 1) * recipe.training.num_steps
        if math.isinf(training["lr_decay_steps"]):  # constant rates: where the phase stands in the flow has no influence
            training |= {"lr_decay_steps": "inf", "steps_before": None}
        problem = {
            "method_version": METHOD_VERSION,
            "seed": recipe.seed,
            "data": _data_of(recipe.data),
            "network": _network_of(recipe.network),
            "jko": jko,
            "training": training,
        }
        return cls(k, parent, problem)

    @classmethod
    def from_json(cls, text: str) -> Self:
        value = json.loads(text)
        return cls(value["k"], value["parent"], value["problem"])

    def to_json(self) -> str:
        """The canonical form that is hashed: sorted keys, no spaces, shortest exact floats."""
        value = {"k": self.k, "parent": self.parent, "problem": self.problem}
        return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)

    def __hash__(self) -> int:
        return hash(self.fingerprint)

    @cached_property
    def fingerprint(self) -> str:
        """First 80 bits of the sha256 of the canonical form, in hexadecimal."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()[:20]

    @property
    def data(self) -> Data:
        data = self.problem["data"]
        return Data(**(data if data["dim"] is not None else {**data, "dim": Data.dim}))

    @property
    def network(self) -> Network:
        return Network(**self.problem["network"])

    @property
    def h(self) -> float:
        return float(self.problem["jko"]["h"])

    @property
    def composed(self) -> bool:
        """Whether T_k is an increment on top of phases 0, ..., k - 1."""
        return bool(self.problem["jko"]["parametrization"] == "composed")

    @property
    def bfloat16(self) -> bool:
        """Whether networks run in 16 bits."""
        return bool(self.problem["training"].get("bfloat16", False))

    @property
    def target_noise(self) -> float:
        """Standard deviation of the noise on target samples in this phase."""
        return float(self.problem["training"].get("target_noise", 0.0)) / (self.k + 1)

    @property
    def num_steps(self) -> int:
        return int(self.problem["training"]["num_steps"])


def _data_of(data: Data) -> dict[str, Any]:
    """The data without what has no influence: d where the target has its own, the size that a set comes with."""
    values = asdict(data)
    if data.target != "gaussian":
        values["dim"] = None
    if data.target in DATASETS and data.size == DATASETS[data.target][1]:
        values["size"] = None
    return {name: value for name, value in values.items() if name not in LATER_FIELDS or value != getattr(Data, name)}


def _network_of(network: Network) -> dict[str, Any]:
    """The network; the convolutional ones have a depth of their own, so theirs is the default whatever a recipe says."""
    return {**asdict(network), "depth": Network.depth if network.kind in SIDES else network.depth}


def fields_of(group: Jko | Training) -> dict[str, Any]:
    """The fields of a group; h = 3 and h = 3.0 are one recipe, and so are 0.0 and -0.0."""
    return {f.name: float(v) + 0.0 if f.type is float else v for f in fields(group) for v in [getattr(group, f.name)]}


def phases_of(recipe: Recipe) -> list[Phase]:
    """All phases of a recipe's flow, in order."""
    phases: list[Phase] = []
    for k in range(recipe.jko.num_phases):
        phases.append(Phase.of(recipe, k=k, parent=phases[-1].fingerprint if phases else None))
    return phases
