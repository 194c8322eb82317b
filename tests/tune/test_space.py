"""The search space: what the flags mean, what is refused, and the recipes that come out."""

import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.recipe import Data, Network, Recipe
from pipeline.recipes.loading import load_recipe
from tune import space
from tune.cli import PROGRAM, main
from tune.space import Axis, applied, axis, rebuilt, take_axes


def test_a_range_of_h_is_logarithmic_and_others_when_told() -> None:
    assert axis("h", ["0.01", "1.0"]) == Axis("jko.h", 0.01, 1.0, log=True)
    assert axis("training.r1", ["0.01", "1"]) == Axis("training.r1", 0.01, 1.0)
    assert axis("r1", ["0.01", "1", "log"]) == Axis("training.r1", 0.01, 1.0, log=True)
    assert axis("width", ["16", "128", "log"]) == Axis("network.width", 16, 128, integer=True, log=True)


def test_words_and_lists_of_numbers_are_choices() -> None:
    assert axis("divergence", ["kl", "jsd"]) == Axis("jko.divergence", choices=("kl", "jsd"))
    assert axis("second_order", ["true", "false"]) == Axis("network.second_order", choices=(True, False))
    assert axis("num-steps", ["100", "300", "1000"]) == Axis("training.num_steps", choices=(100, 300, 1000))
    assert axis("first_h", ["None", "0.1", "1"]) == Axis("jko.first_h", choices=(None, 0.1, 1.0))


def test_the_space_flags_are_taken_from_anywhere_and_the_rest_stays() -> None:
    arguments = ["run", "moons", "--space.h", "0.1", "1", "--num-trials", "4", "--space.divergence=kl", "jsd", "--seed", "3"]
    rest, axes = take_axes(arguments)
    assert rest == ["run", "moons", "--num-trials", "4", "--seed", "3"]
    assert axes == [Axis("jko.h", 0.1, 1.0, log=True), Axis("jko.divergence", choices=("kl", "jsd"))]
    assert take_axes(["run", "moons"]) == (["run", "moons"], [])


def test_the_default_space_has_what_the_recipe_can_have() -> None:
    axes = PROGRAM.read(["run", "moons"]).axes
    assert [str(each) for each in axes] == ["jko.h from 0.1 to 10 (log)", "jko.divergence in kl, jsd, softplus"]
    axes = PROGRAM.read(["run", "sjko_kl"]).axes
    assert str(axes[1]) == "jko.divergence in kl, jsd, softplus"
    axes = PROGRAM.read(["run", "sjko_kl", "--jko.source-divergence", "kl", "--jko.fit", "conjugate"]).axes
    assert str(axes[1]) == "jko.divergence in kl, softplus"
    assert PROGRAM.read(["run", "moons", "--space.fit", "logistic", "conjugate", "--space.divergence", "kl", "jsd"])
    assert axis("first_h", ["None", "0.1"]).choices == (None, 0.1)
    assert axis("h", ["1", "inf"]).choices == (1.0, math.inf)


@pytest.mark.parametrize(
    ("flags", "parts"),
    [
        ("--space.h 1", ("--space.h must be LOW HIGH [log], or several choices, not 1 alone",)),
        ("--space.width=8", ("--space.width must be LOW HIGH [log], or several choices, not 8 alone",)),
        ("--space.h 1 0.1", ("--space.h", "LOW below HIGH", "1 0.1")),
        ("--space.h 0 1", ("above 0", "0 1")),
        ("--space.h a b", ("--space.h must be a number", "not a")),
        ("--space.h", ("--space.h must be", "empty")),
        ("--space.height 1 2", ("--space.height must name a field of network, jko or training",)),
        ("--space.target moons spiral", ("--space.target must name a field",)),
        ("--space.num-phases 2 8", ("--space.num-phases is not needed",)),
        ("--space.divergence kl wasserstein", ("--space.divergence must be", "jsd", "not wasserstein")),
        ("--space.divergence kl log", ("LOW HIGH log",)),
        ("--space.divergence kl kl", ("--space.divergence must name each value once, not kl kl",)),
        ("--space.second_order true false true", ("must name each value once",)),
        ("--space.first_h None None", ("must name each value once",)),
        ("--space.h 1 inf inf", ("must name each value once",)),
        ("--space.h 1 1.0 2", ("must name each value once, not 1 1.0 2",)),
        ("--space.r1 0 -0.0 1", ("must name each value once",)),
        ("--space.width 16 016 32", ("--space.width must be a whole number", "not 016")),
        ("--space.h 1 1", ("LOW below HIGH",)),
        ("--space.h -1 1", ("above 0",)),
        ("--space.r1 -1 1 log", ("above 0",)),
        ("--space.h nan 1", ("--space.h must be a number", "not nan")),
        ("--space.h nan 1 2", ("--space.h must be a number", "not nan")),
        ("--space.h 1.001 1.002", ("must differ in 2 digits",)),
        ("--metric nope", ("--metric must be one of w2, sliced_w2", "on_support", "for data.target moons, not nope")),
        ("--metric w2_floor", ("--metric must be one of",)),
        ("--metric transport_cost", ("--metric must be one of",)),
        ("--metric fid", ("--metric must be one of",)),
        ("--metric on_support --data.target gaussian", ("for data.target gaussian, not on_support",)),
        ("--metric w2 --mode max", ("--mode must be min for w2",)),
        ("--metric on_support --mode min", ("--mode must be max for on_support",)),
        ("--space.width 1.5 8", ("--space.width must be a whole number", "not 1.5")),
        ("--space.width 1_0 80", ("--space.width must be a whole number", "not 1_0")),
        ("--space.width 1e1 80", ("--space.width must be a whole number", "not 1e1")),
        ("--space.h \u0661 \u0663", ("--space.h must be a number", "not \u0661")),
        ("--space.h 1 1e999", ("--space.h must be a number that 64 bits can hold",)),
        ("--space.h 1e-320 1", ("jko.h must be from 1e-12",)),
        ("--space.h log 1 2", ("--space.h must be a number", "not log")),
        ("--space.divergence KL jsd", ("did you mean kl?",)),
        ("--space.second_order yes no", ("--space.second_order must be true or false, not yes",)),
        ("--space.hh 1 2", ("did you mean --space.h?",)),
        ("--space h 1 2", ("--space must name a field, such as --space.h 0.1 10",)),
        ("--space.kind perceptron residual --network.width 64", ("--network.width must be left out beside --space.kind",)),
        ("--space.kind perceptron light", ("data.target must be one of", "when network.kind is light, not moons")),
        ("--num-confirmed 51", ("--num-confirmed must be at most 50",)),
        ("--search-seed 4294967296", ("--search-seed must be at most 4294967295",)),
        ("--seed 1_0", ("seed must be a whole number", "not 1_0")),
        ("--space.width 0 8", ("network.width must be at least 1, not 0",)),
        ("--space.beta1 0.5 1", ("training.beta1 must be at least 0 and below 1",)),
        ("--space.h 0.1 1 --space.h 1 2", ("--space.h must be given once",)),
        ("--space.h 0.1 1 --space.jko.h 1 2", ("name each field once",)),
        ("--num-trials 0", ("--num-trials must be at least 1, not 0",)),
        ("--store.optuna mysql://x", ("store.optuna must start with sqlite:///",)),
        ("--name ../x", ("--name must be letters",)),
        ("--jko.h -1", ("jko.h must be above 0",)),
    ],
)
def test_a_wrong_space_is_refused_in_one_line(flags: str, parts: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "moons", *flags.split()]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    for part in parts:
        assert part in error


def test_kinds_of_networks_can_be_searched_each_with_its_own_defaults() -> None:
    command = PROGRAM.read(["run", "fashion_mnist", "--space.kind", "perceptron", "residual", "light"])
    axes = command.axes
    found = [applied(command.resolved(), axes, {"network.kind": kind}).network for kind in axes[0].choices]
    assert found == [
        Network(),
        Network(kind="residual", width=128, num_frequencies=0, z_dim=2),
        Network(kind="light", width=32, num_frequencies=0),
    ]
    standardised = applied(Recipe(Data(target="fashion_mnist")), axes, {"network.kind": "light"})
    assert not standardised.data.standardise


def test_a_point_becomes_a_recipe_of_two_digits() -> None:
    axes = [axis("h", ["0.01", "10"]), axis("num_steps", ["10", "2000"])]
    recipe = applied(Recipe(), axes, {"jko.h": 0.123456, "training.num_steps": 1234})
    assert (recipe.jko.h, recipe.training.num_steps) == (0.12, 1234)
    assert applied(Recipe(), axes, {}) == Recipe()
    decay = axis("ema_decay", ["0.9", "0.9999"])
    assert [decay.rounded(value) for value in (0.995, 0.99612)] == [0.995, 0.9961]
    with pytest.raises(ValueError, match=r"jko\.fit must be conjugate"):
        applied(Recipe(), [axis("fit", ["logistic", "conjugate"])], {"jko.fit": "logistic"})


@given(st.floats(0.011, 9.9))
def test_rounding_moves_a_number_by_less_than_five_per_cent_and_never_out_of_its_range(value: float) -> None:
    h = Axis("jko.h", 0.011, 9.9, log=True)
    assert abs(h.rounded(value) - value) <= 0.05 * value
    assert h.contains(h.rounded(value))


def test_a_recipe_survives_the_way_through_a_record() -> None:
    import json
    from dataclasses import asdict

    from pipeline.recipe import Jko

    recipe = Recipe(jko=Jko(h=float("inf"), divergence="softplus"), seed=7)
    assert rebuilt(json.loads(json.dumps(asdict(recipe)))) == recipe


def test_every_field_of_a_recipe_can_be_searched() -> None:
    assert set(space.field_types()) >= {"jko.h", "jko.divergence", "training.map_lr", "network.width"}
    assert "data.target" not in space.field_types()


def test_every_divergence_can_be_searched_from_a_recipe_whose_fit_is_for_kl() -> None:
    table = load_recipe("table")
    choices = ["kl", "jsd", "chi2"]
    searched = [applied(table, [axis("divergence", choices)], {"jko.divergence": name}).jko for name in choices]
    assert [(jko.divergence, jko.fit) for jko in searched] == [("kl", "logistic"), ("jsd", "conjugate"), ("chi2", "conjugate")]


@pytest.mark.parametrize(("file", "name"), [("My cells.csv", "My-cells"), ("Größen (2).csv", "Gr-en-2"), ("表.csv", "search")])
def test_a_search_on_a_table_has_a_name_whatever_the_file_is_called(file: str, name: str, tmp_path: Path) -> None:
    (tmp_path / file).write_text("a,b\n" + "".join(f"{n % 5},{n % 7}\n" for n in range(40)))
    assert PROGRAM.read(["run", "--data.target", str(tmp_path / file)]).search_name == name
