"""Mid-phase checkpoints: through Ray Train where it has workers, one file per phase where it has none."""

import hashlib
import logging
import tempfile
from pathlib import Path
from typing import Protocol

import ray.train
import torch
from ray.train.collective import broadcast_from_rank_zero
from safetensors.torch import load, save

from components import state as states
from components.parts.loading import describe_error
from components.state import State
from pipeline import files as places
from pipeline.errors import Corrupt
from pipeline.phase import Phase
from pipeline.provenance import redacted
from pipeline.store import manifest
from pipeline.training.publisher import Publisher

logger = logging.getLogger(__name__)
DIGEST_BYTES = 32


class Checkpoints(Protocol):
    """A place where the state of a phase is kept while it is trained."""

    def save(self, state: State, phase: Phase) -> None:
        """Keep the state of a phase, in place of an earlier one."""
        ...

    def resume(self, state: State, phase: Phase) -> None:
        """Load the state that was kept of this phase, if any was."""
        ...

    def forget(self, phase: Phase) -> None:
        """Remove the state that was kept of a phase which needs it no more."""
        ...


class OfRay:
    """Checkpoints of Ray Train: a barrier over the workers, kept where `store.checkpoints` says; the driver forgets them with
    their job.

    Args:
        publisher: of the worker that writes; None on all others.
    """

    def __init__(self, publisher: Publisher | None) -> None:
        self._publisher = publisher

    def save(self, state: State, phase: Phase) -> None:
        """Keep the state once all earlier phases are published, since it stands for them too."""
        if self._publisher is None:
            ray.train.report({}, checkpoint=None)
            return
        self._publisher.wait()
        with tempfile.TemporaryDirectory(prefix="sjko-") as folder:
            manifest.write(Path(folder), states.to_tensors(state), {"fingerprint": phase.fingerprint, "step": state.step})
            ray.train.report({"step": state.step}, checkpoint=ray.train.Checkpoint.from_directory(folder))

    def resume(self, state: State, phase: Phase) -> None:
        """Load the job's last checkpoint, if it is one of this phase.

        Raises:
            Corrupt: this worker could not read what the first one has read, or the reverse.
        """
        self._load(state, phase)
        if state.step != (step := broadcast_from_rank_zero(state.step)):
            reason = f"one worker would go on from step {state.step} and another from step {step}"
            raise Corrupt(f"a checkpoint of phase {phase.k}", reason)

    def _load(self, state: State, phase: Phase) -> None:
        checkpoint = ray.train.get_checkpoint()
        if checkpoint is None:
            return
        with checkpoint.as_directory() as folder:
            try:
                record = manifest.read_record(Path(folder))
                if record["fingerprint"] == phase.fingerprint:
                    files = {name: manifest.read_tensors(Path(folder), name) for name in states.FILES}
                    states.load_tensors(state, files, step=int(str(record["step"])))
            except Corrupt as error:
                logger.warning("phase %d begins again from its first step: %s", phase.k, error)

    def forget(self, phase: Phase) -> None:
        """Leave the checkpoint: Ray Train goes on from the last one, so the driver removes them when the job is done."""


class OfFiles:
    """Checkpoints in one file per phase: its sha256, then all tensors and the step. Written beside and renamed: all of it or
    none.

    A checkpoint spares time and nothing else, so a place that cannot be written is a warning and no end of the training.

    Args:
        storage: folder or URL.
    """

    def __init__(self, storage: str, publisher: Publisher) -> None:
        self._storage, self._publisher = storage, publisher
        self._has_warned = False

    def _uri(self, phase: Phase) -> str:
        return f"{self._storage.rstrip('/')}/local/{phase.fingerprint}.checkpoint"

    def save(self, state: State, phase: Phase) -> None:
        """Keep the state once the phase before is published: whoever goes on from it reads that one from the store."""
        self._publisher.wait()
        files = states.to_tensors(state)
        tensors = {f"{name}/{key}": tensor for name, content in files.items() for key, tensor in content.items()}
        body = save({**tensors, "step": torch.tensor(state.step)})
        uri = self._uri(phase)
        try:
            places.put(*places.at(uri), hashlib.sha256(body).digest() + body)
        except Exception as error:  # each file system has its own
            if not self._has_warned:
                logger.warning(
                    "no mid-phase checkpoint can be kept at %s (store.checkpoints): %s. Training goes on; if it is interrupted, "
                    "phase %d begins again from its first step.",
                    redacted(uri),
                    describe_error(error),
                    phase.k,
                )
            self._has_warned = True

    def resume(self, state: State, phase: Phase) -> None:
        """Load the state in the phase's file, if there is a whole one."""
        uri = self._uri(phase)
        try:
            content = _read(uri)
            if content is None:
                return
            if hashlib.sha256(content[DIGEST_BYTES:]).digest() != content[:DIGEST_BYTES]:
                raise Corrupt(redacted(uri), "its sha256 is not the one that it carries")
        except Exception as error:
            reason = error if isinstance(error, Corrupt) else f"{redacted(uri)} cannot be read: {describe_error(error)}"
            logger.warning("phase %d begins again from its first step: %s", phase.k, reason)
            return
        tensors = load(content[DIGEST_BYTES:])
        step = int(tensors.pop("step"))
        files: dict[str, states.Tensors] = {name: {} for name in states.FILES}
        for key, tensor in tensors.items():
            name, _, inner = key.partition("/")
            files[name][inner] = tensor
        states.load_tensors(state, files, step=step)

    def forget(self, phase: Phase) -> None:
        """Remove the phase's file; one that cannot be removed does no harm."""
        uri = self._uri(phase)
        try:
            files, path = places.at(uri)
            files.rm_file(path)
        except Exception as error:
            if not isinstance(error, FileNotFoundError):
                logger.warning("%s is of no more use and cannot be removed: %s", redacted(uri), describe_error(error))


def _read(uri: str) -> bytes | None:
    files, path = places.at(uri)
    try:
        content: bytes = files.cat_file(path)
    except FileNotFoundError:
        return None
    return content
