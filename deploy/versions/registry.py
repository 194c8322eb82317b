"""Versions of a generator in MLflow's model registry, and the aliases that say which one is in use.

Versions are written once and never changed; an alias is one row of a database, so moving it is the promotion. What a version's
folder holds is written by `deploy.versions.folder`.
"""

import logging
import math
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import mlflow.artifacts
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException

from deploy.versions import bundle, catalogue, code, moves
from deploy.versions.bundle import Lineage
from deploy.versions.catalogue import FLOW, METRIC, NUM_PHASES, K
from deploy.versions.folder import write_folder
from pipeline.errors import Corrupt, ForeignVersion, StoreUnavailable, VersionNotFound
from pipeline.evaluation.size import FULL, EvaluationSize
from pipeline.generator import Generator, load_generator
from pipeline.provenance import commit, redacted, user
from pipeline.store.phases import FINGERPRINT, MapRef, Store
from pipeline.store.runs import PARENT

logger = logging.getLogger(__name__)
MOST_VERSION = 2**31 - 1
CANDIDATE, CHAMPION = "candidate", "champion"
CODE = "sjko.code"
"""Tag of a version: own parts that run where it draws samples."""


@dataclass(frozen=True)
class Version:
    """One version of a registered generator: its name, number and tags.

    >>> str(Version("two_circles", 3, {}))
    'two_circles version 3'
    """

    name: str
    number: int
    tags: Mapping[str, str]

    def __str__(self) -> str:
        return f"{self.name} version {self.number}"


class Registry:
    """The registered generators of one store, in MLflow's model registry.

    Example:
        >>> from pipeline.cluster import Cluster, tracking_uri
        >>> registry = Registry(Store(tracking_uri(Cluster())))
        >>> registry.find("two_circles", "champion") is None
        True

    Args:
        data_uri: folder or URL of prepared image sets, as `pipeline.data.endpoints.load_endpoints` takes it.
        allow_code: versions may run the code of own parts that they carry or name.
    """

    def __init__(self, store: Store, data_uri: str | None = None, *, allow_code: bool = False) -> None:
        self._store, self._client, self._data_uri, self._allow_code = store, store.client, data_uri, allow_code

    # -- reading ------------------------------------------------------------------------------------------------------------

    def find(self, name: str, which: str) -> Version | None:
        """Look a version up by number or alias; None where there is none."""
        with self._store.answering():
            try:
                if which.isdigit():
                    if int(which) > MOST_VERSION:  # of a database's integers
                        return None
                    return _version(self._client.get_model_version(name, which))
                return _version(self._client.get_model_version_by_alias(name, which))
            except MlflowException as error:
                if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
                    return None
                raise

    def require(self, name: str, which: str) -> Version:
        """Look a version up by number or alias, which must exist.

        Raises:
            VersionNotFound: there is none; the error says what there is.
        """
        version = self.find(name, which)
        if version is None:
            raise VersionNotFound(
                f"{name}@{which} is not in the registry at {redacted(self._store.uri)}, which has {self._known(name)}"
            )
        return version

    def _known(self, name: str) -> str:
        with self._store.answering():
            models = {str(model.name): model for model in self._client.search_registered_models()}
        if name not in models:
            return (
                f"the models {', '.join(sorted(models))}"
                if models
                else "no models yet: python -m deploy register REF --name NAME"
            )
        aliases = [f"@{alias} = {number}" for alias, number in sorted(models[name].aliases.items())]
        return f"of {name} the aliases {', '.join(aliases)}" if aliases else f"no alias of {name}"

    def aliases(self, name: str) -> Mapping[str, int]:
        """Map each alias of a model to the number of the version that it points at."""
        with self._store.answering():
            aliases = self._client.get_registered_model(name).aliases
        return {alias: int(number) for alias, number in sorted(aliases.items())}

    @contextmanager
    def folder(self, version: Version) -> Iterator[Path]:
        """Download all files of a version into a folder that lasts as long as the context.

        Raises:
            StoreUnavailable: the files cannot be read.
            ForeignVersion: another program made the version.
        """
        with tempfile.TemporaryDirectory(prefix="sjko-") as temporary:
            try:
                folder = Path(mlflow.artifacts.download_artifacts(**self._source(version), dst_path=temporary))
            except (MlflowException, OSError) as error:
                reason = str(error).strip().splitlines()[-1]
                raise StoreUnavailable(
                    f"the files of {version} cannot be read: {reason}. Where they are gone, register its flow again."
                ) from error
            if not (folder / bundle.FOLDER).is_dir():
                raise ForeignVersion(f"{version} is another program's: it was not made by python -m deploy register")
            yield folder

    def _source(self, version: Version) -> dict[str, str]:
        with self._store.answering():
            uri = self._client.get_model_version_download_uri(version.name, str(version.number))
        return {"artifact_uri": uri, "tracking_uri": self._store.uri}

    def load(self, version: Version, *, with_data: bool = False) -> Generator:
        """Load the generator of a version, every file of our own part verified; with its data set where it is to be measured.

        Raises:
            Corrupt: a file does not match its manifest, which the error names, or the map gives numbers that are not finite.
            CodeRefused: the version has own parts, and it was not allowed that their code runs.
        """
        with self.folder(version) as folder:
            return self.read(folder, version, with_data=with_data)

    def read(self, folder: Path, version: Version, *, with_data: bool = False) -> Generator:
        """Read the generator of a version from its folder on this machine, as `load` does."""
        return bundle.read(folder, str(version), with_data=with_data, data_uri=self._data_uri, allow_code=self._allow_code)

    def require_allowed(self, version: Version) -> None:
        """Refuse a version with own parts at once, by what its tag says of them; who reads it looks into its files.

        Raises:
            CodeRefused: it was not allowed that their code runs.
        """
        if parts := version.tags.get(CODE):
            code.require_allowed({"own parts": parts}, str(version), allow_code=self._allow_code)

    def lineage(self, version: Version) -> Lineage:
        """Read where a version comes from: its flow's run, its phases' runs and the commit."""
        with self.folder(version) as folder:
            return bundle.read_lineage(folder)

    # -- writing ------------------------------------------------------------------------------------------------------------

    def holding(self, ref: MapRef, name: str) -> Version | None:
        """Find the version of a name that already holds a map, whole; None where there is none.

        Raises:
            ForeignVersion: versions of that name are another program's.
        """
        versions = self._versions(name)
        for version in versions:
            if FINGERPRINT not in version.tags:
                raise ForeignVersion(f"{version} in this registry is another program's: choose another --name than {name}")
        for version in versions:
            if version.tags[FINGERPRINT] == ref.fingerprint:
                try:
                    with self.folder(version) as folder:
                        bundle.require_phase(folder, ref.fingerprint)
                        bundle.read(
                            folder, str(version), data_uri=self._data_uri, allow_code=True
                        )  # that of the map, which ran here
                except (Corrupt, StoreUnavailable) as error:
                    logger.warning("%s holds this map already, but not whole, and a new version is made: %s", version, error)
                else:
                    return version
        return None

    def of_same_flow(self, version: Version) -> list[Version]:
        """List the other versions of a model that are of the same flow, of other phases or of the same one."""
        others = [each for each in self._versions(version.name) if each.number != version.number]
        return [each for each in others if K in each.tags and each.tags.get(FLOW) == version.tags.get(FLOW)]

    def _versions(self, name: str) -> list[Version]:
        return [_version(entity) for entity in catalogue.versions_of(self._store, name)]

    def register(self, ref: MapRef, name: str, flow_run_id: str | None = None, size: EvaluationSize = FULL) -> Version:
        """Make a version from a published map, under the alias @candidate; it appears when all its files are there.

        Args:
            flow_run_id: the flow that it is registered as; None: the one that trained the map's phase.
            size: on how many samples it is measured, unless its flow has been already.
        """
        from pipeline.evaluation import judging, measure  # what a replica, which loads versions, need not import

        generator, run = load_generator(self._store, ref, data_uri=self._data_uri), self._store.run(ref.run_id)
        metrics = judging.kept(run, generator.phase.data, size) or measure.evaluate(generator, size)
        phases = [link.run_id for link in self._store.ancestors(ref)]
        flow = flow_run_id or run.data.tags.get(PARENT, ref.run_id)
        params = [run.data.params for run in self._store.select(f"attributes.run_id = '{flow}'")]  # none: deleted for good
        lineage = Lineage(flow, phases, commit(), *(int(each["jko.num_phases"]) for each in params if "jko.num_phases" in each))
        path = f"generator-{ref.fingerprint}-{time.time_ns()}"
        card = bundle.card(name, generator, metrics, lineage)
        with tempfile.TemporaryDirectory(prefix="sjko-") as temporary, self._store.answering():
            folder = Path(temporary) / path
            write_folder(folder, card, generator, metrics, lineage)
            self._client.log_artifacts(ref.run_id, str(folder), path)
            self._create_model(name)
            tags = {FINGERPRINT: ref.fingerprint, FLOW: flow, K: str(ref.k)}
            tags |= {} if lineage.flow_num_phases is None else {NUM_PHASES: str(lineage.flow_num_phases)}
            tags |= {CODE: " ".join(code.needed(generator.phase).values()), moves.REGISTERED_BY: user()}
            tags |= {f"{METRIC}{key}": f"{value:.6g}" for key, value in metrics.items()}
            uri = f"{run.info.artifact_uri}/{path}"
            version = _version(self._client.create_model_version(name, uri, ref.run_id, tags=tags, description=card))
            self.make_candidate(version)
        return version

    def make_candidate(self, version: Version) -> None:
        """Point the alias @candidate at a version."""
        with self._store.answering():
            self._client.set_registered_model_alias(version.name, CANDIDATE, str(version.number))

    def _create_model(self, name: str) -> None:
        try:
            self._client.create_registered_model(name, {"sjko": "generator"})
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise

    def move(self, version: Version, alias: str, note: Mapping[str, str], because: str) -> None:
        """Point an alias at a version, after tags say what it pointed at before, and who moves it when and why.

        A stop in between loses nothing.

        Args:
            note: more tags of the version, such as what was measured.
            because: which rule was kept, with its numbers.
        """
        previous = self.find(version.name, alias)
        with self._store.answering():
            for key, value in {**note, **moves.tags(moves.PROMOTED, alias, because)}.items():
                self._client.set_model_version_tag(version.name, str(version.number), key, value[:4000])
            if previous is not None and previous.number != version.number:
                self._client.set_model_version_tag(
                    version.name, str(version.number), f"sjko.before.{alias}", str(previous.number)
                )
            self._client.set_registered_model_alias(version.name, alias, str(version.number))

    def log(self, version: Version, metrics: Mapping[str, float]) -> None:
        """Log figures of a version to the run of its map."""
        if finite := {name: value for name, value in metrics.items() if math.isfinite(value)}:
            with self._store.answering():
                run_id = str(self._client.get_model_version(version.name, str(version.number)).run_id)
            self._store.log_metrics(run_id, {0: finite})

    def restore(self, version: Version, alias: str, instead_of: Version) -> None:
        """Point an alias back at a version; which one that version came after stays written down as it was."""
        with self._store.answering():
            key = f"sjko.rolled_back.{alias}"
            note = {key: f"to version {version.number}", **moves.tags(moves.ROLLED_BACK, alias, f"to version {version.number}")}
            for name, value in note.items():
                self._client.set_model_version_tag(instead_of.name, str(instead_of.number), name, value)
            self._client.set_registered_model_alias(version.name, alias, str(version.number))

    def before(self, version: Version, alias: str) -> Version:
        """Look up the version that an alias pointed at before a version.

        Raises:
            VersionNotFound: the version was the first under that alias.
        """
        number = version.tags.get(f"sjko.before.{alias}")
        if number is None:
            raise VersionNotFound(f"{version} is the first @{alias} of {version.name}: there is none to go back to")
        return self.require(version.name, number)


def _version(entity: ModelVersion) -> Version:
    return Version(str(entity.name), int(entity.version), dict(entity.tags))
