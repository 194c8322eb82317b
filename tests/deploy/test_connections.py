"""The limits of a connection, on real sockets of this machine."""

import asyncio
import socket
from collections.abc import Awaitable, Callable

import pytest
import uvicorn
from asgi import Client
from flows import ROOT
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send
from uvicorn.server import ServerState

from deploy.serving import ENVIRONMENT
from deploy.web import connections
from deploy.web.connections import CALLBACK, LimitedProtocol, Unsteered, limit

GET = b"GET / HTTP/1.1\r\nHost: localhost\r\n"
TEXT = "x" * 30_000_000


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """A text, long where that is asked for, without reading the body."""
    await PlainTextResponse(TEXT if scope["path"] == "/long" else "short")(scope, receive, send)


Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter, ServerState], Awaitable[None]]


async def connected(talk: Talk) -> None:
    """Talk over one connection to a server, which keeps an idle one for an hour."""
    config = uvicorn.Config(app, lifespan="off", log_config=None, timeout_keep_alive=3600)
    config.load()
    loop, state = asyncio.get_running_loop(), ServerState()
    server = await loop.create_server(
        lambda: LimitedProtocol(config=config, server_state=state, app_state={}, _loop=loop), "127.0.0.1", 0
    )
    async with server:
        connection = socket.socket()
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.setblocking(False)
        await loop.sock_connect(connection, server.sockets[0].getsockname())
        reader, writer = await asyncio.open_connection(sock=connection, limit=4096)
        try:
            async with asyncio.timeout(30):
                await talk(reader, writer, state)
        finally:
            writer.close()


@pytest.mark.parametrize(
    "parts",
    [
        (b"",),
        (b"\r\n",),
        (b"GET",),
        (GET,),
        (GET + b"Content-Length: 5\r\n\r\nab",),
        (GET + b"\r\n", b"\r\n"),
        (GET + b"\r\n", GET),
        (GET + b"\r\n" + GET,),
        (GET + b"Content-Length: 5\r\n\r\n", b"ab"),
    ],
    ids=["nothing", "line end", "method", "headers", "body", "then line end", "then headers", "and headers", "then body"],
)
def test_a_request_that_does_not_go_on_is_given_up(parts: tuple[bytes, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "REQUEST_SECONDS", 0.2)

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, state: ServerState) -> None:
        for place, part in enumerate(parts):
            if place:
                await reader.readuntil(b"short")
            writer.write(part)
        await reader.read()  # to the end of the connection

    asyncio.run(connected(talk))


def test_requests_that_come_in_time_are_answered_for_as_long_as_they_come(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "REQUEST_SECONDS", 0.5)

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, state: ServerState) -> None:
        for _ in range(4):
            writer.write(GET + b"Content-Length: 2\r\n\r\n")
            await asyncio.sleep(0.2)
            writer.write(b"ab")
            assert b"short" in await reader.readuntil(b"short")

    asyncio.run(connected(talk))


def test_headers_without_an_end_are_cut_off() -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, state: ServerState) -> None:
        writer.write(GET)
        while not reader.at_eof() and not reader.exception():
            writer.write(b"X-Long: " + b"x" * 1000 + b"\r\n")
            await asyncio.sleep(0)

    asyncio.run(connected(talk))


def test_an_answer_that_nobody_reads_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "READ_SECONDS", 1)

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, state: ServerState) -> None:
        writer.write(GET.replace(b"/ ", b"/long ", 1) + b"\r\n")
        reader._transport.pause_reading()  # type: ignore[attr-defined]
        await asyncio.sleep(0.1)
        while state.connections:
            await asyncio.sleep(0.1)

    asyncio.run(connected(talk))


def test_a_proxy_that_starts_takes_the_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uvicorn.config, "HTTP_PROTOCOLS", dict(uvicorn.config.HTTP_PROTOCOLS))
    setting = "RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH"
    assert ENVIRONMENT[setting] == CALLBACK
    for name in ("deploy/serve.yaml", "deploy/kubernetes/Containerfile"):
        assert f"{setting}={CALLBACK}" in (ROOT / name).read_text()
    (middleware,) = limit()
    config = uvicorn.Config(app)
    config.load()
    assert config.http_protocol_class is LimitedProtocol
    assert middleware.cls is Unsteered


def test_clients_do_not_steer_the_proxy() -> None:
    seen: list[dict[str, str]] = []

    async def inside(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append({name.decode(): value.decode() for name, value in scope["headers"]})
        await PlainTextResponse("")(scope, receive, send)

    client = Client(Unsteered(inside))
    steering = {"x-request-timeout-seconds": "0", "x-request-disconnect-disabled": "?1", "SERVE-multiplexed_model_id": "1"}
    client.get("/", **steering, x_request_id="\u00ff")
    client.get("/", x_request_id="a-b_c:1", accept="text/html")
    assert seen == [{"host": "127.0.0.1:8000"}, {"host": "127.0.0.1:8000", "x-request-id": "a-b_c:1", "accept": "text/html"}]
