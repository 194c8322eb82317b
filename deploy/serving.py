"""Start the service on this machine or on a cluster, and end it with the command."""

import contextlib
import ipaddress
import logging
import os
import re
import secrets
import socket
import stat
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from pipeline.errors import FlowError

if TYPE_CHECKING:
    from deploy.answers import Settings

SHORTEST_TOKEN = 16
QUIET = {"log_level": "WARNING", "enable_access_log": False}
"""A line per request is a tenth of a small request's time."""
PATIENCE = {
    "RAY_worker_niceness": "0",  # 15 by default: any other process of this machine would go first
    "RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S": "60",  # 5 by default, which a busy machine misses
    "RAY_SERVE_PROXY_HEALTH_CHECK_TIMEOUT_S": "60",
    "RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH": "deploy.web.connections:limit",
}


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach a host."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def token_of(host: str, token_file: Path | None) -> str | None:
    """The bearer token from a file or from $SJKO_TOKEN; one is required as soon as others can reach the host.

    Raises:
        ValueError: there is none where one is required, it is too short, or others can read the file.
    """
    token = os.environ.get("SJKO_TOKEN", "").strip()
    if token_file is not None:
        if not token_file.is_file():
            raise ValueError(f"--token-file must be an existing file, not {token_file}")
        if token_file.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise ValueError(f"--token-file must be readable by its owner alone: chmod 600 {token_file}")
        token = token_file.read_text().strip()
    if not token and not is_loopback(host):
        raise ValueError(f"--token-file or $SJKO_TOKEN is required with --host {host}, which others can reach")
    if token and (len(token) < SHORTEST_TOKEN or not token.isascii() or not token.isprintable()):
        example = secrets.token_urlsafe(24)
        raise ValueError(f"the token must have {SHORTEST_TOKEN} or more printable ASCII characters, such as {example}")
    return token or None


def check_ports(port: int, metrics_port: int | None, address: str | None) -> None:
    """
    Raises:
        ValueError: no server can listen on them together, or the cluster at the address has a metrics port of its own.
    """
    for name, number in (("--port", port), ("--metrics-port", metrics_port)):
        if number is not None and not 1 <= number < 65_536:
            raise ValueError(f"{name} must be from 1 to 65535, not {number}")
    if metrics_port == port:
        raise ValueError(f"--metrics-port must be another port than --port, {port}")
    if metrics_port is not None and address is not None:
        raise ValueError("--metrics-port belongs to a Ray that is started here; a cluster's is `ray start --metrics-export-port`")


def hosts_of(text: str | None) -> tuple[str, ...]:
    """Split names that have commas between them."""
    return () if text is None else tuple(name.strip() for name in text.split(","))


def check_hosts(name: str, hosts: Sequence[str]) -> None:
    """
    Raises:
        ValueError: one of them cannot be a name in a Host header.
    """
    for host in [hosts] if isinstance(hosts, str) else hosts:
        if isinstance(hosts, str) or not re.fullmatch("[a-z0-9._-]+|[0-9a-f:]+", host):
            rule = "names such as demo.example.org, in small letters and without a port"
            raise ValueError(f"{name} must be a list of {rule}, not {host!r}")


def check_port(host: str, port: int, flags: str) -> None:
    """
    Raises:
        FlowError: something else listens there; `flags` name the two.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with contextlib.closing(socket.socket(family)) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise FlowError(f"{flags} cannot be listened on: {error.strerror}") from error


@contextlib.contextmanager
def running(settings: "Settings", host: str, port: int, address: str | None, metrics_port: int | None = None) -> Iterator[None]:
    """The service, for the time of the context.

    Args:
        metrics_port: that Prometheus reads of a Ray that is started here; None for a free one.
    """
    os.environ.update({name: value for name, value in PATIENCE.items() if name not in os.environ})
    import ray
    from ray import serve

    from deploy.service import build
    from pipeline.cluster import Cluster
    from pipeline.ray_session import connected

    logging.getLogger("ray.serve").setLevel(logging.WARNING)
    with connected(Cluster(num_workers=1, address=address), metrics_port):
        serve.start(
            http_options={"host": host, "port": port}, logging_config={"log_level": "WARNING", "enable_access_log": False}
        )
        try:
            try:
                serve.run(build(settings), name="generator", route_prefix="/")
            except RuntimeError as error:
                raise FlowError(f"the service did not start: {str(error).strip().splitlines()[-1]}") from error
            yield
        finally:
            with contextlib.suppress(ray.exceptions.RayError):
                serve.delete("generator")  # a Ray of our own ends next; serve.shutdown() would have it print its retries


def metrics_urls() -> list[str]:
    """Where every node of the cluster tells its metrics."""
    import ray

    return [f"http://{node['NodeManagerAddress']}:{node['MetricsExportPort']}/metrics" for node in ray.nodes() if node["Alive"]]


def wait_for_the_end() -> NoReturn:
    """Until a signal raises `Stopped`."""
    while True:
        time.sleep(3600)
