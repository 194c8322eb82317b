"""A recipe whose parts are all of somebody's own."""

from dataclasses import replace
from pathlib import Path

import pytest
from flows import train
from own_parts import written

from components.parts.loading import pinned
from pipeline.cluster import Cluster
from pipeline.command.cli import main
from pipeline.data.own import source_of
from pipeline.data.resolution import resolve
from pipeline.phase import Phase, phases_of
from pipeline.recipes import reading
from pipeline.recipes.loading import load_recipe
from pipeline.store.phases import Store


@pytest.mark.slow
def test_a_recipe_of_own_parts_trains_and_its_identity_has_their_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, store: Store
) -> None:
    path = written(tmp_path, monkeypatch, "parts_of_recipe")
    recipe = load_recipe(str(path))
    assert (recipe.jko.divergence, recipe.jko.cost) == ("parts_of_recipe:Alpha(alpha=3)", "parts_of_recipe:Huber(delta=2.0)")
    results = train(recipe, store)
    assert [result.cached for result in results] == [False, False]
    phase = store.phase_of(results[-1].ref)
    assert phase == phases_of(resolve(recipe, Cluster()))[-1] == Phase.from_json(phase.to_json())
    assert phase.jko.divergence.startswith("parts_of_recipe:Alpha(alpha=3.0)@")
    path.write_text(reading.as_yaml(resolve(recipe, Cluster())))
    assert load_recipe(str(path)) == resolve(recipe, Cluster())
    assert all(result.cached for result in train(load_recipe(str(path)), store))
    other = replace(recipe, jko=replace(recipe.jko, divergence="parts_of_recipe:Alpha(alpha=2.5)"))
    assert not any(result.cached for result in train(other, store))


WRONG = {
    "jko: {divergence: {alpha: 1}}": r"line 1: jko\.divergence must have `use`, the name of the part",
    "jko: {divergence: {use: m:x, alpha: [1]}}": r"line 1: jko\.divergence\.alpha must be a number, text, true, false or null",
    "jko: {divergence: {use: m:x, alpha: 1, alpha: 2}}": r"line 1: jko\.divergence\.alpha is given twice",
    "jko: {divergence: {use: m:x, alpha: 010}}": r"line 1: jko\.divergence\.alpha must be a number such as 0\.5.* not 010",
    "jko: {h: {use: m:x}}": r"line 1: jko\.h must be a number such as .*, not a group of fields",
    "jko: {divergence: hellinger}": r"jko\.divergence must be one of kl, .* or package\.module:name of your own, not hellinger",
    "jko: {divergence: nowhere_else:x}": r"line 1: jko\.divergence: nowhere_else:x: there is no module nowhere_else in ",
    "jko: {divergence: 'jsd(alpha=1)'}": r"line 1: jko\.divergence: jsd\(alpha=1\) could not be made: TypeError",
    "jko: {source_divergence: nowhere_else:x}": r"line 1: jko\.source_divergence: nowhere_else:x: there is no module",
    "jko: {cost: nowhere_else:x}": r"line 1: jko\.cost: nowhere_else:x: there is no module",
    "network: {kind: nowhere_else:x}": r"network\.kind: nowhere_else:x: there is no module",
    "data: {target: nowhere_else:x}": r"line 1: data\.target: nowhere_else:x: there is no module",
    "data: {source: nowhere_else:x}": r"line 1: data\.source: nowhere_else:x: there is no module",
}


@pytest.mark.parametrize("text", WRONG)
def test_a_part_that_cannot_be_used_is_named_with_its_field_and_line(text: str, tmp_path: Path) -> None:
    path = tmp_path / "wrong.yaml"
    path.write_text(text + "\n")
    with pytest.raises(ValueError, match=WRONG[text]):
        load_recipe(str(path))


@pytest.mark.slow
def test_a_run_says_which_part_has_changed_since_which_flow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    path = written(tmp_path, monkeypatch, "parts_changed")
    recipe = load_recipe(str(path))
    train(recipe, store)
    before = phases_of(resolve(recipe, Cluster()))[-1]
    assert main(["run", str(path), "--dry-run"]) == 0
    assert "note:" not in capsys.readouterr().err
    module = tmp_path / "parts_changed.py"
    original = module.read_text()
    module.write_text(original + "# changed\n")
    assert main(["run", str(path), "--dry-run"]) == 0
    now = phases_of(resolve(recipe, Cluster()))[-1]
    digests = [phase.jko.cost.partition("@")[2] for phase in (before, now)]
    notes = [line for line in capsys.readouterr().err.splitlines() if line.startswith("note: ")]
    assert notes == [
        f"note: {', '.join(f'parts_changed:{name}' for name in ('windows', 'Plain', 'Alpha', 'Huber'))} have changed since flow "
        f"{before.fingerprint[:8]} ({digests[0]} -> {digests[1]}): its phases are trained anew"
    ]
    train(replace(recipe, jko=replace(recipe.jko, num_phases=1)), store)
    module.write_text(original)  # an edit that is taken back trains nothing
    assert main(["run", str(path), "--dry-run"]) == 0
    assert "note:" not in capsys.readouterr().err


def test_an_edited_source_is_made_anew_under_the_name_that_a_notebook_gives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    text = "import numpy as np\n\n\ndef rows():\n    return np.random.default_rng(0).normal(size=(50, 2))\n"
    (tmp_path / "edited_rows.py").write_text(text)
    name = "edited_rows:rows"
    assert source_of(name) is source_of(name)
    assert source_of(name).shape == source_of(pinned(name)).shape == (2,)
    (tmp_path / "edited_rows.py").write_text(text.replace("2", "3"))
    assert source_of(name).shape == source_of(pinned(name)).shape == (3,)
