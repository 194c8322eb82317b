"""An end of a flow as a user of Python gives it: data, a name that recipes have, or a source of one's own."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from components.table import network_pair
from pipeline.data import rows, table
from pipeline.data.points import Points
from pipeline.errors import Unusable
from pipeline.recipe import Recipe
from sjko import parts
from sjko.given import ARRAY, Form, points_of, rows_of


@dataclass(frozen=True)
class End:
    """An end of a flow.

    Attributes:
        name: that the recipe has for it.
        form: in which samples are given back.
        points: where it is rows in memory; who holds them keeps their name known.
    """

    name: str
    form: Form = ARRAY
    points: Points | None = None


def end_of(given: Any, held_out: Any, name: str) -> End:
    """Make an end of a flow of what a person gives for it.

    Example:
        >>> end_of("moons", None, "x").name, end_of([[1, 2], [3, 4]], [[1, 1]], "x").name.rpartition("-")[0]
        ('moons', ':rows-2')

    Args:
        held_out: rows to compare samples with, or None.
        name: how messages call it.

    Raises:
        ValueError: it is nothing that a flow can go from or to; says what and where.
    """
    is_name = isinstance(given, str) and (given in table.names() or (":" in given and "//" not in given))
    if is_name or callable(given) or hasattr(given, "held_out"):
        if held_out is not None:
            raise ValueError(f"held_out is of rows, and {name} brings its own")
        return End(parts.name_of(given, name))
    read = rows_of(given, name)
    named, points = rows.hold(points_of(read, None if held_out is None else rows_of(held_out, "held_out"), name))
    return End(named, read.form, points)


def require_pixels(recipe: Recipe, points: Points) -> None:
    """Refuse images whose pixels the recipe's networks cannot make.

    Raises:
        Unusable: says from where to where they go.
    """
    low, high = float(np.min(points.train)), float(np.max(points.train))
    if network_pair(recipe.network.kind).sides and not (low >= -1 and high <= 1):
        hint = ": write x / 127.5 - 1" if low >= 0 and high <= 255 else ""
        raise Unusable(
            f"x: images for network.kind {recipe.network.kind} are in [-1, 1], and these go from {low:g} to {high:g}{hint}"
        )
