"""How a given table becomes points of a flow's source, and what is given back for it: the one place where both are decided."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import numpy as np
import pyarrow as pa

from components.conditions import Condition, Conditions
from components.streams import stream
from pipeline.data.endpoints import Endpoints
from pipeline.data.given.coordinates import CONDITION, Coordinates
from pipeline.data.source import Samples
from pipeline.data.tables.reading import named
from pipeline.errors import Unusable

if TYPE_CHECKING:
    from pipeline.data.tables.coding import Coding

BLOCK = 64
"""Rows that are coded together: a row gets the same coordinates whatever rows are beside it."""


@dataclass(frozen=True)
class Where:
    """Where rows of a table stand: in messages, and among all rows of their job.

    Attributes:
        table_name: how messages call the table.
        first: number of the table's first row, in messages.
        seed, row: of what is drawn to code them, and the number of the first row.
    """

    table_name: str
    first: int = 0
    seed: int = 0
    row: int = 0


class Way(Protocol):
    """The way from a given table to points, and from what they become to a table."""

    @property
    def columns(self) -> tuple[str, ...]:
        """Name the columns that points are made of."""

    def samples(self, table: pa.Table, place: Where) -> Samples:
        """Make points of the rows, in the source's own units.

        Raises:
            Unusable: a row is none; says where.
        """

    def conditions(self, table: pa.Table) -> Conditions | None:
        """Read the condition of each row from the table's own columns; None where it is drawn, or one is given to all.

        Raises:
            Unusable: a row has a condition that no training row has.
        """

    def back(self, table: pa.Table, samples: Samples, conditions: Conditions | None) -> tuple[pa.Table, tuple[str, ...]]:
        """Put samples where the points were, with the conditions that they were given; name the columns that were made."""


@dataclass(frozen=True)
class Numbers:
    """The way of coordinates that stay numbers, beside columns that stay as they are.

    Attributes:
        condition: what kind of condition may be drawn for the points.
    """

    coordinates: Coordinates
    condition: Condition | None = field(default=None, kw_only=True)

    @property
    def columns(self) -> tuple[str, ...]:
        """Name the columns that hold the coordinates."""
        return self.coordinates.columns

    def samples(self, table: pa.Table, place: Where) -> Samples:
        """Read the coordinates of each row."""
        return self.coordinates.samples(table, place.table_name, place.first)

    def conditions(self, table: pa.Table) -> Conditions | None:
        """Read none: columns that stay as they are mean nothing to the flow."""
        return None

    def back(self, table: pa.Table, samples: Samples, conditions: Conditions | None) -> tuple[pa.Table, tuple[str, ...]]:
        """Put samples in the same columns; drawn conditions get a column."""
        if conditions is not None and self.condition is not None:
            conditions = self.condition.in_units(conditions)
        return self.coordinates.back(table, samples, conditions)


@dataclass(frozen=True)
class ToRows:
    """What all ways to the rows of a table have: the coding that the flow was trained with.

    Attributes:
        given: columns that have the condition of each row; none where it is drawn, or one is given to all.
    """

    coding: "Coding"
    given: tuple[str, ...] = ()

    def conditions(self, table: pa.Table) -> Conditions | None:
        """Read the condition of each row from the table's own columns; None where it is drawn, or one is given to all."""
        return self.coding.given.encode(table) if self.given and self.coding.given is not None else None

    def rows(self, table: pa.Table, samples: Samples, conditions: Conditions | None) -> pa.Table:
        """Make rows of samples. The conditions that a table has stay as it has them, in digits that the flow does not know."""
        made = self.coding.table(samples, conditions)
        for name in self.given:
            made = made.set_column(made.column_names.index(name), name, table[name])
        return made


@dataclass(frozen=True)
class NumbersToRows(ToRows, Numbers):
    """The way of noise to the rows of a table, which stand in place of the coordinates."""

    @property
    def columns(self) -> tuple[str, ...]:
        """Name the columns that hold the coordinates, and those with the condition."""
        return (*self.coordinates.columns, *self.given)

    def back(self, table: pa.Table, samples: Samples, conditions: Conditions | None) -> tuple[pa.Table, tuple[str, ...]]:
        """Put the rows behind the columns that were no coordinates."""
        made = self.rows(table, samples, conditions)
        replaced = {*self.coordinates.columns, *made.column_names}
        return _beside(table.drop_columns([name for name in table.column_names if name in replaced]), made)


@dataclass(frozen=True)
class Rows(ToRows):
    """The way of rows to rows of the same columns."""

    @property
    def columns(self) -> tuple[str, ...]:
        """Name the columns that are coded, and those with the condition."""
        return (*(column.name for column in self.coding.encoding.schema.kept), *self.given)

    def samples(self, table: pa.Table, place: Where) -> Samples:
        """Code the rows, those of a block together."""
        coded = []
        for start in range(0, len(table), BLOCK):
            numbers = np.minimum(np.arange(start, start + BLOCK), len(table) - 1)  # the last block is filled up with its last row
            rng = stream(place.seed, "given_table", step=place.row + start)
            try:
                coded.append(self.coding.encoding.encode(table.take(numbers), rng))
            except Unusable as error:
                raise Unusable(
                    f"{place.table_name}, rows {place.first + start} to {place.first + numbers[-1]}: {error}"
                ) from error
        return np.concatenate(coded)[: len(table)]

    def back(self, table: pa.Table, samples: Samples, conditions: Conditions | None) -> tuple[pa.Table, tuple[str, ...]]:
        """Put the rows that were made in the same columns."""
        return _beside(table, self.rows(table, samples, conditions))


def _beside(table: pa.Table, made: pa.Table) -> tuple[pa.Table, tuple[str, ...]]:
    """Put columns in place of those of their names, or behind all columns."""
    for name in made.column_names:
        if name in table.column_names:
            table = table.set_column(table.column_names.index(name), name, made[name])
        else:
            table = table.append_column(name, made[name])
    return table, tuple(made.column_names)


def way_of(
    ends: Endpoints,
    schema: pa.Schema,
    table_name: str,
    asked: Sequence[str] = (),
    option: str = "--coordinates",
    *,
    condition: str | None = None,
) -> Way:
    """Choose the way of a given table through a flow.

    Args:
        table_name: how messages call the table.
        asked: names of the columns with the coordinates, in order.
        option: how messages call what names them.
        condition: how messages call what gives all points one condition, where conditions are drawn; None where they are not.

    Raises:
        Unusable: the table lacks columns, or has one of a name that something else is written under.
    """
    coding = ends.coding
    of_condition = () if coding is None or coding.given is None else coding.given.columns
    given = of_condition if condition is not None and set(of_condition) <= set(schema.names) else ()
    if coding is not None and ends.starts_from_rows:
        rows = Rows(coding, given)
        if missing := [name for name in rows.columns if name not in schema.names]:
            raise Unusable(f"{table_name} lacks the columns {named(missing)} of the source; it has {named(schema.names)}")
        return rows
    if coding is not None and set(coding.encoding.names) <= set(schema.names):
        asked = asked or coding.encoding.names
    others = pa.schema([field for field in schema if field.name not in of_condition or field.name in asked])
    coordinates = Coordinates.of(others, tuple(ends.shape), table_name, asked, option)
    if coding is None:
        if condition is not None and CONDITION in schema.names:
            problem = f"{table_name} has a column {CONDITION!r}, under which the condition that is drawn for each row is written"
            raise Unusable(f"{problem}: rename it, or give {condition}")
        return Numbers(coordinates, condition=ends.condition)
    if both := [name for name in coding.names if name in set(schema.names) - {*coordinates.columns, *of_condition}]:
        raise Unusable(
            f"{table_name} has the columns {named(both)} beside the coordinates, and what is made has them too: rename them"
        )
    return NumbersToRows(coordinates, coding, given)
