"""What is in the store: `list`, `show` and MLflow's own page of it, which load neither torch nor Ray."""

import contextlib
import math
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Mapping
from typing import Any

from pipeline import cluster as clusters
from pipeline.cluster import Mlflow
from pipeline.command import report
from pipeline.command.flags import List, Show, Ui
from pipeline.errors import FlowError, StoreNotFound, Unusable
from pipeline.evaluation.metrics import HEADLINE, figures, floor_of
from pipeline.evaluation.offer import offer_of
from pipeline.provenance import redacted
from pipeline.store import claims
from pipeline.store.phases import Store

SECONDS_TO_START, SECONDS_TO_STOP = 120.0, 5.0
"""Of MLflow's server: the first start on a busy machine imports for half a minute."""


def open_store(mlflow: Mlflow, *, create: bool = False) -> Store:
    """Open the store that flags or the environment name; who only reads makes no database of a name that is mistyped.

    Raises:
        StoreNotFound: there is no database, and none is to be made.
    """
    return Store(clusters.tracking_uri(mlflow), create=create)


def store_to_list(mlflow: Mlflow) -> Store | None:
    """Open the store for a list of what is in it; None where it is that of every command here and nothing has made it yet.

    Raises:
        StoreNotFound: a flag or a variable names a store that is not there.
    """
    try:
        return open_store(mlflow)
    except StoreNotFound:
        if clusters.names_store(mlflow):
            raise
        return None


def list_flows(command: List) -> Mapping[str, Any]:
    """Carry out `list`: print all flows of the store, newest first; INTERRUPTED are those whose driver is gone."""
    store = store_to_list(command.store)
    rows = [
        {
            "run_id": flow.info.run_id,
            "recipe": flow.data.tags.get("sjko.recipe", flow.info.run_name),
            "status": claims.status_of(flow),
            "num_phases": int(flow.data.params.get("jko.num_phases", 0)),
            HEADLINE: flow.data.metrics.get(HEADLINE),
            floor_of(HEADLINE): flow.data.metrics.get(floor_of(HEADLINE)),
        }
        for flow in (store.flows() if store else [])
    ]
    if not rows:
        report.line(f"no flows yet in {redacted(clusters.tracking_uri(command.store))}: python -m pipeline run two_circles")
        return {"flows": rows}
    report.table(
        "flows",
        ["run", "recipe", "status", "phases", "W2", "floor"],
        [["" if v is None else v for v in row.values()] for row in rows],
    )
    return {"flows": rows}


def show(command: Show) -> Mapping[str, Any]:
    """Carry out `show`: print the phases of a flow, up to the one that is referred to."""
    store = open_store(command.store)
    rows = []
    last = store.resolve(command.reference)
    for ref in store.ancestors(last):
        run = store.run(ref.run_id)
        rows.append(
            {
                "k": ref.k,
                "fingerprint": ref.fingerprint,
                "status": run.info.status,
                "metrics": run.data.metrics,
                "map_ref": str(ref),
            }
        )
    measured = figures(offer_of(store.phase_of(last).data, rows[-1]["metrics"]))
    shown = [name for figure, metric in measured.items() if metric.brief for name in (figure, floor_of(figure))]
    own_figures = [figure for figure in rows[-1]["metrics"] if figure not in measured and floor_of(figure) in rows[-1]["metrics"]]
    shown += [name for figure in own_figures for name in (figure, floor_of(figure))]
    columns = [name for name in (*shown, "train_seconds") if name in rows[-1]["metrics"]]
    cells = [[row["k"], row["map_ref"], *(row["metrics"].get(name, math.nan) for name in columns)] for row in rows]
    report.table(f"phases of {command.reference}", ["k", "map", *columns], cells)
    return {"phases": rows}


def show_page(command: Ui) -> None:
    """Carry out `ui`: say where MLflow's page of the store is, and serve it until the command is stopped.

    Raises:
        Unusable: the port is taken.
        StoreNotFound: there is no store.
        FlowError: the server ended by itself.
    """
    uri = clusters.tracking_uri(command.store)
    if uri.startswith(("http://", "https://")):
        report.line(f"the page of the store is {redacted(uri)}: its server is running already")
        return
    address = f"http://127.0.0.1:{command.port}"
    _require_free(command.port)
    # The store of every command here may be looked at before it is used; one that is named is there, or its name is mistyped.
    open_store(command.store, create=not clusters.names_store(command.store)).flows()
    words = ["server", "--backend-store-uri", uri, "--host", "127.0.0.1", "--port", str(command.port), "--workers", "1"]
    with tempfile.TemporaryFile() as log, tempfile.TemporaryDirectory() as folder:  # where MLflow would put files of its own
        server = subprocess.Popen(
            [sys.executable, "-m", "mlflow", *words],
            env={**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},  # or it starts eight processes for jobs
            stdout=log,
            stderr=log,
            cwd=folder,
            start_new_session=True,
        )
        try:
            with report.status("starting MLflow's page"):
                _wait(server, f"{address}/health")
            report.line(f"MLflow's page of {redacted(uri)}: {address} (Ctrl-C ends it)")
            server.wait()
            log.seek(0)
            last = log.read().decode(errors="replace").strip().rpartition("\n")[2]
            raise FlowError(f"MLflow's page has ended by itself: {last}")
        finally:
            _end(server)


def _require_free(port: int) -> None:
    with contextlib.closing(socket.socket()) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise Unusable(f"--port {port} cannot be listened on: {error.strerror}") from error


def _wait(server: subprocess.Popen[bytes], url: str) -> None:
    """Wait until a server answers, or has ended."""
    until = time.monotonic() + SECONDS_TO_START
    directly = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # a proxy does not know this machine's 127.0.0.1
    while server.poll() is None:
        with contextlib.suppress(OSError), directly.open(url, timeout=5):
            return
        if time.monotonic() > until:
            raise FlowError(f"MLflow's page has not answered within {SECONDS_TO_START:.0f} seconds")
        time.sleep(0.2)


def _end(server: subprocess.Popen[bytes]) -> None:
    """End a server with the workers that it has started."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(server.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            server.wait(SECONDS_TO_STOP)
