"""What was published stays findable: fingerprints that were recorded once, with the recipes that they belong to."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pipeline import phase as phases
from pipeline.phase import Phase, phases_of
from pipeline.recipe import GROUPS, Recipe

HERE = Path(__file__).parent
RECORD: dict[str, Any] = json.loads((HERE / "fingerprints.json").read_text())
"""`method_version`, and of every shipped recipe, and of variations, the resolved fields and the fingerprints of all phases."""
RECORDED = {**RECORD["recipes"], **RECORD["variations"]}
PUBLISHED: list[tuple[str, str]] = json.loads((HERE / "published_phases.json").read_text())
"""Fingerprint and canonical form of phases as versions of this program published them, from the first with falling rates on."""


def of_fields(recorded: dict[str, Any]) -> Recipe:
    return Recipe(**{group: kind(**recorded[group]) for group, kind in GROUPS.items()}, seed=recorded["seed"])


@pytest.mark.parametrize("name", RECORDED)
def test_recorded_recipes_keep_their_fingerprints(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(phases, "METHOD_VERSION", RECORD["method_version"])
    recorded, fingerprints = RECORDED[name].values()
    assert [phase.fingerprint for phase in phases_of(of_fields(recorded))] == fingerprints


@pytest.mark.parametrize("name", RECORDED)
def test_a_phase_survives_its_canonical_form_field_by_field(name: str) -> None:
    for phase in phases_of(of_fields(RECORDED[name]["recipe"])):
        back = replace(Phase.from_json(phase.to_json()))  # what it was read from is forgotten
        assert vars(back) == {name: value for name, value in vars(phase).items() if name in back.__dataclass_fields__}
        assert back.to_json() == phase.to_json()


def test_the_record_has_every_kind_of_field_that_may_be_left_out() -> None:
    values = {
        (group, field, json.dumps(value))
        for recorded in RECORDED.values()
        for group in GROUPS
        for field, value in recorded["recipe"][group].items()
    }
    several = {(group, field) for group, field, _ in values if len([v for v in values if v[:2] == (group, field)]) > 1}
    named = {*phases.LATER_FIELDS, *phases.OF_FLOWS, *phases.UNUSED, "h", "lr_decay_steps"} - {"steps_before"}
    assert named <= {field for _, field in several}


@pytest.mark.parametrize(("fingerprint", "text"), PUBLISHED, ids=[fingerprint for fingerprint, _ in PUBLISHED])
def test_phases_of_earlier_versions_are_read_and_keep_their_fingerprints(fingerprint: str, text: str) -> None:
    phase = Phase.from_json(text)
    assert (phase.fingerprint, phase.to_json()) == (fingerprint, text)
    problem = json.loads(text)["problem"]
    assert phase.method_version == problem["method_version"]
    assert (phase.seed, phase.network.kind, phase.num_steps) == (
        problem["seed"],
        problem["network"]["kind"],
        problem["training"]["num_steps"],
    )
    assert phase.jko.h == float(problem["jko"]["h"])


def test_published_phases_are_of_all_versions() -> None:
    assert {json.loads(text)["problem"]["method_version"] for _, text in PUBLISHED} == {1, 2, 3}
