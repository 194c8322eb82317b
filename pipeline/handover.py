"""What a phase begins with and what it leaves: the state, the frozen T_{k-1}, mid-phase checkpoints, the published T_k.

Within a job the next phase goes on with the state in memory while a thread hashes and uploads T_k.
"""

import logging
import tempfile
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import ray.train
import torch
from torch import nn

from components import state as states
from components.state import State
from pipeline import manifest
from pipeline.build import first_anchor, new_state, shape_of
from pipeline.data import Endpoints
from pipeline.errors import Corrupt
from pipeline.phase import Phase
from pipeline.recorder import Recorder
from pipeline.store import Store

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Trained:
    """The phase that this worker has just trained, whose T_k may not be published yet."""

    phase: Phase
    state: State


def initial_state(phase: Phase, before: Trained | None, endpoints: Endpoints, store: Store, device: torch.device) -> State:
    """The parent's state, which phase k goes on from; new networks for phase 0 and for the map of a composed increment.

    Args:
        before: what this worker has just trained; where that is not the parent, its state is read from the store.
    """
    if before is not None and before.phase.fingerprint == phase.parent:
        state = before.state
        state.step = 0
    else:
        state = new_state(phase, endpoints, device)
        if phase.parent is not None:
            states.load_tensors(state, store.load(store.published(phase.parent), states.FILES), step=0)
    if phase.composed:
        states.fresh_map(state, shape_of(phase, endpoints), seed=phase.problem["seed"])
    return state


def frozen_maps(phase: Phase, state: State, endpoints: Endpoints, store: Store, device: torch.device) -> list[nn.Module]:
    """The anchor, T_{k-1}: T_{-1} for phase 0, live weights of one map, or of all increments so far.

    Args:
        state: the one that phase k begins with, whose map is T_{k-1} but for composed increments.
    """
    shape = shape_of(phase, endpoints)
    if phase.parent is None:
        return first_anchor(shape)
    weights = [state.transport_map.state_dict()]
    if phase.composed:
        weights = [store.load(ref, ["map"])["map"] for ref in store.ancestors(store.published(phase.parent))]
    maps = [states.build_map(shape).to(device) for _ in weights]
    for transport_map, tensors in zip(maps, weights, strict=True):
        transport_map.load_state_dict(tensors)
        transport_map.requires_grad_(False).eval()
    return maps


class Publisher:
    """Publishes phases from a thread, one after the other. What is not hashed and uploaded to its end is not published."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="publisher")
        self._pending: Future[None] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            self.wait()
        except Exception:
            if kind is None:  # else there is something worse to tell
                raise
        finally:
            self._thread.shutdown()

    def publish(self, run_id: str, phase: Phase, state: State, recorder: Recorder) -> None:
        """Write the state's files now; the rest is done behind the caller's back."""
        self.wait()
        folder = tempfile.TemporaryDirectory(prefix="sjko-")
        try:
            self._store.write(Path(folder.name), phase, states.to_tensors(state))
        except BaseException:
            folder.cleanup()
            raise
        self._pending = self._thread.submit(self._finish, run_id, folder, recorder)

    def _finish(self, run_id: str, folder: tempfile.TemporaryDirectory[str], recorder: Recorder) -> None:
        with folder:
            recorder.flush()
            self._store.publish(run_id, Path(folder.name))
            self._store.set_status(run_id, "FINISHED")

    def wait(self) -> None:
        """Until all that was handed over is published.

        Raises:
            StoreUnavailable: it could not be.
        """
        pending, self._pending = self._pending, None
        if pending is not None:
            pending.result()


def save_checkpoint(state: State, phase: Phase, publisher: Publisher | None) -> None:
    """A mid-phase checkpoint through Ray Train: a barrier over the workers, kept where `cluster.storage` says.

    Args:
        publisher: of the worker that writes; None on all others.
    """
    if publisher is None:
        ray.train.report({}, checkpoint=None)
        return
    publisher.wait()  # a checkpoint of phase k stands for phase k - 1 too
    with tempfile.TemporaryDirectory(prefix="sjko-") as folder:
        manifest.write(Path(folder), states.to_tensors(state), {"fingerprint": phase.fingerprint, "step": state.step})
        ray.train.report({"step": state.step}, checkpoint=ray.train.Checkpoint.from_directory(folder))


def resume(state: State, phase: Phase) -> None:
    """Go on from the job's last checkpoint, if it is one of this phase."""
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
