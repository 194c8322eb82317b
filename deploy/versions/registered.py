"""The versions of MLflow's model registry, as they are found, fetched and loaded; `deploy.versions.registry` makes them."""

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import mlflow.artifacts
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException

from deploy.versions import bundle, code
from deploy.versions.bundle import Lineage
from pipeline.errors import ForeignVersion, StoreUnavailable, VersionNotFound
from pipeline.generator import Generator
from pipeline.provenance import redacted
from pipeline.store.phases import Store

MOST_VERSION = 2**31 - 1
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


class RegisteredVersions:
    """The versions in the model registry of one store: found by number or alias, fetched, loaded.

    Args:
        data_uri: folder or URL of prepared image sets, as `pipeline.data.endpoints.load_endpoints` takes it.
        allow_code: versions may run the code of own parts that they carry or name.
    """

    def __init__(self, store: Store, data_uri: str | None = None, *, allow_code: bool = False) -> None:
        self._store, self._client, self._data_uri, self._allow_code = store, store.client, data_uri, allow_code

    def find(self, name: str, which: str) -> Version | None:
        """Look a version up by number or alias; None where there is none."""
        with self._store.answering():
            try:
                if which.isdigit():
                    if int(which) > MOST_VERSION:  # of a database's integers
                        return None
                    return version_of(self._client.get_model_version(name, which))
                return version_of(self._client.get_model_version_by_alias(name, which))
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


def version_of(entity: ModelVersion) -> Version:
    """Make a version of MLflow's own entity."""
    return Version(str(entity.name), int(entity.version), dict(entity.tags))
