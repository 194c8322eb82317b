"""Conditional flows: what a recipe may be conditioned on, batches with their conditions, and samples that are given one."""

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import picture_sets as sets
import pytest
from flows import QUICK, tiny

from components.conditions import Condition, Law
from components.networks.pair import NetworkPair
from pipeline.command import cli
from pipeline.data.analytic import MODE
from pipeline.data.endpoints import load_endpoints
from pipeline.data.images.image_set import LABEL
from pipeline.data.joint import Conditioned
from pipeline.data.source import At
from pipeline.data.specs import condition_of, spec_of
from pipeline.errors import Unusable
from pipeline.evaluation.measure import evaluate
from pipeline.evaluation.metrics import figures
from pipeline.evaluation.offer import offer_of
from pipeline.evaluation.size import EvaluationSize
from pipeline.generator import Generator, generator_of
from pipeline.phase import Phase, phases_of
from pipeline.recipe import Data, Recipe
from pipeline.recipes.loading import load_recipe
from pipeline.training.loop import train_flow
from pipeline.training.solving.setting import Setting

SIZE = EvaluationSize(300, 1)
REFUSED = {
    ("two_circles", "label"): "data.condition must be mode, or left out, for data.target two_circles, not label",
    ("digits", "mode"): "data.condition must be label, or left out, for data.target digits, not mode",
    ("pinwheel", "mode"): "data.condition must be left out for data.target pinwheel, not mode",
    ("gaussian", "mode"): "data.condition must be left out for data.target gaussian, not mode",
    ("image_folder", "label"): "data.condition must be left out for data.target image_folder, not label",
    ("digits", ""): "data.condition must be label, or left out, for data.target digits, not ",
}


def trained(recipe: Recipe) -> Generator:
    """The last map of a flow that is trained in this process, without a store."""
    endpoints = load_endpoints(recipe.data)
    phases = phases_of(recipe)
    for underway in train_flow(phases, Setting.of(phases[0], endpoints)):
        list(underway.losses)
    return generator_of(phases[-1], endpoints, [underway.state.averaged_map.state_dict()])


class Exchanged(Generator):
    """A generator that takes one of two classes for the other."""

    def push(self, x: np.ndarray, z: np.ndarray, condition: np.ndarray | None = None) -> np.ndarray:
        assert condition is not None
        return super().push(x, z, 1 - condition)


@pytest.fixture(scope="module")
def circles() -> Generator:
    """Two circles given the circle, far enough trained to tell them apart."""
    return trained(load_recipe("two_circles", data__condition=MODE, jko__num_phases=2, training__num_steps=250))


@pytest.mark.parametrize("case", REFUSED)
def test_a_condition_that_the_target_does_not_have_is_refused(case: tuple[str, str]) -> None:
    target, condition = case
    size = {"data__size": 16} if target == "image_folder" else {}
    with pytest.raises(ValueError, match=re.escape(REFUSED[case])):
        load_recipe("two_circles", data__target=target, data__condition=condition, **size)


def test_networks_that_take_no_condition_and_second_order_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match=r"network\.second_order must be false when .* and data\.condition is given"):
        load_recipe("two_circles", data__condition=MODE, network__second_order=True)
    assert "condition" not in NetworkPair.takes  # an own pair has to say so
    monkeypatch.setattr("components.networks.pairs.Residual.takes", NetworkPair.takes)
    with pytest.raises(
        ValueError, match=r"data\.condition must be left out when network\.kind is residual, which takes none, not"
    ):
        load_recipe("two_circles", data__condition=MODE, network__kind="residual")


def test_a_condition_is_identity_and_none_is_not() -> None:
    plain, given = tiny(target="two_circles"), tiny(target="two_circles", condition=MODE)
    assert not {phase.fingerprint for phase in phases_of(plain)} & {phase.fingerprint for phase in phases_of(given)}
    first = phases_of(given)[0]
    assert Phase.from_json(first.to_json()).data.condition == MODE
    assert '"condition":"mode"' in first.to_json()
    assert "condition" not in phases_of(plain)[0].to_json()


@pytest.mark.parametrize(
    ("data", "num_classes"),
    [
        (Data(target="gauss25", condition=MODE), 25),
        (Data(target="digits", condition=LABEL), 10),
        (Data(target="emnist_letters", condition=LABEL), 26),
        (Data(target="cifar10", condition=LABEL), 10),
        (Data(target="moons"), None),
    ],
)
def test_what_a_condition_is_is_known_without_the_data(data: Data, num_classes: int | None) -> None:
    condition = condition_of(data)
    assert (None if condition is None else condition.num_classes) == num_classes


@pytest.mark.parametrize(
    "data", [Data(target="two_circles", condition=MODE), Data(target="digits", standardise=False, condition=LABEL)]
)
def test_a_batch_has_the_samples_of_the_unconditional_flow_and_the_condition_of_each(data: Data) -> None:
    plain, given = load_endpoints(replace(data, condition=None)), load_endpoints(data)
    at = At("target", seed=3, phase=1, step=5, n=64, rows=slice(0, 64))
    samples, conditions = given.batch(at)
    np.testing.assert_array_equal(samples, plain.target.batch(at))
    assert plain.batch(at)[1] is None
    assert conditions is not None
    assert given.condition is not None
    joint = given.joint
    assert joint is not None
    for number in range(given.condition.num_classes):
        of_class = joint.only(number)
        everything = (
            {row.tobytes() for row in of_class.seen(10**4, np.random.default_rng(0))} if data.target == "digits" else None
        )
        mine = given.to_units(samples[conditions == number])
        if everything is None:
            assert of_class.modes is None
            radius = np.linalg.norm(mine, axis=1)
            assert ((radius > 6) == number).all()
        else:
            assert {row.tobytes() for row in mine} <= everything
    halves = [given.batch(replace(at, rows=rows)) for rows in (slice(0, 21), slice(21, 64))]
    np.testing.assert_array_equal(np.concatenate([half for half, _ in halves]), samples)
    np.testing.assert_array_equal(np.concatenate([half for _, half in halves]), conditions)


@pytest.mark.usefixtures("home")
@pytest.mark.parametrize(("name", "first"), [("mnist", 0), ("emnist_letters", 1), ("cifar10", 0)])
def test_prepared_images_keep_their_labels(name: str, first: int, tmp_path: Path) -> None:
    files = {"mnist": sets.mnist, "emnist_letters": sets.emnist, "cifar10": sets.cifar10}[name](tmp_path / "from")
    if first:
        for path, n, seed in ((files / "emnist-letters-train", 100, 51), (files / "emnist-letters-test", 30, 52)):
            sets.write_idx(Path(f"{path}-labels-idx1-ubyte.gz"), sets.labels(n, seed) + first)
    sets.prepared(name, files, tmp_path / "sets")
    flip = name == "cifar10"
    ends = load_endpoints(Data(target=name, standardise=False, condition=LABEL, flip=flip), str(tmp_path / "sets"))
    assert ends.joint is not None
    images, labels = ends.joint.held_out(1000, np.random.default_rng(0))
    kept = sets.open_set(name, tmp_path / "sets", images.shape[-1])
    pixels, expected = kept.mapped("test"), kept.labels("test") - first
    by_image = {image.tobytes(): label for image, label in zip(pixels, expected, strict=True)}
    assert len(by_image) == len(images)
    for image, label in zip(np.rint((images + 1) * 127.5).astype(np.uint8), labels, strict=True):
        assert by_image[image.tobytes()] == label
    at = At("target", 0, 0, 0, 32, slice(0, 32))
    np.testing.assert_array_equal(ends.batch(at)[0], ends.target.batch(at))  # mirrored alike
    assert ends.law is not None
    np.testing.assert_allclose(
        ends.law.weights, np.bincount(kept.labels("train") - first, minlength=len(ends.law.weights)) / kept.num_rows("train")
    )


@pytest.mark.usefixtures("home")
def test_images_with_labels_that_are_no_classes_are_refused(tmp_path: Path) -> None:
    files = sets.mnist(tmp_path / "from")
    sets.write_idx(files / "train-labels-idx1-ubyte.gz", np.full(100, 255, np.uint8))
    sets.prepared("mnist", files, tmp_path / "sets")
    with pytest.raises(Unusable, match=r"data\.condition: 100 images of .*mnist-28 have no label from 0 to 9; prepare the set"):
        load_endpoints(Data(target="mnist", condition=LABEL), str(tmp_path / "sets"))


@pytest.mark.usefixtures("home")
def test_images_that_are_streamed_have_no_conditions(tmp_path: Path) -> None:
    sets.prepared("mnist", sets.mnist(tmp_path / "from"), tmp_path / "sets")
    data = Data(target="mnist", condition=LABEL)
    with pytest.raises(Unusable, match=r"data\.condition needs images in memory: cluster\.max_cached_gb must be at least"):
        spec_of("mnist").resolve(data, "target", str(tmp_path / "sets"), 10.0)
    with pytest.raises(ValueError, match=r"data\.streamed must be false where data\.condition is given"):
        load_recipe("mnist", data__condition=LABEL, data__streamed=True)


@pytest.mark.slow
def test_samples_are_those_of_the_class_that_is_asked_for(circles: Generator) -> None:
    for number in (0, 1):
        radius = np.linalg.norm(circles.sample(500, condition=number), axis=1)
        assert abs(np.median(radius) - (4, 8)[number]) < 1
        np.testing.assert_array_equal(circles.sample(500, condition=str(number)), circles.sample(500, condition=number))
        np.testing.assert_array_equal(circles.given(number).sample(500), circles.sample(500, condition=number))


def test_without_a_class_samples_have_the_data_s_distribution_of_it(circles: Generator) -> None:
    samples, conditions = circles.joint(1000)
    assert conditions is not None
    assert 400 < conditions.sum() < 600
    np.testing.assert_array_equal(samples, circles.sample(1000))
    outer = circles.sample(1000, condition=1)
    np.testing.assert_allclose(samples[conditions == 1], outer[conditions == 1], rtol=1e-4, atol=1e-4)  # of the same x


@pytest.mark.parametrize("asked", [2, -1, "inner", 0.5, [0]])
def test_a_class_that_there_is_not_is_refused(circles: Generator, asked: object) -> None:
    with pytest.raises(ValueError, match="condition mode must be one of 0, 1, not"):
        circles.sample(3, condition=asked)


def test_a_condition_is_refused_where_the_flow_has_none() -> None:
    recipe = tiny(num_phases=1, num_steps=1)
    with pytest.raises(ValueError, match=r"condition must be left out: this flow was trained without data\.condition, not 1"):
        trained(recipe).sample(3, condition=1)


@pytest.mark.slow
def test_the_class_of_samples_is_measured_beside_that_of_the_data(circles: Generator) -> None:
    measured = evaluate(circles, SIZE)
    assert measured["class_accuracy"] > 0.9
    assert measured["class_accuracy_floor"] == 1
    assert (measured["num_classes"], measured["num_per_class"]) == (2, 150)
    assert measured["class_w2"] < 2 * measured["class_w2_floor"]
    wrong = evaluate(Exchanged(circles.phase, circles.endpoints, circles.maps), SIZE, with_floors=False)
    assert wrong["class_accuracy"] < 0.1


def test_a_class_alone_is_compared_with_the_data_of_it(circles: Generator) -> None:
    inner, outer = (evaluate(circles.given(number), SIZE) for number in (0, 1))
    assert "class_w2" not in inner
    assert "modes_covered" not in inner
    assert inner["w2"] < 2 * inner["w2_floor"]
    assert inner["w2_floor"] < 0.8 * outer["w2_floor"]  # a circle of half the radius
    crossed = replace(circles.given(0), endpoints=replace(circles.endpoints.given(1), law=circles.given(0).endpoints.law))
    assert evaluate(crossed, SIZE)["w2"] > 3


def test_figures_of_classes_are_for_flows_that_have_classes() -> None:
    added = {"class_accuracy", "class_w2"}
    for target, condition, images in (("two_circles", MODE, set()), ("digits", LABEL, {"lenet_digits_class_frechet"})):
        plain, given = (set(figures(offer_of(Data(target=target, condition=each)))) for each in (None, condition))
        assert given - plain == added | images
    assert "class_accuracy" not in figures(offer_of(Data(target="cifar10", condition=LABEL)))  # no classifier is at hand


OWN = """
import numpy as np
from components.conditions import Condition
from pipeline.data.joint import Conditioned

def walks(n=400):
    rng = np.random.default_rng(0)
    angle = rng.uniform(-1, 1, size=(n, 1)).astype(np.float32)
    x = (np.concatenate([4 * angle, -4 * angle], 1) + 0.3 * rng.normal(size=(n, 2))).astype(np.float32)
    condition = Condition("angle", num_values=1)
    return Conditioned(x[80:], x[:80], given={"angle": (condition, angle[80:], angle[:80])})
"""


@pytest.mark.slow
def test_an_own_source_may_offer_values(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own_conditions.py").write_text(OWN)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ValueError, match=r"data\.condition must be angle, or left out, for data\.target own_conditions:walks"):
        load_recipe("two_circles", data__target="own_conditions:walks", data__condition="label")
    generator = trained(
        load_recipe(
            "two_circles",
            data__target="own_conditions:walks",
            data__condition="angle",
            jko__num_phases=2,
            training__num_steps=200,
        )
    )
    means = {asked: generator.sample(500, condition=asked).mean(0) for asked in ("0.8", "-0.5")}
    np.testing.assert_allclose(means["0.8"], [3.2, -3.2], atol=0.6)
    np.testing.assert_allclose(means["-0.5"], [-2, 2], atol=0.6)
    assert {"w2", "sliced_w2"} == set(figures(offer_of(generator.phase.data)))
    measured = evaluate(generator, EvaluationSize(80, 1))
    assert measured["w2"] < 3 * measured["w2_floor"]
    with pytest.raises(ValueError, match=r"condition angle is values, and there are no held-out samples of 0\.8"):
        generator.given("0.8")


@pytest.mark.real
def test_a_conditional_flow_by_command(home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Trained, drawn with a row for each class, measured for all classes and for one, refused for what is none."""
    words = ["digits", "--data.condition=label", "--jko.num-phases=1", "--training.num-steps=30", "--network.width=32", *QUICK]
    assert cli.main(["run", *words, "--json", str(tmp_path / "run.json")]) == 0
    (phase,) = json.loads((tmp_path / "run.json").read_text())["phases"]
    assert {"class_accuracy", "class_w2", "lenet_digits_class_frechet_floor"} <= phase["metrics"].keys()
    assert list((home / "flows").glob("*/samples_by_class.png"))
    shown = capsys.readouterr().out
    assert "accuracy" in shown
    reference = phase["map_ref"]
    evaluated = ["evaluate", reference, "--condition=label=3", *QUICK, "--json", str(tmp_path / "of_3.json")]
    assert cli.main(evaluated) == 0
    of_three = json.loads((tmp_path / "of_3.json").read_text())
    assert of_three["condition"] == "label=3"
    assert of_three["metrics"]["num_samples"] < 60  # as many threes as are held out
    assert "given label=3" in capsys.readouterr().out
    for wrong, sentence in {
        "label=11": "condition label must be one of 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, not '11'",
        "digit=3": "--condition must be label=CLASS, not 'digit=3'",
        "3": "--condition must be label=CLASS, not '3'",
        "label=": "condition label must be one of",
    }.items():
        assert cli.main(["evaluate", reference, f"--condition={wrong}", *QUICK]) == 2
        assert sentence in capsys.readouterr().err
    assert cli.main(["run", *words, "--json", str(tmp_path / "again.json")]) == 0
    assert json.loads((tmp_path / "again.json").read_text())["phases"][0]["cached"]


def test_conditions_are_one_for_each_sample_and_part_of_its_digest() -> None:
    x, kinds = np.zeros((6, 2), dtype=np.float32), np.array([0, 1, 1, 0, 1, 0])
    kind = Condition("kind", ("left", "right"))

    def source(condition: Condition, train: np.ndarray, test: np.ndarray) -> Conditioned:
        return Conditioned(x, x[:2], given={"kind": (condition, train, test)})

    first = source(kind, kinds, kinds[:2])
    others = (source(kind, 1 - kinds, kinds[:2]), source(Condition("kind", ("right", "left")), kinds, kinds[:2]))
    assert len({each.digest for each in (first, source(kind, kinds.copy(), kinds[:2]), *others)}) == 3
    for train, rule in ((kinds[:3], r"must have the shape \(6,\), not \(3,\)"), (kinds + 1, "must be whole numbers from 0 to 1")):
        with pytest.raises(ValueError, match=f"condition kind .*{rule}"):
            source(kind, train, kinds[:2])
    with pytest.raises(ValueError, match="condition angle must be finite numbers"):
        source(Condition("angle", num_values=1), np.full((6, 1), np.nan, np.float32), np.zeros((2, 1), np.float32))
    with pytest.raises(ValueError, match="condition kind: class 0 is called 1, which reads as the number of another"):
        Condition("kind", ("1", "0"))


def test_the_law_of_values_is_that_of_all_rows_also_where_they_are_sorted() -> None:
    values = np.linspace(-1, 1, 200_000, dtype=np.float32)[:, None]
    drawn = Law.of(Condition("angle", num_values=1), values).draw(20_000, np.random.default_rng(0))
    assert abs(drawn.mean()) < 0.02
    assert drawn.max() > 0.99
