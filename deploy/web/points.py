"""What a request with points may say: points in JSON or in a file, and how they are to be transported."""

import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Annotated, Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from fastapi import Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from deploy.web import packed
from deploy.web.bodies import MOST_TEXT, Condition, Phase, Seed, Which, value_of
from deploy.web.refusals import Rejected
from pipeline.data.given.coordinates import as_table
from pipeline.data.tables import formats
from pipeline.errors import Unusable

MOST_POINT_BYTES = 8 * 2**20
MOST_UNPACKED_BYTES = 16 * MOST_POINT_BYTES
"""Most bytes that a Parquet file or packed Arrow buffers may say they hold."""
EXAMPLE_OF_POINTS = '{"rows": [[0.5, -1]]}'
POINT_FILES = {
    "application/vnd.apache.arrow.stream": ".arrow",
    "application/vnd.apache.parquet": ".parquet",
    "application/x-npy": ".npy",
    "text/csv": ".csv",
}
"""Media types in which points may come beside JSON, and the ending of such a file."""
BODY = "the body"
NPY = b"\x93NUMPY"
Name = Annotated[str, Field(max_length=MOST_TEXT)]


class TransportRequest(BaseModel):
    """The body of POST /v1/transport in JSON: points as rows or as columns, by which version and phase, from which seed."""

    model_config = ConfigDict(
        extra="forbid",
        use_attribute_docstrings=True,
        json_schema_extra={"examples": [{"rows": [[0.5, -1], [0, 0.25]], "seed": 0}, {"columns": {"x": [0.5], "y": [-1]}}]},
    )

    rows: list[Any] | None = None
    """points, each a list of its coordinates in the source's own units; N(0, I) where the source is noise"""
    columns: dict[Name, list[Any]] | None = None
    """instead of rows: a list for each column. Columns that hold no coordinates come back as they are"""
    coordinates: list[Name] | None = None
    """columns with the coordinates, in order; null: those called 0, 1, ..., or one with lists, or all with numbers"""
    seed: Seed | None = None
    """of z: equal seeds give row i the same z; null draws one, which the answer tells"""
    version: Which | None = None
    """alias or number of another version; null: the one that is served"""
    phase: Phase | None = None
    """apply T_k of this phase k; -1: the identity; null: the last"""
    condition: Condition | None = None
    """of a conditional model: the class or the values that all points are given; null: drawn for each and told"""
    format: Literal["json", "npy", "arrow", "csv", "parquet"] | None = None
    """null: what the Accept header asks for, else as the points came"""


OPTIONS = set(TransportRequest.model_fields) - {"rows", "columns"}
"""Fields that stand in the query string where the body is a file."""


class Points:
    """A request with points that has been read.

    Attributes:
        asked: how the points are to be transported.
        table: of the points.
        came_as: format that they came in, one of those that they may go back in.
        is_array: whether they had no names of columns.
    """

    def __init__(self, asked: TransportRequest, given: "np.ndarray | pa.Table", came_as: str) -> None:
        self.asked, self.came_as, self.is_array = asked, came_as, isinstance(given, np.ndarray)
        self.table = as_table(given, BODY)


def points_in(request: Request, content: bytes, most_rows: int) -> Points:
    """Read the points of a request, and what it says of them.

    Raises:
        Rejected: they cannot be read, or are too many.
        RequestValidationError: a field is none, or has another value than it may have.
    """
    media = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    options = request.query_params
    try:
        if (ending := POINT_FILES.get(media)) is not None:
            if not content:
                raise Unusable(f"{BODY} is empty")
            _require_few(content, ending, most_rows)
            asked = _checked({name: _option(name, value) for name, value in options.items()})
            stream = packed.stream_of(content) if ending == ".arrow" else content  # what was looked at, and no other part
            return Points(asked, formats.parsed(stream, ending, BODY), ending[1:])
        if options:
            raise Rejected(HTTPStatus.UNPROCESSABLE_ENTITY, f"{next(iter(options))} belongs into the JSON body")
        asked = _checked(value_of(content) if content else None)
        return Points(asked, _in_json(asked), "json")
    except Unusable as error:
        raise Rejected(HTTPStatus.UNPROCESSABLE_ENTITY, str(error)) from None


def _checked(value: Any) -> TransportRequest:
    try:
        return TransportRequest.model_validate(value)
    except ValidationError as error:
        problems = error.errors(include_url=False)
        if value is None:
            problems = [{**problems[0], "type": "missing"}]
        raise RequestValidationError([{**each, "loc": (BODY, *each["loc"])} for each in problems]) from None


def _option(name: str, value: str) -> Any:
    """Read an option of the query string as JSON has it, but text without quotes, and names of columns with commas between."""
    if name == "coordinates":
        return value.split(",")
    try:
        return json.loads(value)
    except ValueError:
        return value


def _in_json(asked: TransportRequest) -> "np.ndarray | pa.Table":
    """Make an array or a table of the points that JSON holds.

    Raises:
        Unusable: they are no rows of one length, or no columns of one length.
    """
    if (asked.rows is None) == (asked.columns is None):
        raise Unusable(f"{BODY} must have either rows or columns, such as {EXAMPLE_OF_POINTS}")
    return _of_rows(asked.rows) if asked.columns is None else _of_columns(asked.columns)


def _of_rows(rows: "list[Any] | None") -> np.ndarray:
    try:
        array = np.asarray(rows)
        if array.dtype == object and all(item is None or type(item) in (int, float) for item in array.flat):
            array = array.astype(np.float64)  # None becomes NaN
    except (ValueError, OverflowError):
        array = np.zeros(0, object)
    if not rows:
        raise Unusable("rows has no rows")
    if array.dtype.kind not in "fiu" or array.ndim < 2:
        raise Unusable(f"rows must be lists of numbers, all of one length, such as {EXAMPLE_OF_POINTS}")
    return array


def _of_columns(columns: Mapping[str, list[Any]]) -> pa.Table:
    arrays = {}
    for name, values in columns.items():
        try:
            arrays[name] = pa.array(values)
        except (pa.ArrowException, OverflowError):
            raise Unusable(f"columns: {name!r} holds values of several kinds, or numbers that are too large") from None
    lengths = {name: len(array) for name, array in arrays.items()}
    if len(set(lengths.values())) > 1:
        raise Unusable(f"columns must have one length, not {', '.join(f'{name} {n}' for name, n in list(lengths.items())[:10])}")
    return pa.table(arrays)


def _require_few(content: bytes, ending: str, most_rows: int) -> None:
    """Refuse at once what a packed file says that it holds too much of, and an archive of arrays.

    Raises:
        Rejected: it says so; status 413.
        Unusable: it is no such file.
    """
    if ending == ".npy" and not content.startswith(NPY):
        raise Unusable(f"{BODY} is no .npy file, such as numpy.save writes")
    try:
        if ending == ".parquet":
            metadata = pq.read_metadata(pa.BufferReader(content))
            require_rows(metadata.num_rows, most_rows)
            _require_small(sum(metadata.row_group(group).total_byte_size for group in range(metadata.num_row_groups)))
        if ending == ".arrow":
            _require_small(packed.num_unpacked(packed.stream_of(content)))
    except (pa.ArrowException, OSError, ValueError) as error:
        raise Unusable(f"{BODY} is no {ending[1:].capitalize()} file: {str(error).splitlines()[0]}") from None


def _require_small(num_bytes: int) -> None:
    if num_bytes > MOST_UNPACKED_BYTES:
        sentence = f"the body must unpack to at most {MOST_UNPACKED_BYTES} bytes, not {num_bytes}"
        raise Rejected(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, sentence)


def require_rows(num_rows: int, most_rows: int) -> None:
    """Refuse too many rows, or none.

    Raises:
        Rejected: status 413, or 422.
    """
    if num_rows > most_rows:
        raise Rejected(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"there must be at most {most_rows} rows, not {num_rows}")
    if not num_rows:
        raise Rejected(HTTPStatus.UNPROCESSABLE_ENTITY, f"{BODY} has no rows")
