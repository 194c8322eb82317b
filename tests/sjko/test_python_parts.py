"""Objects and classes as parts of a recipe: by import name where they have one, else in memory."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from own_parts import written
from torch import nn

from components.costs import Squared
from components.divergences.base import FDivergence
from components.divergences.kl import KL
from components.networks.pairs import Perceptron
from components.parts.loading import IN_MEMORY
from components.parts.naming import shown
from components.table import divergence
from pipeline.evaluation.built_in import PAIRS
from pipeline.evaluation.metrics import Metric
from pipeline.recipe import Jko, Recipe
from sjko.parts import name_of
from sjko.recipes import checked


def test_what_can_be_imported_is_named_by_import_name_and_options(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written(tmp_path, monkeypatch, "parts_of_python")
    import parts_of_python as mine

    assert name_of(mine.Alpha, "jko.divergence") == "parts_of_python:Alpha"
    assert name_of(mine.Alpha(3.0), "jko.divergence") == "parts_of_python:Alpha(alpha=3.0)"
    assert name_of(mine.windows, "source") == "parts_of_python:windows"
    assert name_of(KL(), "jko.divergence") == name_of(KL, "jko.divergence") == "kl"
    assert (name_of(Squared(), "jko.cost"), name_of(Perceptron(), "network.kind")) == ("squared", "perceptron")
    changed = mine.Alpha(3.0)
    changed.other = 1
    assert name_of(changed, "jko.divergence").startswith(":Alpha."), "made again it would be another one"


def test_what_has_no_import_name_is_an_object_in_memory_with_a_name_for_each_that_is_given_it() -> None:
    @dataclass
    class Mine(KL):
        weight: float = 1.0

    made = Mine()
    name = name_of(made, "jko.divergence")
    other = name_of(made, "jko.divergence")
    assert name != other, "it may have been changed since"
    assert divergence(name) is divergence(other) is made is IN_MEMORY[name]
    assert IN_MEMORY[name_of(lambda: made, "jko.divergence")] is made


def test_a_message_calls_an_object_in_memory_by_its_own_name() -> None:
    class Mine(KL):
        pass

    def spirals() -> np.ndarray:
        return np.zeros((9, 2))

    late = Metric("late", "units", True, PAIRS, max)
    given = {
        "Mine": [Mine(), Mine],
        "spirals": [spirals],
        "late": [late, lambda: late],
    }
    assert {called: {shown(name_of(part, "x")) for part in parts} for called, parts in given.items()} == {
        called: {called} for called in given
    }


def test_an_attribute_that_is_a_tensor_or_anything_else_makes_an_object_in_memory() -> None:
    assert name_of(nn.Linear(2, 2), "network.kind").startswith(":Linear.")
    assert name_of(Scaled(np.float64(2.0)), "jko.divergence").endswith(":Scaled(by=2.0)")


@dataclass
class Scaled(KL):
    by: object


def test_a_recipe_of_python_is_checked_as_one_of_a_file_and_takes_objects() -> None:
    recipe = checked(Recipe(jko=Jko(divergence=KL(), h=1)), {"jko.cost": Squared})  # type: ignore[arg-type]
    assert (recipe.jko.divergence, recipe.jko.cost, recipe.jko.h) == ("kl", "squared", 1.0)
    assert checked(recipe, {}) == recipe
    wrong = {
        "jko.h must be a number such as .*, not high": replace(recipe, jko=Jko(h="high")),  # type: ignore[arg-type]
        r"jko.num_phases must be a whole number .*, not 2\.5": replace(recipe, jko=Jko(num_phases=2.5)),  # type: ignore[arg-type]
        "jko.divergence must be one of .*, not hellinger; did you mean": replace(recipe, jko=Jko(divergence="hellinger")),
        "recipe must be a Recipe, not a str; Flow.from_yaml": "moons",
    }
    for message, given in wrong.items():
        with pytest.raises(ValueError, match=message.removesuffix("; did you mean")):
            checked(given, {})  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"jko\.divergence: FDivergence could not be made: TypeError"):
        name_of(type("Unfinished", (FDivergence,), {"__qualname__": "FDivergence", "__module__": "__main__"}), "jko.divergence")
