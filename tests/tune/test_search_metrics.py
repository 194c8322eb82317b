"""What a search may judge by is what is measured."""

import pytest

from components.measures import measure
from pipeline.data.endpoints import DEBIAN_FOLDER
from pipeline.evaluation.measure import evaluate
from pipeline.evaluation.size import EvaluationSize
from pipeline.generator import Generator, endpoints_of
from pipeline.phase import phases_of
from pipeline.recipe import PLANAR, Data, Jko, Network, Recipe, Training
from tune.metrics import mode_of, modes_of

CONSTANT = {"modes", "lenet_n", "lenet_digits_n", "num_samples", "num_pairs"}


@pytest.mark.parametrize("target", ["gaussian", "moons", "pinwheel", "digits", "fashion_mnist"])
def test_the_metrics_of_a_target_are_those_that_are_measured(target: str, home: object) -> None:
    if target == "fashion_mnist" and not DEBIAN_FOLDER.is_dir():
        pytest.skip("Debian's package dataset-fashion-mnist is not installed")
    data = Data(target=target)
    recipe = Recipe(data, Network(kind="light") if target in ("digits", "fashion_mnist") else Network(), Jko(), Training())
    measured = evaluate(Generator(phases_of(recipe)[0], endpoints_of(data, None), []), EvaluationSize(200, 1))
    assert modes_of(data).keys() == {name for name in measured if not name.endswith("_floor")} - CONSTANT


def test_planar_targets_have_modes_where_their_measure_has() -> None:
    for target in PLANAR:
        assert ("modes_covered" in modes_of(Data(target=target))) == (measure(target, 2).mode_of is not None), target


def test_a_metric_says_itself_which_way_it_is_good() -> None:
    assert mode_of(Data(target="moons"), "w2", None) == "min"
    assert mode_of(Data(target="moons"), "on_support", None) == mode_of(Data(target="moons"), "on_support", "max") == "max"
