"""What a person sees while a search runs: a table that follows the trials, or a line per trial where nobody watches."""

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

from ray.tune import Callback
from rich.live import Live
from rich.table import Table

from pipeline import report
from pipeline.errors import StoreUnavailable
from pipeline.store import Store
from tune.records import Search

MOST_ROWS = 20


def text_of(point: Mapping[str, Any]) -> str:
    """A point in short."""
    return ", ".join(
        f"{name.partition('.')[2]} {value:.2g}" if isinstance(value, float) else f"{name.partition('.')[2]} {value}"
        for name, value in point.items()
    )


class Watch(Callback):  # type: ignore[misc]
    """Told by Ray Tune how the trials go."""

    def __init__(self, search: Search, num_trials: int, store: Store) -> None:
        self._search, self._num_trials, self._store = search, num_trials, store
        self._rows: dict[str, dict[str, Any]] = {}
        self._live: Live | None = None

    @contextlib.contextmanager
    def shown(self) -> Iterator[None]:
        """The table, for the time of the search; it goes when the search is over."""
        if not report.console.is_terminal:
            yield
            return
        with Live(self._table(), console=report.console, transient=True, refresh_per_second=2) as self._live:
            yield

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self._rows.setdefault(trial.trial_id, {"number": len(self._rows), "point": text_of(trial.config), "state": "runs"})
        self._show()

    def on_trial_result(self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any) -> None:
        if "phase" in result:
            self._rows[trial.trial_id] |= {name: result[name] for name in ("phase", "value", "best", "run_id")}
        self._show()

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        row = self._rows[trial.trial_id]
        row["state"] = "done" if row.get("phase") == self._search.recipe.jko.num_phases else "stopped"
        self._close(row, "FINISHED")
        self._ended(row)

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        row = self._rows.setdefault(trial.trial_id, {"number": len(self._rows), "point": text_of(trial.config)})
        row["state"] = "failed"
        self._close(row, "FAILED")
        self._ended(row)

    def _close(self, row: Mapping[str, Any], status: str) -> None:
        """A trial that Ray Tune ends cannot end its own run."""
        with contextlib.suppress(StoreUnavailable):
            if "run_id" in row and self._store.run(row["run_id"]).info.status == "RUNNING":
                self._store.set_status(row["run_id"], status)

    def _ended(self, row: Mapping[str, Any]) -> None:
        if self._live is None:
            best = f"{self._search.metric} {row['best']:.4g} after {row['phase']} phases" if "best" in row else "no result"
            report.line(f"trial {row['number'] + 1:>3} of {self._num_trials}   {row['point']}   {best}   {row['state']}")
        self._show()

    def _show(self) -> None:
        if self._live is not None:
            self._live.update(self._table())

    def _table(self) -> Table:
        num_phases = self._search.recipe.jko.num_phases
        ended = sum(row["state"] != "runs" for row in self._rows.values())
        table = Table(title=f"{self._search.name}: {ended} of {self._num_trials} trials", title_justify="left", box=None)
        for column in ("trial", "point", "phase", f"{self._search.metric} now", "best", ""):
            table.add_column(column)
        for row in list(self._rows.values())[-MOST_ROWS:]:
            figures = [f"{row[name]:.4g}" if name in row else "" for name in ("value", "best")]
            phase = f"{row.get('phase', 0)}/{num_phases}"
            table.add_row(str(row["number"] + 1), row["point"], phase, *figures, row["state"])
        return table
