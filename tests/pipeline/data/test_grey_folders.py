"""Folders of grey pictures: one channel where every picture is grey, three where any is not."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import picture_sets as sets
import pytest
from PIL import Image

from pipeline.cluster import Cluster
from pipeline.command import cli
from pipeline.data.images.prepared import open_images
from pipeline.data.resolution import resolve
from pipeline.errors import Unusable
from pipeline.phase import phases_of
from pipeline.recipe import Data, Recipe

LEVELS = np.random.default_rng(0).integers(0, 256, (20, 20), dtype=np.uint8)


@pytest.fixture(autouse=True)
def _own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SJKO_HOME", str(tmp_path / "home"))


def palette_of(colours: list[int]) -> Image.Image:
    image = Image.fromarray((LEVELS % 2).astype(np.uint8), "P")
    image.putpalette(colours)
    return image


def grey_with(mode: str) -> Image.Image:
    return Image.fromarray(LEVELS).convert(mode)


GREY: dict[str, Callable[[], Image.Image]] = {
    "levels.png": lambda: grey_with("L"),
    "equal channels.png": lambda: grey_with("RGB"),
    "equal channels.jpg": lambda: grey_with("RGB"),
    "black and white.png": lambda: Image.fromarray(LEVELS > 99),
    "with alpha.png": lambda: grey_with("LA"),
    "colours with alpha.png": lambda: grey_with("RGBA"),
    "palette.png": lambda: palette_of([3, 3, 3, 200, 200, 200]),
    "16 bits.png": lambda: Image.fromarray(LEVELS.astype(np.uint16) * 257),
    "ink.tif": lambda: Image.merge("CMYK", [*[Image.new("L", (20, 20))] * 3, Image.fromarray(LEVELS)]),
}
COLOURED: dict[str, Callable[[], Image.Image]] = {
    "palette.png": lambda: palette_of([3, 3, 3, 200, 201, 200]),
    "ink.tif": lambda: Image.new("CMYK", (20, 20), (0, 90, 0, 0)),
    "colours with alpha.png": lambda: Image.new("RGBA", (20, 20), (255, 0, 0, 128)),
}


def folder_of(path: Path, images: dict[str, Callable[[], Image.Image]]) -> Path:
    path.mkdir()
    for name, image in images.items():
        image().save(path / name)
    return path


def prepare(folder: Path, to: Path, *flags: str) -> int:
    command = ["prepare", "image_folder", "--from", str(folder), "--to", str(to), "--size", "20", "--json", str(to) + ".json"]
    return cli.main([*command, *flags])


def channels(to: Path) -> int:
    found = open_images(f"{to}/image_folder-20")
    assert found.mapped("train").shape[1] == found.levels()[0].shape[0] == found.channels
    return found.channels


def test_grey_pictures_of_every_kind_become_one_channel_with_their_own_levels(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = folder_of(tmp_path / "my pictures", GREY)
    (folder / "damaged.png").write_bytes(b"no picture")
    assert prepare(folder, tmp_path / "to") == 0
    assert "every image is grey" in capsys.readouterr().out
    assert channels(tmp_path / "to") == 1
    originals = sets.plan("image_folder", folder, tmp_path / "to", 20).originals.splits
    names = [image.name for split in ("train", "test") for image in originals[split] if image.name != "damaged.png"]
    found = open_images(f"{tmp_path}/to/image_folder-20")
    images = dict(zip(names, np.concatenate([found.mapped(split) for split in ("train", "test")]), strict=True))
    for name in ("levels.png", "equal channels.png", "with alpha.png", "colours with alpha.png", "16 bits.png"):
        np.testing.assert_array_equal(images[name][0], LEVELS, err_msg=name)
    np.testing.assert_array_equal(images["palette.png"][0], np.where(LEVELS % 2, 200, 3))
    np.testing.assert_array_equal(images["black and white.png"][0], np.where(LEVELS > 99, 255, 0))
    np.testing.assert_array_equal(images["ink.tif"][0], 255 - LEVELS)


@pytest.mark.parametrize("name", COLOURED)
def test_one_picture_in_colour_makes_three_channels(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = folder_of(tmp_path / "from", GREY)
    COLOURED[name]().save(folder / name)
    assert prepare(folder, tmp_path / "to") == 0
    assert f"3 channels, since {name} is in colour" in capsys.readouterr().out
    assert channels(tmp_path / "to") == 3


def test_a_single_coloured_pixel_of_the_last_picture_counts(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "from", GREY)
    last = sets.plan("image_folder", folder, tmp_path / "to", 20).originals.splits["test"][-1].name
    image = np.stack([LEVELS] * 3, 2)
    image[7, 8, 2] ^= 1
    Image.fromarray(image).save(folder / last, "PNG")  # Pillow reads what a file holds, whatever its name
    assert prepare(folder, tmp_path / "to") == 0
    assert channels(tmp_path / "to") == 3


def test_channels_are_chosen_by_the_command_where_it_says_so(tmp_path: Path) -> None:
    grey = folder_of(tmp_path / "grey", GREY)
    assert prepare(grey, tmp_path / "three", "--channels", "3") == 0
    assert channels(tmp_path / "three") == 3
    coloured = folder_of(tmp_path / "coloured", GREY | COLOURED)
    assert prepare(coloured, tmp_path / "one", "--channels", "1") == 0
    assert channels(tmp_path / "one") == 1


def test_a_set_that_was_prepared_in_three_channels_stays_and_goes_on_with_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = folder_of(tmp_path / "from", {name: GREY[name] for name in ("levels.png", "equal channels.png", "16 bits.png")})
    assert prepare(folder, tmp_path / "to", "--channels", "3") == 0
    assert prepare(folder, tmp_path / "to") == 2
    assert "other than 3 channels" in capsys.readouterr().err
    assert prepare(folder, tmp_path / "to", "--channels", "3") == 0
    assert json.loads((tmp_path / "to.json").read_text())["images_per_second"] == 0
    assert channels(tmp_path / "to") == 3


def test_the_number_of_channels_is_found_and_is_part_of_a_flow_of_grey_images_alone(tmp_path: Path) -> None:
    """The first fingerprint is that of commit bb206d8, before recipes knew of channels."""
    plain = Data(target="image_folder", size=16, digest="a" * 64)
    assert phases_of(Recipe(plain))[-1].fingerprint == "6193b3f39593bb36a63f"
    folder = folder_of(tmp_path / "from", {name: GREY[name] for name in ("levels.png", "equal channels.png")})
    found, fingerprints = {}, set()
    for number in ("1", "3"):
        assert prepare(folder, tmp_path / number, "--channels", number) == 0
        assert channels(tmp_path / number) == int(number)
        found[number] = resolve(Recipe(Data(target="image_folder", size=20)), Cluster(data=str(tmp_path / number))).data
        fingerprints.add(phases_of(Recipe(found[number]))[0].fingerprint)
    assert (found["1"].channels, found["3"].channels) == (1, None)
    assert found["1"].digest == found["3"].digest, "the files are kept as they are, so that the digest alone does not tell"
    assert len(fingerprints) == 2


def test_images_of_other_channels_than_the_recipe_means_are_refused(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "from", {name: GREY[name] for name in ("levels.png", "equal channels.png")})
    assert prepare(folder, tmp_path / "to") == 0
    cluster = Cluster(data=str(tmp_path / "to"))
    with pytest.raises(Unusable, match=r"image_folder-20 holds images of 1 channel, data.channels has 3"):
        resolve(Recipe(Data(target="image_folder", size=20, channels=3)), cluster)
    coloured = folder_of(tmp_path / "coloured", GREY | COLOURED)
    assert cli.main(["prepare", "celeba_hq", "--from", str(coloured), "--to", str(tmp_path / "to"), "--size", "20"]) == 0
    with pytest.raises(Unusable, match=r"data.source: .*celeba_hq-20 holds images of 3 channels, image_folder has 1"):
        resolve(Recipe(Data(source="celeba_hq", target="image_folder", size=20)), cluster)
