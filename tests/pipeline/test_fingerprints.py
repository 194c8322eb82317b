"""Published flows stay findable: fingerprints that were recorded once, with the recipes that they belong to."""

import json
from pathlib import Path
from typing import Any

import pytest

from pipeline import phase as phases
from pipeline.phase import phases_of
from pipeline.recipe import GROUPS, Recipe

RECORD: dict[str, Any] = json.loads((Path(__file__).parent / "fingerprints.json").read_text())
"""`method_version`, and of every shipped recipe the resolved fields and the fingerprints of all phases."""


@pytest.mark.parametrize("name", RECORD["recipes"])
def test_recorded_recipes_keep_their_fingerprints(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(phases, "METHOD_VERSION", RECORD["method_version"])
    recorded, fingerprints = RECORD["recipes"][name].values()
    recipe = Recipe(**{group: kind(**recorded[group]) for group, kind in GROUPS.items()}, seed=recorded["seed"])
    assert [phase.fingerprint for phase in phases_of(recipe)] == fingerprints
