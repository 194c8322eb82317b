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
"""Longest time until a new connection's first request, and any request that has begun, has come whole."""
READ_SECONDS = 30
"""Longest time for which a client may read nothing of an answer."""
MOST_HEAD_BYTES = 131_072
"""Most bytes of a request line and headers: parsers have no limit. `deploy.web.door` refuses less, with a sentence."""
STEERING = (b"x-request-timeout-seconds", b"x-request-disconnect-disabled", b"serve-multiplexed-model-id", b"x-session-id")
REQUEST_ID = re.compile(rb"[!-~]{1,128}")
CALLBACK = f"{__name__}:limit"
"""Import name of `limit`: the value of Serve's RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH."""


class LimitedProtocol(HttpToolsProtocol):
    """A connection that is closed when a request does not come in time, has no end of headers, or an answer is not read."""

    deadline: asyncio.TimerHandle | None = None
    head_bytes = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # asyncio says BaseTransport
        """Give a new connection its deadline, and let the kernel end it when its client reads nothing of an answer."""
        super().connection_made(transport)
        number = transport.get_extra_info("socket").fileno()
        with socket.socket(fileno=os.dup(number)) as connection:  # asyncio gives no socket whose options could be set
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, READ_SECONDS * 1000)
        self.wait()

    def wait(self) -> None:
        """Close the connection after `REQUEST_SECONDS`, unless a whole request has come by then."""
        if self.deadline is None:
            self.deadline = self.loop.call_later(REQUEST_SECONDS, self.transport.close)

    def stop_waiting(self) -> None:
        """Take the deadline back: a whole request has come, or the connection has ended."""
        if self.deadline is not None:
            self.deadline.cancel()
            self.deadline = None

    def data_received(self, data: bytes) -> None:
        """Feed bytes of a request to the parser, and cut the connection when its headers do not end."""
        self.wait()
        self.head_bytes += len(data)
        super().data_received(data)
        if self.head_bytes > MOST_HEAD_BYTES:
            self.transport.abort()

    def on_message_begin(self) -> None:
        """Set the deadline of a request that begins, maybe right after another on the same connection."""
        self.wait()
        super().on_message_begin()

    def on_body(self, body: bytes) -> None:
        """Forget the bytes counted so far: a body has begun, so the headers have ended."""
        self.head_bytes = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Take the deadline back, since the whole request has come."""
        super().on_message_complete()
        self.head_bytes = 0
        self.stop_waiting()

    def connection_lost(self, exc: Exception | None) -> None:
        """Take the deadline back, since the connection has ended."""
        self.stop_waiting()
        super().connection_lost(exc)


class Unsteered:
    """Middleware that leaves out the headers by which a client would steer Ray Serve, and request ids that it cannot read."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand a request on to the application without the headers that `steers` names."""
        headers = [(name, value) for name, value in scope.get("headers", ()) if not steers(name, value)]
        await self.app({**scope, "headers": headers}, receive, send)


def steers(name: bytes, value: bytes) -> bool:
    """Say whether a header would steer Ray Serve, or is a request id that Serve cannot read.

    >>> steers(b"Serve-Multiplexed-Model-Id", b"3"), steers(b"accept", b"image/png")
    (True, False)
    """
    name = name.lower().replace(b"_", b"-")
    return name in STEERING or (name == b"x-request-id" and not REQUEST_ID.fullmatch(value))


def limit() -> list[Middleware]:
    """Make the server of this process use `LimitedProtocol` and `Unsteered`: Serve's callback of a proxy that starts."""
    uvicorn.config.HTTP_PROTOCOLS["auto"] = f"{__name__}:{LimitedProtocol.__name__}"
    return [Middleware(Unsteered)]
