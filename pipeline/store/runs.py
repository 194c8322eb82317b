"""The runs of one MLflow experiment, with their parameters, tags, metrics and files.

Everything goes through explicit run ids: there is no active run.
"""

import re
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from mlflow.entities import Metric, Param, RunStatus, RunTag, ViewType
from mlflow.entities import Run as Run  # noqa: PLC0414  # for who asks this module for runs
from mlflow.exceptions import MlflowException
from mlflow.utils.mlflow_tags import MLFLOW_GIT_COMMIT, MLFLOW_PARENT_RUN_ID, MLFLOW_RUN_NAME, MLFLOW_SOURCE_NAME

from pipeline.provenance import commit, flatten, versions
from pipeline.store import mlflow_errors
from pipeline.store.experiment import Experiment

ATTEMPTS = 5
"""To write what others write too."""
MOST_METRICS = 1000
"""MLflow's limit for one request."""
PARENT = MLFLOW_PARENT_RUN_ID
VERSION = re.compile(r"(?:models:/)?([^@/:]+)[@/]([^@/:]+)")
"""The version of a registered model, by its alias or number, as a person or MLflow writes it."""


class Runs(Experiment):
    """The runs of one MLflow experiment, with their parameters, tags, metrics and files.

    Raises:
        StoreUnavailable: from every method, when MLflow does not answer or refuses.
    """

    def version_tags(self, name: str, which: str) -> dict[str, str] | None:
        """Read the tags of a registered model's version, by its number or alias; None where there is none."""
        with self.answering():
            try:
                is_number, client = which.isdigit(), self.client
                version = client.get_model_version(name, which) if is_number else client.get_model_version_by_alias(name, which)
            except MlflowException as error:
                if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
                    return None
                raise
        return dict(version.tags)

    def select(self, condition: str, view: int = ViewType.ACTIVE_ONLY) -> list[Run]:
        """List all runs that fulfil a condition of MLflow's search, newest first; those that were deleted if `view` says so."""
        with self.answering():
            runs: list[Run] = []
            if not self._experiment_id:  # opened to look only, and nothing was ever trained
                return runs
            token: str | None = None
            while True:
                page = self.client.search_runs(
                    [self._experiment_id], condition, view, order_by=["start_time DESC"], page_token=token
                )
                runs.extend(page)
                token = page.token
                if not token:
                    return runs

    def create(self, name: str, tags: Mapping[str, str], params: Mapping[str, Any], *, parent: str | None = None) -> str:
        """Create a run, below another one where `parent` is given, and give its id."""
        if parent is not None:
            tags = {**tags, PARENT: parent}
        common = {MLFLOW_RUN_NAME: name, MLFLOW_SOURCE_NAME: "python -m pipeline", MLFLOW_GIT_COMMIT: commit()}
        with self.answering():
            run_id = str(self.client.create_run(self._experiment_id, tags={**common, **tags}).info.run_id)
            parameters = [Param(key, value) for key, value in flatten(params).items()]
            self.client.log_batch(run_id, params=parameters, tags=[RunTag(f"version.{k}", v) for k, v in versions().items()])
        return run_id

    def set_status(self, run_id: str, status: str) -> None:
        """Set the status of a run: RUNNING, FINISHED, FAILED or KILLED."""
        with self.answering():
            if status == "RUNNING":
                self.client.update_run(run_id, status)
            else:
                self.client.set_terminated(run_id, RunStatus.to_string(RunStatus.from_string(status)))

    def deleted(self, condition: str) -> list[Run]:
        """List the runs that fulfil a condition and are in MLflow's trash, newest first."""
        return self.select(condition, ViewType.DELETED_ONLY)

    def restoring(self, run: Run) -> str:
        """Say what a person can do about a deleted run, as the end of a sentence."""
        return f"was deleted in MLflow: {mlflow_errors.restoring_run(self.uri, run.info.run_id)}"

    def delete_run(self, run_id: str) -> None:
        """Take back a run that was created for nothing; MLflow keeps it in its trash."""
        with self.answering():
            self.client.delete_run(run_id)

    def tag(self, run_id: str, key: str, value: str) -> None:
        """Set a tag of a run, cut to the length that every MLflow back end takes."""
        self._write(partial(self.client.set_tag, run_id, key, value[:4000]))

    def _write(self, write: Callable[[], object]) -> None:
        """Write, and again where another driver has written the same at the same moment.

        MLflow looks whether a row is there and then adds it; of two that do so at once the second is refused by the database.
        """
        with self.answering():
            for attempt in range(ATTEMPTS):
                try:
                    write()
                except MlflowException as error:
                    if attempt == ATTEMPTS - 1 or not re.search("unique constraint", str(error), re.IGNORECASE):
                        raise
                else:
                    return

    def run(self, run_id: str) -> Run:
        """Read a run with its parameters, tags and latest metrics."""
        with self.answering():
            return self.client.get_run(run_id)

    def artifact_uri(self, run_id: str) -> str:
        """Look up where a run's files are; that never changes."""
        if run_id not in self._artifact_uris:
            self._artifact_uris[run_id] = str(self.run(run_id).info.artifact_uri)
        return self._artifact_uris[run_id]

    def log_metrics(self, run_id: str, points: Mapping[int, Mapping[str, float]]) -> None:
        """Log metrics of a run by step, a thousand per request."""
        now = int(time.time() * 1000)
        metrics = [Metric(name, value, now, step) for step, row in points.items() for name, value in row.items()]
        for start in range(0, len(metrics), MOST_METRICS):
            self._write(partial(self.client.log_batch, run_id, metrics=metrics[start : start + MOST_METRICS]))

    def metric_history(self, run_id: str, name: str) -> list[tuple[int, float]]:
        """Read all values of a run's metric, as (step, value)."""
        with self.answering():
            return [(point.step, point.value) for point in self.client.get_metric_history(run_id, name)]

    def log_file(self, run_id: str, path: Path, folder: str | None = None) -> None:
        """Add a file to a run's artifacts."""
        with self.answering():
            self.client.log_artifact(run_id, str(path), folder)

    def log_folder(self, run_id: str, path: Path, folder: str) -> None:
        """Add the files of a folder of this machine to a run's artifacts."""
        with self.answering():
            self.client.log_artifacts(run_id, str(path), folder)

    @contextmanager
    def artifact_file(self, run_id: str, name: str, folder: str) -> Iterator[Path]:
        """Give a path to write a file to; it becomes an artifact of the run when the context ends well."""
        with tempfile.TemporaryDirectory(prefix="sjko-") as temporary:
            path = Path(temporary) / name
            yield path
            self.log_file(run_id, path, folder)
