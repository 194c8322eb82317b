"""What a registered version of a flow to a table brings along, so that `mlflow.pyfunc` takes and gives rows of that table.

This file is copied into such versions and imported from there, beside `sjko_sampler`: it may use nothing but MLflow and what
MLflow needs itself. The package that reads and writes rows is a copy of this project's, under a name of its own.
"""

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE

FOLDER, MODULE = "table", "pipeline.data.tables.coding"
WHOLE = [f"{sign}Int{bits}" for sign in ("", "U") for bits in (8, 16, 32, 64)]
GIVEN_TABLE, BLOCK = 25, 64
"""The random stream that rows are coded with, and how many are coded together: those of `deploy transport`."""


class RowSampler:
    """A generator whose samples are rows of a table, in front of the one that takes and gives coordinates.

    Args:
        sampler: maps points, with z and the condition beside them, to coordinates of rows.
        source: draws what stands beside points.
        coding: the way from rows to coordinates and back, a `Coding` of the package that travels with the version.
        starts_from_rows: points are rows of the table as well; else they are numbers, such as noise.
    """

    def __init__(self, sampler: Any, source: Any, coding: Any, *, starts_from_rows: bool) -> None:
        self._sampler, self._source, self._coding, self._starts_from_rows = sampler, source, coding, starts_from_rows
        self._given = () if coding.given is None else tuple(coding.given.columns)

    @classmethod
    def of(cls, path: str, described: Mapping[str, Any], sampler: Any, source: Any) -> "RowSampler":
        """Load the way to rows from a version's folder.

        Args:
            described: of the file `input.json`, what it says of rows.
        """
        files = {file.name: file.read_bytes() for file in (Path(path) / FOLDER).iterdir()}
        coding = importlib.import_module(f"{described['package']}.{MODULE}").Coding.of_files(files)
        return cls(sampler, source, coding, starts_from_rows=bool(described["starts_from_rows"]))

    def predict(self, data: Any, params: dict[str, Any] | None = None) -> pd.DataFrame:
        """Give a row of the table for each row, or each point, that is given; other columns stay beside it.

        Args:
            data: rows in the columns of the table, where the flow starts from such rows; else points, N(0, I) where the source is
                noise. Columns of the condition are that of each.
            params: `seed` of what is drawn, by default 0; `condition` of all rows.

        Raises:
            MlflowException: a column is missing, or a value is none that it can have.
        """
        asked = {"seed": 0, "condition": "", **(params or {})}
        frame = as_frame(data)
        if self._starts_from_rows and frame is None:
            raise refused(f"rows must be given by their columns {', '.join(self._coding.encoding.schema.names)}")
        given = [] if frame is None or asked["condition"] else [name for name in self._given if name in frame.columns]
        table = None if frame is None else table_of(frame)
        try:
            points = self._points(data, frame, table, int(asked["seed"]))
            brought = self._coding.given.encode(table) if given and len(given) == len(self._given) else None
        except ValueError as error:  # of the package that travels
            raise refused(str(error)) from error
        beside = self._source.beside(len(points), int(asked["seed"]), str(asked["condition"]))
        conditions = self._conditions(beside, brought)
        samples = self._sampler.predict(np.concatenate([points, beside], axis=1))
        made = frame_of(self._coding.table(np.asarray(samples), conditions))
        if frame is None:
            return made
        made = made.set_axis(frame.index)
        for name in given if brought is not None else ():
            made[name] = frame[name]
        return self._beside(frame, made)

    def _points(self, data: Any, frame: pd.DataFrame | None, table: pa.Table | None, seed: int) -> np.ndarray:
        """Make points of what is given, coded as the project's own programs code it."""
        if not self._starts_from_rows:
            return np.asarray(
                self._sampler.noise_of(data if frame is None else frame[self._coordinates(frame)])[:, : self._source.dim]
            )
        assert table is not None
        coded = [np.zeros((0, self._source.dim), np.float32)]
        for start in range(0, len(table), BLOCK):
            rows = np.minimum(np.arange(start, start + BLOCK), len(table) - 1)
            key, counter = np.array([seed, GIVEN_TABLE], dtype=np.uint64), np.array([0, 0, start, 0], dtype=np.uint64)
            rng = np.random.Generator(np.random.Philox(key=key, counter=counter))
            coded.append(self._coding.encoding.encode(table.take(rows), rng))
        return np.concatenate(coded)[: len(table)]

    def _coordinates(self, frame: pd.DataFrame) -> list[Any]:
        """Find the columns of points: those called as coordinates are; those called 0, 1, ...; else all but the table's own."""
        names = [str(name) for name in frame.columns]
        counted = [str(number) for number in range(self._source.dim)]
        coordinates = next((each for each in (list(self._coding.encoding.names), counted) if set(each) <= set(names)), None)
        if coordinates is not None:
            return [frame.columns[names.index(name)] for name in coordinates]
        return [column for column, name in zip(frame.columns, names, strict=True) if name not in self._given]

    def _conditions(self, beside: np.ndarray, brought: np.ndarray | None) -> np.ndarray | None:
        """Give the conditions as the coding writes them; those that rows bring take the place of what was drawn."""
        if self._coding.given is None:
            return None
        condition = self._coding.given.condition
        width = 1 if condition.classes else condition.num_values
        if brought is not None:
            units = brought[:, None] if condition.classes else condition.in_units(brought)
            beside[:, beside.shape[1] - width :] = units
            return brought
        drawn = beside[:, beside.shape[1] - width :]
        return np.rint(drawn[:, 0]).astype(np.int64) if condition.classes else np.asarray(condition.from_units(drawn))

    def _beside(self, frame: pd.DataFrame, made: pd.DataFrame) -> pd.DataFrame:
        """Put rows in place of what they were made of, in the order of the table where that was points."""
        if not self._starts_from_rows:
            taken = {*self._coordinates(frame), *made.columns}
            return pd.concat([frame[[name for name in frame.columns if name not in taken]], made], axis=1)
        rest = [name for name in made.columns if name not in frame.columns]
        return frame.assign(**{name: made[name] for name in made.columns if name in frame.columns}).join(made[rest])


def frame_of(table: pa.Table) -> pd.DataFrame:
    """Make a frame of a table whose missing values JSON has too: MLflow's server would write NaN, which no JSON is."""
    nullable = {pa.bool_(): pd.BooleanDtype(), pa.float32(): pd.Float32Dtype(), pa.float64(): pd.Float64Dtype()}
    nullable |= {getattr(pa, name.lower())(): pd.api.types.pandas_dtype(name) for name in WHOLE}
    frame = table.to_pandas()
    for name, column in zip(table.column_names, table.columns, strict=True):
        if pa.types.is_decimal(column.type):
            frame[name] = column.cast(pa.float64()).to_pandas()
        elif column.type in nullable and column.null_count:
            frame[name] = column.to_pandas(types_mapper=nullable.get)
        elif pa.types.is_string(column.type) and column.null_count:
            frame[name] = pd.Series(column.to_pylist(), dtype=object)
    return frame


def as_frame(data: Any) -> pd.DataFrame | None:
    """Make a frame of what has columns; None of arrays, tensors and lists of numbers."""
    if isinstance(data, pd.DataFrame):
        return data
    if isinstance(data, Mapping) and not (len(data) == 1 and np.ndim(next(iter(data.values()))) > 1):
        return pd.DataFrame(dict(data))
    is_records = isinstance(data, list) and bool(data) and isinstance(data[0], Mapping)
    return pd.DataFrame(data) if is_records else None


def table_of(frame: pd.DataFrame) -> pa.Table:
    """Make a table of a frame.

    Raises:
        MlflowException: a column holds what no table can.
    """
    try:
        return pa.Table.from_pandas(frame.set_axis([str(name) for name in frame.columns], axis=1), preserve_index=False)
    except (pa.ArrowException, TypeError, ValueError) as error:
        raise refused(f"a column holds what no table can: {error}") from error


def refused(reason: str) -> MlflowException:
    """Make the error that MLflow's own scoring server answers with status 400."""
    return MlflowException(reason, error_code=INVALID_PARAMETER_VALUE)
