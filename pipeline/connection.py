"""Ray itself: started here on loopback, or a running cluster; its token, and what a cluster must be able to reach."""

import contextlib
import logging
import os
import re
import secrets
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import ray
from ray._private import services

from pipeline import cluster as clusters
from pipeline.cluster import Cluster
from pipeline.errors import Unschedulable, Unusable
from pipeline.program import own_signals
from pipeline.provenance import redacted
from pipeline.shipped import excludes
from pipeline.streaming import close_streams

ROOT = Path(__file__).resolve().parent.parent
TRAVELLING = ("MLFLOW_", "AWS_", "SJKO_", "FSSPEC_", "GOOGLE_APPLICATION_CREDENTIALS")
IN_A_JOB = "RAY_JOB_CONFIG_JSON_ENV_VAR"
"""Set by Ray where this process is a job that was submitted."""


@contextlib.contextmanager
def connected(cluster: Cluster, metrics_port: int | None = None) -> Iterator[None]:
    """Ray, for the time of a flow: none in local mode, an own one without an address, else the cluster at the address."""
    if cluster.num_workers == 0 or ray.is_initialized():
        yield
        return
    with started(cluster, metrics_port=metrics_port):
        yield


def is_secret(name: str, value: str) -> bool:
    """Whether a variable must not be shown by Ray's dashboard, as all do that are sent along; nodes have it of their own."""
    return bool(re.search("SECRET|TOKEN|PASSWORD|KEY", name)) or redacted(value) != value


@contextlib.contextmanager
def started(cluster: Cluster, resources: Mapping[str, float] | None = None, metrics_port: int | None = None) -> Iterator[None]:
    """Ray, in any case.

    Args:
        resources: custom resources of a Ray that is started here.
        metrics_port: that Prometheus reads of it; None for a free one.

    Raises:
        Unschedulable: nothing answers at the cluster's address.
    """
    environment = {
        name: value for name, value in os.environ.items() if name.startswith(TRAVELLING) and not is_secret(name, value)
    }
    logging.getLogger("ray._private.authentication").setLevel(logging.ERROR)  # how to do without the token is no advice
    environment |= {"SJKO_HOME": str(clusters.home()), "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.5"}
    os.environ.setdefault("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", "0.5")  # a report waits for this: 2 s by default
    os.environ.setdefault("RAY_worker_niceness", "0")  # 15 by default: any other process of this machine would go first
    runtime_env: dict[str, object] = {"env_vars": environment}
    if IN_A_JOB in os.environ:  # its files are on the nodes already
        os.environ["RAY_OVERRIDE_JOB_RUNTIME_ENV"] = "1"
    elif cluster.address:
        runtime_env |= {"working_dir": str(ROOT), "excludes": excludes(ROOT)}
        logging.getLogger("ray._private.runtime_env").setLevel(logging.ERROR)  # that .git stays here
    else:
        environment["PYTHONPATH"] = str(ROOT)
    try:
        if cluster.address:
            knock(cluster.address)
        else:
            private_token()
        with own_signals(), contextlib.ExitStack() as stack:
            where = {} if cluster.address else stack.enter_context(loopback(metrics_port))
            ray.init(
                address=cluster.address or "local",
                resources=None if cluster.address else dict(resources or {}),
                runtime_env=runtime_env,
                include_dashboard=None if cluster.address else False,
                log_to_driver=False,
                logging_level=logging.ERROR,
                configure_logging=False,
                **where,
            )
    except (OSError, RuntimeError, ValueError) as error:
        first_line = str(error).strip().splitlines()[0]
        raise Unschedulable(
            f"no Ray cluster answers at cluster.address {cluster.address}: {first_line}. One with a token needs "
            "RAY_AUTH_MODE=token, and the token in $RAY_AUTH_TOKEN or ~/.ray/auth_token."
        ) from error
    try:
        require_reachable_store(cluster)
        yield
    finally:
        close_streams()
        ray.shutdown()


@contextlib.contextmanager
def loopback(metrics_port: int | None = None) -> Iterator[dict[str, Any]]:
    """What makes a Ray that is started meanwhile listen on 127.0.0.1 alone: Ray would take this host's address in its place."""
    original = services.resolve_ip_for_localhost
    services.resolve_ip_for_localhost = lambda host: host
    try:
        yield {"_node_ip_address": "127.0.0.1", "_metrics_export_port": metrics_port}
    finally:
        services.resolve_ip_for_localhost = original


def require_reachable_store(cluster: Cluster) -> None:
    """Refuse a database on this machine's disk where workers may be on others.

    Raises:
        Unusable: says what to use instead.
    """
    num_nodes = sum(node["Alive"] for node in ray.nodes())
    elsewhere = num_nodes > 1 or (cluster.address or "").startswith("ray://")
    if elsewhere and clusters.tracking_uri(cluster).startswith("sqlite:///"):
        raise Unusable(
            "cluster.tracking_uri must be http(s)://... on a cluster of several nodes: a sqlite file "
            "on this machine's disk is another file on theirs"
        )


def knock(address: str) -> None:
    """Open a connection to host:port and close it: Ray itself would try for minutes, deaf to Ctrl-C.

    Raises:
        OSError: nobody listens there.
    """
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host and port.isdigit():
        socket.create_connection((host, int(port)), timeout=10).close()


def private_token() -> None:
    """Ray's token for this user, readable by no other: Ray itself would write it with mode 0644."""
    if os.environ.get("RAY_AUTH_MODE", "token") != "token" or "RAY_AUTH_TOKEN" in os.environ:
        return
    path = Path(os.environ.get("RAY_AUTH_TOKEN_PATH", Path.home() / ".ray" / "auth_token"))
    with contextlib.suppress(FileExistsError):
        path.parent.mkdir(parents=True, exist_ok=True)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(secrets.token_hex(32))
    if path.stat().st_mode & 0o077:
        path.chmod(0o600)
