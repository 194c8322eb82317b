"""`run --dry-run`: what a flow would be and take. MLflow and Ray are imported only where there is a store to look into."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from pipeline import cluster as clusters
from pipeline import places
from pipeline.command import process, report
from pipeline.command.flags import Run
from pipeline.data.resolution import resolve
from pipeline.errors import Unusable
from pipeline.parts.pinning import own_parts
from pipeline.phase import phases_of
from pipeline.recipes.reading import as_yaml
from pipeline.training.estimate import estimate, lines

if TYPE_CHECKING:
    from pipeline.store.phases import Store


def dry_run(command: Run) -> Mapping[str, Any]:
    """Show the resolved recipe, what it will take, the fingerprints, and what is already in the store; write nothing."""
    recipe, cluster, unprepared = command.resolved(), command.cluster, ""
    try:
        recipe = resolve(recipe, cluster)
    except Unusable as error:  # who plans for a cluster does not have its images here
        unprepared = str(error)
    uri = clusters.tracking_uri(cluster)
    database = places.sqlite_file(uri)
    fresh = database is not None and not database.exists()
    store = None if fresh else existing_store(uri)
    for line in (f"# {command.stem}", *as_yaml(recipe).splitlines(), ""):
        report.line(line)
    if store is not None and not unprepared and own_parts(recipe):
        from pipeline.parts.history import changes  # and with it MLflow

        for sentence in changes(recipe, store):
            process.say(f"note: {sentence}")
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
    return {"recipe": asdict(recipe), "estimate": asdict(estimated), "phases": rows}


def existing_store(uri: str) -> "Store":
    """Open a store that must exist already."""
    from pipeline.store.phases import Store

    report.quieten()
    return Store(uri, create=False)
