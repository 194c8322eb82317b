"""What the first worker gives to the store: curves while a phase is trained, and T_k behind the training.

A thread hashes and uploads T_k while the next phase goes on with the state in memory.
"""

import logging
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Self

from components import state as states
from components.state import State
from pipeline.errors import StoreUnavailable
from pipeline.phase import Phase
from pipeline.provenance import TRAINED_ON
from pipeline.store.phases import Store
from pipeline.training.solving.start import Parent

logger = logging.getLogger(__name__)
SECONDS_BETWEEN = 2.0


class Recorder:
    """A buffer of one run's metrics by step, which it sends to MLflow in batches, every two seconds.

    While the server is away they are kept: losing it is an error for who publishes a phase, not for who draws its curve.
    """

    def __init__(self, store: Store, run_id: str) -> None:
        self._store, self._run_id = store, run_id
        self._points: dict[int, dict[str, float]] = {}
        self._sent = time.monotonic()

    def add(self, step: int, metrics: dict[str, float]) -> None:
        """Note the metrics of a step, and send what has been collected if it is time."""
        self._points[step] = {**metrics, "step": step}
        if time.monotonic() - self._sent >= SECONDS_BETWEEN:
            self.flush()

    def flush(self) -> None:
        """Send all metrics that have been collected, now."""
        self._sent = time.monotonic()
        try:
            self._store.log_metrics(self._run_id, self._points)
        except StoreUnavailable as error:
            logger.warning("metrics wait: %s", error)
        else:
            self._points.clear()


class Publisher:
    """A thread that publishes phases, one after the other. What is not hashed and uploaded to its end is not published.

    Args:
        trained_on: the processor, as each phase's run shall name it.
    """

    def __init__(self, store: Store, trained_on: str) -> None:
        self._store, self._trained_on = store, trained_on
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="publisher")
        self._pending: Future[None] | None = None
        self._recorders: dict[str, Recorder] = {}

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

    def record(self, run_id: str, step: int, metrics: dict[str, float]) -> None:
        """Note the metrics of a step of the phase that is trained in a run, for its curves."""
        if run_id not in self._recorders:
            self._recorders[run_id] = Recorder(self._store, run_id)
        self._recorders[run_id].add(step, metrics)

    def publish(self, run_id: str, phase: Phase, state: State, done: Callable[[Phase], None]) -> None:
        """Write the files of a phase's state now; its thread hashes and uploads them while the caller goes on.

        Args:
            done: told of the phase when it is published.
        """
        self.wait()
        folder = tempfile.TemporaryDirectory(prefix="sjko-")
        try:
            self._store.write(Path(folder.name), phase, states.to_tensors(state))
        except BaseException:
            folder.cleanup()
            raise
        recorder = self._recorders.pop(run_id)
        self._pending = self._thread.submit(self._finish, run_id, folder, recorder, lambda: done(phase))

    def _finish(
        self, run_id: str, folder: tempfile.TemporaryDirectory[str], recorder: Recorder, done: Callable[[], None]
    ) -> None:
        with folder:
            recorder.flush()
            self._store.tag(run_id, TRAINED_ON, self._trained_on)
            self._store.publish(run_id, Path(folder.name))
            done()
            self._store.set_status(run_id, "FINISHED")  # at once, for drivers that wait

    def wait(self) -> None:
        """Wait until all that was handed over is published.

        Raises:
            StoreUnavailable: it could not be.
        """
        pending, self._pending = self._pending, None
        if pending is not None:
            pending.result()


def published_parent(phase: Phase, store: Store) -> Parent:
    """Read what a phase goes on from, as a publisher has written it."""
    ref = store.published(str(phase.parent))
    increments = store.ancestors(ref)[:-1] if phase.composed else []
    return Parent(store.load(ref, states.FILES), [store.load(each, ["map"])["map"] for each in increments])
