"""`run --dry-run`: what a flow would be and take. MLflow and Ray are imported only where there is a store to look into."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline import cluster as clusters
from pipeline import places
from pipeline.cluster import Cluster
from pipeline.command import report
from pipeline.data.endpoints import resolve
from pipeline.errors import Unusable
from pipeline.files import write_json
from pipeline.phase import phases_of
from pipeline.recipe import Recipe
from pipeline.recipes.reading import as_yaml
from pipeline.training.estimate import estimate, lines

if TYPE_CHECKING:
    from pipeline.store.phases import Store


def dry_run(recipe: Recipe, name: str, cluster: Cluster, json_file: Path | None) -> None:
    """Show the resolved recipe, what it will take, the fingerprints, and what is already in the store; write nothing."""
    unprepared = ""
    try:
        recipe = resolve(recipe, cluster)
    except Unusable as error:  # who plans for a cluster does not have its images here
        unprepared = str(error)
    uri = clusters.tracking_uri(cluster)
    database = places.sqlite_file(uri)
    fresh = database is not None and not database.exists()
    store = None if fresh else opened(uri)
    for line in (f"# {name}", *as_yaml(recipe).splitlines(), ""):
        report.line(line)
    rows = []
    for phase in [] if unprepared else phases_of(recipe):
        ref = store.find(phase, mark=False) if store else None
        rows.append(
            {"k": phase.k, "fingerprint": phase.fingerprint, "cached": ref is not None, "map_ref": str(ref) if ref else None}
        )
    estimated = estimate(recipe, cluster)
    for line in lines(estimated, recipe):
        report.line(line)
    if unprepared:
        report.line(f"no fingerprints yet: {unprepared}")
    else:
        cells = [[row["k"], row["fingerprint"], row["map_ref"] or "no"] for row in rows]
        report.table("phases", ["k", "fingerprint", "in the store"], cells)
    write_json(json_file, {"recipe": asdict(recipe), "estimate": asdict(estimated), "phases": rows})


def opened(uri: str) -> "Store":
    """The store there, which must exist."""
    from pipeline.store.phases import Store

    report.quieten()
    return Store(uri, create=False)
