"""Searches over flows to a table: all trials are trained on the rows of when it began."""

from pathlib import Path

import pytest

from pipeline.cluster import Cluster
from pipeline.data import rows
from pipeline.data.tables import kept
from pipeline.recipe import Data, Recipe
from tune import space
from tune.definition import Search


def test_trials_have_the_rows_of_when_the_search_began(home: Path, tmp_path: Path) -> None:
    path = tmp_path / "cells.csv"
    path.write_text("x,y\n" + "".join(f"{i * 0.37 % 5:.2f},{i % 7}\n" for i in range(100)))
    search = Search("h", Recipe(data=Data(target=str(path))), (space.axis("h", ["0.1", "10", "log"]),), 4, cluster=Cluster())
    pinned = search.pinned()
    name = pinned.recipe.data.target
    assert rows.are_rows(name)
    assert kept.read(name, None) is not None, "a trial on another node finds them"
    path.write_text("x,y\n1,2\n")
    assert pinned.pinned() == pinned == Search.from_json(pinned.to_json(), None)


@pytest.mark.parametrize("data", [Data(target="moons"), Data(target="penguins")])
def test_what_comes_with_the_project_keeps_its_name_until_a_flow_is_trained(data: Data, home: Path) -> None:
    search = Search("h", Recipe(data=data), (space.axis("h", ["0.1", "10", "log"]),), 4)
    assert search.pinned().recipe.data == data
    assert not (home / "data").exists()
