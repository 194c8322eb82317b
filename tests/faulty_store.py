"""A proxy before an S3 endpoint that misbehaves on demand."""

import http.client
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlparse


class Faults:
    """What the proxy does to requests from now on.

    Attributes:
        refuse: methods that are answered with 503.
        truncate: cut the body of every object that is read to a half.
        slow: seconds that every request takes longer.
        before: called with each method and path.
    """

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """None of them."""
        self.refuse: set[str] = set()
        self.truncate = False
        self.slow = 0.0
        self.before: Callable[[str, str], None] = lambda method, path: None


@contextmanager
def proxy(upstream: str) -> Iterator[tuple[str, Faults]]:
    """The URL of a proxy to a server, and its faults, none at first."""
    faults, host = Faults(), urlparse(upstream).netloc

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *arguments: object) -> None:
            pass

        def handle_any(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            faults.before(self.command, self.path)
            time.sleep(faults.slow)
            if self.command in faults.refuse:
                self.answer(503, {}, b"")
                return
            connection = http.client.HTTPConnection(host, timeout=30)
            connection.request(self.command, self.path, body, dict(self.headers))
            response = connection.getresponse()
            content = response.read()
            is_object = self.command == "GET" and "list-type" not in self.path and response.status in (200, 206)
            self.answer(
                response.status,
                dict(response.headers),
                content[: len(content) // 2] if faults.truncate and is_object else content,
            )
            connection.close()

        def answer(self, status: int, headers: dict[str, str], content: bytes) -> None:
            self.send_response(status)
            length = headers.get("Content-Length", "0") if self.command == "HEAD" else str(len(content))
            for name, value in headers.items():
                if name.lower() not in ("content-length", "connection", "transfer-encoding", "date", "server"):
                    self.send_header(name, value)
            self.send_header("Content-Length", length)
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = handle_any  # noqa: N815

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", faults
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
