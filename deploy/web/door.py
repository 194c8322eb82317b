"""The door of the service: who may ask, and in which form. Nothing goes further until all of a request is there."""

import asyncio
import hmac
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from email.message import Message as Header
from http import HTTPStatus
from urllib.parse import parse_qsl

from fastapi import Request
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from deploy.access import is_loopback
from deploy.web.bodies import EXAMPLE
from deploy.web.points import EXAMPLE_OF_POINTS, MOST_POINT_BYTES, OPTIONS, POINT_FILES
from deploy.web.refusals import RETRY_AFTER, Rejected, refusal

MODEL_PATH, SAMPLES_PATH, TRANSPORT_PATH = "/v1/model", "/v1/samples", "/v1/transport"
DOCS_PATH, SCHEMA_PATH = "/docs", "/openapi.json"
OPEN_PATHS = ("/", "/healthz", "/readyz", DOCS_PATH, SCHEMA_PATH)
"""Paths that need no token, as do those under /docs/: no secret is behind them, and the page asks for the token itself."""
PARAMETERS = {MODEL_PATH: {"version"}, SAMPLES_PATH: set[str](), TRANSPORT_PATH: OPTIONS}
"""Query parameters that a path takes; other paths take no notice of what stands behind the question mark."""
MOST_QUERY_BYTES = 2_048
MOST_HEADER_BYTES = 32_768
MOST_HELD_BYTES = 32 * MOST_POINT_BYTES
"""Bytes of bodies that a replica has in hand; one body may exceed it."""
BODY_SECONDS = 10.0
"""Longest time until the whole of a body has come."""

HARDENING = {"X-Content-Type-Options": "nosniff", "Cross-Origin-Resource-Policy": "same-origin"}


@dataclass(frozen=True)
class Form:
    """The bodies that a path takes: how long, and in which media types beside JSON.

    Attributes:
        example: of one in JSON.
    """

    most_bytes: int
    media_types: tuple[str, ...]
    example: str


FORMS = {
    SAMPLES_PATH: Form(65_536, (), EXAMPLE),
    TRANSPORT_PATH: Form(MOST_POINT_BYTES, tuple(POINT_FILES), EXAMPLE_OF_POINTS),
}
"""What the paths that take a body take."""


@dataclass(frozen=True)
class Access:
    """The conditions on which the service lets a request in: its token, and the names under which it may be asked.

    >>> Access(hosts=("demo.example.org",)).token is None
    True

    Attributes:
        token: bearer token that requests must carry; None for none.
        hosts: names beside this machine's own that the Host header may have. With a token and no names, any is good.
    """

    token: str | None = None
    hosts: tuple[str, ...] = ()


def check_host(request: Request, access: Access) -> None:
    """Refuse a Host header with a name that somebody else may have pointed at this machine (DNS rebinding)."""
    if access.token is not None and not access.hosts:  # a page of theirs does not have the token
        return
    headers = request.headers.getlist("host")
    match = re.fullmatch(r"(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(:[0-9]{1,5})?", headers[0].lower()) if len(headers) == 1 else None
    name = match[1].strip("[]").removesuffix(".") if match else ""
    if not is_loopback(name) and name not in access.hosts:
        sentence = "the Host header must be localhost, 127.0.0.1 or another name that this service was told with --hosts"
        raise Rejected(HTTPStatus.MISDIRECTED_REQUEST, sentence)


def check_origin(request: Request, access: Access) -> None:
    """Refuse a request that a page of another site makes a browser send, where no token tells it apart."""
    origin = request.headers.get("origin")
    if access.token is None and origin is not None and origin.partition("://")[2].lower() != request.headers["host"].lower():
        raise Rejected(HTTPStatus.FORBIDDEN, "a page of another site may not use this service; Origin and Host must be the same")


def check_token(request: Request, access: Access) -> None:
    """Refuse a request without the service's bearer token, where there is one and the path is not open."""
    path = request.scope["path"]
    if access.token is None or path in OPEN_PATHS or path.startswith(f"{DOCS_PATH}/"):
        return
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    # The time that a comparison takes would tell how much of a guess is right.
    is_right = hmac.compare_digest(token.encode(), access.token.encode())
    if not is_right or scheme.lower() != "bearer":
        sentence = "send the token of this service as Authorization: Bearer TOKEN"
        raise Rejected(HTTPStatus.UNAUTHORIZED, sentence, {"WWW-Authenticate": "Bearer"})


def check_address(request: Request, _: Access) -> None:
    """Refuse headers and query strings that are too long, and parameters that nobody would read."""
    if sum(len(name) + len(value) for name, value in request.headers.raw) > MOST_HEADER_BYTES:
        sentence = f"the headers must have at most {MOST_HEADER_BYTES} bytes"
        raise Rejected(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, sentence)
    query, path = request.scope["query_string"], request.scope["path"]
    if len(query) > MOST_QUERY_BYTES:
        raise Rejected(HTTPStatus.REQUEST_URI_TOO_LONG, f"the query string must have at most {MOST_QUERY_BYTES} bytes")
    parameters = PARAMETERS.get(path)
    if parameters is None:
        return
    for name, times in Counter(name for name, _ in parse_qsl(query.decode("latin-1"), keep_blank_values=True)).items():
        if name not in parameters:
            names = ", ".join(parameters) or "none: fields belong into the JSON body"
            raise Rejected(HTTPStatus.UNPROCESSABLE_ENTITY, f"{name!a} is no query parameter of {path}, which takes {names}")
        if times > 1:
            raise Rejected(HTTPStatus.UNPROCESSABLE_ENTITY, f"{name} must be given once, not {times} times")


def check_form(request: Request, _: Access) -> None:
    """Refuse bodies of unknown length, bodies that are too long or not declared as JSON, and bodies that nobody would read."""
    if request.method in ("GET", "HEAD") and has_body(request):
        raise Rejected(HTTPStatus.BAD_REQUEST, f"{request.method} takes no body")
    if not takes_body(request):
        return
    length = request.headers.get("content-length", "0")
    if "transfer-encoding" in request.headers or not (length.isascii() and length.isdigit()):
        raise Rejected(HTTPStatus.LENGTH_REQUIRED, "send the body with a Content-Length")
    form = FORMS[request.scope["path"]]
    if len(length) > 9 or int(length) > form.most_bytes:
        raise Rejected(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"the body must have at most {form.most_bytes} bytes")
    content = Header()
    content["content-type"] = request.headers.get("content-type", "none")
    media = content.get_content_type()
    is_json = re.fullmatch(r"application/(json|.+\+json)", media) or media in form.media_types
    # A form of any web page could post another body to a service on this machine, but none can declare it as JSON.
    if int(length) and not (is_json and content.get_content_charset("utf-8") in ("utf-8", "utf8")):
        line = f"curl -H 'Content-Type: application/json' -d '{form.example}' URL"
        others = f", or one of {', '.join(form.media_types)}" if form.media_types else ""
        sentence = f"the Content-Type header must be application/json, as in {line}{others}, not {content['content-type']!a}"
        raise Rejected(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, sentence)


CHECKS = (check_host, check_origin, check_token, check_address, check_form)


def takes_body(request: Request) -> bool:
    """Say whether the service reads the body of a request: that of one for samples, or of one with points."""
    return bool(request.method == "POST" and request.scope["path"] in FORMS)


def has_body(request: Request) -> bool:
    """Say whether the headers of a request announce a body."""
    return "transfer-encoding" in request.headers or request.headers.get("content-length", "0") != "0"


async def whole_body(receive: Receive) -> Receive:
    """Wait for the whole body of a request, and return a `receive` that gives it in one piece.

    Raises:
        Rejected: the body did not come within `BODY_SECONDS`, or the connection ended before it did.
    """
    body = b""
    message: Message = {"more_body": True}
    try:
        async with asyncio.timeout(BODY_SECONDS):
            while message.get("more_body", False):
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise Rejected(HTTPStatus.BAD_REQUEST, "the connection ended before the body did")
                body += message.get("body", b"")
    except TimeoutError:
        sentence = f"the body did not come within {BODY_SECONDS:g} seconds"
        raise Rejected(HTTPStatus.REQUEST_TIMEOUT, sentence) from None
    messages = iter([{"type": "http.request", "body": body, "more_body": False}])

    async def again() -> Message:
        return next(messages, None) or await receive()

    return again


class Door:
    """Middleware that refuses what can be refused before the service is asked, answers HEAD as GET, and counts.

    Plain ASGI: FastAPI's own decorator for middleware would copy every body through a queue of its own.

    Args:
        count: is called with the status of every request for samples or with points.
    """

    def __init__(self, app: ASGIApp, access: Access, count: Callable[[int], None]) -> None:
        self.app, self.access, self.count = app, access, count
        self.held = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand a request that passes all checks on to the application, or answer it here with a refusal."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request = Request(scope)
        answer, unread, num_bytes = self.app, has_body(request), 0
        try:
            try:
                for check in CHECKS:
                    check(request, self.access)
                if takes_body(request):
                    num_bytes = self.hold(request)
                    receive = await whole_body(receive)
                    unread = False
            except Rejected as error:
                answer = refusal(error.status_code, error.sentence, dict(error.headers or {}))
            forwarded = {**scope, "method": "GET"} if request.method == "HEAD" else scope
            await answer(forwarded, receive, self.outwards(request, send, unread))
        finally:
            self.held -= num_bytes

    def hold(self, request: Request) -> int:
        """Count the bytes of a request's body among those in hand, and return them.

        Raises:
            Rejected: there are too many already; status 429.
        """
        num_bytes = int(request.headers.get("content-length", "0"))
        if self.held and self.held + num_bytes > MOST_HELD_BYTES:
            raise Rejected(HTTPStatus.TOO_MANY_REQUESTS, "too many requests are waiting; try again", RETRY_AFTER)
        self.held += num_bytes
        return num_bytes

    def outwards(self, request: Request, send: Send, unread: bool) -> Send:
        """Wrap `send`: answers get their security headers, those for samples are counted, those to HEAD lose their body.

        Args:
            unread: whether the request's body was not read; the connection is then of no more use, and is closed.
        """

        async def sent(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.update(HARDENING | ({"Connection": "close"} if unread else {}))
                if request.scope["path"] in FORMS:
                    self.count(message["status"])
            elif request.method == "HEAD":
                message = {**message, "body": b""}
            await send(message)

        return sent
