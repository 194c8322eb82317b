"""Fields of prepared images: what they may be, and which of them make another flow."""

from dataclasses import replace
from itertools import product
from pathlib import Path

import picture_sets as sets
import pytest

from pipeline.cluster import Cluster
from pipeline.command import cli
from pipeline.data.resolution import resolve
from pipeline.errors import Unusable
from pipeline.phase import phases_of
from pipeline.recipe import Data, Jko, Network, Recipe, Training
from pipeline.recipes.rules import validate


def fingerprint(data: Data) -> str:
    return phases_of(Recipe(data))[0].fingerprint


def test_the_fields_of_prepared_images_changed_no_fingerprint(monkeypatch: pytest.MonkeyPatch) -> None:
    """As computed by commit 9d94204, before recipes knew of them."""
    monkeypatch.setattr("pipeline.phase.METHOD_VERSION", 1)
    of_images = Recipe(
        data=Data(target="fashion_mnist"),
        network=Network(width=512, num_frequencies=0),
        jko=Jko(num_phases=4, cost="mean_squared"),
        training=Training(num_steps=600, batch_size=128, map_lr=5e-4, potential_lr=5e-4, lr_decay_steps=2000, r1=2.0, r2=2.0),
    )
    assert phases_of(of_images)[0].fingerprint == "c7a1f86e6ed233386618"
    assert phases_of(of_images)[-1].fingerprint == "74d1c36b58825f28706b"
    assert phases_of(replace(of_images, data=Data(target="fashion_mnist", size=28)))[0].fingerprint == "c7a1f86e6ed233386618"
    assert phases_of(Recipe(Data(target="digits")))[-1].fingerprint == "5d876051bd9e9fe26370"
    assert phases_of(Recipe())[-1].fingerprint == "77fc2e7416541618dfd7"
    assert phases_of(Recipe(Data(source="moons", target="gaussian", dim=2)))[-1].fingerprint == "57893c1c579d79492566"


def test_the_size_that_a_set_comes_with_has_no_influence_and_every_other_new_field_has() -> None:
    plain = fingerprint(Data(target="mnist"))
    assert fingerprint(Data(target="mnist", size=28)) == plain
    others = [{"size": 32}, {"flip": True}, {"digest": "a" * 64}, {"source_digest": "a" * 64}, {"streamed": True}]
    assert len({plain, *(fingerprint(replace(Data(target="mnist"), **other)) for other in others)}) == 6
    (phase, *_) = phases_of(Recipe(Data(target="mnist", size=32, flip=True, digest="a" * 64)))
    assert phase.data == Data(target="mnist", size=32, flip=True, digest="a" * 64)


def test_digests_and_the_way_of_reading_are_resolved_before_phases_are_made(data_uri: Path) -> None:
    letters, digits = (sets.open_set(name, data_uri, 28).digest for name in ("emnist_letters", "mnist"))
    recipe = Recipe(Data(source="emnist_letters", target="mnist"))
    found = resolve(recipe, Cluster(data=str(data_uri))).data
    assert (found.digest, found.source_digest, found.streamed) == (digits, letters, False)
    assert resolve(Recipe(found), Cluster(data=str(data_uri))).data == found
    too_large = resolve(recipe, Cluster(data=str(data_uri), max_cached_gb=1e-6)).data
    assert too_large.streamed
    assert fingerprint(too_large) != fingerprint(found), "other batches are another phase"
    with pytest.raises(Unusable, match=f"digest {digits}, not {'b' * 64}.*prepare mnist"):
        resolve(Recipe(Data(target="mnist", digest="b" * 64)), Cluster(data=str(data_uri)))
    assert resolve(Recipe(Data(target="moons")), Cluster()) == Recipe(Data(target="moons"))


MISTAKES = {
    "--data.target image_folder": ("data.size", "given for data.target image_folder"),
    "--data.target mnist --data.size 4": ("data.size", "from 8 to 1024", "4"),
    "--data.target cifar10 --data.source mnist": (
        "data.source",
        "normal or cifar10 or celeba_hq or image_folder for",
        "mnist",
    ),
    "--data.target mnist --data.source moons": (
        "data.source",
        "normal or digits or fashion_mnist or mnist or emnist_letters",
        "moons",
    ),
    "--data.target moons --data.source mnist": ("data.source", "normal or gaussian or gauss8", "mnist"),
    "--data.target digits --data.source mnist": ("data.size", "given where mnist has side 28 and digits 8"),
    "--data.target mnist --data.channels 1": ("data.channels", "left out for data.target mnist, which has 1"),
    "--data.target image_folder --data.size 28 --data.channels 2": ("data.channels", "1 or 3", "2"),
    "--data.target moons --data.flip": ("data.flip", "left out for data.target moons", "true"),
    "--data.target mnist --data.digest abc": ("data.digest", "64 hexadecimal digits", "abc"),
    f"--data.target mnist --data.source-digest {'a' * 64}": ("data.source_digest", "left out for data.source normal"),
    "--data.target fashion_mnist --data.streamed": ("data.streamed", "false for data.target fashion_mnist"),
    "--store.data foo://x": ("store.data", "fsspec", "foo://x"),
    "--cluster.max-cached-gb -1": ("cluster.max_cached_gb", "at least 0", "-1.0"),
}


@pytest.mark.parametrize("flags", MISTAKES)
def test_a_mistake_is_one_line_with_the_field_the_rule_and_the_value(flags: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["run", "fashion_mnist", *flags.split()]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    for part in MISTAKES[flags]:
        assert part in error


@pytest.mark.parametrize(
    "data",
    [
        Data(target="cifar10"),
        Data(target="celeba_hq", size=64, flip=True, streamed=True),
        Data(target="fashion_mnist", size=32),
        *(Data(source=s, target=t) for s, t in product(("mnist", "emnist_letters"), ("mnist", "fashion_mnist"))),
    ],
    ids=str,
)
def test_these_are_recipes(data: Data) -> None:
    validate(Recipe(data))
