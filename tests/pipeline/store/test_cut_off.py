"""A database whose making, or last write, was cut off: by a kill, by a full disk."""

import shutil
import sqlite3
from pathlib import Path

import pytest
from sqlalchemy.exc import OperationalError

from pipeline.errors import StoreNotFound, StoreUnavailable
from pipeline.store import experiment
from pipeline.store.phases import Store


def half_made(folder: Path, migrated: Path) -> str:
    """A database some of whose tables are there, as a full disk has left them: MLflow cannot go on with it."""
    shutil.copy(migrated, folder / "mlflow.db")
    with sqlite3.connect(folder / "mlflow.db") as connection:
        connection.execute("delete from alembic_version")
        connection.execute("drop table experiments")
    connection.close()
    (folder / "mlflow.db.making").touch()
    return f"sqlite:///{folder / 'mlflow.db'}"


def test_who_reads_a_database_that_is_half_made_finds_none(tmp_path: Path, migrated: Path) -> None:
    with pytest.raises(StoreNotFound, match="there is no store"):
        Store(half_made(tmp_path, migrated), create=False)


@pytest.mark.slow
def test_a_database_that_is_half_made_is_made_again(tmp_path: Path, migrated: Path) -> None:
    """MLflow said that a table is there already, at each command."""
    store = Store(half_made(tmp_path, migrated))
    assert store.flows() == []
    assert not (tmp_path / "mlflow.db.making").exists()


def test_a_database_is_marked_until_it_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(uri: str) -> None:
        assert (tmp_path / "mlflow.db.making").exists()
        raise OperationalError("", {}, Exception("database or disk is full"))

    monkeypatch.setattr(experiment, "MlflowClient", full)
    with pytest.raises(StoreUnavailable, match="disk is full"):
        Store(f"sqlite:///{tmp_path / 'mlflow.db'}")
    assert (tmp_path / "mlflow.db.making").exists()


def test_a_write_that_a_kill_has_cut_off_is_taken_back(home: Path, store: Store, tmp_path: Path) -> None:
    """Every command said "attempt to write a readonly database" from then on."""
    database, killed = home / "mlflow.db", tmp_path / "killed"
    killed.mkdir()
    with sqlite3.connect(database, isolation_level=None) as connection:
        connection.execute("pragma cache_size = 1")
        connection.execute("begin")
        connection.execute("update experiments set name = name || 'x'")
        connection.execute(
            "create table t as with recursive n(i) as (select 1 union select i + 1 from n limit 9999) select i from n"
        )
        for each in home.glob("mlflow.db*"):  # what a kill leaves at this moment
            shutil.copy(each, killed)
        connection.execute("rollback")
    connection.close()
    (killed / "mlflow.db-journal").rename(home / "mlflow.db-journal")
    (killed / "mlflow.db").rename(database)
    assert (home / "mlflow.db-journal").stat().st_size > 0
    assert Store(store.uri).flows() == []
    assert not (home / "mlflow.db-journal").exists()
