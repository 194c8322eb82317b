"""Ray itself: started here on loopback, or a running cluster; its token, and what a cluster must be able to reach."""

import contextlib
import logging
import os
import re
import secrets
import socket
import tempfile
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import psutil
import ray
from ray._private import services

from pipeline import cluster as clusters
from pipeline.cluster import Cluster
from pipeline.errors import Unschedulable, Unusable
from pipeline.parts import travel
from pipeline.provenance import redacted
from pipeline.shipped import excludes
from pipeline.signals import own_signals

ROOT = Path(__file__).resolve().parent.parent
TRAVELLING = ("MLFLOW_", "AWS_", "SJKO_", "FSSPEC_", "GOOGLE_APPLICATION_CREDENTIALS")
START_ATTEMPTS = 2
IN_A_JOB = "RAY_JOB_CONFIG_JSON_ENV_VAR"
"""Set by Ray where this process is a job that was submitted."""
_BEFORE_SHUTDOWN: set[Callable[[], None]] = set()


def before_shutdown(action: Callable[[], None]) -> None:
    """Have an action done whenever this process is about to leave Ray."""
    _BEFORE_SHUTDOWN.add(action)


@contextlib.contextmanager
def connected(cluster: Cluster, metrics_port: int | None = None, parts: Iterable[str] = ()) -> Iterator[None]:
    """Be connected to Ray for the time of a flow: to none in local mode, to an own one without an address, else to the cluster
    at it.

    Args:
        parts: names of parts, as `started` takes them.
    """
    if cluster.num_workers == 0:
        yield
        return
    with started(cluster, metrics_port=metrics_port, parts=parts):
        yield


def is_secret(name: str, value: str) -> bool:
    """Say whether a variable must stay off Ray's dashboard, which shows all that are sent along; nodes have it of their own."""
    return bool(re.search("SECRET|TOKEN|PASSWORD|KEY", name)) or redacted(value) != value


@contextlib.contextmanager
def started(
    cluster: Cluster,
    resources: Mapping[str, float] | None = None,
    metrics_port: int | None = None,
    parts: Iterable[str] = (),
) -> Iterator[None]:
    """Connect to Ray: the one that this process has already, else the cluster at the address, else one that is started here.

    Args:
        resources: custom resources of a Ray that is started here.
        metrics_port: that Prometheus reads of it; None for a free one.
        parts: names of parts, of which the own ones are sent along to all sub-processes; a Ray that this process has already
            keeps what it was started with.

    Raises:
        PartError: an own part is not there, or too large to be sent.
        Unschedulable: nothing answers at the cluster's address, or Ray does not start here; says why.
    """
    if ray.is_initialized():
        yield
        return
    environment = {
        name: value for name, value in os.environ.items() if name.startswith(TRAVELLING) and not is_secret(name, value)
    }
    logging.getLogger("ray._private.authentication").setLevel(logging.ERROR)  # how to do without the token is no advice
    places = clusters.variables()
    environment |= {name: value for name, value in places.items() if name in environment}
    environment |= {"SJKO_HOME": places["SJKO_HOME"], "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.5"}
    os.environ.setdefault("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", "0.5")  # a report waits for this: 2 s by default
    os.environ.setdefault("RAY_worker_niceness", "0")  # 15 by default: any other process of this machine would go first
    runtime_env: dict[str, Any] = {"env_vars": environment}
    if IN_A_JOB in os.environ:  # its files are on the nodes already
        os.environ["RAY_OVERRIDE_JOB_RUNTIME_ENV"] = "1"
    elif cluster.address:
        runtime_env |= {"working_dir": str(ROOT), "excludes": excludes(ROOT)}
        logging.getLogger("ray._private.runtime_env").setLevel(logging.ERROR)  # that .git stays here
    else:
        environment["PYTHONPATH"] = str(ROOT)
    travel.sent_along(runtime_env, parts, os.environ.get(IN_A_JOB))
    settings = {
        "runtime_env": runtime_env,
        "log_to_driver": False,
        "logging_level": logging.ERROR,
        "configure_logging": False,
    }
    with own_signals():
        if cluster.address:
            join(cluster.address, settings)
        else:
            start(settings | {"resources": dict(resources or {})}, metrics_port)
    try:
        require_reachable_store(cluster)
        yield
    finally:
        for action in _BEFORE_SHUTDOWN:
            action()
        ray.shutdown()


def join(address: str, settings: Mapping[str, Any]) -> None:
    """Connect to the cluster that runs at an address.

    Raises:
        Unschedulable: it does not answer, or not to this process.
    """
    try:
        knock(address)
        ray.init(address=address, **settings)
    except Exception as error:  # Ray raises bare ones as well
        ray.shutdown()
        reason = in_a_line(error)
        if "mismatch" in reason:
            raise Unschedulable(f"the cluster at cluster.address {address} runs on another Ray or Python: {reason}") from error
        raise Unschedulable(
            f"no Ray cluster answers at cluster.address {address}: {reason}. One with a token needs "
            "RAY_AUTH_MODE=token, and the token in $RAY_AUTH_TOKEN or ~/.ray/auth_token."
        ) from error


def start(settings: Mapping[str, Any], metrics_port: int | None) -> None:
    """Start Ray on this machine, and once more where it was too busy for Ray's own limits of half a minute for each part.

    Raises:
        Unschedulable: it does not come up; says what stands in the way.
    """
    try:
        private_token()
    except OSError as error:
        raise Unschedulable(
            f"Ray's token cannot be kept in {error.filename}: {error.strerror}; set $RAY_AUTH_TOKEN_PATH to a file of this user's"
        ) from error
    os.environ.setdefault("RAY_gcs_server_port_wait_time_s", "120")
    for attempt in range(1, START_ATTEMPTS + 1):
        before = psutil.Process().children()
        try:
            with loopback(metrics_port) as addresses:
                ray.init(address="local", include_dashboard=False, **settings, **addresses)
            return
        except Exception as error:  # Ray raises bare ones as well
            end(set(psutil.Process().children()) - set(before))
            ray.shutdown()
            late = re.search(r"time[d]? ?out|overloaded", str(error), re.IGNORECASE)
            if not late or attempt == START_ATTEMPTS:
                raise Unschedulable(why_not_started(error, late=bool(late))) from error


def end(processes: Collection[psutil.Process]) -> None:
    """Kill the parts of a Ray that has only half come up: Ray itself leaves them until this process ends."""
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(processes, timeout=5)


def why_not_started(error: Exception, *, late: bool) -> str:
    """Say what stands in the way of a Ray on this machine, and what to do."""
    if late:
        load = f"{os.getloadavg()[0]:.0f}"
        return (
            f"Ray did not come up in time: this machine is busy (load {load} on {os.cpu_count()} CPUs). Nothing is lost; "
            "try again when it is less so."
        )
    reason = in_a_line(error)
    if isinstance(error, OSError) and error.strerror:
        reason = f"{error.strerror}: {error.filename}" if error.filename else error.strerror
    folder = os.environ.get("RAY_TMPDIR", tempfile.gettempdir())
    return (
        f"Ray cannot be started here: {reason}. It keeps its sockets and logs in {folder}/ray; set $RAY_TMPDIR to a short path "
        "where there is room and this user may write."
    )


def in_a_line(error: Exception) -> str:
    """Put what Ray says into one line, without the advice that follows."""
    text = str(error).strip() or type(error).__name__
    return " ".join(text.split("\n\n")[0].split()).rstrip(".")


@contextlib.contextmanager
def loopback(metrics_port: int | None = None) -> Iterator[dict[str, Any]]:
    """Let a Ray that is started meanwhile listen on 127.0.0.1 alone: Ray would take this host's address in its place."""
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
            "store.tracking_uri must be http(s)://... on a cluster of several nodes: a sqlite file "
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
    """Make Ray's token for this user, readable by no other: Ray itself would write it with mode 0644."""
    if os.environ.get("RAY_AUTH_MODE", "token") != "token" or "RAY_AUTH_TOKEN" in os.environ:
        return
    path = Path(os.environ.get("RAY_AUTH_TOKEN_PATH", Path.home() / ".ray" / "auth_token"))
    with contextlib.suppress(FileExistsError):
        path.parent.mkdir(parents=True, exist_ok=True)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(secrets.token_hex(32))
    if path.stat().st_mode & 0o077:
        path.chmod(0o600)
