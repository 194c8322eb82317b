"""The whole way from a table to samples with conditions, and back to a table with the original's columns."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from components.conditions import Condition, Conditions
from pipeline.data.tables.codes import arrow_types
from pipeline.data.tables.codes.arrow_types import type_of
from pipeline.data.tables.encoding import Encoding
from pipeline.errors import Unusable

FILE = "coding.json"
EXACT = 1e-6
"""Of a deviation: to so much values come back from 32 bits."""
MOST_CLASSES = 50
"""Different whole numbers of a column that are taken for classes; where there are more, they are values."""
Cell = str | int | float | bool


@dataclass(frozen=True)
class Given:
    """The columns that a flow is conditioned on: one of classes, or some of numbers.

    Attributes:
        columns: their names.
        types: of Arrow, as text.
        cells: of classes, the cell that stands for each; None for a number between others that no row has.
    """

    condition: Condition
    columns: tuple[str, ...]
    types: tuple[str, ...]
    cells: tuple[Cell | None, ...] = ()

    @property
    def arrow_types(self) -> list[pa.DataType]:
        """List the types of Arrow that the columns of the condition have."""
        return [type_of(text) for text in self.types]

    @classmethod
    def of(cls, table: pa.Table, columns: Sequence[str]) -> "Given":
        """Find what kind of condition the columns of a table are: numbers, standardised, or the classes of one column.

        Raises:
            Unusable: a value is missing, or is neither a number, text nor true or false; columns of classes stand beside others.
        """
        for name in columns:
            kind = table[name].type
            if not (arrow_types.is_category(kind) or arrow_types.is_number(kind)):
                raise Unusable(
                    f"data.condition: column {name!r} holds {kind}, and a condition is numbers, text, or true and false: "
                    "write it as such"
                )
            if table[name].null_count:
                raise Unusable(f"data.condition: column {name!r} has missing values; fill them, or leave the rows out")
        types = tuple(str(table[name].type) for name in columns)
        classes_of = [_classes(table[name]) for name in columns]
        if len(columns) == 1 and classes_of[0] is not None:
            name, cells = columns[0], _numbered(classes_of[0])
            labels = tuple(str(i) if cell is None else _label(name, cell, i) for i, cell in enumerate(cells))
            return cls(Condition(name, labels), tuple(columns), types, tuple(cells))
        texts = [
            name
            for name, classes in zip(columns, classes_of, strict=True)
            if classes is not None and not _is_numeric(table[name])
        ]
        if texts:
            raise Unusable(
                f"data.condition: {texts[0]!r} is a column of classes, which stands alone, or numbers beside each other"
            )
        numbers = _numbers(table, columns)
        scale = np.maximum(numbers.std(0), 1e-12)
        units = {"shift": tuple(numbers.mean(0).tolist()), "scale": tuple(scale.tolist())}
        return cls(Condition(",".join(columns), num_values=len(columns), **units), tuple(columns), types)

    def encode(self, table: pa.Table) -> Conditions:
        """Give the conditions of the n rows of a table: numbers of classes, or standardised values (n, v).

        Raises:
            Unusable: a class is none of those that are known.
        """
        if not self.cells:
            shift, scale = (np.array(each) for each in (self.condition.shift, self.condition.scale))
            values: Conditions = ((_numbers(table, self.columns) - shift) / scale).astype(np.float32)
            return values
        numbers = {cell: i for i, cell in enumerate(self.cells) if cell is not None}
        column = table[self.columns[0]]
        different = column.unique()
        for cell in different.to_pylist():
            if cell not in numbers:
                raise Unusable(f"data.condition: {self.columns[0]!r} has {cell!r}, which no training row has")
        of_different = np.array([numbers[cell] for cell in different.to_pylist()], dtype=np.int64)
        plain = column.cast(column.type.value_type) if pa.types.is_dictionary(column.type) else column
        known = different.dictionary_decode() if pa.types.is_dictionary(column.type) else different
        places: Conditions = of_different[np.asarray(pc.index_in(plain, known))]
        return places

    def decode(self, conditions: Conditions) -> dict[str, pa.Array]:
        """Give the columns of conditions again."""
        types = self.arrow_types
        if self.cells and pa.types.is_dictionary(types[0]):  # of all classes, also those that are not among these
            known = [number for number, cell in enumerate(self.cells) if cell is not None]
            places = pa.array(np.searchsorted(known, conditions), mask=~np.isin(conditions, known)).cast(types[0].index_type)
            classes = pa.array([self.cells[number] for number in known]).cast(types[0].value_type)
            return {self.columns[0]: pa.DictionaryArray.from_arrays(places, classes, ordered=types[0].ordered)}
        if self.cells:
            cells = pa.array([self.cells[number] for number in conditions])
            return {self.columns[0]: pc.cast(cells, types[0], safe=False)}
        shift, scale = (np.array(each) for each in (self.condition.shift, self.condition.scale))
        numbers = conditions.astype(np.float64) * scale + shift
        places = np.maximum(0, np.ceil(-np.log10(scale * EXACT))).astype(int)  # what 32 bits say of them
        numbers = np.stack([np.round(column, at) for column, at in zip(numbers.T, places, strict=True)], axis=1)
        named = zip(self.columns, types, numbers.T, strict=True)
        return {name: _of_numbers(column, kind) for name, kind, column in named}


@dataclass(frozen=True, eq=False)
class Coding:
    """How a table becomes samples, and conditions where a flow is given some, and how these become a table again.

    Attributes:
        encoding: of the columns that a flow makes.
        names: of all columns, in the order of the original.
        given: the columns that a flow is conditioned on; None where there are none.
    """

    encoding: Encoding
    names: tuple[str, ...]
    given: Given | None = None

    def table(self, samples: np.ndarray, conditions: Conditions | None = None) -> pa.Table:
        """Make a table of samples (n, width), with the conditions that they were given, in the original's columns."""
        made = self.encoding.decode(samples)
        columns = {name: made[name] for name in made.column_names}
        if self.given is not None and conditions is not None:
            columns |= self.given.decode(conditions)
        return pa.table({name: columns[name] for name in self.names if name in columns})

    def files(self) -> dict[str, bytes]:
        """Write the coding as JSON and arrays, by the name of each file; equal codings give equal bytes."""
        about: dict[str, Any] = {"names": list(self.names), "given": None if self.given is None else asdict(self.given)}
        return {**self.encoding.to_files(), FILE: json.dumps(about, ensure_ascii=False, indent=1).encode()}

    @classmethod
    def of_files(cls, contents: Mapping[str, Any]) -> "Coding":
        """Make the coding again of the files that `files` has written."""
        about = json.loads(contents[FILE])
        given = about["given"]
        if given is not None:
            given = Given(Condition.of(given["condition"]), tuple(given["columns"]), tuple(given["types"]), tuple(given["cells"]))
        return cls(Encoding.from_files(contents), tuple(about["names"]), given)


def _classes(column: pa.ChunkedArray) -> list[Cell] | None:
    """List the classes of a column, in order; None where it is numbers, which are no classes if there are many or fractions."""
    values = column.unique()
    if pa.types.is_floating(column.type) or pa.types.is_decimal(column.type):
        return None
    if _is_numeric(column) and len(values) > MOST_CLASSES:
        return None
    return sorted(values.to_pylist())


def _numbered(cells: Sequence[Cell]) -> list[Cell | None]:
    """Let small whole numbers be the classes of those numbers, so that a person asks for 3 by writing 3."""
    whole = all(isinstance(cell, int) and not isinstance(cell, bool) and 0 <= cell < 1000 for cell in cells)
    return [cell if cell in set(cells) else None for cell in range(int(cells[-1]) + 1)] if whole else list(cells)


def _label(name: str, cell: Cell, number: int) -> str:
    """Name a class by its cell; a number that is not its own place by its column too."""
    text = {True: "true", False: "false"}.get(cell, str(cell)) if isinstance(cell, bool) else str(cell)
    return f"{name}={text}" if text.isdecimal() and text != str(number) else text


def _is_numeric(column: pa.ChunkedArray) -> bool:
    return bool(pa.types.is_integer(column.type) or pa.types.is_floating(column.type) or pa.types.is_decimal(column.type))


def _numbers(table: pa.Table, columns: Sequence[str]) -> np.ndarray:
    for name in columns:
        if not _is_numeric(table[name]):
            raise Unusable(f"data.condition: column {name!r} holds {table[name].type}, and not numbers")
    arrays = [pc.cast(table[name], pa.float64(), safe=False).to_numpy() for name in columns]
    numbers = np.stack(arrays, axis=1)
    if not np.isfinite(numbers).all():
        raise Unusable(f"data.condition: columns {', '.join(columns)} have a number that is not finite")
    return numbers


def _of_numbers(numbers: np.ndarray, kind: pa.DataType) -> pa.Array:
    """Bring numbers to a type, rounded where it holds whole ones."""
    if pa.types.is_integer(kind):
        low, high = (2.0 ** (8 * kind.byte_width - 1), 2.0 ** (8 * kind.byte_width - 1) - 1)
        bounds = (-low, high) if pa.types.is_signed_integer(kind) else (0.0, 2 * high + 1)
        return pa.array(np.clip(np.rint(numbers), *bounds)).cast(kind, safe=False)
    return pa.array(numbers).cast(kind, safe=False)
