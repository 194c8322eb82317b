"""Rows, which hold the figures of a benchmark: filtered, and laid out as the tables that it prints."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from rich.table import Table

Row = dict[str, Any]


@dataclass(frozen=True)
class Pivot:
    """A table that a benchmark prints: medians of its rows over seeds, with their range.

    >>> sorted(Pivot(("d",), "k", ("w2",), "W2 by k").names)
    ['d', 'k', 'w2']

    Attributes:
        index: fields that name a line.
        columns: field whose values are the columns; None: the fields in `values` are.
        values: fields to show.
        note: what the numbers are and what is good.
        ranges: show the range over seeds beside the median.
        variants: the rows to show, by their field `variant`; None: all.
    """

    index: Sequence[str]
    columns: str | None
    values: Sequence[str]
    note: str
    ranges: bool = True
    variants: Callable[[str], bool] | None = None

    @property
    def names(self) -> set[str]:
        """List the fields of a row that the table shows."""
        return {*self.index, *self.values, *([self.columns] if self.columns else [])}

    def table(self, rows: Sequence[Row]) -> Table:
        """Lay rows out as the table; a cell without rows stays empty."""
        rows = [row for row in rows if self.variants is None or self.variants(row["variant"])]
        heads = unique(str(row[self.columns]) for row in rows) if self.columns else list(self.values)
        table = Table(title=self.note, title_justify="left")
        for head in (*self.index, *heads):
            table.add_column(head, justify="right", no_wrap=True)
        for line in unique(tuple(row[name] for name in self.index) for row in rows):
            here = [row for row in rows if tuple(row[name] for name in self.index) == line]
            if self.columns:
                cells = [self._cell([row for row in here if str(row[self.columns]) == head], self.values) for head in heads]
            else:
                cells = [self._cell(here, [head]) for head in heads]
            table.add_row(*map(str, line), *cells)
        return table

    def _cell(self, rows: Sequence[Row], names: Sequence[str]) -> str:
        columns = ([row[name] for row in rows if row.get(name) is not None] for name in names)
        return "\n".join(filter(None, (summary(values, ranges=self.ranges) for values in columns)))


def unique(values: Iterable[Any]) -> list[Any]:
    """List values without repetition, in order of appearance.

    >>> unique([3, 1, 3])
    [3, 1]
    """
    return list(dict.fromkeys(values))


def summary(values: Sequence[Any], *, ranges: bool = True) -> str:
    """Write a cell: the median over its seeds, and their range.

    >>> summary([1, 2, 6])
    '2 [1, 6]'
    """
    if not values or isinstance(values[0], str):
        return str(values[0]) if values else ""
    median, low, high = np.median(values), min(values), max(values)
    return f"{median:.3g}" if low == high or not ranges else f"{median:.3g} [{low:.3g}, {high:.3g}]"


def in_order(rows: Mapping[int, list[Row]]) -> list[Row]:
    """List the rows of all cases so far, in the order of the cases' numbers."""
    return [row for number in sorted(rows) for row in rows[number]]


def matches(row: Row, only: Sequence[tuple[str, str]]) -> bool:
    """Say whether a row has the values of `only`; several of one field are alternatives, one that it lacks may be any.

    A case stands for rows whose value begins with its own: `ot_cfm` for `ot_cfm_10`.

    >>> matches({"method": "ot_cfm"}, [("method", "ot_cfm_10")]), matches({"method": "otm"}, [("method", "uotm")])
    (True, False)
    """
    choices: dict[str, set[str]] = {}
    for name, value in only:
        choices.setdefault(name, set()).add(value)
    return all(name not in row or any(_stands_for(str(row[name]), value) for value in each) for name, each in choices.items())


def _stands_for(have: str, value: str) -> bool:
    return have == value or value.startswith(f"{have}_") or have.startswith(f"{value}_")
