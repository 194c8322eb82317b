"""Mid-phase checkpoints: through Ray Train where it has workers, one file per phase where it has none."""

import hashlib
import logging
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import ray.train
import torch
from ray.train import get_preemption_info
from ray.train.collective import broadcast_from_rank_zero
from safetensors.torch import load, save

from components import state as states
from components.parts.loading import describe_error
from components.state import State
from pipeline import files as places
from pipeline.errors import Corrupt, Diverged
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

    def are_urgent(self) -> bool:
        """Say whether a node of the workers will soon be taken away; all workers hear the same."""
        ...


def checkpointed(
    windows: Iterator[dict[str, float]], state: State, phase: Phase, checkpoints: Checkpoints, every: int
) -> Iterator[dict[str, float]]:
    """Train a phase from its last checkpoint, where there is one, and keep its state on the way.

    Args:
        windows: take the steps of the phase as they are asked for; passed on.
        every: steps between checkpoints; 0: none but before a node is taken away.

    Raises:
        Diverged: a loss, or the map in the end, is not finite.
    """
    warned = False
    checkpoints.resume(state, phase)
    try:
        for losses in windows:
            yield losses
            due = every > 0 and state.step % every == 0
            # Asked a hundred times a phase, with the losses: it is a barrier over all workers, and a notice comes minutes ahead.
            if not warned and checkpoints.are_urgent():
                warned = due = True
            if due:
                checkpoints.save(state, phase)
    except Diverged:
        checkpoints.forget(phase)  # it would lead to the same end
        raise


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

    def are_urgent(self) -> bool:
        """Ask whether a spot node has been given notice."""
        return get_preemption_info() is not None


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

    def are_urgent(self) -> bool:
        """Say no: the one process has no other node."""
        return False


def _read(uri: str) -> bytes | None:
    files, path = places.at(uri)
    try:
        content: bytes = files.cat_file(path)
    except FileNotFoundError:
        return None
    return content
