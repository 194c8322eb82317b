"""What MLflow's registry says of models and versions, without torch: `deploy.versions.registry` makes and loads them."""

from collections.abc import Callable, Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from mlflow.entities.model_registry import ModelVersion, RegisteredModel

from deploy.versions.moves import REGISTERED_BY, moves_in
from pipeline.store.maps import FINGERPRINT
from pipeline.store.phases import Store

METRIC = "metric."
"""Beginning of the tags that say what was measured when a version was registered."""
FLOW, K, NUM_PHASES = "sjko.flow_run_id", "sjko.k", "sjko.flow_num_phases"
"""Tags of a version: the run of its flow, the number of its phase, counted from 0, and how many phases that flow has."""


def aliases_of(model: RegisteredModel) -> dict[str, int]:
    """Map each alias of a model to the number of the version that it points at."""
    return {alias: int(number) for alias, number in sorted(model.aliases.items())}


def described(version: ModelVersion, aliases: Mapping[str, int]) -> dict[str, Any]:
    """Say of a version what its row and its tags know; of another program's there is little."""
    tags, number = version.tags, int(version.version)
    registered = datetime.fromtimestamp(version.creation_timestamp / 1000, UTC)
    return {
        "version": number,
        "aliases": [alias for alias, points_at in aliases.items() if points_at == number],
        "num_phases": int(tags[K]) + 1 if K in tags else None,
        "flow_num_phases": int(tags[NUM_PHASES]) if NUM_PHASES in tags else None,
        "registered": registered.isoformat(timespec="seconds").replace("+00:00", "Z"),
        "by": tags.get(REGISTERED_BY),
        "fingerprint": tags.get(FINGERPRINT),
        "flow_run_id": tags.get(FLOW),
        "metrics": {key.removeprefix(METRIC): float(value) for key, value in tags.items() if key.startswith(METRIC)},
        "moves": [asdict(move) for move in moves_in(tags)],
    }


def models_of(store: Store) -> list[RegisteredModel]:
    """List the registered models of a store by name, also those of other programs."""
    return _all(store, lambda token: store.client.search_registered_models(order_by=["name"], page_token=token))


def versions_of(store: Store, name: str) -> list[ModelVersion]:
    """List the versions of a model, newest first."""
    versions = _all(store, lambda token: store.client.search_model_versions(f"name = '{name}'", page_token=token))
    return sorted(versions, key=lambda version: -int(version.version))


def take_out(store: Store, name: str, number: int) -> None:
    """Take a version out of the registry, and the aliases that point at it; its files stay where they are."""
    with store.answering():
        store.client.delete_model_version(name, str(number))


def _all(store: Store, page_at: Callable[[str | None], Any]) -> list[Any]:
    """Read all pages of a search of MLflow's."""
    entities: list[Any] = []
    token: str | None = None
    with store.answering():
        while True:
            page = page_at(token)
            entities += page
            token = page.token
            if not token:
                return entities
