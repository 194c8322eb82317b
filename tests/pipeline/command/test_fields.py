"""Every field of a recipe: changing it changes the numbers and the fingerprint, or neither.

Found by introspection: a new field without a case fails. Flows are trained in this process, a few steps long.
"""

import math
from dataclasses import fields
from functools import cache
from itertools import combinations
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

import picture_sets as sets
import pytest
import torch
from flows import tiny
from torch import Tensor

from benchmarks.flows import train_flow
from pipeline import ray_session
from pipeline.cluster import Cluster
from pipeline.data.endpoints import load_endpoints
from pipeline.data.resolution import resolve
from pipeline.phase import phases_of
from pipeline.recipe import Data, Jko, Network, Recipe, Training
from pipeline.recipes.rules import validate
from pipeline.recipes.values import kinds_of

GROUPS: dict[str, type] = {"data": Data, "network": Network, "jko": Jko, "training": Training}
FIELDS = [f"{group}.{field.name}" for group, of in GROUPS.items() for field in fields(of)] + ["seed"]
INF = math.inf
IMAGES: dict[str, Any] = {"target": "digits", "standardise": False, "num_frequencies": 0, "kind": "light", "batch_size": 4}
LARGE = {
    "target": "image_folder",
    "size": 16,
    "standardise": False,
    "num_frequencies": 0,
    "batch_size": 4,
    "z_dim": 2,
    "width": 4,
}
LETTERS = {**IMAGES, "target": "mnist", "source": "emnist_letters", "width": 4}
PENGUINS = {"target": "penguins", "columns": "bill_length_mm,flipper_length_mm,sex", "num_frequencies": 0}
POINTS = {"divergence": "linear", "point_phases": 2, "num_points": 20}
ONE_COST = {"h": 0.5, "divergence": "kl"}

Case = tuple[dict[str, Any], dict[str, Any]]
"""A recipe, as changes of the tiny one, and what is changed of it."""

WITH_INFLUENCE: dict[str, list[Case]] = {
    "data.source": [({}, {"source": "spiral"}), (LETTERS, {"source": "normal"})],
    "data.target": [({}, {"target": "gauss8"}), (IMAGES | {"target": "mnist"}, {"target": "emnist_letters"})],
    "data.dim": [({"target": "gaussian"}, {"dim": 3})],
    "data.condition": [({"target": "gauss8"}, {"condition": "mode"}), ({"target": "digits"}, {"condition": "label"})],
    "data.standardise": [
        ({"target": "gauss8"}, {"standardise": False}),
        ({"target": "moons"}, {"standardise": "axes"}),
        ({"target": "moons"}, {"standardise": "whitened"}),
        ({"target": "digits"}, {"standardise": False}),
    ],
    "data.size": [(LARGE, {"size": 8})],
    "data.channels": [(LARGE, {"channels": 1})],
    "data.flip": [(IMAGES, {"flip": True}), ({"target": "digits"}, {"flip": True}), (LETTERS, {"flip": True})],
    "data.digest": [(LARGE, {"digest": "other"})],
    "data.source_digest": [(LETTERS, {"source_digest": "other"})],
    "data.streamed": [],
    "data.columns": [(PENGUINS, {"columns": "bill_length_mm,sex"})],
    "data.weights": [(PENGUINS, {"weights": "year"})],
    "data.split": [],
    "data.schema": [],
    "network.width": [({}, {"width": 12}), ({"kind": "residual", "num_frequencies": 0}, {"width": 12}), (IMAGES, {"width": 12})],
    "network.depth": [({}, {"depth": 2}), ({"kind": "residual", "num_frequencies": 0}, {"depth": 2})],
    "network.num_frequencies": [({}, {"num_frequencies": 3}), ({"second_order": True}, {"num_frequencies": 0})],
    "network.z_dim": [({}, {"z_dim": 1}), (IMAGES, {"z_dim": 2})],
    "network.kind": [({"num_frequencies": 0}, {"kind": "residual"}), (LARGE, {"kind": "large"})],
    "network.second_order": [({"divergence": "kl", "fit": "logistic"}, {"second_order": True})],
    "jko.num_phases": [({}, {"num_phases": 3})],
    "jko.h": [({}, {"h": 0.7}), ({}, {"h": INF}), ({"divergence": "relativistic"}, {"h": 0.7})],
    "jko.first_h": [({}, {"first_h": 0.7}), ({"h": INF}, {"first_h": 1.0})],
    "jko.growth": [({}, {"growth": 2.0})],
    "jko.max_h": [({"growth": 2.0}, {"max_h": 4.0})],
    "jko.point_phases": [
        ({"divergence": "linear", "num_points": 20}, {"point_phases": 1}),
        ({"num_points": 20}, {"point_phases": 2}),
    ],
    "jko.num_points": [(POINTS, {"num_points": 30})],
    "jko.regression": [(POINTS, {"regression": "l2"})],
    "jko.divergence": [],
    "jko.source_divergence": [],
    "jko.fit": [({"divergence": "kl"}, {"fit": "logistic"}), ({"divergence": "forward_kl"}, {"fit": "logistic"})],
    "jko.cost": [({}, {"cost": "mean_squared"}), ({"h": INF, "first_h": 1.0}, {"cost": "mean_squared"})],
    "jko.parametrization": [({}, {"parametrization": "composed"}), ({"h": INF}, {"parametrization": "composed"})],
    "jko.z": [({"z_dim": 2}, {"z": "shared"})],
    "training.num_steps": [({}, {"num_steps": 5})],
    "training.first_num_steps": [({}, {"first_num_steps": 5})],
    "training.batch_size": [({}, {"batch_size": 17}), (IMAGES, {"batch_size": 5})],
    "training.map_lr": [({}, {"map_lr": 1e-3})],
    "training.potential_lr": [({}, {"potential_lr": 1e-3})],
    "training.lr_decay_steps": [({}, {"lr_decay_steps": 10.0}), ({}, {"lr_decay_steps": INF})],
    "training.lr_schedule": [({}, {"lr_schedule": "cosine"})],
    "training.beta1": [({}, {"beta1": 0.5})],
    "training.beta2": [({}, {"beta2": 0.9})],
    "training.r1": [({}, {"r1": 0.5}), ({"divergence": "relativistic"}, {"r1": 0.0}), ({"r2": 0.0}, {"r1": 0.0})],
    "training.r2": [({}, {"r2": 0.5}), ({"divergence": "relativistic"}, {"r2": 0.0}), ({"r1": 0.0}, {"r2": 0.0})],
    "training.penalty_every": [({}, {"penalty_every": 2}), ({"penalty_every": 500}, {"penalty_every": 501})],
    "training.ema_decay": [({"ema_decay": 0.3}, {"ema_decay": 0.2}), ({}, {"ema_decay": 0.0})],
    "training.target_noise": [
        ({}, {"target_noise": 0.1}),
        ({"target_noise": 5.0}, {"target_noise": 0.1}),
        ({"divergence": "relativistic", "r1": 0.0}, {"target_noise": 0.1}),
        (IMAGES, {"target_noise": 0.1}),
    ],
    "training.bfloat16": [({}, {"bfloat16": True}), (IMAGES, {"bfloat16": True})],
    "seed": [({}, {"seed": 1}), (IMAGES, {"seed": 1})],
}
WITHOUT: dict[str, list[Case]] = {
    "data.dim": [({}, {"dim": 3})],
    "data.size": [({"target": "digits"}, {"size": 8})],
    "network.depth": [
        (IMAGES, {"depth": 2}),
        (IMAGES | {"kind": "small"}, {"depth": 2}),
        (LARGE | {"kind": "large"}, {"depth": 2}),
    ],
    "jko.first_h": [({"h": 0.3}, {"first_h": 0.3})],
    "jko.growth": [({"h": INF}, {"growth": 2.0})],
    "jko.max_h": [({}, {"max_h": 3.0})],
    "jko.num_points": [({}, {"num_points": 30})],
    "jko.regression": [({}, {"regression": "l2"})],
    "jko.cost": [({"h": INF}, {"cost": "mean_squared"})],
    "jko.z": [({}, {"z": "shared"}), ({"z_dim": 2, "h": INF}, {"z": "shared"})],
    "jko.parametrization": [({"num_phases": 1}, {"parametrization": "composed"})],
    "training.first_num_steps": [({}, {"first_num_steps": 4})],
    "training.lr_decay_steps": [({"lr_schedule": "cosine"}, {"lr_decay_steps": 10.0})],
    "training.potential_lr": [(POINTS, {"potential_lr": 1e-3})],
    "training.r1": [(POINTS, {"r1": 0.5})],
    "training.r2": [(POINTS, {"r2": 0.5})],
    "training.target_noise": [(POINTS, {"target_noise": 0.1})],
    "jko.fit": [(POINTS | {"divergence": "kl"}, {"fit": "logistic"})],
    "training.penalty_every": [({"r1": 0.0, "r2": 0.0}, {"penalty_every": 2})],
}
CHOICES: dict[str, list[dict[str, Any]]] = {
    "data.source": [{"target": "gauss8"}],
    "data.target": [{}],
    "network.kind": [{"target": "digits", "standardise": False, "num_frequencies": 0, "width": 4}],
    "jko.divergence": [{"h": 0.5}],
    "jko.source_divergence": [ONE_COST, ONE_COST | {"h": INF}],
}
"""Fields of many values, and recipes: any two values that one may have are different flows."""


class Sets:
    """Prepared sets of noise, and for each a second one of other images: `other` as a digest names that."""

    def __init__(self, folder: Path) -> None:
        self.folders = folder / "first", folder / "second"
        for seed, data_uri in enumerate(self.folders):
            sets.prepared("mnist", sets.mnist(folder / f"digits{seed}", seed=seed + 7), data_uri)
            sets.prepared("emnist_letters", sets.emnist(folder / f"letters{seed}", seed=seed + 50), data_uri)
            photos = sets.photos(folder / f"photos{seed}", seed=seed)
            for size in (8, 16):
                sets.prepared("image_folder", photos, data_uri, size)
        sets.prepared("cifar10", sets.cifar10(folder / "cifar"), self.folders[0])
        self.grey = folder / "grey"
        sets.prepared("image_folder", photos, self.grey, 16, channels=1)
        self.numbers = cache(self._numbers)

    def recipe(self, changes: dict[str, Any]) -> tuple[Recipe, str]:
        """The tiny recipe with changes, resolved, and where its images are."""
        other = "other" in (changes.get("digest"), changes.get("source_digest"))
        data_uri = str(self.folders[other] if changes.get("channels") != 1 else self.grey)
        recipe = tiny(**{"num_phases": 2, "num_steps": 4} | {k: v for k, v in changes.items() if v != "other"})
        validate(recipe)
        return resolve(recipe, Cluster(data=data_uri)), data_uri

    def _numbers(self, recipe: Recipe, data_uri: str) -> list[list[Tensor]]:
        """Averaged weights and those of the potential after every phase."""
        trained = train_flow(recipe, ends=load_endpoints(recipe.data, data_uri))
        return [[*each.generator.maps[-1].parameters(), *each.potential.parameters()] for each in trained]

    def differ(self, one: dict[str, Any], other: dict[str, Any]) -> list[tuple[bool, bool]]:
        """By phase: whether the fingerprints of two recipes differ, and whether their numbers do."""
        pairs = [self.recipe(changes) for changes in (one, other)]
        fingerprints = [[phase.fingerprint for phase in phases_of(recipe)] for recipe, _ in pairs]
        numbers = [self.numbers(*pair) for pair in pairs]
        lengths = {len(each) for each in (*fingerprints, *numbers)}
        assert len(lengths) == 1 or len(fingerprints[0]) != len(fingerprints[1])
        return [(a != b, not same(x, y)) for a, b, x, y in zip(*fingerprints, *numbers, strict=False)]


def same(a: list[Tensor], b: list[Tensor]) -> bool:
    return len(a) == len(b) and all(x.shape == y.shape and torch.equal(x, y) for x, y in zip(a, b, strict=True))


@pytest.fixture(scope="module")
def all_sets(tmp_path_factory: pytest.TempPathFactory) -> Sets:
    return Sets(tmp_path_factory.mktemp("sets"))


@pytest.fixture(autouse=True)
def _own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SJKO_HOME", str(tmp_path / "home"))


def cases(table: dict[str, list[Case]]) -> Any:
    """Each case of a table, under the field's name; a field's further cases are thorough."""
    return pytest.mark.parametrize(
        ("base", "change"),
        [
            pytest.param(*case, id=f"{name}-{i}", marks=[pytest.mark.thorough] * (i > 0))
            for name, each in table.items()
            for i, case in enumerate(each)
        ],
    )


def test_every_field_has_a_case_here() -> None:
    assert set(WITH_INFLUENCE) == set(FIELDS)
    seen_elsewhere = {"data.streamed", "data.split", "data.schema"}
    assert {name for name, each in WITH_INFLUENCE.items() if not each} == {*CHOICES, *seen_elsewhere} - {
        name for name in CHOICES if WITH_INFLUENCE[name]
    }


@cases(WITH_INFLUENCE)
def test_a_field_with_influence_changes_numbers_and_fingerprints_of_the_same_phases(
    base: dict[str, Any], change: dict[str, Any], all_sets: Sets
) -> None:
    by_phase = all_sets.differ(base, base | change)
    assert all(of_fingerprint == of_numbers for of_fingerprint, of_numbers in by_phase), by_phase
    assert by_phase[-1] == (True, True) or "num_phases" in change


@cases(WITHOUT)
def test_a_field_without_influence_changes_neither_numbers_nor_fingerprints(
    base: dict[str, Any], change: dict[str, Any], all_sets: Sets
) -> None:
    assert set(all_sets.differ(base, base | change)) == {(False, False)}


def choices(kind: Any) -> list[str]:
    """The words that a field of a kind may be."""
    return [word for each in kinds_of(kind) if get_origin(each) is Literal for word in get_args(each)]


@pytest.mark.parametrize(
    ("name", "base"),
    [
        pytest.param(name, base, marks=[pytest.mark.thorough] * (name == "data.target"))
        for name, bases in CHOICES.items()
        for base in bases
    ],
)
def test_any_two_choices_of_a_field_are_different_flows(name: str, base: dict[str, Any], all_sets: Sets) -> None:
    group, field = name.split(".")
    allowed = []
    for value in choices(get_type_hints(GROUPS[group])[field]):
        try:
            validate(tiny(**base | {field: value}))
        except ValueError:
            continue
        allowed.append(base | {field: value})
    assert len(allowed) > 3
    for one, other in combinations(allowed, 2):
        assert all_sets.differ(one, other) == [(True, True)] * 2, (one, other)


@pytest.mark.thorough
@pytest.mark.usefixtures("one_ray")
def test_images_that_are_streamed_come_in_another_order_and_under_another_fingerprint(all_sets: Sets) -> None:
    images = LARGE
    with ray_session.started(Cluster()):
        assert all_sets.differ(images, images | {"streamed": True}) == [(True, True)] * 2


def test_a_second_phase_knows_whether_its_h_is_the_first_ones(all_sets: Sets) -> None:
    """Per phase: a change that comes into play in phase 1 leaves phase 0 as it was."""
    assert all_sets.differ({"first_h": 0.5}, {"first_h": 0.5, "h": 0.7}) == [(False, False), (True, True)]
    assert all_sets.differ({"z_dim": 2}, {"z_dim": 2, "z": "shared"}) == [(False, False), (True, True)]
    assert all_sets.differ({"num_phases": 2}, {"num_phases": 2, "parametrization": "composed"}) == [(False, False), (True, True)]
