"""A client of an ASGI application in this process, which can also say what no library for HTTP would."""

import asyncio
import json
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

from starlette.types import ASGIApp, Message

from deploy.answers import Answers, Settings
from deploy.models import Models
from deploy.web.app import web_app
from deploy.web.door import Access


@dataclass(frozen=True)
class Answer:
    """Status, headers by lower-case name, body."""

    status: int
    headers: dict[str, str]
    content: bytes

    def json(self) -> Any:
        return json.loads(self.content, parse_constant=lambda name: 1 / 0)

    @property
    def detail(self) -> str:
        sentence = self.json()["detail"]
        assert "\n" not in sentence
        assert sentence.isascii()
        return sentence


@dataclass(frozen=True)
class Client:
    """Sends requests to an application, by default as a program on this machine does."""

    app: ASGIApp

    def request(
        self,
        method: str,
        target: str,
        content: bytes = b"",
        *,
        num_missing: int = 0,
        host: str = "127.0.0.1:8000",
        **headers: str,
    ) -> Answer:
        """The answer to a request whose last `num_missing` announced bytes never come; underscores of header names are dashes."""
        path, _, query = target.partition("?")
        given = {name.replace("_", "-").lower(): value for name, value in headers.items()}
        if content and "transfer-encoding" not in given:
            given.setdefault("content-length", str(len(content)))
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": unquote(path),
            "raw_path": path.encode(),
            "query_string": query.encode(),
            "root_path": "",
            "headers": [(b"host", host.encode()), *((name.encode(), value.encode("latin-1")) for name, value in given.items())],
            "client": ("127.0.0.1", 50_000),
            "server": ("127.0.0.1", 8000),
        }
        return asyncio.run(self._answer(scope, content, num_missing))

    async def _answer(self, scope: dict[str, Any], content: bytes, num_missing: int) -> Answer:
        parts = [{"type": "http.request", "body": content[: len(content) - num_missing], "more_body": num_missing > 0}]
        sent: list[Message] = []

        async def receive() -> Message:
            if parts:
                return parts.pop()
            await asyncio.Event().wait()
            raise AssertionError

        async def send(message: Message) -> None:
            sent.append(message)

        await self.app(scope, receive, send)
        start, *bodies = sent
        headers = {name.decode(): value.decode("latin-1") for name, value in start["headers"]}
        return Answer(start["status"], headers, b"".join(body.get("body", b"") for body in bodies))

    def get(self, target: str, **headers: str) -> Answer:
        return self.request("GET", target, **headers)

    def post(self, body: object, **headers: str) -> Answer:
        """Ask for samples."""
        return self.request("POST", "/v1/samples", json.dumps(body).encode(), content_type="application/json", **headers)


def answers_of(models: Models, settings: Settings) -> Answers:
    """The answers of a replica in this process."""
    return Answers(models, settings, lambda num_samples: None)


JSON = {"content_type": "application/json"}


@dataclass
class Service:
    """Answers from a model of two phases, and the statuses that were counted."""

    answers: Answers
    counted: list[int] = field(default_factory=list)

    def client(self, token: str | None = None, hosts: tuple[str, ...] = ()) -> Client:
        return Client(web_app(self.answers, Access(token, hosts), self.counted.append))


def raw(client: Client, content: bytes, **headers: str) -> Answer:
    return client.request("POST", "/v1/samples", content, **{**JSON, **headers})
