"""Rows of a table as a source: samples, and conditions where a flow is given some, with the way back to the table."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar, Self

from components.conditions import Condition
from pipeline.data.joint import Conditioned
from pipeline.data.tables import kept
from pipeline.data.tables.coding import FILE, Coding
from pipeline.data.tables.encoding import ARRAYS, DESCRIPTION


@dataclass(frozen=True, eq=False)
class TableRows(Conditioned):
    """The rows of a table in coordinates, some to train on and others held out.

    Attributes:
        coding: how they became what they are.
    """

    coding: Coding = field(kw_only=True)
    kept_as: ClassVar[str] = "table"

    @property
    def only_condition(self) -> Condition:
        """Give the one condition that the rows were prepared with."""
        ((condition, _, _),) = self.given.values()
        return condition

    @cached_property
    def digest(self) -> str:
        """Hash all coordinates, conditions, weights, and how they became what they are."""
        digest = hashlib.sha256(Conditioned.digest.func(self).encode())  # type: ignore[attr-defined]  # of a cached property
        for name, content in sorted(self.coding.files().items()):
            digest.update(name.encode() + content)
        return digest.hexdigest()

    def files(self) -> dict[str, kept.File]:
        """Give all that these rows are, by the name of the file that each part is kept in."""
        return {**super().files(), **self.coding.files()}

    @classmethod
    def of_files(cls, contents: Mapping[str, Any], **others: Any) -> Self:
        """Make the rows again of what `files` has given."""
        coding = Coding.of_files({name: contents[name] for name in (FILE, DESCRIPTION, ARRAYS)})
        return super().of_files(contents, coding=coding, **others)
