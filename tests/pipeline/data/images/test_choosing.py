"""What the recipe `images` leaves to the folder that was prepared."""

import json
from pathlib import Path

import numpy as np
import picture_sets as sets
import pytest
from PIL import Image

from pipeline.command import cli
from pipeline.data.images.prepared import MANIFEST, manifest_sum
from pipeline.recipe import Network, Recipe
from pipeline.recipes.choosing import FEW, steps_of
from pipeline.recipes.loading import load_recipe


def folder_of(path: Path, n: int, *, symmetric: bool, darkest: int = 20) -> Path:
    """Grey pictures of 30 x 28 pixels: bars in the left half, or every second one of them mirrored."""
    path.mkdir()
    for number in range(n):
        image = np.full((28, 30), darkest, dtype=np.uint8)
        left = number * 7 % 12
        image[number % 20 : number % 20 + 9, left : left + 3] = 130 + number % 100
        Image.fromarray(image[:, ::-1] if symmetric and number % 2 else image).save(path / f"{number}.png")
    return path


def read(*words: str) -> Recipe:
    command = cli.PROGRAM.read(["run", *words])
    recipe: Recipe = command.resolved()
    return recipe


def test_size_channels_and_steps_are_those_of_the_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["prepare", "image_folder", "--from", str(folder_of(tmp_path / "from", 40, symmetric=False))]) == 0
    assert "next: python -m pipeline run images --data.size 28\n" in capsys.readouterr().out
    for recipe in (read("images"), read("images", "--data.size", "28"), load_recipe("images")):
        assert (recipe.data.size, recipe.data.channels, recipe.data.flip) == (28, 1, False)
        assert recipe.training.num_steps == steps_of(28)
    assert "note: image_folder-28 has 36 training images: data.size 28, data.channels 1" in capsys.readouterr().err


def test_flags_replace_what_is_chosen_and_a_recipe_that_says_it_is_left_alone(tmp_path: Path) -> None:
    sets.prepared("image_folder", folder_of(tmp_path / "from", 40, symmetric=True), tmp_path / "to", 28, channels=1)
    of_folder = ["--store.data", str(tmp_path / "to")]
    chosen = read("images", *of_folder)
    assert (chosen.data.channels, chosen.data.flip) == (1, True)
    changed = read("images", *of_folder, "--training.num-steps", "7", "--data.no-flip")
    assert (changed.training.num_steps, changed.data.flip, changed.data.channels) == (7, False, 1)
    recipe = tmp_path / "own.yaml"
    recipe.write_text("data: {target: image_folder, size: 28}\nnetwork: {kind: light}")
    own = read(str(recipe), *of_folder)
    assert (own.data.channels, own.data.flip, own.training.num_steps) == (None, False, 1000)


@pytest.mark.parametrize(("darkest", "kind", "batch_size"), [(0, "light", 32), (20, "light_filtered", 16)])
def test_the_network_is_chosen_by_how_much_is_black_or_white(darkest: int, kind: str, batch_size: int, tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "from", 40, symmetric=False, darkest=darkest)
    sets.prepared("image_folder", folder, tmp_path / "to", 28, channels=1)
    recipe = read("images", "--store.data", str(tmp_path / "to"))
    assert (recipe.network, recipe.training.batch_size) == (Network(kind=kind, width=32, num_frequencies=0), batch_size)
    other = read("images", "--store.data", str(tmp_path / "to"), "--network.kind", "perceptron", "--training.batch-size", "8")
    assert (other.network.kind, other.training.batch_size) == ("perceptron", 8)


@pytest.mark.parametrize(("rows", "flipped"), [(FEW - 1, True), (FEW, False)])
def test_mirror_images_are_taken_of_few_images_alone(rows: int, flipped: bool, tmp_path: Path) -> None:
    sets.prepared("image_folder", folder_of(tmp_path / "from", 40, symmetric=True), tmp_path / "to", 28)
    path = tmp_path / "to" / "image_folder-28" / MANIFEST
    manifest = json.loads(path.read_text())
    assert manifest["mirrored"]
    manifest["splits"]["train"]["rows"] = rows
    manifest["sha256"] = manifest_sum(manifest)
    path.write_text(json.dumps(manifest))
    assert read("images", "--store.data", str(tmp_path / "to")).data.flip is flipped


def test_a_set_that_an_earlier_version_has_prepared_is_read_as_it_was(tmp_path: Path) -> None:
    """Its manifest says nothing of mirror images."""
    sets.prepared("image_folder", folder_of(tmp_path / "from", 40, symmetric=True), tmp_path / "to", 28)
    path = tmp_path / "to" / "image_folder-28" / MANIFEST
    manifest = json.loads(path.read_text())
    del manifest["mirrored"]
    manifest["sha256"] = manifest_sum(manifest)
    path.write_text(json.dumps(manifest))
    recipe = read("images", "--store.data", str(tmp_path / "to"))
    assert (recipe.data.size, recipe.data.channels, recipe.data.flip) == (28, 3, False)


def test_of_two_sizes_one_has_to_be_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = folder_of(tmp_path / "from", 20, symmetric=True)
    for size in (28, 16):
        sets.prepared("image_folder", folder, tmp_path / "home" / "data", size)
    assert cli.main(["run", "images"]) == 2
    assert "data.size must be given, since image_folder is prepared in several: 16, 28" in capsys.readouterr().err
    assert read("images", "--data.size", "16").data.size == 16


def test_where_nothing_is_prepared_the_command_says_how(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["run", "images"]) == 2
    assert "holds no prepared images" in (error := capsys.readouterr().err)
    assert "python -m pipeline prepare image_folder --from PATH" in error
