"""Versions of a generator in MLflow's model registry, and the aliases that say which one is in use.

Versions are written once and never changed; an alias is one row of a database, so moving it is the promotion. What a version's
folder holds is written by `deploy.versions.folder`; how versions are found and loaded is in `deploy.versions.registered`.
"""

import logging
import math
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from mlflow.exceptions import MlflowException

from deploy.versions import bundle, catalogue, code, moves
from deploy.versions.bundle import Lineage
from deploy.versions.catalogue import FLOW, METRIC, NUM_PHASES, K
from deploy.versions.folder import write_folder
from deploy.versions.model_card import card
from deploy.versions.registered import CODE, RegisteredVersions, Version, version_of
from pipeline.errors import Corrupt, ForeignVersion, StoreUnavailable, VersionNotFound
from pipeline.evaluation.size import FULL, EvaluationSize
from pipeline.generator import load_generator
from pipeline.provenance import commit, user
from pipeline.store.maps import FINGERPRINT, MapRef
from pipeline.store.runs import PARENT

logger = logging.getLogger(__name__)
CANDIDATE, CHAMPION = "candidate", "champion"


class Registry(RegisteredVersions):
    """The registered generators of one store, in MLflow's model registry.

    Example:
        >>> from pipeline.cluster import Cluster, tracking_uri
        >>> from pipeline.store.phases import Store
        >>> registry = Registry(Store(tracking_uri(Cluster())))
        >>> registry.find("two_circles", "champion") is None
        True

    Args:
        data_uri: folder or URL of prepared image sets, as `pipeline.data.endpoints.load_endpoints` takes it.
        allow_code: versions may run the code of own parts that they carry or name.
    """

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
                        # The code of own parts is that of the map, which ran here.
                        bundle.read(folder, str(version), data_uri=self._data_uri, allow_code=True)
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
        return [version_of(entity) for entity in catalogue.versions_of(self._store, name)]

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
        description = card(name, generator, metrics, lineage)
        with tempfile.TemporaryDirectory(prefix="sjko-") as temporary, self._store.answering():
            folder = Path(temporary) / path
            write_folder(folder, description, generator, metrics, lineage)
            self._client.log_artifacts(ref.run_id, str(folder), path)
            self._create_model(name)
            tags = {FINGERPRINT: ref.fingerprint, FLOW: flow, K: str(ref.k)}
            tags |= {} if lineage.flow_num_phases is None else {NUM_PHASES: str(lineage.flow_num_phases)}
            tags |= {CODE: " ".join(code.needed(generator.phase).values()), moves.REGISTERED_BY: user()}
            tags |= {f"{METRIC}{key}": f"{value:.6g}" for key, value in metrics.items()}
            uri = f"{run.info.artifact_uri}/{path}"
            version = version_of(self._client.create_model_version(name, uri, ref.run_id, tags=tags, description=description))
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
        """Point an alias at a version, after tags say where it has been, and who moves it when and why.

        A stop in between loses nothing.

        Args:
            note: more tags of the version, such as what was measured.
            because: which rule was kept, with its numbers.
        """
        previous = self.find(version.name, alias)
        with self._store.answering():
            for key, value in {**note, **moves.tags(moves.PROMOTED, alias, because)}.items():
                self._client.set_model_version_tag(version.name, str(version.number), key, value[:4000])
            been = self._written_been(version.name, alias) or [] if previous is None else self._been(previous, alias)
            if been[-1:] != [version.number]:
                self._write_been([*been, version.number], version.name, alias)
            self._client.set_registered_model_alias(version.name, alias, str(version.number))

    def log(self, version: Version, metrics: Mapping[str, float]) -> None:
        """Log figures of a version to the run of its map."""
        if finite := {name: value for name, value in metrics.items() if math.isfinite(value)}:
            with self._store.answering():
                run_id = str(self._client.get_model_version(version.name, str(version.number)).run_id)
            self._store.log_metrics(run_id, {0: finite})

    def restore(self, version: Version, alias: str, instead_of: Version) -> None:
        """Point an alias back at a version where it has been; what came after is forgotten: the next goes further back."""
        been = self._been(instead_of, alias)[:-1]
        with self._store.answering():
            self._write_been(moves.up_to(been, version.number), version.name, alias)
            key = f"sjko.rolled_back.{alias}"
            note = {key: f"to version {version.number}", **moves.tags(moves.ROLLED_BACK, alias, f"to version {version.number}")}
            for name, value in note.items():
                self._client.set_model_version_tag(instead_of.name, str(instead_of.number), name, value)
            self._client.set_registered_model_alias(version.name, alias, str(version.number))

    def before(self, version: Version, alias: str) -> Version:
        """Look up the version that an alias pointed at before a version; those that were unregistered since are passed over.

        Raises:
            VersionNotFound: the version was the first under that alias.
        """
        for number in reversed(self._been(version, alias)[:-1]):
            if number != version.number and (earlier := self.find(version.name, str(number))) is not None:
                return earlier
        raise VersionNotFound(f"{version} is the first @{alias} of {version.name}: there is none to go back to")

    def _been(self, version: Version, alias: str) -> list[int]:
        """List the versions that an alias has pointed at, the last being the one that it points at now."""
        if (written := self._written_been(version.name, alias)) is not None:
            return moves.up_to(written, version.number)
        before, been = version.tags.get(f"sjko.before.{alias}"), [version.number]  # as earlier releases have written it
        while before is not None and int(before) not in been:
            been.insert(0, int(before))
            earlier = self.find(version.name, before)
            before = None if earlier is None else earlier.tags.get(f"sjko.before.{alias}")
        return been

    def _written_been(self, name: str, alias: str) -> list[int] | None:
        """Read the versions that an alias has pointed at, also where it points at none now; None where nobody wrote them."""
        with self._store.answering():
            written = self._client.get_registered_model(name).tags.get(f"{moves.BEEN}{alias}")
        return None if written is None else [int(number) for number in written.split()]

    def _write_been(self, been: list[int], name: str, alias: str) -> None:
        written = " ".join(map(str, been[-moves.MOST_BEEN :]))
        self._client.set_registered_model_tag(name, f"{moves.BEEN}{alias}", written)
