"""Publishing behind the training: a thread hashes and uploads T_k while the next phase goes on with the state in memory."""

import tempfile
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Self

from components import state as states
from components.state import State
from pipeline.phase import Phase
from pipeline.provenance import TRAINED_ON
from pipeline.store.phases import Store
from pipeline.training.recorder import Recorder
from pipeline.training.solving.start import Parent


class Publisher:
    """A thread that publishes phases, one after the other. What is not hashed and uploaded to its end is not published.

    Args:
        trained_on: the processor, as each phase's run shall name it.
    """

    def __init__(self, store: Store, trained_on: str) -> None:
        self._store, self._trained_on = store, trained_on
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

    def publish(self, run_id: str, phase: Phase, state: State, recorder: Recorder, done: Callable[[Phase], None]) -> None:
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
