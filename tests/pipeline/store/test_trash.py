"""What was deleted, renamed or damaged in MLflow behind the pipeline's back: one sentence that says what to do."""

import os
import shlex
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from flows import QUICK, ROOT, tiny, train
from mlflow.entities import ViewType
from mlflow.tracking import MlflowClient

from deploy import cli as deploy_cli
from pipeline.command import cli
from pipeline.errors import MapNotFound, StoreUnavailable
from pipeline.recipe import Recipe
from pipeline.store import claims
from pipeline.store.phases import Store
from tune import cli as tune_cli
from tune import records, space
from tune.definition import Search

FLOW = ["run", "moons", "--jko.num-phases=1", "--training.num-steps=5", "--training.batch-size=16"]
COMMANDS = {
    "run": (cli.main, FLOW),
    "list": (cli.main, ["list"]),
    "show": (cli.main, ["show", "abcdef12"]),
    "evaluate": (cli.main, ["evaluate", "abcdef12"]),
    "tune run": (tune_cli.main, ["run", "moons", "--num-trials=1"]),
    "tune show": (tune_cli.main, ["show", "moons"]),
    "tune resume": (tune_cli.main, ["resume", "moons"]),
    "register": (deploy_cli.main, ["register", "abcdef12", "--name", "moons", *QUICK]),
}


def restored_as_told(error: str) -> None:
    """Run the command that a message ends with."""
    setting, *command = shlex.split(error[error.index("MLFLOW_TRACKING_URI=") :].partition("\n")[0].rstrip("."))
    environment = {**os.environ, setting.partition("=")[0]: setting.partition("=")[2]}
    assert command[:3] == ["python", "-m", "mlflow"]
    subprocess.run([sys.executable, *command[1:]], env=environment, cwd=ROOT, capture_output=True, check=True)


def sql(home: Path, statement: str) -> None:
    with closing(sqlite3.connect(home / "mlflow.db")) as connection:
        connection.execute(statement)
        connection.commit()


@pytest.mark.parametrize("command", COMMANDS)
def test_a_deleted_experiment_is_said_by_every_command(command: str, store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    store.client.delete_experiment(store._experiment_id)
    main, arguments = COMMANDS[command]
    assert main(arguments) == 1
    error = capsys.readouterr().err
    assert error.startswith(f"error: the experiment s-jko of MLflow at {store.uri} was deleted")
    assert error.count("\n") == 1


@pytest.mark.thorough
def test_a_deleted_experiment_is_restored_as_the_message_says(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    (result,) = train(tiny(num_phases=1), store)
    store.client.delete_experiment(store._experiment_id)
    assert cli.main(["list"]) == 1
    restored_as_told(capsys.readouterr().err)
    assert Store(store.uri).find(result.phase) == result.ref


def test_an_experiment_deleted_while_a_flow_is_trained_ends_it_in_a_sentence(store: Store) -> None:
    store.client.delete_experiment(store._experiment_id)
    with pytest.raises(StoreUnavailable, match="was deleted, and with it every flow: restore it with: MLFLOW_TRACKING_URI="):
        train(tiny(num_phases=1), store)


@pytest.mark.thorough
def test_a_renamed_experiment_is_not_trained_again_from_nothing(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    (result,) = train(tiny(num_phases=1), store)
    store.client.rename_experiment(store._experiment_id, "mine")
    for create in (True, False):
        with pytest.raises(StoreUnavailable, match="was renamed, it is mine now"):
            Store(store.uri, create=create)
    assert cli.main(FLOW) == 1
    restored_as_told(capsys.readouterr().err)
    assert Store(store.uri).find(result.phase) == result.ref


@pytest.mark.thorough
def test_a_deleted_phase_is_named_with_how_to_restore_it_and_said_where_it_is_trained_again(
    store: Store, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    first, last = train(tiny(), store)
    store.client.delete_run(last.ref.run_id)
    flow_run_id = store.flows()[0].info.run_id
    for reference in (flow_run_id, last.ref.run_id, last.ref.fingerprint[:8], str(last.ref)):
        assert cli.main(["show", reference]) == 2
        error = capsys.readouterr().err
        assert "was deleted in MLflow: restore it with: " in error
        assert f"--run-id {last.ref.run_id}" in error
    again = train(tiny(), store)
    assert [result.cached for result in again] == [True, False]
    assert f"phase 1 is trained again, since it was deleted in MLflow: restore it with: MLFLOW_TRACKING_URI={store.uri}" in (
        caplog.text
    )
    store.client.delete_run(first.ref.run_id)
    assert cli.main(["show", flow_run_id]) == 2, "the flow is there, and what it begins with is not"
    assert f"--run-id {first.ref.run_id}" in capsys.readouterr().err


@pytest.mark.thorough
def test_a_deleted_flow_is_restored_or_stands_again_for_the_phases_that_are_there(
    store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    (result,) = train(tiny(num_phases=1), store)
    flow_run_id = store.flows()[0].info.run_id
    store.client.delete_run(flow_run_id)
    assert cli.main(["show", flow_run_id]) == 2
    assert f"restore --run-id {flow_run_id}" in capsys.readouterr().err
    (again,) = train(tiny(num_phases=1), store)
    assert (again.cached, again.ref) == (True, result.ref)
    assert cli.main(["show", store.flows()[0].info.run_id]) == 0


def test_a_run_that_is_deleted_while_it_is_written_to_is_a_sentence(store: Store) -> None:
    run_id = store.create("x", {}, {})
    store.client.delete_run(run_id)
    with pytest.raises(StoreUnavailable, match=f"the run {run_id} was deleted in MLflow: restore it with: "):
        store.log_metrics(run_id, {0: {"w2": 1.0}})
    with pytest.raises(StoreUnavailable, match="has it no more: Run"):
        store.run("0" * 32)


def test_a_run_that_holds_no_map_is_said_to_be_none(store: Store) -> None:
    with pytest.raises(MapNotFound, match="is a search and holds no map"):
        store.resolve(store.create("x", {"sjko.kind": "search"}, {}))
    with pytest.raises(MapNotFound, match="is a run of another program and holds no map"):
        store.resolve(store.create("x", {}, {}))


def test_flows_are_listed_also_where_a_person_has_deleted_their_tags(
    store: Store, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train(tiny(num_phases=1), store)
    sql(home, "delete from tags where key in ('sjko.recipe', 'sjko.k')")
    assert cli.main(["list"]) == 0
    assert "test" in capsys.readouterr().out
    assert cli.main(["show", store.flows()[0].info.run_id]) == 2
    assert "is not in the store" in capsys.readouterr().err


@pytest.mark.parametrize(("found", "what"), [("ffffffffffff", "a newer MLflow than"), ("451aebb31d03", "an older MLflow than")])
def test_a_database_of_another_mlflow_is_named_with_what_to_do(
    found: str, what: str, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sql(home, f"update alembic_version set version_num = '{found}'")
    assert cli.main(["list"]) == 1
    error = capsys.readouterr().err
    assert what in error
    assert error.count("\n") == 1
    assert ("db upgrade" in error) == (what == "an older MLflow than")


def truncated(path: Path) -> None:
    os.truncate(path, 300_000)


def strange(path: Path) -> None:
    path.unlink()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("create table runs (name text)")


def folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize("damage", [truncated, strange, folder])
def test_a_damaged_database_or_one_of_another_program_is_one_sentence_and_left_as_it_is(
    damage: object, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = home / "mlflow.db"
    damage(path)
    before = path.read_bytes() if path.is_file() else b""
    assert cli.main(["list"]) == 1
    error = capsys.readouterr().err
    assert f"{path} cannot be read as MLflow's database" in error
    assert error.count("\n") == 1
    assert (path.read_bytes() if path.is_file() else b"") == before


@pytest.mark.thorough
def test_a_database_that_another_program_has_locked_is_one_sentence(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with closing(sqlite3.connect(home / "mlflow.db")) as connection:
        connection.execute("begin exclusive")
        assert cli.main(["list"]) == 1
    assert "is locked by another program: try again" in capsys.readouterr().err


def status_of_flow(store: Store) -> str:
    return claims.status_of(store.flows()[0])


def test_a_flow_whose_driver_is_gone_is_listed_as_interrupted(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    train(tiny(num_phases=1), store)
    run_id = store.flows()[0].info.run_id
    assert status_of_flow(store) == "FINISHED"
    store.set_status(run_id, "RUNNING")
    assert status_of_flow(store) == "RUNNING", "this process is alive"
    host = claims.this_process().partition(":")[0]
    store.tag(run_id, "sjko.owner", f"{host}:{os.getpid()}:1.00")
    assert status_of_flow(store) == "INTERRUPTED", "another process had this number"
    assert cli.main(["list"]) == 0
    assert "INTERRUPTED" in capsys.readouterr().out
    store.tag(run_id, "sjko.owner", "elsewhere:1:1.00")
    assert status_of_flow(store) == "RUNNING", "its last heartbeat is new"
    store.tag(run_id, "sjko.heartbeat", "1700000000.0")
    assert status_of_flow(store) == "INTERRUPTED"


def test_of_two_drivers_of_a_flow_the_one_that_lives_is_seen(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claims, "SECONDS_BETWEEN_BEATS", 0.05)
    run_id = store.create("flow", {"sjko.kind": "flow"}, {})
    with claims.beating(store, [run_id], {"sjko.owner": claims.this_process()}):
        store.tag(run_id, "sjko.owner", f"{claims.this_process().partition(':')[0]}:1:1.00")
        while status_of_flow(store) != "RUNNING":
            pass


def search_with_a_result(store: Store) -> str:
    """The run of a search `s` of one trial that has ended."""
    search = Search("s", Recipe(), (space.axis("h", ["0.1", "10"]),), 1)
    run_id = records.create(store, search, claims.this_process())
    trial_run_id = records.open_trial(store, search, run_id, 1, {"jko.h": 1.0})
    records.log_phase(store, trial_run_id, 0, "f" * 32, {"w2": 0.5, "seconds": 1.0})
    store.set_status(trial_run_id, "FINISHED")
    store.set_status(run_id, "FINISHED")
    return run_id


@pytest.mark.real
def test_a_deleted_search_is_named_with_how_to_restore_it(
    store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_id = search_with_a_result(store)
    store.client.delete_run(run_id)
    for arguments in (["resume", "s"], ["best", "s", "--to", str(tmp_path / "best.yaml")], ["show", "s"]):
        assert tune_cli.main(arguments) == 2
        error = capsys.readouterr().err
        assert error.startswith("error: search s was deleted in MLflow: restore it with: MLFLOW_TRACKING_URI=")
        assert f"--run-id {run_id}" in error
        assert error.count("\n") == 1
    restored_as_told(error)
    assert tune_cli.main(["show", "s"]) == 0
    assert "w2 0.5" in capsys.readouterr().out


def test_a_search_that_found_nothing_is_none_that_one_could_restore(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    records.forget(store, search_with_a_result(store))
    assert tune_cli.main(["show", "s"]) == 2
    assert "there is no search s; there is none yet" in capsys.readouterr().err


def test_the_trash_of_others_is_left_alone(store: Store) -> None:
    client = MlflowClient(store.uri)
    client.delete_experiment(client.create_experiment("of somebody else"))
    assert Store(store.uri).flows() == []
    assert len(client.search_experiments(ViewType.DELETED_ONLY)) == 1
