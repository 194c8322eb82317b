"""The HTTP side of the service: bodies, refusals of one sentence, the token. Nothing of Ray."""

import hmac
from collections.abc import Callable
from http import HTTPStatus
from pathlib import Path
from typing import Annotated, Literal

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse
from pydantic import BaseModel, ConfigDict, Field, StrictInt
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pipeline.errors import FlowError

PAGE = Path(__file__).with_name("page.html")
OPEN_PATHS = ("/", "/healthz", "/readyz")
"""No secret is behind them; the page asks for the token itself."""
RETRY_AFTER = {"Retry-After": "1"}
SAMPLES_PATH = "/v1/samples"
MOST_BODY_BYTES = 65_536
PAGE_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; connect-src 'self'; img-src blob: data:; style-src 'unsafe-inline'; "
    "script-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Cache-Control": "no-cache",
}
Which = Annotated[str, Field(pattern=r"^([0-9]{1,9}|[A-Za-z_][A-Za-z0-9_.-]{0,63})$")]
"""Alias or number of a version."""


class SampleRequest(BaseModel):
    """Body of POST /v1/samples."""

    model_config = ConfigDict(extra="forbid")

    num_samples: Annotated[StrictInt, Field(ge=1, le=10**9)] = 1
    seed: Annotated[StrictInt, Field(ge=0, lt=2**63)] | None = None
    """equal seeds give equal samples of a version; None draws one, which the response tells"""
    version: Which | None = None
    """alias or number of another version, as text; None: the one that is served"""
    phase: Annotated[StrictInt, Field(ge=-1)] | None = None
    """draw from mu_{k+1} = T_k of this phase k; -1: the noise x; None: the last"""
    format: Literal["json", "npy", "arrow", "png"] | None = None
    """None: what the Accept header asks for"""


class Refusal(BaseModel):
    """Body of every answer that is not 200."""

    detail: str
    """one sentence: what is wrong and what to do"""


class Refused(Exception):
    """A request that is not served: status and one sentence."""

    def __init__(self, status: HTTPStatus, sentence: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(sentence)
        self.status, self.sentence, self.headers = status, sentence, headers


STATUSES = (400, 401, 404, 406, 411, 413, 422, 429, 503)


def refusal(status: HTTPStatus, sentence: str, headers: dict[str, str] | None = None) -> JSONResponse:
    """One sentence as JSON."""
    return JSONResponse({"detail": sentence}, status, headers)


def sentence_of(error: RequestValidationError) -> str:
    """The first thing that is wrong with a body: the field, the rule, the value."""
    first = error.errors()[0]
    field = ".".join(str(part) for part in first["loc"] if part != "body") or "the body"
    value = repr(first.get("input"))
    return f"{field}: {first['msg']}, not {value[:80]}"


def refusal_at_the_door(request: Request, token: str | None) -> JSONResponse | None:
    """What can be refused without reading the body."""
    if token is not None and request.scope["path"] not in OPEN_PATHS:
        given = request.headers.get("authorization", "").encode()
        if not hmac.compare_digest(given, f"Bearer {token}".encode()):
            sentence = "send the token of this service as Authorization: Bearer TOKEN"
            return refusal(HTTPStatus.UNAUTHORIZED, sentence, {"WWW-Authenticate": "Bearer"})
    if request.method == "POST":
        length = request.headers.get("content-length", "")
        if not length.isdigit():
            return refusal(HTTPStatus.LENGTH_REQUIRED, "send the body with a Content-Length")
        if int(length) > MOST_BODY_BYTES:
            return refusal(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"the body must have at most {MOST_BODY_BYTES} bytes")
    return None


class Door:
    """Middleware that refuses what can be refused without reading the body, and counts every request for samples.

    Plain ASGI: FastAPI's own decorator for middleware would copy every body through a queue of its own.
    """

    def __init__(self, app: ASGIApp, token: str | None, count: Callable[[int], None]) -> None:
        self.app, self.token, self.count = app, token, count

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def counted(message: Message) -> None:
            if message["type"] == "http.response.start" and scope["path"] == SAMPLES_PATH:
                self.count(message["status"])
            await send(message)

        answer: ASGIApp = refusal_at_the_door(Request(scope), self.token) or self.app
        await answer(scope, receive, counted)


def web_app(name: str, token: str | None, count: Callable[[int], None]) -> FastAPI:
    """FastAPI with what concerns every request: the token, the size of the body, errors as one sentence, the page.

    Args:
        count: told the status of every request for samples.
    """
    app = FastAPI(
        title=f"S-JKO generator {name}",
        version="1",
        description="Samples in one network evaluation.",
        responses={status: {"model": Refusal, "description": HTTPStatus(status).phrase} for status in STATUSES},
    )

    app.add_middleware(Door, token=token, count=count)

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> Response:
        return refusal(HTTPStatus.UNPROCESSABLE_ENTITY, sentence_of(error))

    @app.exception_handler(Refused)
    async def refused(_: Request, error: Refused) -> Response:
        return refusal(error.status, error.sentence, error.headers)

    @app.exception_handler(FlowError)
    async def unavailable(_: Request, error: FlowError) -> Response:
        return refusal(HTTPStatus.SERVICE_UNAVAILABLE, str(error), RETRY_AFTER)

    @app.get("/", include_in_schema=False)
    async def page() -> Response:
        return HTMLResponse(PAGE.read_bytes(), headers=PAGE_HEADERS)

    return app
