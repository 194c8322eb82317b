"""Refusals: a status and one sentence that says what is wrong and what to do."""

import json
from http import HTTPStatus
from typing import Any

from fastapi.exceptions import HTTPException
from fastapi.responses import JSONResponse
from pydantic import BaseModel

RETRY_AFTER = {"Retry-After": "1"}
MOST_SHOWN = 80


class Refusal(BaseModel):
    """The body of every answer whose status is not 200."""

    detail: str
    """one sentence: what is wrong and what to do"""


class Rejected(HTTPException):
    """The error of a request that is not served: a status, and one sentence that its client reads.

    >>> Rejected(HTTPStatus.NOT_FOUND, "there is no version 7").sentence
    'there is no version 7'
    """

    def __init__(self, status: HTTPStatus, sentence: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(status, sentence, headers)
        self.sentence = sentence


def refusal(status: int, sentence: str, headers: dict[str, str] | None = None) -> JSONResponse:
    """Make the JSON answer that refuses a request with a status and one sentence."""
    return JSONResponse({"detail": sentence}, status, headers)


def shown(value: Any) -> str:
    """Show a value of a request as the client wrote it, in ASCII and cut where it is long; lists and objects by their kind.

    >>> shown("dé"), shown([1, 2])
    ('"d\\\\u00e9"', 'a list')
    """
    if isinstance(value, dict | list):
        return "an object" if isinstance(value, dict) else "a list"
    written = json.dumps(value)
    return written if len(written) <= MOST_SHOWN else f"{written[:MOST_SHOWN]}..."
