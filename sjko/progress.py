"""The bar that shows how far a flow is: on a terminal as the commands have it, in a notebook as one line of HTML."""

import html
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from pipeline.command import report
from pipeline.phase import Phase
from pipeline.store.phases import Store
from pipeline.training.group import Unwatched


class NotebookBar:
    """A progress bar in the output of a notebook's cell; it has the methods of rich's that the commands' display calls."""

    def __init__(self) -> None:
        self._handle: Any = None
        self._text, self._done, self._total = "", 0.0, 1.0

    def add_task(self, description: str, *, total: float) -> int:
        """Begin a bar of so many steps."""
        self._text, self._total = description, total
        return 0

    def update(self, task: int, *, completed: float | None = None, description: str | None = None) -> None:
        """Move the bar, and say what is being done; drawn again when a hundredth more is done."""
        before = self._shown()
        self._done = self._done if completed is None else completed
        self._text = description or self._text
        if self._shown() != before or self._handle is None:
            self._draw()

    def start(self) -> None:
        """Do nothing: the first update draws."""

    def stop(self) -> None:
        """Leave a line that says how much was done."""
        if self._handle is not None:
            from IPython.display import HTML

            self._handle.update(HTML(f"<small>{self._done:.0f} of {self._total:.0f} steps</small>"))

    def _shown(self) -> tuple[str, int]:
        return self._text, int(100 * self._done / max(1.0, self._total))

    def _draw(self) -> None:
        from IPython.display import HTML, display

        text, percent = self._shown()
        drawn = HTML(f'<progress value="{percent}" max="100"></progress> <small>{html.escape(text)} {percent} %</small>')
        if self._handle is None:
            self._handle = display(drawn, display_id=True)
        else:
            self._handle.update(drawn)


def in_notebook() -> bool:
    """Say whether what is shown goes into a notebook's cell."""
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    return shell is not None and hasattr(shell, "kernel")


@contextmanager
def counting(total: int, is_asked: bool) -> Iterator[Callable[[int], None]]:
    """Show a bar for the time of the context, where somebody sees it; it gives a function that takes the steps done."""
    if not is_asked or not (in_notebook() or report.can_redraw()):
        yield lambda done: None
    elif in_notebook():
        bar = NotebookBar()
        bar.add_task("training", total=total)
        try:
            yield lambda done: bar.update(0, completed=done)
        finally:
            bar.stop()
    else:
        with report.progress("training") as show:
            yield lambda done: show(done, total)


class Hushed(Unwatched):
    """An observer of a flow that shows nothing."""

    def published(self, phase: Phase) -> None:
        """Hear that a phase is there."""


@contextmanager
def watching(store: Store, phases: Sequence[Phase], is_asked: bool) -> Iterator[Any]:
    """Show a bar that follows the phases of a flow in a store, for the time of the context; it gives the flow's observer."""
    if not is_asked or not (in_notebook() or report.can_redraw()):
        yield Hushed()
        return
    with report.Display(store, phases, NotebookBar() if in_notebook() else None) as display:
        yield display
