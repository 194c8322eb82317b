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
    """Body of every answer that is not 200."""

    detail: str
    """one sentence: what is wrong and what to do"""


class Rejected(HTTPException):
    """A request that is not served: status and one sentence."""

    def __init__(self, status: HTTPStatus, sentence: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(status, sentence, headers)
        self.sentence = sentence


def refusal(status: int, sentence: str, headers: dict[str, str] | None = None) -> JSONResponse:
    """Make the answer that says one sentence."""
    return JSONResponse({"detail": sentence}, status, headers)


def shown(value: Any) -> str:
    """Show a value as the client wrote it, in ASCII, cut where it is long; lists and objects by their kind alone."""
    if isinstance(value, dict | list):
        return "an object" if isinstance(value, dict) else "a list"
    text = json.dumps(value)
    return text if len(text) <= MOST_SHOWN else f"{text[:MOST_SHOWN]}..."
