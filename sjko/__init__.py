"""Everything that a user of Python calls, in one place: `from sjko import Flow, Recipe`.

A name is imported when it is first asked for, so that `import sjko` takes milliseconds.
"""

from pkgutil import resolve_name
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from components.costs import Cost
    from components.divergences.base import Divergence, FDivergence
    from components.networks.pair import NetworkPair, NetworkSpec
    from components.parts.naming import PartError
    from deploy.versions.code import CodeRefused
    from pipeline.cluster import Cluster
    from pipeline.data.source import Source
    from pipeline.errors import (
        Corrupt,
        Diverged,
        FlowError,
        MapNotFound,
        StoreUnavailable,
        TrainingFailed,
        Unschedulable,
        Unusable,
        VersionNotFound,
    )
    from pipeline.evaluation.metrics import Metric
    from pipeline.recipe import Data, Jko, Network, Recipe, Training
    from pipeline.recipes.loading import load_recipe
    from pipeline.store.phases import Store
    from sjko.flow import Flow
    from sjko.trained import TrainedPhase

PLACES = {
    "Flow": "sjko.flow",
    "TrainedPhase": "sjko.trained",
    "Recipe": "pipeline.recipe",
    "Data": "pipeline.recipe",
    "Network": "pipeline.recipe",
    "Jko": "pipeline.recipe",
    "Training": "pipeline.recipe",
    "load_recipe": "pipeline.recipes.loading",
    "Cluster": "pipeline.cluster",
    "Store": "pipeline.store.phases",
    "Divergence": "components.divergences.base",
    "FDivergence": "components.divergences.base",
    "Cost": "components.costs",
    "NetworkPair": "components.networks.pair",
    "NetworkSpec": "components.networks.pair",
    "Source": "pipeline.data.source",
    "Metric": "pipeline.evaluation.metrics",
    "FlowError": "pipeline.errors",
    "CodeRefused": "deploy.versions.code",
    "Corrupt": "pipeline.errors",
    "Diverged": "pipeline.errors",
    "MapNotFound": "pipeline.errors",
    "StoreUnavailable": "pipeline.errors",
    "TrainingFailed": "pipeline.errors",
    "Unschedulable": "pipeline.errors",
    "Unusable": "pipeline.errors",
    "VersionNotFound": "pipeline.errors",
    "PartError": "components.parts.naming",
}
"""Every public name, and the module that it is from: what to call, then what to extend, then what may go wrong."""
__all__ = [  # noqa: RUF022  # in the order of PLACES, which is that of the documentation
    "Flow",
    "TrainedPhase",
    "Recipe",
    "Data",
    "Network",
    "Jko",
    "Training",
    "load_recipe",
    "Cluster",
    "Store",
    "Divergence",
    "FDivergence",
    "Cost",
    "NetworkPair",
    "NetworkSpec",
    "Source",
    "Metric",
    "FlowError",
    "CodeRefused",
    "Corrupt",
    "Diverged",
    "MapNotFound",
    "StoreUnavailable",
    "TrainingFailed",
    "Unschedulable",
    "Unusable",
    "VersionNotFound",
    "PartError",
]


def __getattr__(name: str) -> Any:
    if name not in PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return globals().setdefault(name, resolve_name(f"{PLACES[name]}:{name}"))


def __dir__() -> list[str]:
    return sorted({*globals(), *PLACES})
