"""A table as the source or the target of a recipe: `data.target: cells.parquet`, with what the recipe says of its columns.

Nothing that a phase is trained on depends on where a table lies. Its rows are coded and kept under a name that says what they
are, and that name stands in the phase.
"""

import csv
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache

from components.conditions import Condition
from pipeline import places
from pipeline.data import rows
from pipeline.data.source import EndName, Source
from pipeline.data.specs import SourceSpec
from pipeline.data.tables.coding import Coding
from pipeline.data.tables.naming import is_location
from pipeline.data.tables.passes.asked import Asked
from pipeline.data.tables.passes.shards import shards_at
from pipeline.data.tables.preparing import alike, prepared
from pipeline.data.tables.reading import stamp
from pipeline.data.tables.schemas.written import schema_at
from pipeline.data.tables.source import TableRows
from pipeline.phase import RESOLVED
from pipeline.provenance import redacted
from pipeline.recipe import Data
from pipeline.recipes.values import Refused


@dataclass(frozen=True)
class TableSpec(SourceSpec):
    """The specification of a table, which is read when its shape is first asked for, and stays in memory."""

    location: str
    picture: str = "points"
    fields = frozenset({*RESOLVED, "digest"})
    source_fields = frozenset({"source_digest"})

    def conditions(self, data: Data) -> Mapping[str, Condition]:
        """Give the condition that the recipe names: any columns can be one."""
        return {} if data.condition is None else {data.condition: self._rows(data, "target").only_condition}

    def shape(self, data: Data) -> tuple[int, ...]:
        """Give how many coordinates a row has."""
        return self._rows(data, "target").shape

    def fits(self, shape: tuple[int, ...]) -> bool:
        """Say whether the target is vectors."""
        return len(shape) == 1

    def require_source(self, data: Data, shape: tuple[int, ...]) -> None:
        """Refuse a target that has other columns."""
        self._rows(data, "source")

    def resolve(self, data: Data, end: EndName, data_uri: str | None, most_bytes: float) -> Data:
        """Prepare the table, and name it by what it is in place of where it lies."""
        made = self._rows(data, end)
        digest, field = (data.digest, "digest") if end == "target" else (data.source_digest, "source_digest")
        if digest not in (None, made.digest):
            raise Refused(f"data.{field}", f"{made.digest} for {redacted(self.location)}", digest)
        name, _ = rows.hold(made)
        if end == "source":
            return without(replace(data, source=name, source_digest=made.digest))
        source_waits = is_location(data.source)  # what is said of the columns is said of both
        condition = None if data.condition is None else made.only_condition.name
        data = replace(data, target=name, digest=made.digest, condition=condition)
        return data if source_waits else without(data)

    def open(self, data: Data, end: EndName, shape: tuple[int, ...], data_uri: str | None) -> Source:
        """Give the rows of the table."""
        return self._rows(data, end)

    def _rows(self, data: Data, end: EndName) -> TableRows:
        location = places.source(f"data.{end}", self.location)
        asked = _asked(data)
        if end == "target":
            return _prepared(location, asked, f"data.{end}", stamp(location, f"data.{end}"))
        target = rows.known(data.target) if rows.are_rows(data.target) else None
        if is_location(data.target):
            target = TableSpec(data.target)._rows(data, "target")
        if not isinstance(target, TableRows):
            raise Refused("data.source", f"no table where data.target is {data.target}, which is none", self.location)
        return _alike(
            location, replace(asked, condition=(), schema=None), target.coding, f"data.{end}", stamp(location, f"data.{end}")
        )


def without(data: Data) -> Data:
    """Leave out what was said of a table that is prepared."""
    return replace(data, **{name: getattr(Data, name) for name in RESOLVED})


def _asked(data: Data) -> Asked:
    """Read what a recipe says of its table."""
    columns = _columns(data.columns, "data.columns")
    condition = () if data.condition is None else _columns(data.condition, "data.condition")
    schema = None if data.schema is None else schema_at(data.schema, "data.schema")
    return Asked(columns, data.weights, condition, data.split, schema)


def _columns(text: str | None, field: str) -> tuple[str, ...]:
    """Read names with commas between them; one with a comma in it stands in quotes."""
    names = tuple(name.strip() for name in next(csv.reader([text or ""], skipinitialspace=True), []))
    if text is not None and (not names or not all(names) or len(set(names)) < len(names)):
        raise Refused(field, "different names of columns with commas between them", text)
    return names


@lru_cache(maxsize=4)
def _prepared(location: str, asked: Asked, name: str, _: Hashable) -> TableRows:
    """Read and prepare a table once in a process, and again when its files have changed."""
    return prepared(shards_at(location, name), asked, redacted(location))


@lru_cache(maxsize=4)
def _alike(location: str, asked: Asked, coding: Coding, name: str, _: Hashable) -> TableRows:
    """Read a table in the coordinates of another one, once in a process, and again when its files have changed."""
    return alike(shards_at(location, name), asked, coding, redacted(location))
