"""Prepared sets of images that the tests here read."""

from pathlib import Path

import picture_sets as sets
import pytest


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SJKO_HOME", str(tmp_path / "home"))


@pytest.fixture(scope="session")
def data_uri(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of prepared sets, many shards each, for reading only."""
    folder = tmp_path_factory.mktemp("sets")
    sets.prepared("mnist", sets.mnist(folder / "from"), folder, per_shard=8)
    sets.prepared("emnist_letters", sets.emnist(folder / "letters", 60, 30), folder, per_shard=8)
    sets.prepared("image_folder", sets.photos(folder / "photos", 60), folder, 16, per_shard=8)
    return folder
