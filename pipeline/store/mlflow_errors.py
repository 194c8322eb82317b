"""What MLflow and its database say when something is wrong, as one sentence that says what to do."""

import re
import shlex
import sqlite3
from collections.abc import Callable
from contextlib import closing
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import requests
from mlflow.exceptions import MlflowException
from sqlalchemy.exc import DatabaseError

from pipeline.errors import StoreUnavailable
from pipeline.provenance import redacted

GOES_ON = "Finished phases are kept, and the same command goes on"


def command(uri: str, *words: str) -> str:
    """Write a command of MLflow's own for a person to type, on the store at `uri`."""
    return f"MLFLOW_TRACKING_URI={shlex.quote(redacted(uri))} {shlex.join(['python', '-m', 'mlflow', *words])}"


def restoring_run(uri: str, run_id: str) -> str:
    """Say how to restore a run that was deleted in MLflow, as the end of a sentence."""
    return f"restore it with: {command(uri, 'runs', 'restore', '--run-id', run_id)}"


def deleted_experiment(uri: str, name: str, experiment_id: str) -> StoreUnavailable:
    """Make the error of an experiment that is in MLflow's trash, with all that is in it."""
    how = command(uri, "experiments", "restore", "--experiment-id", experiment_id)
    return StoreUnavailable(
        f"the experiment {name} of MLflow at {redacted(uri)} was deleted, and with it every flow: restore it with: {how}"
    )


def check_database(file: Path) -> None:
    """Refuse a file that MLflow could not use, at once: it would try for minutes, or add its tables to another program's.

    Raises:
        StoreUnavailable: the file is no database, or that of another program.
    """
    if not file.exists():
        return
    try:
        # Not `ro`: what a kill has left in the middle of is taken back by who may write. A file that can only be read is read.
        with closing(sqlite3.connect(f"{file.as_uri()}?mode=rw", uri=True)) as connection:
            tables = {name for (name,) in connection.execute("select name from sqlite_master where type = 'table'")}
    except sqlite3.Error as error:
        if "locked" in str(error):
            raise StoreUnavailable(f"{file} is locked by another program: try again when it has let go") from error
        raise StoreUnavailable(f"{file} cannot be read as MLflow's database: {error}") from error
    if tables and "experiments" not in tables:
        some = ", ".join(sorted(tables)[:3])
        raise StoreUnavailable(f"{file} cannot be read as MLflow's database: it is another program's, with the tables {some}")


def told(error: Exception, uri: str, is_there: Callable[[], bool]) -> StoreUnavailable:
    """Put an exception of MLflow's client into one sentence that says what to do.

    Args:
        is_there: whether the server answers at all.
    """
    text, at = str(error), redacted(uri)
    for pattern, sentence in KNOWN.items():
        if match := re.search(pattern, text):
            return sentence(uri, match[1])
    if isinstance(error, DatabaseError):
        return StoreUnavailable(f"{at} cannot be read as MLflow's database: {error.orig}")
    if isinstance(error, requests.RequestException) or "API request to" in text:
        inside = "fails inside: its log says why, often its database or artifact store"
        return StoreUnavailable(f"MLflow at {at} {inside if is_there() else 'does not answer'}. {GOES_ON} when it is back.")
    first_line = text.partition("\n")[0].rstrip(".")
    if isinstance(error, MlflowException) and error.error_code == "RESOURCE_DOES_NOT_EXIST":
        return StoreUnavailable(f"MLflow at {at} has it no more: {first_line}. What is missing can be trained again.")
    return StoreUnavailable(f"MLflow at {at} refuses: {first_line}")


def _failing(uri: str, reason: str) -> StoreUnavailable:
    """Make the error of a database that fails: a full disk, a lock that is held too long."""
    return StoreUnavailable(f"the database at {redacted(uri)} fails: {reason.strip()}. {GOES_ON} when that is mended.")


def _schema(uri: str, revision: str) -> StoreUnavailable:
    """Make the error of a database that another version of MLflow has made."""
    spec, at, ours = find_spec("mlflow.store.db_migrations"), redacted(uri), f"MLflow {version('mlflow')}"
    assert spec is not None
    assert spec.origin is not None
    if any((Path(spec.origin).parent / "versions").glob(f"{revision}_*.py")):
        return StoreUnavailable(
            f"the database at {at} was made by an older MLflow than {ours}: make a copy of it, then "
            f"{shlex.join(['python', '-m', 'mlflow', 'db', 'upgrade', at])}"
        )
    return StoreUnavailable(f"the database at {at} was made by a newer MLflow than {ours}: install that one here")


def _deleted_run(uri: str, run_id: str) -> StoreUnavailable:
    return StoreUnavailable(f"the run {run_id} was deleted in MLflow: {restoring_run(uri, run_id)}")


def _deleted_experiment(uri: str, experiment_id: str) -> StoreUnavailable:
    return deleted_experiment(uri, experiment_id, experiment_id)


KNOWN: dict[str, Callable[[str, str], StoreUnavailable]] = {
    r"database schema \(found version (\w+), but expected": _schema,
    r"OperationalError\) ([^\n\[]+)": _failing,
    r"experiment (\S+) must be in the 'active' state": _deleted_experiment,
    r"run (\w+) must be in the 'active' state": _deleted_run,
}
"""What MLflow's messages are known by, with the part of them that matters in the group."""
