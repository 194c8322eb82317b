"""Searches on a real Ray, MLflow and Optuna: results, sharing, kills, divergence, two objectives, room for the workers."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import optuna
import pytest
from flows import QUICK, ROOT, command_environment

from pipeline.command import cli as pipeline_cli
from pipeline.store.phases import Store
from tune.cli import main

TINY = """
data: {target: moons}
network: {width: 8, depth: 1, num_frequencies: 2}
jko: {num_phases: 3}
training: {num_steps: STEPS, batch_size: 16}
"""
pytestmark = pytest.mark.usefixtures("one_ray")
PHASES, TRIALS = "tags.`sjko.kind` = 'phase'", "tags.`sjko.kind` = 'trial'"


def recipe(folder: Path, num_steps: int = 12) -> str:
    path = folder / "tiny.yaml"
    path.write_text(TINY.replace("STEPS", str(num_steps)))
    return str(path)


def searched(tmp_path: Path, *arguments: str) -> dict:
    path = tmp_path / "result.json"
    assert main([*arguments, *(QUICK if arguments[0] == "run" else []), "--json", str(path)]) == 0
    return json.loads(path.read_text())


def states(storage: str, name: str) -> Counter[str]:
    backend = optuna.storages.RDBStorage(storage)
    try:
        return Counter(trial.state.name for trial in optuna.load_study(storage=backend, study_name=name).trials)
    finally:
        backend.remove_session()
        backend.engine.dispose()


@pytest.mark.real
def test_a_search_finds_a_recipe_that_runs_and_a_diverging_trial_is_a_finite_result(
    home: Path, store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["run", recipe(tmp_path), "--name", "s", "--num-trials", "4", "--sampler", "random", "--num-confirmed", "1"]
    command += ["--jko.divergence", "forward_kl", "--space.h", "0.5", "5", "--space.potential_lr", "0.002", "1000", "0.003"]
    result = searched(tmp_path, *command)
    printed = capsys.readouterr().out
    trials = result["trials"]
    assert len(trials) == 4
    diverged = [trial for trial in trials if trial["point"]["training.potential_lr"] == 1000]
    assert diverged, "the seed of the search was chosen so that there is one"
    assert all("diverged" in trial["error"] for trial in diverged)
    assert states(f"sqlite:///{home}/optuna.db", "s") == {"COMPLETE": 4}
    first = result["best"]
    assert first["point"]["training.potential_lr"] < 1
    assert len(first["by_seed"]) == 3
    assert 0 < result["phases"]["trained"] < result["phases"]["asked"] == 12
    assert first["value"] == pytest.approx(sum(first["by_seed"]) / 3)
    assert "phases trained" in printed
    said = {(int(number), state) for number, state in re.findall(r"^trial +(\d+) of 4 .*   (\S.*)$", printed, re.MULTILINE)}
    assert said == {(trial["number"], trial["status"]) for trial in trials}
    assert [trial["number"] for trial in trials] == [1, 2, 3, 4]
    assert "best: h" in printed
    assert printed.count("no result   diverged in phase 0") == len(diverged), "as it ends"
    assert len(re.findall(r" 0 +0 +diverged in phase 0", printed)) == len(diverged), "in the table"

    runs = {run.info.run_id: run for run in store.select(TRIALS)}
    assert {run.data.tags["mlflow.parentRunId"] for run in runs.values()} == {result["run_id"]}
    assert Counter(run.info.status for run in runs.values()) == {"FINISHED": 4 - len(diverged), "FAILED": len(diverged)}
    parents = {run.data.tags["mlflow.parentRunId"] for run in store.select(PHASES)}
    assert parents & runs.keys(), "phases hang below the trials that trained them"
    pictures = {path.name for path in (home / "searches" / "s").iterdir()}
    assert pictures == {"phases.png", "slices.png", "history.png", "importance.png"}

    best = tmp_path / "best.yaml"
    assert main(["best", "s", "--to", str(best)]) == 0
    assert pipeline_cli.main(["run", str(best), *QUICK, "--json", str(tmp_path / "flow.json")]) == 0
    flow = json.loads((tmp_path / "flow.json").read_text())["phases"]
    assert [phase["cached"] for phase in flow] == [True] * first["num_phases"], "the best recipe is in the store already"
    assert searched(tmp_path, "show", "s")["best"] == first
    assert searched(tmp_path, "resume", "s")["best"] == first
    capsys.readouterr()
    assert main(command) == 2
    assert "python -m tune resume s" in capsys.readouterr().err
    for arguments in (["show", "nobody"], ["resume", "nobody"], ["best", "x'y", "--to", str(best)]):
        assert main(arguments) == 2
        assert "there is no search" in capsys.readouterr().err


@pytest.mark.thorough
def test_equal_trials_at_once_train_each_phase_once_also_when_the_driver_is_killed(
    home: Path, store: Store, new_database: Callable[[], str], tmp_path: Path
) -> None:
    name, flags = "twins", ["--num-trials", "4", "--num-confirmed", "0", "--space.divergence", "jsd"]
    storage = new_database().replace("postgresql://", "postgresql+psycopg://")
    command = [sys.executable, "-m", "tune", "run", recipe(tmp_path, 2000), "--name", name, *flags, "--store.optuna", storage]
    with (tmp_path / "log").open("wb") as log:
        driver = subprocess.Popen(
            command, cwd=ROOT, env=command_environment(home), stdout=log, stderr=log, start_new_session=True
        )
        try:
            deadline = time.monotonic() + 200
            while not any(run.info.status == "FINISHED" for run in store.select(PHASES)):
                assert driver.poll() is None, (tmp_path / "log").read_text()
                assert time.monotonic() < deadline, (tmp_path / "log").read_text()
                time.sleep(0.2)
            assert len(store.select(TRIALS)) == 2, "one trial per core"
        finally:
            os.kill(driver.pid, signal.SIGKILL)
            driver.wait()
    before = {run.info.run_id for run in store.select(PHASES) if run.info.status == "FINISHED"}
    assert 1 <= len(before) < 3
    assert states(storage, name)["RUNNING"] == 2
    result = searched(tmp_path, "resume", name, "--store.optuna", storage)
    assert len([trial for trial in result["trials"] if len(trial["values"]) == 3]) >= 1
    after = states(storage, name)
    assert (after["RUNNING"], after["WAITING"], after["COMPLETE"]) == (0, 0, 4)
    finished = [run for run in store.select(PHASES) if run.info.status == "FINISHED"]
    assert before <= {run.info.run_id for run in finished}
    assert Counter(run.data.tags["sjko.fingerprint"] for run in finished).most_common(1)[0][1] == 1
    assert len(finished) == 3
    told = [(trial["number"], trial["status"] == "interrupted") for trial in result["trials"]]
    assert told == [(1, True), (2, True), (3, False), (4, False), (5, False), (6, False)]
    assert (result["phases"]["asked"], result["phases"]["reached"], result["phases"]["trained"]) == (12, 12, 3)


@pytest.mark.thorough
def test_drivers_leave_the_cores_to_their_workers_and_cost_is_an_objective(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ["--num-trials", "2", "--num-confirmed", "0", "--against-cost", "--space.h", "0.5", "5"]
    workers = ["--cluster.num-workers", "1", "--cluster.phases-per-job", "3"]
    result = searched(tmp_path, "run", recipe(tmp_path), "--name", "front", *flags, *workers)
    assert [len(trial["values"]) for trial in result["trials"]] == [3, 3], "nothing is stopped early"
    front = [(point["seconds"], point["value"]) for point in result["pareto"]]
    assert front == sorted(front)
    assert [value for _, value in front] == sorted((value for _, value in front), reverse=True)
    assert (home / "searches" / "front" / "pareto.png").is_file()
    assert "Pareto front" in capsys.readouterr().out
    assert states(f"sqlite:///{home}/optuna.db", "front") == {"COMPLETE": 2}


@pytest.mark.thorough
def test_a_search_that_asks_for_more_than_there_is_ends_at_once_and_leaves_no_name_taken(
    home: Path, store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["run", recipe(tmp_path), "--name", "big", "--cluster.num-workers", "64", "--space.h", "1", "2"]
    for _ in range(2):
        assert main(command) == 1
        assert "64 x {'CPU': 1}" in capsys.readouterr().err
    assert store.select("tags.`sjko.kind` = 'search'") == []
    with pytest.raises(KeyError):
        states(f"sqlite:///{home}/optuna.db", "big")


@pytest.mark.thorough
def test_a_search_whose_trials_all_fail_says_why_without_a_traceback_and_leaves_no_name_taken(
    home: Path, store: Store, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    command = ["run", recipe(tmp_path), "--name", "bad", "--num-trials", "2", "--space.potential_lr", "900", "1000"]
    assert main([*command, "--jko.divergence", "forward_kl", "--metric", "on_support", "--num-confirmed", "0"]) == 1
    printed = capfd.readouterr()
    assert "no trial of bad gave a result: phase 0 diverged" in printed.err
    assert "no result   diverged in phase 0" in printed.out
    assert "Traceback" not in printed.out + printed.err
    assert store.select("tags.`sjko.kind` = 'search'") == []
    with pytest.raises(KeyError):
        states(f"sqlite:///{home}/optuna.db", "bad")
