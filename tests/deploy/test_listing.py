"""`deploy list` and `deploy show`: what is in the registry, and who moved an alias when and why."""

import getpass
import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from flows import QUICK, ROOT, command_environment, tiny, train

from deploy.cli import main
from deploy.versions.moves import Move, moves_in
from pipeline.store.phases import Store


def result_of(tmp_path: Path, *arguments: str) -> dict:
    path = tmp_path / "result.json"
    assert main([*arguments, "--json", str(path)]) == 0
    return json.loads(path.read_text())


def test_show_says_who_moved_an_alias_when_and_why(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    begun = datetime.now(UTC).replace(microsecond=0)
    refs = [train(tiny(num_phases=num_phases), store)[-1].ref for num_phases in (1, 2)]
    for ref, account in zip(refs, ("ann", "bob"), strict=True):
        monkeypatch.setenv("LOGNAME", account)
        assert main(["register", ref.run_id, "--name", "moons", *QUICK]) == 0
        assert main(["promote", "moons", "--require", "w2 <= 100 * champion", *QUICK]) == 0
    monkeypatch.setenv("LOGNAME", "eve")
    assert main(["rollback", "moons"]) == 0
    store.client.create_registered_model("empty")
    capsys.readouterr()

    shown = result_of(tmp_path, "show", "moons")
    printed = capsys.readouterr().out
    assert shown["aliases"] == {"candidate": 2, "champion": 1}
    second, first = shown["versions"]
    assert (first["version"], first["aliases"], first["num_phases"], first["by"]) == (1, ["champion"], 1, "ann")
    assert (second["version"], second["aliases"], second["num_phases"], second["by"]) == (2, ["candidate"], 2, "bob")
    assert [each["fingerprint"] for each in (first, second)] == [ref.fingerprint for ref in refs]
    assert set(first["metrics"]) >= {"w2", "w2_floor"}
    (promoted,) = first["moves"]
    assert (promoted["what"], promoted["alias"], promoted["by"]) == ("promoted", "champion", "ann")
    assert promoted["because"].endswith(", with no champion to compare with")
    again, back = second["moves"]
    assert (again["what"], again["by"]) == ("promoted", "bob")
    assert again["because"].startswith("w2 ")
    assert " <= " in again["because"]
    assert again["because"].endswith(" = 100 x champion")
    assert (back["what"], back["by"], back["because"]) == ("rolled_back", "eve", "to version 1")
    for move in (promoted, again, back):
        assert begun <= datetime.fromisoformat(move["at"]) <= datetime.now(UTC) + timedelta(seconds=1)
        assert f"@champion {move['at']} by {move['by']}: {move['because']}" in printed
    assert result_of(tmp_path, "list") == {
        "models": [{"name": "empty", "aliases": {}}, {"name": "moons", "aliases": {"candidate": 2, "champion": 1}}]
    }
    assert result_of(tmp_path, "show", "empty")["versions"] == []


def test_a_model_that_is_not_there_is_one_sentence(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", "moons"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "moons is not in the registry at " in error
    assert "no models yet" in error
    store.client.create_registered_model("theirs")
    assert main(["show", "moons"]) == 2
    assert "which has the models theirs" in capsys.readouterr().err
    assert main(["show", "../x"]) == 2
    assert "NAME must be" in capsys.readouterr().err


def test_versions_of_another_program_are_shown_as_far_as_they_say(store: Store, tmp_path: Path) -> None:
    store.client.create_registered_model("theirs")
    store.client.create_model_version("theirs", tmp_path.as_uri())
    (version,) = result_of(tmp_path, "show", "theirs")["versions"]
    assert (version["version"], version["num_phases"], version["by"], version["metrics"]) == (1, None, None, {})


def test_moves_are_read_from_tags_the_earliest_first() -> None:
    tags = {
        "sjko.promoted_at.champion": "2026-01-02T00:00:00Z",
        "sjko.promoted_by.champion": "ann",
        "sjko.promoted_because.champion": "no rule was given",
        "sjko.promoted_at.a-b": "2026-01-01T00:00:00Z",
        "sjko.rolled_back.champion": "to version 1",  # of versions before who and when were written
    }
    assert moves_in(tags) == [
        Move("promoted", "a-b", "2026-01-01T00:00:00Z", "", ""),
        Move("promoted", "champion", "2026-01-02T00:00:00Z", "ann", "no rule was given"),
    ]


def test_an_account_without_a_name_is_its_number(monkeypatch: pytest.MonkeyPatch) -> None:
    from pipeline.provenance import user

    def nameless() -> str:
        raise KeyError("getpwuid(): uid not found: 12345")

    monkeypatch.setattr(getpass, "getuser", nameless)
    assert user().startswith("uid ")


@pytest.mark.real
def test_list_and_show_load_neither_torch_nor_ray(home: Path) -> None:
    script = """
import sys
from deploy.cli import main
assert main(["list"]) == 0
assert main(["show", "moons"]) == 2
loaded = {"torch", "ray", "sklearn", "matplotlib"} & set(sys.modules)
raise SystemExit(f"loaded {loaded}" if loaded else 0)
"""
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, env=command_environment(home), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
