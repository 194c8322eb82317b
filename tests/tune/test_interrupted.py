"""A search that was interrupted: what is told of it, and that a trial has one number wherever it is named."""

import json
import re
from pathlib import Path
from types import SimpleNamespace

import pytest

from pipeline.command import report
from pipeline.recipe import Jko, Recipe
from pipeline.store import claims
from pipeline.store.phases import Store
from tune import records, search, space, studies
from tune.cli import main
from tune.definition import Search
from tune.records import NUMBER
from tune.shown.watch import Watch

SEARCH = Search("s", Recipe(jko=Jko(num_phases=2)), (space.axis("h", ["0.1", "10"]),), 3)
GONE = f"{claims.this_process().partition(':')[0]}:1:1.00"
"""This host's first process, at another time."""


def opened_trial(store: Store, run_id: str, number: int, *values: float, status: str = "RUNNING") -> None:
    """A trial that has these values so far."""
    trial_run_id = records.open_trial(store, SEARCH, run_id, number, {"jko.h": float(number)})
    for k, value in enumerate(values):
        records.log_phase(store, trial_run_id, k, "f" * 32, {"w2": value, "seconds": k + 1.0})
    if status != "RUNNING":
        store.set_status(trial_run_id, status)


def shown(tmp_path: Path) -> dict:
    path = tmp_path / "shown.json"
    assert main(["show", "s", "--json", str(path)]) == 0
    return json.loads(path.read_text())


def test_a_search_whose_driver_was_killed_is_interrupted_and_says_how_to_go_on(
    store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_id, goes_on = records.create(store, SEARCH, GONE), "go on with: python -m tune resume s\n"
    opened_trial(store, run_id, 2, 0.9)
    assert store.run(run_id).info.status == "RUNNING", "nobody was there to say otherwise"
    opened_trial(store, run_id, 1, 0.7, 0.5, status="FINISHED")
    result, printed = shown(tmp_path), capsys.readouterr().out
    assert result["status"] == "INTERRUPTED"
    assert [(t["number"], t["status"]) for t in result["trials"]] == [(1, "done"), (2, "interrupted")]
    assert result["phases"]["asked"] == 2, "what is interrupted is tried again"
    assert f"the search was interrupted; {goes_on}" in printed
    assert re.search(r"^ *2 +h 2 .* interrupted *$", printed, re.MULTILINE)
    assert "runs" not in printed
    assert main(["best", "s", "--to", str(tmp_path / "best.yaml")]) == 0
    assert goes_on in capsys.readouterr().out


@pytest.mark.parametrize(
    ("owner", "status", "told"),
    [
        (GONE, "RUNNING", "was interrupted; go on with: python -m tune resume s"),
        (GONE, "KILLED", "was interrupted; go on with: python -m tune resume s"),
        (GONE, "FAILED", "has failed; go on with: python -m tune resume s"),
        (claims.this_process(), "RUNNING", "is at work"),
    ],
    ids=["killed", "stopped", "failed", "at work"],  # a process's own name is another one in each process of pytest
)
def test_a_search_without_a_result_says_how_it_stands(
    owner: str, status: str, told: str, store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    run_id = records.create(store, SEARCH, owner)
    opened_trial(store, run_id, 1)
    store.set_status(run_id, status)
    assert main(["show", "s"]) == 2
    assert capsys.readouterr().err == f"error: no trial of s has a result yet: the search {told}\n"


def test_the_trials_of_a_search_at_work_run(store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run_id = records.create(store, SEARCH, claims.this_process())
    opened_trial(store, run_id, 1, 0.9)
    result = shown(tmp_path)
    assert (result["status"], result["trials"][0]["status"]) == ("RUNNING", "runs")
    assert "the search is at work\n" in capsys.readouterr().out


def test_a_trial_has_one_number_in_lines_table_show_and_json_also_after_a_resume(
    home: Path, store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_id, storage = records.create(store, SEARCH, GONE), f"sqlite:///{home}/optuna.db"
    distributions = {axis.name: studies.distribution(axis) for axis in SEARCH.axes}

    def proposer(study: object) -> search.Numbered:
        return search.Numbered(distributions, "best", "min", study_name="s", storage=study._storage)

    with studies.study_of(SEARCH, storage, create=True) as study:
        assert studies.last_number(study, 3) == 3
        before = proposer(study)
        assert [before.suggest(name)[NUMBER] for name in "abc"] == [1, 2, 3]
        before.on_trial_complete("a", {"best": 0.5})
    opened_trial(store, run_id, 1, 0.7, 0.5, status="FINISHED")
    opened_trial(store, run_id, 2, 0.9)  # the third was killed before it opened its run

    with studies.study_of(SEARCH, storage, create=False) as study:
        records.close_trials(store, run_id, "KILLED")
        assert studies.propose_again(study) == 1
        assert studies.last_number(study, 2) == 5
        watch, after = Watch(SEARCH, run_id, 1, studies.last_number(study, 2)), proposer(study)
        for name in "de":
            trial = SimpleNamespace(trial_id=name, config=after.suggest(name))
            watch.on_trial_start(0, [], trial)
            opened_trial(store, run_id, trial.config[NUMBER], 0.4)
            watch.on_trial_complete(0, [], trial)
    said = re.findall(r"^trial +(\d+) of 5 +h \S+ ", capsys.readouterr().out, re.MULTILINE)
    report.console.print(watch.table())
    table = capsys.readouterr().out
    result, printed = shown(tmp_path), capsys.readouterr().out
    assert said == re.findall(r"^ *(\d+) +h ", table, re.MULTILINE) == ["4", "5"]
    assert "s: 3 of 3 trials" in table
    assert [(t["number"], t["status"]) for t in result["trials"]] == [
        (1, "done"),
        (2, "interrupted"),
        (4, "stopped"),
        (5, "stopped"),
    ]
    assert re.findall(r"^ *(\d+) +h ", printed, re.MULTILINE) == ["1", "2", "4", "5"]
    assert result["best"]["number"] == 4


def test_a_confirmation_stays_with_its_trial_and_its_phase(store: Store) -> None:
    wanted = Search("s", Recipe(), (), 2)
    run_id = records.create(store, wanted, claims.this_process())
    runs = [records.open_trial(store, wanted, run_id, number, {"jko.h": 1.0}) for number in (1, 2)]
    for trial_run, value in zip(runs, (2.0, 1.0), strict=True):
        records.log_phase(store, trial_run, 0, "f", {"w2": value, "seconds": 1.0})
    first = records.trials(store, wanted, run_id)[0]
    records.keep_confirmation(store, wanted, first, [2.5, None, 2.5])
    assert [trial.confirmed for trial in records.trials(store, wanted, run_id)] == [(2.5, None, 2.5), ()]
    records.log_phase(store, runs[0], 1, "g", {"w2": 0.5, "seconds": 2.0})
    assert records.trials(store, wanted, run_id)[0].confirmed == (), "another phase is its best one now"
