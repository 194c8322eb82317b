"""What a flow of Python needs to be in a store: the store itself, and parts that other processes can import."""

from collections.abc import Sequence
from typing import Any

from components.parts.naming import shown
from pipeline import cluster as clusters
from pipeline.cluster import Cluster
from pipeline.data import rows
from pipeline.parts.pinning import parts_in_memory
from pipeline.recipe import Recipe
from pipeline.store.phases import Store

HERE: Any = True
"""The store that the commands use: $SJKO_TRACKING_URI, or the one under $SJKO_HOME."""


def store_of(store: Any, *, create: bool = True) -> Store:
    """Open a store: the one that is given, the one at a tracking URI, or for True the one that the commands use here.

    Args:
        create: make it where it is a database that is not there.

    Raises:
        ValueError: it is none of these.
        StoreNotFound: it is a database that is not there, and none is to be made.
    """
    from pipeline.command import report

    report.quieten()
    if isinstance(store, Store):
        return store
    if store is HERE:
        return Store(clusters.tracking_uri(Cluster()), create=create)
    if not isinstance(store, str):
        raise ValueError(f"store must be a tracking URI, a Store or True, not a {type(store).__name__}")
    return Store(clusters.tracking_uri(Cluster(tracking_uri=store)), create=create)


def require_storable(what: str, recipe: Recipe, metrics: Sequence[str]) -> None:
    """Refuse to store a flow that no other process could make sense of.

    Args:
        what: was asked for, as the message begins.
        metrics: names of own metrics.

    Raises:
        ValueError: a part or a metric is an object that has no import name.
    """
    named = {f"metrics[{number}]": name for number, name in enumerate(metrics) if name.startswith(":")}
    for field, name in {**parts_in_memory(recipe), **named}.items():
        if not rows.are_rows(name):
            raise ValueError(
                f"{what}: {field} is the object {shown(name)}, which has no import name: put its class into a module, and "
                "let it have attributes with the names of its constructor's parameters"
            )
