"""A table as a recipe asks for it, batch by batch: its columns, the weight of each row, and which rows are trained on."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.data.tables.passes.shards import Shards, Whole
from pipeline.data.tables.passes.split import ByHash
from pipeline.data.tables.reading import select
from pipeline.data.tables.schema import Schema
from pipeline.errors import Unusable

SPLITS = {"train": True, "training": True, "test": False, "held_out": False, "validation": False, "valid": False, "val": False}
"""Words of a column that says which rows are trained on."""


@dataclass(frozen=True)
class Asked:
    """What a recipe says of its table.

    Attributes:
        columns: those that are used, in their order; empty: all but `weights` and `split`.
        weights: the column of each row's weight.
        condition: the columns that the flow is conditioned on.
        split: the column that says which rows are trained on, and which held out; None: a hash of each row says so.
        schema: what the columns are; None: it is inferred.
    """

    columns: tuple[str, ...] = ()
    weights: str | None = None
    condition: tuple[str, ...] = ()
    split: str | None = None
    schema: Schema | None = None


@dataclass(frozen=True)
class AskedTable:
    """A table as it is asked for, batch by batch.

    Attributes:
        columns: those that are used.
        name: how messages call the table.
    """

    shards: Shards
    asked: Asked
    columns: tuple[str, ...]
    name: str

    @classmethod
    def of(cls, table: pa.Table | Shards, asked: Asked, name: str) -> "AskedTable":
        """Find the columns that are asked for.

        Raises:
            Unusable: there is none of a name, or there are two.
        """
        shards = Whole(table) if isinstance(table, pa.Table) else table
        extra = [column for column in (asked.weights, asked.split) if column is not None]
        empty = shards.schema.empty_table()
        select(empty, extra, name)
        columns = asked.columns or [column for column in shards.schema.names if column not in extra]
        chosen = select(empty, [column for column in columns if column not in extra], name)
        return cls(shards, asked, tuple(chosen.column_names), name)

    @property
    def schema(self) -> pa.Schema:
        """Name the columns that are used, with their types."""
        return pa.schema([self.shards.schema.field(column) for column in self.columns])

    def batches(self) -> Iterator[tuple[pa.Table, np.ndarray | None, np.ndarray]]:
        """Give the rows batch by batch, with the weight of each, and whether it is trained on; those of weight 0 are left out.

        Raises:
            Unusable: a row has no weight, or no part.
        """
        extra = [column for column in (self.asked.weights, self.asked.split) if column is not None]
        first, by_hash = 0, ByHash()
        for batch in self.shards.batches([*self.columns, *extra]):
            chosen, count = batch.select(list(self.columns)), len(batch)
            weights = None
            if self.asked.weights is not None:
                weights = _weights(batch[self.asked.weights], self.asked.weights, self.name, first)
            if self.asked.split is None:
                train = by_hash.trained(chosen)
            else:
                train = _by_column(batch[self.asked.split], self.asked.split, self.name)
            if weights is not None and not weights.all():  # such rows are never drawn, and are nothing that could be generated
                positive = weights > 0
                chosen, weights, train = chosen.filter(pa.array(positive)), weights[positive], train[positive]
            yield chosen, weights, train
            first += count


def _weights(column: pa.ChunkedArray, label: str, name: str, first: int) -> np.ndarray:
    """Read weights of rows from one of a number on, which are numbers from 0 on."""
    try:
        weights = pc.cast(column, pa.float64()).to_numpy()
    except pa.ArrowException:
        raise Unusable(f"{name}: weights must be numbers, and column {label!r} holds {column.type}") from None
    bad = np.flatnonzero(~(np.isfinite(weights) & (weights >= 0)))
    if len(bad):
        what = f"row {first + bad[0]} has {weights[bad[0]]:g}"
        raise Unusable(f"{name}: weights must be finite, at least 0 and not all 0; of column {label!r}, {what}")
    return np.asarray(weights)


def _by_column(column: pa.ChunkedArray, label: str, name: str) -> np.ndarray:
    """Read which rows are trained on from a column of words, or of truth values."""
    cells = column.to_pylist()
    words = {cell: SPLITS.get(str(cell).strip().lower()) if not isinstance(cell, bool) else cell for cell in set(cells)}
    strange = next((cell for cell, trained in words.items() if trained is None), None)
    if strange is not None or None in words:
        raise Unusable(f"{name}: column {label!r} must say train or test of each row, and has {strange!r}")
    return np.array([bool(words[cell]) for cell in cells])
