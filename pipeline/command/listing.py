"""What is in the store: `list` and `show`, which load neither torch nor Ray."""

import math
from collections.abc import Mapping
from typing import Any

from pipeline import cluster as clusters
from pipeline.cluster import Mlflow
from pipeline.command import report
from pipeline.command.flags import List, Show
from pipeline.evaluation.metrics import HEADLINE, figures, floor_of, offer_of
from pipeline.store import claims
from pipeline.store.phases import Store


def open_store(mlflow: Mlflow) -> Store:
    """Open the store that flags or the environment name."""
    return Store(clusters.tracking_uri(mlflow))


def list_flows(command: List) -> Mapping[str, Any]:
    """Carry out `list`: print all flows of the store, newest first; INTERRUPTED are those whose driver is gone."""
    rows = [
        {
            "run_id": flow.info.run_id,
            "recipe": flow.data.tags.get("sjko.recipe", flow.info.run_name),
            "status": claims.status_of(flow),
            "num_phases": int(flow.data.params.get("jko.num_phases", 0)),
            HEADLINE: flow.data.metrics.get(HEADLINE),
            floor_of(HEADLINE): flow.data.metrics.get(floor_of(HEADLINE)),
        }
        for flow in open_store(command.store).flows()
    ]
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
