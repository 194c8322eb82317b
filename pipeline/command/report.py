"""What a person looks at: the progress of a flow, tables, and the line per phase. The only module that prints.

Text is shown as it is, never read as rich's markup: names and paths of users have brackets, line breaks and escape codes.
"""

import contextlib
import logging
import os
import shutil
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.cells import cell_len
from rich.console import Console, RenderableType
from rich.live import Live
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.status import Status
from rich.table import Table
from rich.text import Text

from pipeline.command import process
from pipeline.errors import StoreUnavailable
from pipeline.phase import Phase
from pipeline.provenance import SLOW
from pipeline.words import literal

if TYPE_CHECKING:
    from pipeline.store.phases import Store  # and with it MLflow, which a command without a store need not load

WIDE = 10_000
"""Width of the output to a file, in columns: nothing is wrapped there."""


def _width() -> int | None:
    """Give the width of the output; None: that of the terminal at each time. With COLUMNS=0 rich would print nothing."""
    if not sys.stdout.isatty():
        return WIDE
    return shutil.get_terminal_size().columns if os.environ.get("COLUMNS") == "0" else None


console = Console(highlight=False, markup=False, emoji=False, force_jupyter=False, width=_width())


def can_redraw() -> bool:
    """Say whether what was drawn can be replaced: not in a file, in a notebook's cell, or on a terminal without a cursor."""
    return console.is_terminal and not console.is_dumb_terminal and "JPY_PARENT_PID" not in os.environ


@contextlib.contextmanager
def _shown(drawing: Live | Progress | Status) -> Iterator[None]:
    """Show a bar or table for the time of the context; a signal while it is first drawn takes it away as well."""
    try:
        if can_redraw():
            drawing.start()
        yield
    finally:
        drawing.stop()


@contextlib.contextmanager
def live(draw: Callable[[], RenderableType]) -> Iterator[None]:
    """Show what `draw` gives twice a second, for the time of the context, where it can be replaced; then it goes."""
    with _shown(Live(get_renderable=draw, console=console, transient=True, refresh_per_second=2)):
        yield


@contextlib.contextmanager
def status(text: str) -> Iterator[None]:
    """Show a sentence with a spinner for the time of the context, where it can be redrawn."""
    with _shown(console.status(Text(literal(text)), spinner="line" if console.options.ascii_only else "dots")):
        yield


class _Bar(Progress):
    """A progress bar that leaves room for the ^C of a terminal: a bar that is pushed to the next line stays behind."""

    def make_tasks_table(self, tasks: Iterable[Task]) -> Table:
        """Lay the bar out, three columns narrower than the terminal."""
        drawn = super().make_tasks_table(tasks)
        drawn.width = max(1, console.width - len("^C") - 1)
        return drawn


class _Rate(ProgressColumn):
    def render(self, task: object) -> Text:
        speed = getattr(task, "finished_speed", None) or getattr(task, "speed", None)
        return Text(f"{speed:.0f} steps/s" if speed else "- steps/s", style="dim")


class Display:
    """The progress bar of a flow, fed from what the workers log to MLflow, so that it looks the same wherever they run.

    Args:
        bar: what is drawn, with the methods of rich's `Progress` that are called here; None: a bar on the terminal.
    """

    def __init__(self, store: "Store", phases: Sequence[Phase], bar: Any = None) -> None:
        self._store, self._phases = store, phases
        self._steps_before = 0
        self._has_warned = False
        self._progress = bar or _Bar(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            TextColumn("steps"),
            _Rate(),
            TimeRemainingColumn(),
            console=console,
            transient=True,
            expand=True,
        )
        self._shown = _shown(self._progress)
        self._task = self._progress.add_task("starting", total=sum(phase.num_steps for phase in phases))

    def __enter__(self) -> "Display":
        self._shown.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self._shown.__exit__(*error)

    def waiting(self, phase: Phase) -> None:
        """Say on the bar that another driver trains a phase."""
        self._progress.update(self._task, description=f"phase {phase.k}: another driver trains it, waiting")

    def published(self, phase: Phase) -> None:
        """Move the bar to the end of a phase that is published, whoever trained it."""
        self._steps_before += phase.num_steps
        self._progress.update(self._task, completed=self._steps_before, description=f"measuring phase {phase.k}")

    def note(self, text: str) -> None:
        """Print a sentence above the bar, where it stays."""
        sentence(text)

    @contextlib.contextmanager
    def training(self, runs: Mapping[Phase, str]) -> Iterator[None]:
        """Let the bar follow the MLflow runs of phases in training, for the time of the context."""
        done = threading.Event()
        thread = threading.Thread(target=self._follow, args=(runs, done), name="progress", daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()
            with contextlib.suppress(StoreUnavailable):
                self._step_of(next(iter(runs.values())))  # a job may be shorter than the time between two looks

    def _follow(self, runs: Mapping[Phase, str], done: threading.Event) -> None:
        last = len(self._phases) - 1
        steps_before = self._steps_before
        for phase, run_id in runs.items():
            self._progress.update(self._task, description=f"phase {phase.k} of 0-{last}")
            step = 0.0
            while step < phase.num_steps and not done.wait(1.0):
                with contextlib.suppress(StoreUnavailable):
                    step = self._step_of(run_id)
                self._progress.update(self._task, completed=steps_before + step)
            steps_before += phase.num_steps

    def _step_of(self, run_id: str) -> float:
        """Read the step that a phase's worker has logged last; what it says about its machine is noted once."""
        data = self._store.run(run_id).data
        if SLOW in data.tags and not self._has_warned:
            self._has_warned = True
            self.note(f"warning: {data.tags[SLOW]}")
        return float(data.metrics.get("step", 0.0))


def phase_line(k: int, shown: Sequence[str], *, cached: bool, seconds: float) -> str:
    """Say what became of a phase in one line: its figures in a few words each, and how long it took."""
    return "   ".join([f"phase {k:>3}", *shown, "from the store" if cached else f"{seconds:.1f} s"])


def remarks(sentences: Sequence[str]) -> None:
    """Say what a person should know of the results before, on standard error."""
    for sentence in sentences:
        process.say(f"note: {sentence}")


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print a table below its title; on a terminal that is too narrow, as several, each with the first column again."""
    line(title)
    cells = [[_cell(value) for value in row] for row in rows]
    widths = [2 + max(cell_len(literal(text)) for text in texts) for texts in zip(columns, *cells, strict=True)]
    parts = [[0]]
    for number in range(1, len(columns)):
        if len(parts[-1]) > 1 and sum(widths[each] for each in (*parts[-1], number)) - 2 > console.width:
            parts.append([0])
        parts[-1].append(number)
    for part in parts:
        console.print(grid([columns[each] for each in part], [[row[each] for each in part] for row in cells]))


def _cell(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def grid(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> Table:
    """Lay cells out as a table without borders, each shown as it is, never as rich's markup."""
    drawn = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0))
    for column in columns:
        drawn.add_column(Text(literal(column)), overflow="fold")
    for row in rows:
        drawn.add_row(*(Text(literal(_cell(cell))) for cell in row))
    return drawn


@contextlib.contextmanager
def progress(label: str) -> Iterator[Callable[[int, int], None]]:
    """Show a bar for long work for the time of the context; it gives a function that is called with (done, total)."""
    described = TextColumn("{task.description}", markup=False)
    columns = (described, BarColumn(bar_width=None), MofNCompleteColumn(), TimeRemainingColumn())
    bar = _Bar(*columns, console=console, transient=True, expand=True)
    task = bar.add_task(literal(label), total=None)
    with _shown(bar):
        yield lambda done, total: bar.update(task, completed=done, total=total)


def line(text: str) -> None:
    """Print one line, without wrapping it."""
    console.print(Text(literal(text)), soft_wrap=True)


def sentence(text: str) -> None:
    """Print one sentence; a terminal breaks it between words. A command or a path is a `line`, so that it can be copied."""
    console.print(Text(literal(text)))


def raw(text: str) -> None:
    """Pass on what another process has printed, as it is."""
    sys.stdout.write(text)
    sys.stdout.flush()


def quieten() -> None:
    """Let MLflow, alembic and Ray log warnings only."""
    for chatty in ("mlflow", "alembic", "ray"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
