"""A recipe with the data that a person has given for the ends of its flow."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Self

import pyarrow as pa

from pipeline.data import rows
from pipeline.data.points import Points
from pipeline.errors import Unusable
from pipeline.recipe import Recipe
from pipeline.recipes.rules import validate
from sjko.data import tables
from sjko.data.given import ARRAY, Form, require_same
from sjko.ends import End, end_of, is_source, require_pixels

logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Start:
    """What a person has given for the source of a flow.

    Attributes:
        name: that the recipe has for it; None: the recipe's own source, or a table whose coding is not known yet.
        form: of the rows.
        points: the rows, where they are numbers.
        table: the rows, where they have columns: of a flow to a table they are coded as its rows are.
    """

    name: str | None = None
    form: Form = ARRAY
    points: Points | None = None
    table: pa.Table | None = None

    @classmethod
    def of(cls, source: Any) -> Self:
        """Read what a person has given as the source, or None.

        Raises:
            ValueError: it is nothing that a flow can start from.
        """
        if source is None:
            return cls()
        table = None if is_source(source) else tables.table_of(source, "source")
        if table is not None and not tables.are_numbers(table):
            return cls(table=table)
        end = end_of(source, None, "source")
        return cls(end.name, end.form, end.points, table)

    def points_for(self, end: End) -> Points | None:
        """Give the rows that a flow to an end starts from, where a person gave some: coded as the end is, where it is a table.

        Raises:
            Unusable: they do not go with the end.
        """
        if self.table is None or end.coding is None:
            if self.table is not None and self.points is None:
                raise Unusable("source: its columns hold more than numbers, so that x must be a table with the same columns")
            require_same(self.form, end.form, "source", "x")
            return self.points
        return rows.hold(tables.source_of(self.table, end.coding))[1]


@dataclass(frozen=True, eq=False)
class BoundRecipe:
    """A recipe whose ends are data that a person has given, as far as some were given.

    Attributes:
        recipe: with the names of the data.
        start: what was given for the source.
        form: in which samples are given back.
        held: the rows in memory, by `source` and `x`: as long as someone holds them, their names are known.
    """

    recipe: Recipe
    start: Start = field(default_factory=Start)
    form: Form = ARRAY
    held: Mapping[str, Points] = field(default_factory=dict)

    @classmethod
    def of(cls, recipe: Recipe, start: Start) -> Self:
        """Bind a recipe that names its source to what was given for it."""
        return cls(recipe, start, held={} if start.points is None else {"source": start.points})

    def to(self, end: End, held_out: str) -> "BoundRecipe":
        """Make an end the target of the recipe, and warn of what its rows are not fit for.

        Args:
            held_out: how messages call its held-out rows.

        Raises:
            ValueError: the recipe cannot have it as its target, or the source does not go with it.
        """
        points = self.start.points_for(end)
        before = self.recipe.data
        source = before.source if points is None else rows.name_of(points)
        data = replace(before, target=end.name, digest=None, condition=end.condition, source=source, source_digest=None)
        if end.points is not None:
            if data.flip:
                logger.warning("data.flip is for prepared images: x is taken as it is")
            data = replace(data, size=None, channels=None, flip=False, streamed=False)
        recipe = replace(self.recipe, data=data)
        validate(recipe)
        if end.points is not None:
            require_pixels(recipe, end.points.train, "x")
            require_pixels(recipe, end.points.test, held_out)
        warnings = end.warnings + (end.of_scales if data.has_one_scale else ())
        for warning in warnings if end.name != before.target else ():
            logger.warning(warning)
        held = {name: each for name, each in (("source", points), ("x", end.points)) if each is not None}
        return replace(self, recipe=recipe, form=end.form, held=held)

    def require_pixels_of_source(self) -> None:
        """Refuse a source of images whose pixels the recipe's networks cannot make.

        Raises:
            Unusable: says from where to where they go.
        """
        if "source" in self.held:
            require_pixels(self.recipe, self.held["source"].train, "source")
            require_pixels(self.recipe, self.held["source"].test, "source")

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        """Let the names of the rows be known in the process that a copy has come to."""
        held = {name: rows.hold(points)[1] for name, points in state["held"].items()}
        vars(self).update({**state, "held": held})
