"""What a request for samples may say: its fields, JSON read strictly, and sentences about what is wrong with either."""

import json
from collections.abc import Awaitable, Callable, Sequence
from http import HTTPStatus
from typing import Annotated, Any, Literal, NoReturn

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StrictInt, WithJsonSchema

from deploy.web.refusals import Rejected, shown

MOST_SEED = 2**53 - 1
"""Largest integer up to which every reader of JSON tells all of them apart, JavaScript's included."""
MOST_VERSION = 10**9 - 1
EXAMPLE = '{"num_samples": 5}'
PATTERN = r"^((0|[1-9][0-9]{0,8})|[A-Za-z_][A-Za-z0-9_.-]{0,63})$"
EXCERPT = 20
MOST_TEXT = 200


def as_text(value: Any) -> Any:
    """Write the number of a version as text, as MLflow's registry keeps it; whatever else comes is left to pydantic."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MOST_VERSION else value


Which = Annotated[
    str,
    Field(pattern=PATTERN, strict=True),
    BeforeValidator(as_text),
    WithJsonSchema(
        {"anyOf": [{"type": "integer", "minimum": 0, "maximum": MOST_VERSION}, {"type": "string", "pattern": PATTERN}]}
    ),
]
"""Alias or number of a version: 2, "2" or "champion"."""


def as_condition(value: Any) -> Any:
    """Take the number or name of a class, or a list of numbers; which of these a version takes it says itself.

    Raises:
        ValueError: it is something else.
    """
    numbers = value if isinstance(value, list) else [value]
    is_text = isinstance(value, str) and len(value) <= MOST_TEXT
    if is_text or (numbers and all(isinstance(each, int | float) and not isinstance(each, bool) for each in numbers)):
        return value
    raise ValueError


Condition = Annotated[
    Any,
    BeforeValidator(as_condition),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "number"},
                {"type": "string", "maxLength": MOST_TEXT},
                {"type": "array", "items": {"type": "number"}, "minItems": 1},
                {"type": "null"},
            ]
        }
    ),
]
"""What samples are given: 3, "3", "sneaker", or [0.5, -1]."""


Seed = Annotated[StrictInt, Field(ge=0, le=MOST_SEED)]
Phase = Annotated[StrictInt, Field(ge=-1, le=10**9)]


class SampleRequest(BaseModel):
    """The body of POST /v1/samples: how many samples, of which version and phase, from which seed."""

    model_config = ConfigDict(
        extra="forbid", use_attribute_docstrings=True, json_schema_extra={"examples": [{"num_samples": 5, "seed": 0}]}
    )

    num_samples: Annotated[StrictInt, Field(ge=1, le=10**9)] = 1
    """how many; the service may be set to fewer"""
    seed: Seed | None = None
    """equal seeds give equal samples of a version; null draws one, which the answer tells. At most 2^53 - 1, so that the answer's
    number is exact in every client"""
    version: Which | None = None
    """alias or number of another version, the number as a number or as text; null: the one that is served"""
    phase: Phase | None = None
    """draw from mu_{k+1} = T_k of this phase k; -1: the noise x; null: the last"""
    condition: Condition | None = None
    """of a conditional model: the number or name of the class that all samples are given, or values; null: drawn for each from
    the data's distribution. GET /v1/model tells the classes"""
    format: Literal["json", "npy", "arrow", "png"] | None = None
    """null: what the Accept header asks for. Of a model of tables JSON and Arrow have its columns, npy the coordinates behind
    them"""


def refuse(sentence: str) -> NoReturn:
    """Refuse a request because its body cannot be read.

    Raises:
        Rejected: always, with status 400 and the sentence.
    """
    raise Rejected(HTTPStatus.BAD_REQUEST, sentence)


def value_of(content: bytes) -> Any:
    """Read a body as JSON in UTF-8, strictly: no key may stand twice, and NaN and Infinity are no numbers.

    >>> value_of(b'{"num_samples": 5}')
    {'num_samples': 5}

    Raises:
        Rejected: the body is anything else; the sentence says where.
    """
    try:
        document = content.decode("utf-8-sig")  # some clients begin with a byte order mark
        return json.loads(document, object_pairs_hook=_each_key_once, parse_constant=_no_constant)
    except UnicodeDecodeError as error:
        refuse(f"the body must be JSON in UTF-8: its byte 0x{content[error.start]:02x} at position {error.start} is not")
    except json.JSONDecodeError as error:
        excerpt = error.doc[error.pos : error.pos + EXCERPT]
        problem = f"not {shown(excerpt)}" if excerpt else "but the body ends there"
        refuse(f"the body is not JSON: {error.msg} at line {error.lineno}, column {error.colno}, {problem}")
    except RecursionError:
        refuse(f"the body is nested too deeply; send an object such as {EXAMPLE}")
    except ValueError:  # Python reads no integer of more than 4300 digits
        refuse("the body has a number of too many digits")


def _each_key_once(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    value: dict[str, Any] = {}
    for key, item in pairs:
        if key in value:
            refuse(f"the body has the key {shown(key)} twice")
        value[key] = item
    return value


def _no_constant(name: str) -> NoReturn:
    refuse(f"the body has {name}, which is no number of JSON")


class StrictRequest(Request):
    """A request whose body is read as JSON by the strict `value_of`, not by Starlette."""

    async def json(self) -> Any:
        """Read the request's body as one strict JSON value."""
        return value_of(await self.body())


class StrictRoute(APIRoute):
    """A route whose requests are `StrictRequest`, so that their bodies are read strictly."""

    def get_route_handler(self) -> Callable[[Request], Awaitable[Response]]:  # type: ignore[override]  # as said below
        """Wrap FastAPI's handler so that it gets a `StrictRequest`. FastAPI declares a coroutine; it awaits whatever it gets."""
        handle = super().get_route_handler()

        async def strictly(request: Request) -> Response:
            return await handle(StrictRequest(request.scope, request.receive))

        return strictly


RULES = {
    "int_type": "must be an integer, written without a point, an exponent or quotes",
    "string_type": "must be an alias or the number of a version",
    "string_pattern_mismatch": "must be an alias or the number of a version",
    "literal_error": "must be one of {expected}",
    "greater_than_equal": "must be at least {ge}",
    "less_than_equal": "must be at most {le}",
    "list_type": "must be a list",
    "dict_type": "must be an object, with a list for each column",
    "value_error": "must be the number or name of a class, or a list of numbers",
    "extra_forbidden": "is no field of a request; fields are {fields}",
}
"""The rule that each of pydantic's errors breaks, as a client reads it."""


def sentence_of(error: RequestValidationError, request: type[BaseModel] = SampleRequest, example: str = EXAMPLE) -> str:
    """Say the first thing that is wrong with a request in one sentence: the field, the rule, the value.

    Args:
        request: what its body may say.
        example: of a body.
    """
    first = error.errors()[0]
    field = ".".join(str(part) for part in first["loc"][1:])
    if not field:
        problem = "but it is empty" if first["type"] == "missing" else f"not {shown(first['input'])}"
        return f"the body must be a JSON object such as {example}, {problem}"
    template = RULES.get(first["type"])
    rule = first["msg"] if template is None else template.format(**first.get("ctx", {}), fields=", ".join(request.model_fields))
    name = field if field.isidentifier() and field.isascii() else shown(field)
    value = "" if first["type"] == "extra_forbidden" else f", not {shown(first['input'])}"
    return f"{name} {rule}{value}"
