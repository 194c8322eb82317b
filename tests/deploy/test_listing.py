"""`deploy list` and `deploy show`: what is in the registry, and who moved an alias when and why."""

import getpass
import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from flows import QUICK, ROOT, command_environment, tiny, train

from deploy.cli import main
from deploy.models import Models
from deploy.versions.moves import Move, moves_in
from deploy.versions.registry import Registry
from pipeline.evaluation.measure import evaluate
from pipeline.evaluation.size import EvaluationSize
from pipeline.generator import load_generator
from pipeline.report.figures.table import REQUESTED
from pipeline.store.phases import Store

SIZE = EvaluationSize(200, 1)
"""What QUICK says."""


def result_of(tmp_path: Path, *arguments: str) -> dict:
    path = tmp_path / "result.json"
    assert main([*arguments, "--json", str(path)]) == 0
    return json.loads(path.read_text())


@pytest.mark.slow
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


@pytest.mark.slow
def test_a_phase_before_the_last_is_a_version_with_its_own_figures(
    store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, last = (result.ref for result in train(tiny(num_phases=2), store))
    flow = store.flow_run_id(last.fingerprint)
    for words, number in (([], 1), (["--phase", "0"], 2), (["--phase=1"], 1), (["--phase", "0"], 2)):
        capsys.readouterr()
        assert result_of(tmp_path, "register", flow, "--name", "moons", *words, *QUICK)["version"] == number
        printed = capsys.readouterr().out
        assert ("is of the same flow: its T_1, where this is T_0" in printed) == (
            words == ["--phase", "0"] and "holds" not in printed
        )
    assert "moons version 2 holds this very map already" in printed
    shown = result_of(tmp_path, "show", "moons")["versions"]
    assert [(each["version"], each["num_phases"], each["flow_num_phases"], each["fingerprint"]) for each in shown] == [
        (2, 1, 2, first.fingerprint),
        (1, 2, 2, last.fingerprint),
    ]
    assert "1 of 2" in capsys.readouterr().out
    registry = Registry(store)
    of_first, of_last = (registry.require("moons", number) for number in ("2", "1"))
    assert of_first.tags["metric.w2"] != of_last.tags["metric.w2"]
    assert float(of_first.tags["metric.w2"]) == pytest.approx(evaluate(load_generator(store, first), SIZE)["w2"], rel=1e-4)
    assert registry.lineage(of_first).phase_run_ids == [first.run_id]
    np.testing.assert_array_equal(registry.load(of_first).sample(8), load_generator(store, first).sample(8))
    assert "T_0, 1 JKO step of the 2 of its flow towards" in store.client.get_model_version("moons", "2").description
    assert "T_1, 2 JKO steps towards" in store.client.get_model_version("moons", "1").description
    models = Models(store.uri, "moons", "2")
    assert models.description(models.current)["num_phases"] == 1
    for phase, rule in (("2", "--phase must be below 2, the number of phases"), ("-1", "--phase must be at least 0")):
        assert main(["register", flow, "--name", "moons", "--phase", phase]) == 2
        assert rule in capsys.readouterr().err


def test_show_has_room_for_some_figures_and_all_of_them_where_asked(
    store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store.client.create_registered_model("cells")
    tags = {f"metric.{name}{floor}": "0.5" for name in (*REQUESTED, "w2", "sliced_w2") for floor in ("", "_floor")}
    store.client.create_model_version("cells", tmp_path.as_uri(), tags=tags | promoted_by("density 0.9 >= 0.8"))
    store.client.create_model_version("cells", tmp_path.as_uri(), tags={"metric.w2": "0.25"})
    assert main(["show", "cells"]) == 0
    title, head, *_ = capsys.readouterr().out.splitlines()
    assert title == "versions of cells"
    figures = ["w2", "w2_floor", "sliced_w2", "correlation_error", "c2st_auc", "density", "copied_share"]
    assert head.split() == ["version", "aliases", "phases", "registered", "by", *figures], "density, since a rule named it"
    shown = result_of(tmp_path, "show", "cells", "--all")
    assert len(shown["versions"][1]["metrics"]) == len(tags)
    lines = capsys.readouterr().out.splitlines()
    rows = [line.split() for line in lines[lines.index("figures of cells") + 1 :] if "promoted" not in line]
    assert rows[0] == ["figure", "version", "2", "version", "1"]
    assert rows[1:3] == [["w2", "0.25", "0.5"], ["w2_floor", "0.5"]]
    assert [row[0] for row in rows[1:]][::2] == ["w2", "sliced_w2", *REQUESTED]


def promoted_by(because: str) -> dict[str, str]:
    return {"sjko.promoted_at.champion": "2026-01-02T00:00:00Z", "sjko.promoted_because.champion": because}


@pytest.mark.slow
def test_a_version_is_unregistered_unless_an_alias_points_at_it(
    store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    refs = [result.ref for result in train(tiny(num_phases=2), store)]
    for ref in refs:
        assert main(["register", ref.run_id, "--name", "moons", *QUICK]) == 0
    capsys.readouterr()
    assert main(["unregister", "moons", "2"]) == 2
    error = capsys.readouterr().err
    assert "@candidate of moons points at version 2: say --drop-aliases, or first have another version there, with" in error
    assert error.count("\n") == 1
    assert result_of(tmp_path, "unregister", "moons", "1") == {"name": "moons", "version": 1, "dropped_aliases": []}
    again = capsys.readouterr().out.rpartition("store: ")[2].split()
    for number, rule in (("1", "which has of moons the versions 2"), ("x", "VERSION must be"), ("7", "the versions 2")):
        assert main(["unregister", "moons", number]) == 2
        assert rule in capsys.readouterr().err
    assert main(["unregister", "stars", "1"]) == 2
    assert "stars is not in the registry" in capsys.readouterr().err
    assert result_of(tmp_path, "unregister", "moons", "2", "--drop-aliases")["dropped_aliases"] == ["candidate"]
    assert result_of(tmp_path, "show", "moons")["versions"] == []
    assert "moons has no version" in capsys.readouterr().out
    assert main([*again[3:], *QUICK]) == 0, "the command that was told makes a version again"
    assert result_of(tmp_path, "show", "moons")["aliases"] == {"candidate": 3}, "no number is given twice"
    store.client.create_registered_model("theirs")
    store.client.create_model_version("theirs", tmp_path.as_uri())
    assert main(["unregister", "theirs", "1"]) == 2
    assert "theirs version 1 is another program's" in capsys.readouterr().err


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
