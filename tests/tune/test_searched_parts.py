"""Searches over parts of somebody's own: all trials mean the code that was there when the search began."""

import sys
from pathlib import Path

import pytest
from flows import QUICK
from own_parts import written

from components.parts.code import code_of
from pipeline.recipe import Jko, Recipe
from pipeline.store.phases import Store
from tune import records, space, studies
from tune.cli import main
from tune.definition import Search


def definition(module: str, *names: str) -> Search:
    """A search over these divergences, or names in the module."""
    words = [f"{module}:{name}" if name[0].isupper() else name for name in names]
    recipe = Recipe(jko=Jko(divergence=words[0], num_phases=1))
    return Search("s", recipe, (space.axis("divergence", words), space.axis("h", ["0.1", "10"])), num_trials=2)


def test_a_search_pins_its_parts_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written(tmp_path, monkeypatch, "searched_a")
    plain = definition("searched_a", "Alpha( alpha=3 )", "jsd", "Alpha")
    pinned, digest = plain.pinned(), code_of("searched_a").digest
    own = f"searched_a:Alpha(alpha=3.0)@{digest}"
    assert pinned.axes[0].choices == (own, "jsd", f"searched_a:Alpha@{digest}")
    assert pinned.recipe.jko.divergence == own
    assert studies.own_point(pinned) == {"jko.divergence": own, "jko.h": 3.0}
    assert {name for _, name in pinned.parts()} == {own, f"searched_a:Alpha@{digest}"}
    assert Search.from_json(pinned.to_json(), None) == pinned == pinned.pinned()
    with pytest.raises(ValueError, match=r"^--space\.divergence must name each value once, not .*Alpha, .*Alpha\(alpha=2\)"):
        definition("searched_a", "Alpha", "Alpha(alpha=2)").pinned()


def test_a_search_goes_on_with_its_own_code_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    written(tmp_path, monkeypatch, "searched_b")
    records.create(store, definition("searched_b", "kl", "Alpha").pinned(), "nobody:1")
    module = tmp_path / "searched_b.py"
    module.write_text(module.read_text() + "# changed\n")
    assert main(["resume", "s"]) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("error: jko.divergence: searched_b:Alpha has changed: its code is ")


@pytest.mark.real
@pytest.mark.usefixtures("no_ray")
def test_trials_have_the_code_of_a_part_that_only_the_driver_finds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, store: Store
) -> None:
    path = written(tmp_path, monkeypatch, "searched_c")
    command = ["run", str(path), "--name", "s", "--num-trials", "2", "--num-confirmed", "0", "--jko.num-phases", "1", *QUICK]
    assert main([*command, "--space.divergence", "jsd", "searched_c:Alpha(alpha=3)"]) == 0
    assert "searched_c" in sys.modules
    found = {run.data.params["jko.divergence"] for run in store.select("tags.`sjko.kind` = 'phase'")}
    assert found == {"jsd", f"searched_c:Alpha(alpha=3.0)@{code_of('searched_c').digest}"}
