"""The recipe of a flow in Python for which none is named."""

import logging
from pathlib import Path

import numpy as np
import picture_sets as sets
import pytest
from PIL import Image

from pipeline.recipe import Data, Jko, Recipe, Training
from pipeline.recipes.loading import load_recipe
from sjko import Flow


def test_a_flow_without_a_recipe_has_the_one_of_tables_as_the_command_has() -> None:
    table, recipe = load_recipe("table"), Flow().recipe
    assert (recipe.network, recipe.jko, recipe.training, recipe.data) == (table.network, table.jko, table.training, Data())
    assert Flow(name="a", source="moons").recipe.jko == table.jko


def test_own_parts_have_settings_that_suit_any() -> None:
    assert Flow(divergence="chi2").recipe.jko.num_phases == Recipe().jko.num_phases
    assert Flow(network="residual").recipe.training == Recipe().training


@pytest.mark.usefixtures("few")
def test_the_recipe_of_images_is_for_the_folder_that_was_prepared_and_for_images_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("SJKO_HOME", str(tmp_path / "home"))
    folder = tmp_path / "from"
    folder.mkdir()
    for number, image in enumerate(sets.pixels(40, side=16)[:, 0]):
        Image.fromarray(image).save(folder / f"{number}.png")
    sets.prepared("image_folder", folder, tmp_path / "home" / "data", 16, channels=1)
    fields = {"jko__num_phases": 1, "training__num_steps": 2, "training__batch_size": 4}
    flow = Flow.from_yaml("images", **fields)
    assert flow.fit(progress=False).sample(3, seed=0).shape == (3, 1, 16, 16)
    colours = np.random.default_rng(0).uniform(-1, 1, (40, 3, 8, 8)).astype(np.float32)
    with caplog.at_level(logging.WARNING):
        assert Flow.from_yaml("images", data__flip=True, **fields).fit(colours, progress=False).sample(3).shape == (3, 3, 8, 8)
    assert "data.flip is for prepared images: x is taken as it is" in caplog.text


@pytest.mark.parametrize("name", ["normal", "moons"])
def test_a_flow_may_start_at_a_source_by_name(name: str) -> None:
    training = Training(num_steps=2, batch_size=16)
    flow = Flow(Recipe(jko=Jko(num_phases=1), training=training), source=name).fit(np.random.default_rng(0).normal(size=(40, 2)))
    assert flow.recipe.data.source == name
    assert flow.sample(3, seed=0).shape == (3, 2)


def test_a_source_that_is_misspelt_is_told_with_the_right_name() -> None:
    with pytest.raises(ValueError, match="source: there are no data 'moon' and no file; did you mean moons"):
        Flow(source="moon")
