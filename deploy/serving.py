"""Start the service on this machine or on a cluster, and end it with the command."""

import contextlib
import logging
import os
import socket
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, NoReturn

from pipeline.errors import FlowError, Unusable

if TYPE_CHECKING:
    from deploy.answers import Settings

ENVIRONMENT = {
    "RAY_worker_niceness": "0",  # 15 by default: any other process of this machine would go first
    "RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S": "60",  # 5 by default, which a busy machine misses
    "RAY_SERVE_PROXY_HEALTH_CHECK_TIMEOUT_S": "60",
    "RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH": "deploy.web.connections:limit",
    "RAY_SERVE_PROXY_USE_GRPC": "1",  # no actor call between proxy and replica
    "RAY_SERVE_RUN_ROUTER_IN_SEPARATE_LOOP": "0",
    "RAY_SERVE_REPLICA_GRPC_MAX_MESSAGE_LENGTH": str(2**31 - 1),  # 4 MiB by default, which larger bodies and answers exceed
    "RAY_SERVE_REQUEST_PATH_LOG_BUFFER_SIZE": "1000",
}
"""What Ray and Serve are told, unless the environment of the command says otherwise."""


def check_port(host: str, port: int, flags: str) -> None:
    """Refuse a host and port that cannot be listened on, before the service is started.

    Args:
        flags: name host and port in the error.

    Raises:
        Unusable: something else listens there, or this machine does not have that address.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with contextlib.closing(socket.socket(family)) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise Unusable(f"{flags} cannot be listened on: {error.strerror}") from error


@contextlib.contextmanager
def running(settings: "Settings", host: str, port: int, address: str | None, metrics_port: int | None = None) -> Iterator[None]:
    """Run the service for the time of the context, on a Ray of its own or on a running cluster.

    Args:
        address: of the running cluster; None starts Ray here.
        metrics_port: that Prometheus reads of a Ray that is started here; None for a free one.
    """
    os.environ.update({name: value for name, value in ENVIRONMENT.items() if name not in os.environ})
    import ray
    from ray import serve

    from deploy.service import QUIET, build
    from pipeline.cluster import Cluster
    from pipeline.ray_session import connected

    logging.getLogger("ray.serve").setLevel(logging.WARNING)
    with connected(Cluster(num_workers=1, address=address), metrics_port):
        # Not Serve's HAProxy mode, which listens on all interfaces: a service without a token would not be on the loopback alone.
        serve.start(http_options={"host": host, "port": port}, logging_config=QUIET)
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
    """List the URL at which each living node of the cluster tells its metrics to Prometheus."""
    import ray

    return [f"http://{node['NodeManagerAddress']}:{node['MetricsExportPort']}/metrics" for node in ray.nodes() if node["Alive"]]


def wait_for_the_end() -> NoReturn:
    """Sleep until a signal raises `Stopped`."""
    while True:
        time.sleep(3600)
