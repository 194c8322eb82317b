"""Step metrics on their way to MLflow."""

import logging
import time

from pipeline.errors import StoreUnavailable
from pipeline.store.phases import Store

logger = logging.getLogger(__name__)
SECONDS_BETWEEN = 2.0


class Recorder:
    """A buffer of metrics by step, which it sends to MLflow in batches, every two seconds.

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
