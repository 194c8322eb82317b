"""The published maps of phases: T_k and its record, in the artifact folder `phase` of a run.

Runs are found by the tag `sjko.fingerprint`, never by name.
"""

import logging
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.errors import Corrupt, MapNotFound, StoreUnavailable
from pipeline.phase import Phase
from pipeline.provenance import commit, redacted, versions
from pipeline.store import manifest
from pipeline.store.experiment import local_path
from pipeline.store.runs import Run, Runs

if TYPE_CHECKING:
    from torch import Tensor  # and with it a second, which a list of flows need not wait for

logger = logging.getLogger(__name__)
FOLDER = "phase"
FINGERPRINT, KIND, CORRUPT = "sjko.fingerprint", "sjko.kind", "sjko.corrupt"


@dataclass(frozen=True)
class MapRef:
    """A published T_k: the run that holds it and the phase that it solves.

    Example:
        >>> str(MapRef("5f2c", fingerprint="0b9d", k=3))
        'runs:/5f2c/phase'
    """

    run_id: str
    fingerprint: str
    k: int

    def __str__(self) -> str:
        return f"runs:/{self.run_id}/{FOLDER}"


def carrying(fingerprint: str, kind: str) -> str:
    """Write MLflow's search condition for the runs of one kind with a fingerprint."""
    return f"tags.`{FINGERPRINT}` = '{fingerprint}' and tags.`{KIND}` = '{kind}'"


class Maps(Runs):
    """The maps of phases in a store: found, read, verified and published."""

    def runs_of(self, fingerprint: str, kind: str = "phase") -> list[Run]:
        """List every run that carries a fingerprint, newest first, whatever became of it."""
        return self.select(carrying(fingerprint, kind))

    def find(self, phase: Phase, *, mark: bool = True, runs: Sequence[Run] | None = None) -> MapRef | None:
        """Find the published T_k of a phase, every file verified; None when it must be trained. Corrupt ones are named and
        skipped.

        Args:
            mark: tag runs that are found corrupt, and take the tag from those that verify again.
            runs: where to look; None: in all runs of the phase.
        """
        for run in self.runs_of(phase.fingerprint) if runs is None else runs:
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
        """Say whether a run has ended well, or was killed between its manifest and its end."""
        if run.info.status == "FINISHED":
            return True
        with self.answering():
            files = self.client.list_artifacts(run.info.run_id, FOLDER)
        return any(Path(file.path).name == manifest.MANIFEST for file in files)

    def require(self, phase: Phase) -> MapRef:
        """Find the published T_k of a phase that must be there.

        Raises:
            MapNotFound: it is not in the store.
        """
        ref = self.find(phase)
        if ref is None:
            raise MapNotFound(f"phase {phase.k} ({phase.fingerprint}) is not in the store at {redacted(self.uri)}")
        return ref

    @contextmanager
    def _folder(self, ref: MapRef, names: Sequence[str] | None = None) -> Iterator[Path]:
        """Fetch the artifact folder to this machine, whole or only some files; a temporary copy unless the store is local."""
        uri = self.artifact_uri(ref.run_id)
        if uri.startswith("file:"):
            yield local_path(uri) / FOLDER
            return
        with tempfile.TemporaryDirectory(prefix="sjko-") as temporary:
            folder = Path(temporary) / FOLDER
            folder.mkdir()
            with self.answering():
                self._download(ref, names, folder)
            try:
                yield folder
            except Corrupt as error:
                raise Corrupt(f"{ref}/{Path(error.file).name}", error.reason) from error

    def _download(self, ref: MapRef, names: Sequence[str] | None, folder: Path) -> None:
        """Download the named files into the folder, or all: MLflow puts a file into its destination and a folder below it.

        What is not listed is missing, hence corrupt. What is listed and does not arrive is the store's failure, not the file's.
        """
        listed = {Path(file.path).name for file in self.client.list_artifacts(ref.run_id, FOLDER)}
        for name in names or [manifest.MANIFEST]:
            if name not in listed:
                raise Corrupt(f"{ref}/{name}", "it is missing")
        downloads = [(f"{FOLDER}/{name}", folder) for name in names] if names else [(FOLDER, folder.parent)]
        for path, destination in downloads:
            try:
                self.client.download_artifacts(ref.run_id, path, str(destination))
            except Exception as error:  # every object store has its own
                raise StoreUnavailable(f"{ref}: {path} cannot be read now: {error}. Nothing is lost; try again.") from error

    def load(self, ref: MapRef, names: Sequence[str]) -> dict[str, dict[str, "Tensor"]]:
        """Load named groups of tensors of a phase, each verified against the manifest.

        Raises:
            Corrupt: names the file.
        """
        files = [manifest.MANIFEST, *(f"{name}.safetensors" for name in names)]
        with self._folder(ref, files) as folder:
            return {name: manifest.read_tensors(folder, name) for name in names}

    def phase_of(self, ref: MapRef) -> Phase:
        """Read the phase that a published map solves, from its own record.

        Raises:
            Corrupt: it is the record of another phase, whose parts would be run in place of those that are meant.
        """
        with self._folder(ref, [manifest.MANIFEST, manifest.PHASE]) as folder:
            phase = Phase.from_json(str(manifest.read_record(folder)["phase"]))
            if phase.fingerprint != ref.fingerprint:
                raise Corrupt(str(folder / manifest.PHASE), f"it is not the record of {ref.fingerprint}")
            return phase

    def ancestors(self, ref: MapRef) -> list[MapRef]:
        """List the published maps of phases 0, ..., k, the last being `ref`."""
        chain = [ref]
        while (parent := self.phase_of(chain[0]).parent) is not None:
            chain.insert(0, self.published(parent))
        return chain

    def published(self, fingerprint: str) -> MapRef:
        """Find the map published for a fingerprint, not yet verified.

        Raises:
            MapNotFound: there is none.
        """
        for run in self.runs_of(fingerprint):
            if CORRUPT not in run.data.tags and "sjko.k" in run.data.tags and self._may_be_published(run):
                return MapRef(run.info.run_id, fingerprint, int(run.data.tags["sjko.k"]))
        for run in self.once_published(fingerprint):
            raise MapNotFound(f"{fingerprint} {self.restoring(run)}. The flow's own command trains it again as well.")
        raise MapNotFound(f"{fingerprint} is not in the store at {redacted(self.uri)}: its flow's own command trains it again")

    def once_published(self, fingerprint: str) -> list[Run]:
        """List the runs that hold the map of a fingerprint and are in MLflow's trash."""
        return self.deleted(f"{carrying(fingerprint, 'phase')} and attributes.status = 'FINISHED'")

    def write(self, folder: Path, phase: Phase, tensors: Mapping[str, Mapping[str, "Tensor"]]) -> None:
        """Write the files of T_k into a folder of this machine, without their manifest."""
        record = {"phase": phase.to_json(), "fingerprint": phase.fingerprint, "commit": commit(), "versions": versions()}
        manifest.write_files(folder, tensors, record)

    def publish(self, run_id: str, folder: Path) -> None:
        """Hash and upload T_k: every file first, the manifest last. Before the manifest is there, T_k does not exist."""
        manifest.seal(folder)
        with tempfile.TemporaryDirectory(prefix="sjko-") as aside:
            last = (folder / manifest.MANIFEST).rename(Path(aside) / manifest.MANIFEST)
            self.log_folder(run_id, folder, FOLDER)
            self.log_file(run_id, last, FOLDER)
