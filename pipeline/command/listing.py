"""What is in the store: `list` and `show`, which load neither torch nor Ray."""

import math
from pathlib import Path

from pipeline import cluster as clusters
from pipeline.cluster import Cluster
from pipeline.command import report
from pipeline.files import write_json
from pipeline.store import claims
from pipeline.store.phases import Store


def open_store(cluster: Cluster) -> Store:
    """The store that a cluster's settings name."""
    return Store(clusters.tracking_uri(cluster))


def list_flows(cluster: Cluster, json_file: Path | None) -> None:
    """All flows of the store, newest first; INTERRUPTED are those whose driver is gone: the same command goes on."""
    rows = [
        {
            "run_id": flow.info.run_id,
            "recipe": flow.data.tags.get("sjko.recipe", flow.info.run_name),
            "status": claims.status_of(flow),
            "num_phases": int(flow.data.params.get("jko.num_phases", 0)),
            "w2": flow.data.metrics.get("w2"),
            "w2_floor": flow.data.metrics.get("w2_floor"),
        }
        for flow in open_store(cluster).flows()
    ]
    write_json(json_file, {"flows": rows})
    report.table(
        "flows",
        ["run", "recipe", "status", "phases", "W2", "floor"],
        [["" if v is None else v for v in row.values()] for row in rows],
    )


def show(reference: str, cluster: Cluster, json_file: Path | None) -> None:
    """The phases of a flow, up to the one that is referred to."""
    store = open_store(cluster)
    rows = []
    for ref in store.ancestors(store.resolve(reference)):
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
    write_json(json_file, {"phases": rows})
    metrics = [
        name
        for name in ("w2", "w2_floor", "modes_covered", "divergence", "transport_cost", "train_seconds")
        if name in rows[-1]["metrics"]
    ]
    cells = [[row["k"], row["map_ref"], *(row["metrics"].get(name, math.nan) for name in metrics)] for row in rows]
    report.table(f"phases of {reference}", ["k", "map", *metrics], cells)
