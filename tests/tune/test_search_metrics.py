"""What a search may judge by is what is measured."""

import pytest

from pipeline.data import table
from pipeline.data.endpoints import load_endpoints
from pipeline.data.sets.fashion_mnist import DEBIAN_FOLDER
from pipeline.evaluation.measure import evaluate
from pipeline.evaluation.metrics import figures
from pipeline.evaluation.offer import offer_of
from pipeline.evaluation.size import EvaluationSize
from pipeline.generator import Generator, endpoints_of
from pipeline.phase import phases_of
from pipeline.recipe import Data, Jko, Network, Recipe, Training
from tune.metrics import mode_of, objective

CONSTANT = {"modes", "lenet_n", "lenet_digits_n", "near_copies_among", "num_samples", "num_pairs"}


@pytest.mark.parametrize(
    "target", ["gaussian", "moons", "pinwheel", "digits", pytest.param("fashion_mnist", marks=pytest.mark.thorough)]
)
def test_the_metrics_of_a_target_are_those_that_are_measured(target: str, home: object) -> None:
    if target == "fashion_mnist" and not DEBIAN_FOLDER.is_dir():
        pytest.skip("Debian's package dataset-fashion-mnist is not installed")
    data = Data(target=target)
    recipe = Recipe(data, Network(kind="light") if target in ("digits", "fashion_mnist") else Network(), Jko(), Training())
    measured = evaluate(Generator(phases_of(recipe)[0], endpoints_of(data, None), []), EvaluationSize(200, 1))
    assert figures(offer_of(data)).keys() == {name for name in measured if not name.endswith("_floor")} - CONSTANT


@pytest.mark.parametrize("target", table.MEASURES)
def test_there_are_metrics_of_modes_where_the_target_has_modes(target: str) -> None:
    data = Data(target=target)
    assert ("modes_covered" in figures(offer_of(data))) == (load_endpoints(data).data.modes is not None)
    assert load_endpoints(data).data.modes is not None or target in ("normal", "gaussian", "pinwheel")


def test_a_metric_says_itself_which_way_it_is_good() -> None:
    assert mode_of(Data(target="moons"), "w2", None) == "min"
    assert mode_of(Data(target="moons"), "on_support", None) == mode_of(Data(target="moons"), "on_support", "max") == "max"


def test_what_is_logged_in_training_is_no_objective_since_fresh_samples_have_none() -> None:
    with pytest.raises(ValueError, match=r"--metric must be one of w2, sliced_w2 for data\.target pinwheel, not divergence"):
        objective(Data(target="pinwheel"), "divergence")
