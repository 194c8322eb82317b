"""A table as coordinates that a flow learns, and generated coordinates as a table."""

import io
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from pipeline.data.tables.codes.conform import conformed
from pipeline.data.tables.codes.fitting import Fitting, Floats
from pipeline.data.tables.columns import Code, fitted, restored
from pipeline.data.tables.schema import Schema
from pipeline.errors import Corrupt, Unusable

DESCRIPTION, ARRAYS = "encoding.json", "encoding.npz"
FORMAT = 1
BLOCK = 1 << 18
"""Rows that are encoded and decoded at once, so that a large table needs little beside its coordinates."""


@dataclass(frozen=True, eq=False)
class Encoding:
    """The fitted codes of all columns of a table.

    Categories, missing values and constants come back exactly. So do numbers and dates of a grid of fewer than 10,000 steps.
    Others come back to some 1e-4 of their range at worst, on their grid, since coordinates have 32 bits.

    Example:
        >>> from pipeline.data.tables.inference import infer
        >>> table = pa.table({"x": [0.5, 1.0, 2.5, 4.0], "colour": ["red", "blue", "red", "red"]})
        >>> encoding = Encoding.fit(infer(table), table)
        >>> encoding.decode(encoding.encode(table, np.random.default_rng(0))).equals(table)
        True

    Attributes:
        codes: by the name of a column, in the order of the schema.
    """

    schema: Schema
    codes: Mapping[str, Code]

    @classmethod
    def fit(cls, schema: Schema, table: pa.Table, weights: Floats | None = None, others: pa.Table | None = None) -> "Encoding":
        """Fit the codes to a table that the schema describes.

        Args:
            weights: of the rows, each above 0; None: all count alike.
            others: further rows that are to come back from their coordinates, such as those that are held out.

        Raises:
            Unusable: it does not, or cannot be fitted to; names the column and the reason.
        """
        codes = {}
        for column in schema.kept:
            further = None if others is None else conformed(column, others)
            codes[column.name] = fitted(column, Fitting(conformed(column, table), weights, further))
        return cls(schema, codes)

    @property
    def names(self) -> tuple[str, ...]:
        """List the names of the coordinates: of a column, and of what its coordinate is."""
        return tuple(f"{name}{suffix}" for name, code in self.codes.items() for suffix in code.suffixes)

    @property
    def width(self) -> int:
        """Count the coordinates of a row."""
        return len(self.names)

    def encode(self, table: pa.Table, rng: np.random.Generator) -> np.ndarray:
        """Give the n rows of a table as coordinates (n, width) of 32 bits, each of about mean 0 and variance 1.

        Args:
            table: with the columns of the schema, in any order; others are left out.
            rng: spreads choices and grids; equal states give equal coordinates.

        Raises:
            Unusable: a column is missing, or has values that the schema does not know.
        """
        columns = {column.name: conformed(column, table) for column in self.schema.kept}
        coordinates = np.empty((table.num_rows, self.width), np.float32)
        for start in range(0, table.num_rows, BLOCK):
            for name, first, last in self._places():
                values = columns[name].slice(start, BLOCK)
                coordinates[start : start + BLOCK, first:last] = self.codes[name].encode(values, rng)
        return coordinates

    def decode(self, samples: np.ndarray) -> pa.Table:
        """Give coordinates (n, width) as a table with the columns, types, categories, grids and bounds of the original.

        Raises:
            Unusable: they have another width, or are not finite.
        """
        if samples.ndim != 2 or samples.shape[1] != self.width:
            raise Unusable(f"coordinates of this table must be of the shape (n, {self.width}), not {samples.shape}")
        if not np.isfinite(samples).all():
            raise Unusable("coordinates of a table must be finite numbers, and some are not")
        blocks = [self._decoded(samples[start : start + BLOCK]) for start in range(0, max(1, len(samples)), BLOCK)]
        return pa.concat_tables(blocks)

    def _decoded(self, samples: np.ndarray) -> pa.Table:
        arrays = [self.codes[name].decode(samples[:, first:last]) for name, first, last in self._places()]
        types = [(column.name, column.arrow_type) for column in self.schema.kept]
        return pa.Table.from_arrays(arrays, schema=pa.schema(types))

    def _places(self) -> Iterator[tuple[str, int, int]]:
        """Say where the coordinates of each column begin and end."""
        first = 0
        for name, code in self.codes.items():
            yield name, first, first + len(code.suffixes)
            first += len(code.suffixes)

    def to_files(self) -> dict[str, bytes]:
        """Write the encoding as JSON and arrays; equal encodings give equal bytes."""
        file = io.BytesIO()
        arrays = [sorted(code.arrays().items()) for code in self.codes.values()]
        named = {f"{number}.{name}": array for number, of_column in enumerate(arrays) for name, array in of_column}
        np.savez(file, allow_pickle=False, **named)
        described = json.dumps({"format": FORMAT, **self.schema.described()}, ensure_ascii=False, indent=1)
        return {DESCRIPTION: described.encode(), ARRAYS: file.getvalue()}

    @classmethod
    def from_files(cls, files: Mapping[str, bytes]) -> "Encoding":
        """Make the encoding again of the files that `to_files` has written.

        Raises:
            Corrupt: it is not that, or of another format.
        """
        try:
            described = json.loads(files[DESCRIPTION])
            if described.pop("format") != FORMAT:
                raise Corrupt(DESCRIPTION, f"its format is not {FORMAT}, which this program reads")
            schema = Schema.from_described(described)
            with np.load(io.BytesIO(files[ARRAYS]), allow_pickle=False) as stored:
                named = {name: stored[name] for name in stored.files}
        except (KeyError, ValueError, TypeError, OSError) as error:
            raise Corrupt(DESCRIPTION, str(error)) from error
        codes = {}
        for number, column in enumerate(schema.kept):
            of_column = {name.partition(".")[2]: array for name, array in named.items() if name.partition(".")[0] == str(number)}
            codes[column.name] = restored(column, of_column)
        return cls(schema, codes)
