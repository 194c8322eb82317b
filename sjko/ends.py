"""An end of a flow as a user of Python gives it: data, a name that recipes have, or a source of one's own."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from components.parts.loading import IN_MEMORY
from pipeline.data import rows, table
from pipeline.data.points import Points
from pipeline.data.tables.coding import Coding
from pipeline.data.tables.reading import named
from pipeline.data.tables.source import TableRows
from pipeline.errors import Unusable
from pipeline.recipe import Recipe
from pipeline.recipes import values
from sjko import parts
from sjko.data import conditions, tables
from sjko.data.given import ARRAY, Form, Rows
from sjko.data.joined import Joined, joined_of, points_of
from sjko.data.opening import opened

FACTOR = 10
"""Columns whose deviations differ by more are warned of."""


@dataclass(frozen=True)
class End:
    """An end of a flow.

    Attributes:
        name: that the recipe has for it.
        form: in which samples are given back.
        points: where it is rows in memory; who holds them keeps their name known.
        warnings: what a person should know of its columns, a sentence each.
        of_scales: the same, where all columns share one scale.
        condition: what the recipe calls the condition of each row; None where a flow is not to be given any.
    """

    name: str
    form: Form = ARRAY
    points: Points | None = None
    warnings: tuple[str, ...] = ()
    of_scales: tuple[str, ...] = ()
    condition: str | None = None

    @property
    def coding(self) -> Coding | None:
        """Give the way in which its rows became coordinates, where they are those of a table."""
        coding: Coding | None = getattr(self.points, "coding", None)
        return coding


def is_word(given: str) -> bool:
    """Say whether a text is meant as the name of data, not as the path of a file."""
    return given.isidentifier() and not Path(given).exists()


def is_source(given: Any) -> bool:
    """Say whether data are given as a source or by its name, not as rows or a file of them.

    Example:
        >>> is_source("moons"), is_source("my_parts:windows"), is_source("cells.csv"), is_source([[1.0]])
        (True, True, False, False)
    """
    if isinstance(given, str):
        return given in table.names() or is_word(given) or (":" in given and "//" not in given)
    return callable(given) or hasattr(type(given), "held_out")  # a frame has attributes by the names of its columns


def end_of(given: Any, held_out: Any, name: str, before: str = "", condition: Any = None) -> End:
    """Make an end of a flow of what a person gives for it.

    Example:
        >>> end_of("moons", None, "x").name, end_of([[1, 2], [3, 4]], [[1, 1]], "x").name.rpartition("-")[0]
        ('moons', ':rows-2')

    Args:
        held_out: rows to compare samples with, or None.
        name: how messages call it.
        before: the name that the flow has for its end so far: the same object keeps it, so that a flow can be gone on with.
        condition: of each row: as many classes or values, or the name of a column; of any other end, one that it offers.

    Raises:
        ValueError: it is nothing that a flow can go from or to; says what and where.
    """
    if isinstance(given, str) and is_word(given) and given not in table.names():
        raise ValueError(f"{name}: there are no data {given!r} and no file{values.meant(values.like(given, table.names()))}")
    if is_source(given):
        if held_out is not None:
            raise ValueError(f"held_out is of rows, and {name} brings its own")
        if not (condition is None or isinstance(condition, str)):
            raise ValueError(f"condition must be the name of one that {name} offers, which brings its own")
        named = before if before and IN_MEMORY.get(before) is given else parts.name_of(given, name)
        return End(named, condition=condition)
    if name == "x" and (as_table := tables.table_of(given, name)) is not None:
        return _of_table(as_table, tables.form_of(opened(given, name)), held_out, condition)
    read = joined_of(given, condition, name)
    named, points = rows.hold(points_of(read, _held_out_of(held_out, condition, read), name))
    warnings, of_scales = warnings_of(read.rows, name), scales_of(read.rows, points, name)
    if read.each is not None:
        warnings += conditions.warnings_of(read.each, read.shown)
    return End(named, read.rows.form, points, warnings, of_scales, None if read.each is None else read.name)


def _of_table(table: pa.Table, form: Form, held_out: Any, condition: Any) -> End:
    """Make an end of a table of more than numbers."""
    names = tables.names_of(condition, table)
    kept_out = None if held_out is None else tables.table_of(held_out, "held_out")
    if held_out is not None and (kept_out is None or names is None):
        what = "a table like x" if names is not None else "left out where condition is one for each row: give it as a column"
        raise ValueError(f"held_out must be {what}")
    if names is None:
        table, names = tables.beside(table, condition, conditions.NAME), [conditions.NAME]
    name, points = rows.hold(tables.rows_of(table, kept_out, names))
    assert isinstance(points, TableRows)
    return End(name, form, points, condition=points.only_condition.name if names else None)


def _held_out_of(held_out: Any, condition: Any, read: Joined) -> Joined | None:
    """Read held-out rows with their conditions: where those of x are beside it, those of held-out rows are too."""
    if held_out is None:
        return None
    if read.each is None or read.rows.form.given or isinstance(condition, str):
        return joined_of(held_out, condition, "held_out")
    if not isinstance(held_out, tuple) or len(held_out) != 2:
        raise ValueError("held_out must be a pair, (rows, conditions), where condition is one for each row of x")
    return joined_of(*held_out, "held_out")


def warnings_of(rows: Rows, name: str) -> tuple[str, ...]:
    """Say what of the rows is left out, and which columns float32 would not do justice to.

    Args:
        name: how messages call the rows.
    """
    sentences = []
    if rows.has_more:
        sentences.append(
            f"{name}: the first part of each item is trained on, and what comes after it is left out; condition='label' trains "
            "given the second part"
        )
    if rows.merged:
        sentences.append(
            f"{name}: column {named([*map(repr, rows.merged)])} has fewer different values in float32, which all is trained on "
            "as: subtract its mean first"
        )
    if rows.samples.ndim == 2 and (constant := np.flatnonzero((rows.samples == rows.samples[:1]).all(0))).size:
        labels = rows.form.columns or range(rows.samples.shape[1])
        sentences.append(
            f"{name}: column {named([repr(labels[number]) for number in constant])} has one value only, and samples will vary "
            "about it: leave it out, or give a table, of which constants come back as they were"
        )
    low, high = float(rows.samples.min()), float(rows.samples.max())
    if rows.samples.ndim == 4 and not (low >= -1 and high <= 1):
        hint = ": write x / 127.5 - 1" if low >= 0 and high <= 255 else ""
        sentences.append(
            f"{name}: pictures of samples are drawn, and judged, in [-1, 1], and these images go from {low:g} to {high:g}{hint}"
        )
    return tuple(sentences)


def scales_of(rows: Rows, points: Points, name: str) -> tuple[str, ...]:
    """Say which columns a flow with one scale for all coordinates would not do justice to.

    Args:
        points: those of the rows that are trained on, and the held-out ones.
        name: how messages call the rows.
    """
    if points.train.ndim > 2:
        return ()
    labels = rows.form.columns or range(points.train.shape[1])
    stds = points.train.std(axis=0, dtype=np.float64)
    small = [label for label, std in zip(labels, stds, strict=True) if 0 < std * FACTOR < stds.max()]
    if not small:
        return ()
    return (
        f"{name}: the standard deviation of column {named([*map(repr, small)])} is less than a tenth of that of column "
        f"{labels[int(stds.argmax())]!r}, and a flow has one scale for all columns: let data.standardise be axes or whitened, or "
        "divide each by its deviation first",
    )


def require_pixels(recipe: Recipe, samples: np.ndarray, name: str) -> None:
    """Refuse images whose pixels the recipe's networks cannot make.

    Args:
        name: how messages call them.

    Raises:
        Unusable: says from where to where they go.
    """
    low, high = float(np.min(samples)), float(np.max(samples))
    if recipe.network.pair.sides and not (low >= -1 and high <= 1):
        hint = ": write x / 127.5 - 1" if low >= 0 and high <= 255 else ""
        raise Unusable(
            f"{name}: images for network.kind {recipe.network.kind} are in [-1, 1], and these go from {low:g} to {high:g}{hint}"
        )
