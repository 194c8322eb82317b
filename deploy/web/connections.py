"""Limits of a connection, for which uvicorn and Serve's proxies have no settings; set in every proxy as it starts."""

import asyncio
import os
import re
import socket

import uvicorn.config
from starlette.middleware import Middleware
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

REQUEST_SECONDS = 20
"""Within which a connection's first byte, and the whole of a request, must have come."""
READ_SECONDS = 30
"""Longest time for which a client may read nothing of an answer."""
MOST_HEAD_BYTES = 131_072
"""Of a request line and headers, of which parsers keep as much as comes; `deploy.web.door` refuses less with a sentence."""
STEERING = (b"x-request-timeout-seconds", b"x-request-disconnect-disabled", b"serve-multiplexed-model-id", b"x-session-id")
REQUEST_ID = re.compile(rb"[!-~]{1,128}")
CALLBACK = f"{__name__}:limit"
"""The value of Serve's RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH."""


class LimitedProtocol(HttpToolsProtocol):
    """A connection that is closed when a request does not come in time, has no end of headers, or an answer is not read."""

    deadline: asyncio.TimerHandle | None = None
    head_bytes = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for the first request."""
        super().connection_made(transport)
        number = transport.get_extra_info("socket").fileno()
        with socket.socket(fileno=os.dup(number)) as connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, READ_SECONDS * 1000)
        self.wait()

    def wait(self) -> None:
        """Close the connection in a while, unless a whole request has come until then."""
        if self.deadline is None:
            self.deadline = self.loop.call_later(REQUEST_SECONDS, self.transport.close)

    def stop_waiting(self) -> None:
        """A request has come, or the connection has ended."""
        if self.deadline is not None:
            self.deadline.cancel()
            self.deadline = None

    def data_received(self, data: bytes) -> None:
        """Take a part of a request."""
        self.wait()
        self.head_bytes += len(data)
        super().data_received(data)
        if self.head_bytes > MOST_HEAD_BYTES:
            self.transport.abort()

    def on_message_begin(self) -> None:
        """A request begins, maybe right after another."""
        self.wait()
        super().on_message_begin()

    def on_body(self, body: bytes) -> None:
        """What came was no head."""
        self.head_bytes = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """All of a request is there."""
        super().on_message_complete()
        self.head_bytes = 0
        self.stop_waiting()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection has ended."""
        self.stop_waiting()
        super().connection_lost(exc)


class Unsteered:
    """Middleware that leaves out the headers by which a client would steer Ray Serve, and request ids that it cannot read."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand a request on without them."""
        headers = [(name, value) for name, value in scope.get("headers", ()) if not steers(name, value)]
        await self.app({**scope, "headers": headers}, receive, send)


def steers(name: bytes, value: bytes) -> bool:
    """Whether a header is meant for Ray Serve, not for the application."""
    name = name.lower().replace(b"_", b"-")
    return name in STEERING or (name == b"x-request-id" and not REQUEST_ID.fullmatch(value))


def limit() -> list[Middleware]:
    """Make the server of this process use `LimitedProtocol` and `Unsteered`: Serve's callback of a proxy that starts."""
    uvicorn.config.HTTP_PROTOCOLS["auto"] = f"{__name__}:{LimitedProtocol.__name__}"
    return [Middleware(Unsteered)]
