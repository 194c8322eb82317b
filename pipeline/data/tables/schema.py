"""What each column of a table is: found by `inference.infer`, written as YAML, corrected by a person, and read again."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any

import pyarrow as pa
import yaml

from pipeline.data.tables.codes import arrow_types
from pipeline.data.tables.codes.arrow_types import type_of
from pipeline.errors import Unusable
from pipeline.recipes.values import like, meant, shown

Cell = str | int | float | bool
NUMERIC = ("quantile", "power", "standard")
CHOSEN = ("one_hot", "rank")


@dataclass(frozen=True)
class Kind:
    """What a column can be.

    Attributes:
        transforms: how it can become coordinates; none: it has no coordinates.
        suits: says whether a type of Arrow can be of the kind.
        needs: fields that must be given.
    """

    transforms: tuple[str, ...]
    suits: Callable[[pa.DataType], bool]
    needs: tuple[str, ...] = ()


BOUNDS = ("low", "high")
KINDS = {
    "number": Kind(NUMERIC, arrow_types.is_number, BOUNDS),
    "integer": Kind(NUMERIC, arrow_types.is_number, BOUNDS),
    "boolean": Kind(("rank",), arrow_types.is_truth, ("categories",)),
    "category": Kind(CHOSEN, arrow_types.is_category, ("categories",)),
    "datetime": Kind(NUMERIC, arrow_types.is_time, BOUNDS),
    "constant": Kind((), arrow_types.is_any, ("value",)),
    "dropped": Kind((), arrow_types.is_any),
}


@dataclass(frozen=True)
class Column:
    """One column of a table.

    Example:
        >>> Column("mm", "number", "double", transform="power", grid=0.1, low=32.1, high=59.6).described()
        {'name': 'mm', 'kind': 'number', 'type': 'double', 'transform': 'power', 'grid': 0.1, 'low': 32.1, 'high': 59.6}

    Attributes:
        kind: one of `KINDS`.
        type: of Arrow, as text, which a generated table has again.
        nullable: values may be missing; whether one is, is a coordinate of its own.
        transform: how it becomes coordinates, one of its kind's.
        grid: generated values are whole multiples of it above `low`; None: of any digits. Of dates and times, in the unit of
            their type, such as 1000000 for a second of microseconds.
        digits: generated values have at most as many significant digits; None: any number.
        low, high: bounds that generated values do not leave, of dates and times as text.
        categories: of a category or boolean, in the order that generated tables have them in.
        format: of dates that are written as text, such as %d.%m.%Y.
        value: of a constant.
        reason: why a column is dropped.
    """

    name: str
    kind: str
    type: str
    nullable: bool = False
    transform: str | None = None
    grid: float | None = None
    digits: int | None = None
    low: Cell | None = None
    high: Cell | None = None
    categories: tuple[Cell, ...] = ()
    format: str | None = None
    value: Cell | None = None
    reason: str | None = None

    @property
    def arrow_type(self) -> pa.DataType:
        """Give the type of Arrow that generated values have."""
        return type_of(self.type)

    @property
    def width(self) -> int:
        """Count the coordinates of the column."""
        return (len(self.categories) if self.transform == "one_hot" else bool(self.transform)) + self.nullable

    def described(self) -> dict[str, Any]:
        """Say what is not left out, for YAML and JSON."""
        given = {field.name: getattr(self, field.name) for field in fields(self)} | {"categories": list(self.categories)}
        return {name: value for name, value in given.items() if value not in (None, []) and (name, value) != ("nullable", False)}


@dataclass(frozen=True)
class Schema:
    """The columns of a table, in their order.

    Example:
        >>> schema = Schema((Column("n", "constant", "int64", value=1), Column("id", "dropped", "string")))
        >>> schema.names, Schema.from_yaml(schema.to_yaml()) == schema
        (('n',), True)
    """

    columns: tuple[Column, ...]

    @property
    def kept(self) -> tuple[Column, ...]:
        """List the columns that a generated table has."""
        return tuple(column for column in self.columns if column.kind != "dropped")

    @property
    def names(self) -> tuple[str, ...]:
        """List the names of the columns that a generated table has."""
        return tuple(column.name for column in self.kept)

    def column(self, name: str) -> Column:
        """Find a column by its name.

        Raises:
            Unusable: there is none.
        """
        by_name = {column.name: column for column in self.columns}
        if name not in by_name:
            raise Unusable(f"there is no column {shown(name)}{meant(like(name, by_name))}")
        return by_name[name]

    def to_yaml(self) -> str:
        """Write the schema as YAML that `from_yaml` gives back exactly."""
        return str(yaml.safe_dump(self.described(), sort_keys=False, allow_unicode=True, width=120))

    @classmethod
    def from_yaml(cls, text: str) -> "Schema":
        """Read a schema that was written as YAML, and perhaps corrected.

        Raises:
            Unusable: names the line, the field and the rule.
        """
        from pipeline.data.tables.schemas.corrections import read_columns

        return cls(tuple(read_columns(text, Column, KINDS)))

    @classmethod
    def from_described(cls, described: Mapping[str, Any]) -> "Schema":
        """Make a schema of what `described` gave."""
        return cls(tuple(Column(**{**each, "categories": tuple(each.get("categories", ()))}) for each in described["columns"]))

    def described(self) -> dict[str, Any]:
        """Say what all columns are, for YAML and JSON."""
        return {"columns": [column.described() for column in self.columns]}
