"""What a person sees while a search runs: a table that follows the trials, or a line per trial where nothing can be redrawn."""

import contextlib
from collections.abc import Iterator
from typing import Any

from ray.tune import Callback
from rich.console import Group, RenderableType
from rich.text import Text

from pipeline import cluster as clusters
from pipeline.command import report
from pipeline.errors import StoreUnavailable
from pipeline.store.phases import Store
from pipeline.words import counted
from tune import records
from tune.definition import Search, text_of

MOST_ROWS = 20
RUNS = "runs"


@contextlib.contextmanager
def shown(watch: "Watch") -> Iterator[None]:
    """Draw the trials for the time of the search: from outside, since Ray Tune copies a callback with all that it holds."""
    watch.draws = report.can_redraw()
    with report.live(watch.table):
        yield


class Watch(Callback):  # type: ignore[misc]  # Ray ships no types for it
    """The callback of Ray Tune that notes how trials go; it holds plain values alone, since Ray Tune writes it to disk.

    Args:
        num_done: number of trials that have their results already.
        last_number: number of the last trial that is to come.

    Attributes:
        draws: whether somebody draws `table`; else each trial that ends is a line.
    """

    def __init__(self, search: Search, search_run_id: str, num_done: int, last_number: int) -> None:
        self._search, self._search_run_id = search, search_run_id
        self._num_done, self._last_number = num_done, last_number
        self._rows: dict[int, dict[str, Any]] = {}
        self.draws = False

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Begin the row of a trial that Ray Tune starts."""
        self._row(trial)

    def on_trial_result(self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any) -> None:
        """Note a phase that a trial reports; the penalty of a flow that gave none is not shown."""
        if result.get("kind") == records.RESULT:
            self._row(trial).update({name: result[name] for name in ("phase", "value", "best")})

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """End the row and the run of a trial that is done or was stopped early."""
        self._ended(trial, "FINISHED")

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """End the row and the run of a trial that has failed."""
        self._ended(trial, "FAILED")

    def _row(self, trial: Any) -> dict[str, Any]:
        number, point = trial.config[records.NUMBER], {axis.name: trial.config[axis.name] for axis in self._search.axes}
        return self._rows.setdefault(number, {"number": number, "point": text_of(point), "state": RUNS})

    def _ended(self, trial: Any, status: str) -> None:
        row = self._row(trial)
        row["state"] = self._closed(row["number"], status) or status.lower()
        if not self.draws:
            best = (
                f"{self._search.metric} {row['best']:.4g} after {counted(row['phase'], 'phase')}"
                if "best" in row
                else "no result"
            )
            report.line(f"trial {row['number']:>3} of {self._last_number}   {row['point']}   {best}   {row['state']}")

    def _closed(self, number: int, status: str) -> str | None:
        """End the MLflow run of a trial that Ray Tune has ended, which cannot do so itself; return its state, None if unknown."""
        with contextlib.suppress(StoreUnavailable):
            store = Store(clusters.tracking_uri(self._search.cluster))
            ended = records.trial_of(store, self._search, self._search_run_id, number)
            if ended is not None and ended.status == "RUNNING":
                store.set_status(ended.run_id, status)
                ended = records.trial_of(store, self._search, self._search_run_id, number)
            return None if ended is None else ended.state(self._search)
        return None

    def table(self) -> RenderableType:
        """Lay out how the trials stand now as a table, the latest last."""
        rows, num_phases = list(self._rows.values()), self._search.recipe.jko.num_phases
        ended = sum(row["state"] != RUNS for row in rows)
        cells = [
            [
                row["number"],
                row["point"],
                f"{row.get('phase', 0)}/{num_phases}",
                *(f"{row[name]:.4g}" if name in row else "" for name in ("value", "best")),
                row["state"],
            ]
            for row in rows[-min(MOST_ROWS, max(1, report.console.height - 4)) :]
        ]
        title = f"{self._search.name}: {self._num_done + ended} of {self._search.num_trials} trials"
        return Group(Text(title), report.grid(["trial", "point", "phase", f"{self._search.metric} now", "best", ""], cells))
