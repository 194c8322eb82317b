"""Sources: one protocol for measures, points and images, one table of names, and one file and one line for a new one."""

import re
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from flows import tiny

from benchmarks.flows import train_flow
from components.streams import stream
from pipeline import recipe as recipes
from pipeline.command import cli
from pipeline.data import table
from pipeline.data.analytic import noise
from pipeline.data.endpoints import between, load_endpoints
from pipeline.data.images.image_set import BuiltIn, image_sets
from pipeline.data.images.images import Images, Mapped
from pipeline.data.points import Points
from pipeline.data.source import At, Source
from pipeline.data.specs import sample_shape, spec_of
from pipeline.evaluation import figures
from pipeline.phase import phases_of
from pipeline.recipe import Data, Recipe
from pipeline.recipes.rules import validate


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SJKO_HOME", str(tmp_path / "home"))


@pytest.fixture
def add_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], None]:
    """Write a module that can be imported during the test."""

    def add(name: str, content: str) -> None:
        (tmp_path / f"{name}.py").write_text(content)
        monkeypatch.syspath_prepend(str(tmp_path))
        monkeypatch.delitem(sys.modules, name, raising=False)

    return add


POINTS = Points(*(np.random.default_rng(seed).normal(3, 2, (n, 3)).astype(np.float32) for seed, n in ((0, 50), (1, 20))))
PIXELS = tuple(np.random.default_rng(seed).integers(0, 256, (n, 1, 8, 8), dtype=np.uint8) for seed, n in ((0, 50), (1, 20)))
SOURCES: dict[str, Source] = {
    "measure": spec_of("moons").open(Data(), "target", (2,), None),
    "noise": noise((3, 8, 8)),
    "points": POINTS,
    "images": Images(Mapped(*PIXELS), flip=True),
}


@pytest.mark.parametrize("name", SOURCES)
def test_each_source_draws_float32_of_its_shape_and_batches_that_ranks_share(name: str) -> None:
    source = SOURCES[name]
    for draw in (source.sample, source.held_out, source.seen):
        samples = draw(7, stream(0, "target"))
        assert (samples.shape, samples.dtype) == ((7, *source.shape), np.float32)
        np.testing.assert_array_equal(samples, draw(7, stream(0, "target")))
    at = At("target", 3, 1, 4, 12, slice(0, 12))
    whole = source.batch(at)
    shares = [source.batch(replace(at, rows=slice(begin, begin + 4))) for begin in (0, 4, 8)]
    np.testing.assert_array_equal(np.concatenate(shares), whole)
    for other in (replace(at, end="source"), replace(at, seed=4), replace(at, phase=2), replace(at, step=5)):
        assert not np.array_equal(source.batch(other), whole)


def test_held_out_points_are_never_those_of_training_and_none_comes_twice() -> None:
    rows = {name: {row.tobytes() for row in array} for name, array in (("train", POINTS.train), ("test", POINTS.test))}
    assert {row.tobytes() for row in POINTS.held_out(99, stream(0, "target"))} == rows["test"]
    assert {row.tobytes() for row in POINTS.seen(99, stream(0, "target"))} == rows["train"]
    assert {row.tobytes() for row in POINTS.sample(99, stream(0, "target"))} < rows["train"]
    assert POINTS.num_distinct == 20


@pytest.mark.parametrize("name", ["measure", "points", "images"])
def test_standardised_samples_have_mean_zero_and_variance_one(name: str) -> None:
    source = SOURCES[name]
    ends = between(noise(source.shape), source, standardise=True)
    inside = ends.target.sample(20_000, stream(0, "target")).reshape(20_000, -1).astype(np.float64)
    assert abs(inside.mean()) < 0.02
    assert inside.var(0).mean() == pytest.approx(1, abs=0.03)
    units = ends.to_units(ends.target.sample(9, stream(0, "target")))
    np.testing.assert_allclose(units, source.sample(9, stream(0, "target")), atol=1e-5)


def test_noise_is_standard_normal_and_lives_in_the_space_of_the_flow() -> None:
    ends = between(noise((3,)), POINTS, standardise=True)
    x = ends.source.sample(40_000, stream(0, "target")).astype(np.float64)
    np.testing.assert_array_equal(ends.source.sample(9, stream(0, "target")), noise((3,)).sample(9, stream(0, "target")))
    assert np.abs(x.mean(0)).max() < 4 / 200
    assert np.abs(np.cov(x.T) - np.eye(3)).max() < 4 * np.sqrt(2) / 200


@pytest.mark.parametrize("name", SOURCES)
def test_each_source_is_drawn_as_it_says(name: str) -> None:
    source = SOURCES[name]
    if name != "noise":  # which no flow has as its target
        assert figures.png(source.picture, source.sample(9, stream(0, "target"))).startswith(b"\x89PNG")
    assert all(spec_of(each).picture in figures.DRAWINGS for each in table.names())


def test_the_digest_of_points_is_of_both_splits() -> None:
    assert POINTS.digest == Points(POINTS.train.copy(), POINTS.test.copy()).digest
    assert POINTS.digest != Points(POINTS.train, POINTS.test[:-1]).digest
    assert POINTS.digest != Points(POINTS.test, POINTS.train).digest


def test_points_are_trained_on() -> None:
    recipe = tiny(num_phases=1, num_steps=3)
    (trained,) = train_flow(recipe, ends=between(noise((3,)), POINTS, standardise=True))
    samples = trained.generator.sample(5)
    assert samples.shape == (5, 3)
    assert np.isfinite(samples).all()


def test_each_name_of_the_table_is_a_source_of_the_shape_that_it_says() -> None:
    assert get_args(get_args(recipes.SourceName)[0]) == table.names()
    for name in table.MEASURES:
        data = Data(target=name)
        assert load_endpoints(data).shape == sample_shape(data) == (2,)
    for images in image_sets().values():
        assert images.fits((images.channels, 8, 8))
        assert not images.fits((2,))


def test_the_guide_lists_the_table() -> None:
    lines = (Path(__file__).parents[3] / "docs" / "image_sets.md").read_text().splitlines()
    for begin, names in (("Sets: ", table.IMAGE_SETS), ("Measures: ", table.MEASURES)):
        (line,) = (line for line in lines if line.startswith(begin))
        assert re.findall(r"`([a-z0-9_]+)`", line) == list(names)


@pytest.mark.parametrize("name", [name for name, images in image_sets().items() if images.built_in])
def test_what_comes_built_in_is_what_the_set_says(name: str) -> None:
    images = image_sets()[name]
    built_in: BuiltIn | None = images.built_in
    assert built_in is not None
    (train, test), labels = built_in.images(), built_in.labels()
    assert train.shape[1:] == test.shape[1:] == (images.side, images.side)
    assert [len(each) for each in labels] == [len(train), len(test)]
    assert set(np.concatenate(labels)) == set(range(10))
    assert Points(train[:, None], test[:, None]).digest == built_in.sha256


RING = """
import numpy as np
from components.measures import Measure
from components.streams import normal
from pipeline.data.analytic import MeasureSpec

def sample(n, rng):
    x = normal(rng, n, 2)
    return 3 * x / np.linalg.norm(x, axis=1, keepdims=True)

RING = MeasureSpec(Measure(2, sample))
"""


def test_a_new_measure_is_one_file_and_one_line(add_module: Callable[[str, str], None], monkeypatch: pytest.MonkeyPatch) -> None:
    add_module("ring", RING)
    monkeypatch.setitem(table.MEASURES, "ring", "ring:RING")
    for data in (Data(target="ring"), Data(source="ring", target="moons")):
        recipe = replace(tiny(num_phases=1, num_steps=3), data=data)
        validate(recipe)
        (trained,) = train_flow(recipe)
        assert np.isfinite(trained.generator.sample(5)).all()
    held_out = load_endpoints(Data(target="ring")).data.held_out(5, stream(0, "target"))
    np.testing.assert_allclose(np.linalg.norm(held_out, axis=1), 3, rtol=1e-5)
    assert phases_of(Recipe(Data(target="ring")))[0].fingerprint != phases_of(Recipe())[0].fingerprint


LETTERS = """
import numpy as np
from pipeline.data.images.image_set import ImageSet
from pipeline.data.preparing.originals import from_arrays

def read(path, layout, show):
    pixels = np.load(path)
    labels = np.zeros(len(pixels), dtype=np.uint8)
    return from_arrays({"train": (pixels[:-4], labels[:-4]), "test": (pixels[-4:], labels[-4:])})

LETTERS = ImageSet(channels=1, side=8, originals=read)
"""


def test_a_new_set_of_images_is_one_file_and_one_line(
    add_module: Callable[[str, str], None], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """It is prepared by the function behind `python -m pipeline prepare`, and trained on."""
    from pipeline.command.prepare import Prepare, prepare_set, require_usable

    add_module("letters", LETTERS)
    monkeypatch.setitem(table.IMAGE_SETS, "letters", "letters:LETTERS")
    np.save(tmp_path / "letters.npy", PIXELS[0])
    command = Prepare("letters", from_=tmp_path / "letters.npy", to=str(tmp_path / "sets"))
    require_usable(command)
    prepare_set(command)
    recipe = replace(tiny(num_phases=1, num_steps=3, num_frequencies=0), data=Data(target="letters"))
    validate(recipe)
    ends = load_endpoints(recipe.data, str(tmp_path / "sets"))
    assert {image.tobytes() for image in ends.data.held_out(9, stream(0, "target"))} == {
        (image.astype(np.float32) / 127.5 - 1).tobytes() for image in PIXELS[0][-4:]
    }
    (trained,) = train_flow(recipe, ends=ends)
    assert trained.generator.sample(2).shape == (2, 1, 8, 8)


def test_digits_are_prepared_in_another_size_as_other_sets_are(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sets = str(tmp_path / "sets")
    assert cli.main(["prepare", "digits", "--to", sets, "--size", "12"]) == 0
    assert "1,297 training and 500 test images of 1 x 12 x 12" in capsys.readouterr().out
    data = Data(target="digits", size=12)
    assert load_endpoints(data, sets).shape == sample_shape(data) == (1, 12, 12)
    assert cli.main(["prepare", "digits", "--from", str(tmp_path), "--to", sets]) == 2
    assert "--from must be left out for digits, whose images are built in" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (Data(target="ring"), "data.target must be one of normal, gaussian, gauss8"),
        (Data(source="ring"), "data.source must be one of normal, gaussian, gauss8"),
        (Data(source="spiral", target="gaussian", dim=5), "data.dim must be 2 for data.source spiral, not 5"),
        (Data(source="cifar10", target="moons"), "data.source must be normal or gaussian or gauss8"),
        (Data(source="cifar10", target="image_folder", size=64, source_digest="x"), "data.source_digest must be 64 hexadecimal"),
    ],
    ids=str,
)
def test_ends_that_are_unknown_or_do_not_fit_are_refused(data: Data, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        validate(Recipe(data))
