"""The MLflow store of flows and phases: the only file that imports mlflow.

A flow is an MLflow run; each phase that it trains is a run below it, with the artifact folder `phase`. Runs are found by the
tag `sjko.fingerprint`, never by name. Everything goes through explicit run ids: there is no active run.
"""

import logging
import os
import re
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlparse
from urllib.request import url2pathname

os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "4")  # MLflow's 7 would wait for four minutes
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")

import requests
from filelock import FileLock
from mlflow.entities import Metric, Param, Run, RunStatus, RunTag
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient
from mlflow.utils.mlflow_tags import MLFLOW_GIT_COMMIT, MLFLOW_PARENT_RUN_ID, MLFLOW_RUN_NAME, MLFLOW_SOURCE_NAME
from sqlalchemy.exc import DatabaseError
from torch import Tensor

from pipeline import manifest
from pipeline.errors import Corrupt, MapNotFound, RecipeMismatch, StoreUnavailable
from pipeline.phase import Phase
from pipeline.provenance import commit, flatten, redacted, versions

logger = logging.getLogger(__name__)
EXPERIMENT = "s-jko"
MOST_METRICS = 1000
"""MLflow's limit for one request."""
FOLDER = "phase"
PARENT = MLFLOW_PARENT_RUN_ID
FINGERPRINT, KIND, OWNER, CORRUPT = "sjko.fingerprint", "sjko.kind", "sjko.owner", "sjko.corrupt"


@dataclass(frozen=True)
class MapRef:
    """A published T_k: the run that holds it and the phase that it solves."""

    run_id: str
    fingerprint: str
    k: int

    def __str__(self) -> str:
        return f"runs:/{self.run_id}/{FOLDER}"


def _local_path(uri: str) -> Path:
    return Path(url2pathname(str(urlparse(uri).path))).resolve()


class Store:
    """Flows and phases in one MLflow experiment.

    Args:
        uri: tracking URI, absolute; a sqlite database is made on first use, with its artifacts beside it.
        create: make the experiment where there is none.

    Raises:
        StoreUnavailable: from every method, when the server does not answer.
    """

    def __init__(self, uri: str, *, create: bool = True) -> None:
        self.uri = uri
        try:
            with self.answering():
                self._experiment_id = self._open(create)
        except DatabaseError as error:
            raise StoreUnavailable(f"{redacted(uri)} cannot be read as MLflow's database: {error.orig}") from error

    def _open(self, create: bool) -> str:
        if not self.uri.startswith("sqlite:///"):
            self.client = MlflowClient(self.uri)
            return self._experiment(None, create)
        database = Path(self.uri.removeprefix("sqlite:///"))
        database.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{database}.lock"):  # processes that open a fresh sqlite at once break each other's migration
            self.client = MlflowClient(self.uri)
            return self._experiment((database.parent / "artifacts").as_uri(), create)

    def _experiment(self, artifact_location: str | None, create: bool) -> str:
        experiment = self.client.get_experiment_by_name(EXPERIMENT)
        if experiment is None:
            if not create:
                return ""
            try:
                return self.client.create_experiment(EXPERIMENT, artifact_location)
            except MlflowException:  # another process was faster
                experiment = self.client.get_experiment_by_name(EXPERIMENT)
        assert experiment is not None
        if artifact_location and _local_path(artifact_location) != _local_path(experiment.artifact_location):
            raise StoreUnavailable(
                f"the store at {self.uri} keeps its artifacts in {experiment.artifact_location}: move its folder back there, or "
                "choose another $SJKO_HOME"
            )
        return str(experiment.experiment_id)

    @contextmanager
    def answering(self) -> Iterator[None]:
        """Turn a lost connection into one sentence with the address."""
        try:
            yield
        except (MlflowException, requests.RequestException) as error:
            if not isinstance(error, requests.RequestException) and "API request to" not in str(error):
                raise
            what = "fails inside: its log says why, often its database or artifact store" if self.is_there() else "does not answer"
            raise StoreUnavailable(
                f"MLflow at {redacted(self.uri)} {what}. Finished phases are kept, and the same command goes on when it is back."
            ) from error

    def is_there(self) -> bool:
        """Whether the server answers, asked once and briefly; a database without a server does."""
        if not self.uri.startswith("http"):
            return True
        try:
            return requests.get(f"{self.uri}/health", timeout=5).ok
        except requests.RequestException:
            return False

    def select(self, condition: str) -> list[Run]:
        """All runs that fulfil a condition of MLflow's search, newest first."""
        with self.answering():
            runs: list[Run] = []
            if not self._experiment_id:  # opened to look only, and nothing was ever trained
                return runs
            token: str | None = None
            while True:
                page = self.client.search_runs([self._experiment_id], condition, order_by=["start_time DESC"], page_token=token)
                runs.extend(page)
                token = page.token
                if not token:
                    return runs

    def runs_of(self, fingerprint: str, kind: str = "phase") -> list[Run]:
        """Every run that carries a fingerprint, newest first, whatever became of it."""
        return self.select(f"tags.`{FINGERPRINT}` = '{fingerprint}' and tags.`{KIND}` = '{kind}'")

    def flows(self) -> list[Run]:
        """All flows, newest first."""
        return self.select(f"tags.`{KIND}` = 'flow'")

    # -- phases -------------------------------------------------------------------------------------------------------------

    def find(self, phase: Phase, *, mark: bool = True) -> MapRef | None:
        """The published T_k of a phase, every file verified; None when it must be trained. Corrupt ones are named and skipped.

        Args:
            mark: tag runs that are found corrupt, and take the tag from those that verify again.
        """
        for run in self.runs_of(phase.fingerprint):
            if not self._may_be_published(run):
                continue
            ref = MapRef(run.info.run_id, phase.fingerprint, phase.k)
            try:
                with self._folder(ref) as folder:
                    manifest.verify(folder)
            except Corrupt as error:
                logger.warning("phase %d is to be trained again: %s", phase.k, error)
                if mark:
                    self.tag(ref.run_id, CORRUPT, str(error))
                continue
            if mark and CORRUPT in run.data.tags:
                with self.answering():
                    self.client.delete_tag(ref.run_id, CORRUPT)
            return ref
        return None

    def _may_be_published(self, run: Run) -> bool:
        """Ended well, or killed between its manifest and its end."""
        if run.info.status == "FINISHED":
            return True
        with self.answering():
            files = self.client.list_artifacts(run.info.run_id, FOLDER)
        return any(Path(file.path).name == manifest.MANIFEST for file in files)

    def require(self, phase: Phase) -> MapRef:
        """The published T_k of a phase.

        Raises:
            MapNotFound: it is not in the store.
        """
        ref = self.find(phase)
        if ref is None:
            raise MapNotFound(f"phase {phase.k} ({phase.fingerprint}) is not in the store at {redacted(self.uri)}")
        return ref

    @contextmanager
    def _folder(self, ref: MapRef, names: Sequence[str] | None = None) -> Iterator[Path]:
        """The artifact folder on this machine, whole or only the named files; a temporary copy unless the store is local."""
        uri = str(self.run(ref.run_id).info.artifact_uri)
        if uri.startswith("file:"):
            yield _local_path(uri) / FOLDER
            return
        with tempfile.TemporaryDirectory(prefix="sjko-") as temporary:
            folder = Path(temporary) / FOLDER
            folder.mkdir()
            with self.answering():
                wanted: Sequence[str | None] = names or [None]
                for name in wanted:
                    self._download(ref, name, folder)
            try:
                yield folder
            except Corrupt as error:
                raise Corrupt(f"{ref}/{Path(error.file).name}", error.reason) from error

    def _download(self, ref: MapRef, name: str | None, folder: Path) -> None:
        """One file into the folder, or all of them: MLflow puts a file into its destination and a folder below it.

        What is not listed is missing, hence corrupt. What is listed and does not arrive is the store's failure, not the file's.
        """
        listed = {Path(file.path).name for file in self.client.list_artifacts(ref.run_id, FOLDER)}
        if (name or manifest.MANIFEST) not in listed:
            raise Corrupt(f"{ref}/{name or manifest.MANIFEST}", "it is missing")
        path, destination = (f"{FOLDER}/{name}", folder) if name else (FOLDER, folder.parent)
        try:
            self.client.download_artifacts(ref.run_id, path, str(destination))
        except Exception as error:  # every object store has its own
            raise StoreUnavailable(f"{ref}/{name or ''} cannot be read now: {error}. Nothing is lost; try again.") from error

    def load(self, ref: MapRef, names: Sequence[str]) -> dict[str, dict[str, Tensor]]:
        """Named groups of tensors of a phase, each verified against the manifest.

        Raises:
            Corrupt: names the file.
        """
        files = [manifest.MANIFEST, *(f"{name}.safetensors" for name in names)]
        with self._folder(ref, files) as folder:
            return {name: manifest.read_tensors(folder, name) for name in names}

    def phase_of(self, ref: MapRef) -> Phase:
        """The phase that a published map solves, from its own record."""
        with self._folder(ref, [manifest.MANIFEST, manifest.PHASE]) as folder:
            return Phase.from_json(str(manifest.read_record(folder)["phase"]))

    def ancestors(self, ref: MapRef) -> list[MapRef]:
        """The published maps of phases 0, ..., k, the last being `ref`."""
        chain = [ref]
        while (parent := self.phase_of(chain[0]).parent) is not None:
            chain.insert(0, self.published(parent))
        return chain

    def published(self, fingerprint: str) -> MapRef:
        """The map published for a fingerprint, not yet verified.

        Raises:
            MapNotFound: there is none.
        """
        for run in self.runs_of(fingerprint):
            if CORRUPT not in run.data.tags and self._may_be_published(run):
                return MapRef(run.info.run_id, fingerprint, int(run.data.tags["sjko.k"]))
        raise MapNotFound(f"{fingerprint} is not in the store at {redacted(self.uri)}")

    def publish(self, run_id: str, phase: Phase, tensors: Mapping[str, Mapping[str, Tensor]]) -> MapRef:
        """Write T_k: every file first, the manifest last. Before the manifest is there, T_k does not exist."""
        record = {"phase": phase.to_json(), "fingerprint": phase.fingerprint, "commit": commit(), "versions": versions()}
        with tempfile.TemporaryDirectory(prefix="sjko-") as temporary, self.answering():
            folder = Path(temporary)
            manifest.write(folder, tensors, record)
            for path in sorted(folder.iterdir(), key=lambda path: path.name == manifest.MANIFEST):
                self.client.log_artifact(run_id, str(path), FOLDER)
        return MapRef(run_id, phase.fingerprint, phase.k)

    # -- runs ---------------------------------------------------------------------------------------------------------------

    def create(self, name: str, tags: Mapping[str, str], params: Mapping[str, Any], *, parent: str | None = None) -> str:
        """A new run, below another one where `parent` is given."""
        if parent is not None:
            tags = {**tags, PARENT: parent}
        common = {MLFLOW_RUN_NAME: name, MLFLOW_SOURCE_NAME: "python -m pipeline", MLFLOW_GIT_COMMIT: commit()}
        with self.answering():
            run_id = str(self.client.create_run(self._experiment_id, tags={**common, **tags}).info.run_id)
            parameters = [Param(key, value) for key, value in flatten(params).items()]
            self.client.log_batch(run_id, params=parameters, tags=[RunTag(f"version.{k}", v) for k, v in versions().items()])
        return run_id

    def open_flow(self, name: str, fingerprint: str, recipe: Mapping[str, Any]) -> str:
        """The run of a flow: the one that exists for this fingerprint, opened again, or a new one."""
        for run in self.runs_of(fingerprint, "flow"):
            self.set_status(run.info.run_id, "RUNNING")
            return str(run.info.run_id)
        return self.create(name, {FINGERPRINT: fingerprint, KIND: "flow", "sjko.recipe": name}, recipe)

    def create_phase_run(self, phase: Phase, flow_run_id: str, owner: str) -> str:
        """A new run for a phase, below its flow."""
        tags = {FINGERPRINT: phase.fingerprint, KIND: "phase", "sjko.k": str(phase.k), OWNER: owner}
        return self.create(f"phase {phase.k}", tags, phase.problem, parent=flow_run_id)

    def set_status(self, run_id: str, status: str) -> None:
        """RUNNING, FINISHED, FAILED or KILLED."""
        with self.answering():
            if status == "RUNNING":
                self.client.update_run(run_id, status)
            else:
                self.client.set_terminated(run_id, RunStatus.to_string(RunStatus.from_string(status)))

    def delete_run(self, run_id: str) -> None:
        """Take a run back."""
        with self.answering():
            self.client.delete_run(run_id)

    def tag(self, run_id: str, key: str, value: str) -> None:
        """Set a tag, cut to the length that every MLflow back end takes."""
        with self.answering():
            self.client.set_tag(run_id, key, value[:4000])

    def run(self, run_id: str) -> Run:
        """A run with its parameters, tags and latest metrics."""
        with self.answering():
            return self.client.get_run(run_id)

    def log_metrics(self, run_id: str, points: Mapping[int, Mapping[str, float]]) -> None:
        """Metrics by step, in one request."""
        now = int(time.time() * 1000)
        metrics = [Metric(name, value, now, step) for step, row in points.items() for name, value in row.items()]
        with self.answering():
            for start in range(0, len(metrics), MOST_METRICS):
                self.client.log_batch(run_id, metrics=metrics[start : start + MOST_METRICS])

    def metric_history(self, run_id: str, name: str) -> list[tuple[int, float]]:
        """(step, value) of a metric."""
        with self.answering():
            return [(point.step, point.value) for point in self.client.get_metric_history(run_id, name)]

    def log_file(self, run_id: str, path: Path, folder: str | None = None) -> None:
        """Add a file to a run's artifacts."""
        with self.answering():
            self.client.log_artifact(run_id, str(path), folder)

    @contextmanager
    def artifact_file(self, run_id: str, name: str, folder: str) -> Iterator[Path]:
        """A path to write a file to; it becomes an artifact when the context ends well."""
        with tempfile.TemporaryDirectory(prefix="sjko-") as temporary:
            path = Path(temporary) / name
            yield path
            self.log_file(run_id, path, folder)

    def flow_run_id(self, fingerprint: str) -> str:
        """The run of the flow that ends with this phase."""
        return str(self.runs_of(fingerprint, "flow")[0].info.run_id)

    def resolve(self, reference: str) -> MapRef:
        """A map from what a person writes: runs:/ID/phase, a run id, or the first eight or more characters of a fingerprint.

        A flow's run stands for its last phase.
        """
        name = reference.removeprefix("runs:/").removesuffix(f"/{FOLDER}")
        if not re.fullmatch(r"[0-9a-f]{8,32}", name):
            raise MapNotFound(
                f"{reference!r} is no reference: write runs:/ID/{FOLDER}, a run id or a fingerprint (eight or more characters)"
            )
        runs = self.select(f"attributes.run_id = '{name}'") or self.select(f"tags.`{FINGERPRINT}` LIKE '{name}%'")
        if not runs:
            raise MapNotFound(f"{reference} is not in the store at {redacted(self.uri)}; see python -m pipeline list")
        if len(distinct := {run.data.tags.get(FINGERPRINT, "") for run in runs}) > 1:
            raise RecipeMismatch(
                f"{reference} fits {len(distinct)} fingerprints: {', '.join(sorted(distinct))}; write more of it"
            )
        return self.published(distinct.pop())
