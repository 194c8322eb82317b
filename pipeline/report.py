"""What a person looks at: the progress of a flow, tables, and the line per phase. The only module that prints."""

import contextlib
import logging
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from pipeline.errors import StoreUnavailable
from pipeline.phase import Phase

if TYPE_CHECKING:
    from pipeline.store import Store  # and with it MLflow, which a command without a store need not load

console = Console(highlight=False, width=None if sys.stdout.isatty() else 200)


class _Rate(ProgressColumn):
    def render(self, task: object) -> Text:
        speed = getattr(task, "finished_speed", None) or getattr(task, "speed", None)
        return Text(f"{speed:.0f} steps/s" if speed else "- steps/s", style="dim")


class Display:
    """The progress bar of a flow, fed from what the workers log to MLflow, so that it looks the same wherever they run."""

    def __init__(self, store: "Store", phases: Sequence[Phase]) -> None:
        self._store, self._phases = store, phases
        self._steps_before = 0
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("steps"),
            _Rate(),
            TimeRemainingColumn(),
            console=console,
            transient=True,
        )
        self._task = self._progress.add_task("starting", total=sum(phase.num_steps for phase in phases))

    def __enter__(self) -> "Display":
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def waiting(self, phase: Phase) -> None:
        self._progress.update(self._task, description=f"phase {phase.k}: another driver trains it, waiting")

    def published(self, phase: Phase) -> None:
        """The phase is done, whoever trained it."""
        self._steps_before += phase.num_steps
        self._progress.update(self._task, completed=self._steps_before, description=f"measuring phase {phase.k}")

    def note(self, text: str) -> None:
        """A line above the bar that stays."""
        self._progress.console.print(text, soft_wrap=True)

    @contextlib.contextmanager
    def training(self, runs: Mapping[Phase, str]) -> Iterator[None]:
        done = threading.Event()
        thread = threading.Thread(target=self._follow, args=(runs, done), name="progress", daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()

    def _follow(self, runs: Mapping[Phase, str], done: threading.Event) -> None:
        last = len(self._phases) - 1
        before = self._steps_before
        for phase, run_id in runs.items():
            self._progress.update(self._task, description=f"phase {phase.k} of 0-{last}")
            step = 0.0
            while step < phase.num_steps and not done.wait(1.0):
                with contextlib.suppress(StoreUnavailable):
                    step = self._store.run(run_id).data.metrics.get("step", 0.0)
                self._progress.update(self._task, completed=before + step)
            before += phase.num_steps


def phase_line(k: int, metrics: Mapping[str, float], *, cached: bool, seconds: float) -> str:
    """One phase in one line: distances with their floor, modes, running divergence, transport cost, time."""
    parts = [f"phase {k:>3}", f"W2 {metrics['w2']:.4g} (floor {metrics['w2_floor']:.4g})"]
    if "modes" in metrics:
        parts.append(f"modes {metrics['modes_covered']:.0f}/{metrics['modes']:.0f}")
        parts.append(f"on support {100 * metrics['on_support']:.0f} %")
    for name in ("lenet", "lenet_digits"):
        if f"{name}_frechet" in metrics:
            floor = metrics[f"{name}_frechet_floor"]
            parts.append(f"{name} Frechet {metrics[f'{name}_frechet']:.3g} (floor {floor:.2g})")
            parts.append(f"recall {metrics[f'{name}_recall']:.2f}")
    if "divergence" in metrics:
        parts.append(f"divergence >= {metrics['divergence']:.3g}")
        parts.append(f"cost {metrics['transport_cost']:.3g}")
    parts.append("from the store" if cached else f"{seconds:.1f} s")
    return "   ".join(parts)


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print a table."""
    shown = Table(title=title, title_justify="left", box=None, header_style="bold")
    for column in columns:
        shown.add_column(column, overflow="fold")
    for row in rows:
        shown.add_row(*(f"{cell:.4g}" if isinstance(cell, float) else str(cell) for cell in row))
    console.print(shown)


@contextlib.contextmanager
def progress(what: str) -> Iterator[Callable[[int, int], None]]:
    """A bar for long work: call it with what is done and the total."""
    bar = Progress(TextColumn(what), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), console=console, transient=True)
    with bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def line(text: str) -> None:
    """Print a line as it is, without wrapping."""
    console.print(text, soft_wrap=True)


def raw(text: str) -> None:
    """Pass on what another process has printed, as it is."""
    sys.stdout.write(text)
    sys.stdout.flush()


def quieten() -> None:
    """Libraries speak up for warnings only."""
    for chatty in ("mlflow", "alembic", "ray"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
