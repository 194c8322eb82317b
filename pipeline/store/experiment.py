"""The MLflow experiment of flows and phases: the connection to it, and what goes wrong with one.

With `runs` and `mlflow_errors` the only files that import mlflow for tracking.
"""

import logging
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any
from urllib.parse import urlparse
from urllib.request import url2pathname

os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "4")  # MLflow's 7 would wait for four minutes
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")

import requests
from mlflow.entities import LifecycleStage, ViewType
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient
from sqlalchemy.exc import DatabaseError

from pipeline import places
from pipeline.errors import StoreNotFound, StoreUnavailable, Unusable
from pipeline.files import lock_at
from pipeline.provenance import redacted
from pipeline.store import mlflow_errors

logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)  # it prints tracebacks of what `answering` tells in a line
EXPERIMENT = "s-jko"


def local_path(uri: str) -> Path:
    """Give the path of a file: URI, with links followed."""
    return Path(url2pathname(str(urlparse(uri).path))).resolve()


class Experiment:
    """The MLflow experiment that holds the runs of a store, over one connection.

    Args:
        uri: tracking URI, absolute; a sqlite database is made on first use, with its artifacts beside it.
        create: make the database and the experiment where there are none; who only reads does not.

    Raises:
        StoreNotFound: there is no database, and none is to be made.
        Unusable: the folder of a database cannot be written to.
        StoreUnavailable: from every method, when MLflow does not answer or refuses.
    """

    def __init__(self, uri: str, *, create: bool = True) -> None:
        self.uri = uri
        self._artifact_uris: dict[str, str] = {}
        with self.answering():
            self._experiment_id = self._open(create)

    def _open(self, create: bool) -> str:
        database = places.sqlite_file(self.uri)
        if database is None:
            self.client = MlflowClient(self.uri)
            return self._experiment(None, create)
        making = Path(f"{database}.making")
        if not create and (making.exists() or not database.exists()):
            raise StoreNotFound(f"there is no store at {self.uri}: nothing has been trained there yet")
        with self._alone(database, create):
            if making.exists():  # a kill or a full disk has cut it off, and MLflow cannot go on with half of its tables
                for file in (database, Path(f"{database}-journal")):
                    file.unlink(missing_ok=True)
            if not database.exists():
                making.touch()
            mlflow_errors.check_database(database)
            self.client = MlflowClient(self.uri)
            experiment_id = self._experiment((database.parent / "artifacts").as_uri(), create)
            making.unlink(missing_ok=True)
            return experiment_id

    @contextmanager
    def _alone(self, database: Path, create: bool) -> Iterator[None]:
        """Open a database while no other process does: those that open a fresh sqlite at once break each other's migration."""
        try:
            lock: AbstractContextManager[Any] = lock_at(f"{database}.lock")
        except Unusable:
            if create or not os.access(database, os.R_OK):
                raise
            lock = nullcontext()  # a folder that can be read alone has a database that is whole
        with lock:
            yield

    def _experiment(self, artifact_location: str | None, create: bool) -> str:
        experiment = self.client.get_experiment_by_name(EXPERIMENT)
        if experiment is None:
            self._require_no_other_name()
            if not create:
                return ""
            try:
                return self.client.create_experiment(EXPERIMENT, artifact_location)
            except MlflowException:  # another process was faster
                experiment = self.client.get_experiment_by_name(EXPERIMENT)
        assert experiment is not None
        if experiment.lifecycle_stage == LifecycleStage.DELETED:
            raise mlflow_errors.deleted_experiment(self.uri, EXPERIMENT, experiment.experiment_id)
        if artifact_location and local_path(artifact_location) != local_path(experiment.artifact_location):
            raise StoreUnavailable(
                f"the store at {self.uri} keeps its artifacts in {experiment.artifact_location}: move its folder back there, or "
                "choose another $SJKO_HOME"
            )
        return str(experiment.experiment_id)

    def _require_no_other_name(self) -> None:
        """Refuse a store whose experiment was renamed: all of it would be trained again.

        Raises:
            StoreUnavailable: says how to rename it back.
        """
        names = {each.experiment_id: each.name for each in self.client.search_experiments(ViewType.ALL)}
        for run in self.client.search_runs(list(names), "tags.`sjko.kind` = 'flow'", ViewType.ALL, max_results=1):
            renamed = run.info.experiment_id
            rename = ("experiments", "rename", "--experiment-id", renamed)
            raise StoreUnavailable(
                f"the experiment {EXPERIMENT} of MLflow at {redacted(self.uri)} was renamed, it is {names[renamed]} now: rename "
                f"it back with: {mlflow_errors.command(self.uri, *rename, '--new-name', EXPERIMENT)}"
            )

    @contextmanager
    def answering(self) -> Iterator[None]:
        """Turn an error of MLflow's within this context into one sentence with the store's address."""
        try:
            yield
        except (MlflowException, requests.RequestException, DatabaseError) as error:
            raise mlflow_errors.told(error, self.uri, self.is_there) from error

    def is_there(self) -> bool:
        """Say whether MLflow's server answers, asked once and briefly; a database without a server does."""
        if not self.uri.startswith("http"):
            return True
        try:
            return requests.get(f"{self.uri}/health", timeout=5).ok
        except requests.RequestException:
            return False
