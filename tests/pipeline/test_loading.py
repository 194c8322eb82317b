"""A recipe from its name or file, without a command line."""

from pathlib import Path

import pytest

from pipeline.command import cli
from pipeline.recipe import Recipe
from pipeline.recipes.loading import load_recipe, resolved_recipe
from pipeline.recipes.reading import RECIPES


@pytest.mark.parametrize("name", sorted(path.stem for path in RECIPES.glob("*.yaml")))
def test_it_is_the_recipe_that_the_command_trains(name: str) -> None:
    assert load_recipe(name) == cli.PROGRAM.read(["run", name]).resolved()


def test_a_file_and_fields_that_replace_its_own(tmp_path: Path) -> None:
    (tmp_path / "my.yaml").write_text("data: {target: gauss25}\njko: {num_phases: 8, first_h: 2.0}\n")
    recipe = load_recipe(str(tmp_path / "my.yaml"), jko__h=float("inf"), jko__first_h=None, data__standardise=False, seed=3)
    assert (recipe.data.target, recipe.jko.num_phases, recipe.jko.h) == ("gauss25", 8, float("inf"))
    assert (recipe.jko.first_h, recipe.data.standardise, recipe.seed) == (None, False, 3)
    assert load_recipe("two_circles", **{"training.map_lr": 1e-5}).training.map_lr == 1e-5
    assert isinstance(recipe, Recipe)


def test_another_kind_of_network_says_what_is_dropped(caplog: pytest.LogCaptureFixture) -> None:
    assert load_recipe("fashion_mnist", network__kind="small", data__target="cifar10").network.width == 64
    assert "network.kind small has its own" in caplog.text


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"jko__hh": 1}, r"jko\.hh is not a field of a recipe; did you mean jko\.h\?"),
        ({"jko__h": "small"}, r"jko\.h must be a number .*, not small"),
        ({"jko__num_phases": 2.5}, r"jko\.num_phases must be a whole number .*, not 2\.5"),
        ({"seed": True}, r"seed must be a whole number .*, not True"),
        ({"jko__h": -1}, r"jko\.h must be above 0"),
    ],
)
def test_a_mistake_names_the_field_and_the_rule(fields: dict[str, object], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        load_recipe("two_circles", **fields)


def test_a_recipe_that_there_is_not_is_refused() -> None:
    with pytest.raises(ValueError, match="did you mean two_circles"):
        load_recipe("two_circle")


def test_a_divergence_by_flag_takes_the_fit_with_it_that_is_not_for_it() -> None:
    resolved = resolved_recipe("table", {"jko.divergence": "chi2"})
    assert (resolved.recipe.jko.divergence, resolved.recipe.jko.fit) == ("chi2", "conjugate")
    assert resolved.note.startswith("jko.fit is conjugate with jko.divergence chi2: logistic of ")
    assert load_recipe("table", jko__divergence="forward_kl").jko.fit == "logistic"
    with pytest.raises(ValueError, match=r"jko\.fit must be conjugate unless jko\.divergence is kl or forward_kl"):
        load_recipe("table", jko__divergence="chi2", jko__fit="logistic")
