"""Where and how a flow runs. Nothing here is part of a phase's identity."""

import os
from dataclasses import dataclass
from typing import Annotated

import tyro

from pipeline import places
from pipeline.places import Place, RayAddress, Tracking

VARIABLES = {"tracking_uri": "SJKO_TRACKING_URI", "checkpoints": "SJKO_CHECKPOINTS", "data": "SJKO_DATA"}
RENAMED_VARIABLES = {"SJKO_STORAGE": "SJKO_CHECKPOINTS"}


@dataclass(frozen=True)
class Mlflow:
    """A place of MLflow's, where phases, flows, searches and versions are kept."""

    tracking_uri: Annotated[Tracking | None, tyro.conf.arg(name="store.tracking-uri", prefix_name=False)] = None
    """MLflow tracking server; None: $SJKO_TRACKING_URI, or else a sqlite database under $SJKO_HOME"""


@dataclass(frozen=True)
class Stores(Mlflow):
    """The two stores that commands read: MLflow's, and that of prepared images.

    Example:
        >>> Stores(data="s3://bucket/data").data
        's3://bucket/data'
    """

    data: Annotated[Place | None, tyro.conf.arg(name="store.data", prefix_name=False)] = None
    """folder or URL (s3://bucket/path) of the image sets that `prepare` wrote, reachable by workers; None: $SJKO_DATA, or
    else $SJKO_HOME/data"""


@dataclass(frozen=True)
class Cluster(Stores):
    """The stores that a flow is kept in, and the workers that train it.

    Example:
        >>> Cluster(num_workers=2, use_gpu=True).phases_per_job
        1
    """

    checkpoints: Annotated[Place | None, tyro.conf.arg(name="store.checkpoints", prefix_name=False)] = None
    """folder or URL (s3://bucket/path) of mid-phase checkpoints, reachable from every worker; None: $SJKO_CHECKPOINTS, or else
    under $SJKO_HOME"""
    num_workers: int = 0
    """Ray Train workers per job; 0 trains in this process (Ray Train's local mode)"""
    min_workers: int | None = None
    """elastic: a job takes as many workers as the cluster has room for, from this many to num_workers. As nodes come and go, it
    goes on from its last checkpoint with more or fewer. None: exactly num_workers"""
    phases_per_job: int = 1
    """consecutive phases trained by one Ray Train job; a job costs about ten seconds of start-up"""
    cpus_per_worker: int = 1
    """CPUs, and torch threads, of one worker"""
    use_gpu: bool = False
    """one GPU per worker"""
    address: RayAddress | None = None
    """address of a running Ray cluster, such as `auto` or ray://head:10001; None starts Ray here when workers are asked for"""
    max_cached_gb: float = 32.0
    """an image set that is larger when decoded is streamed (recipe field data.streamed); others are decoded once per machine into
    $SJKO_HOME/cache"""
    num_microbatches: int = 1
    """equal parts in which a worker takes its share of a batch, to need less memory: the same gradients but for rounding.
    Not with network.kind small, whose batch norm would see each part alone"""
    channels_last: bool = False
    """networks for images keep their channels together in memory"""
    compile: bool = False
    """compile whole steps with torch.compile (needs a C++ compiler on CPU; minutes at first, seconds later)"""
    checkpoint_every: int = 1000
    """steps between mid-phase checkpoints; 0 for none"""
    max_failures: int = 3
    """how often a job may lose workers and go on from its last checkpoint"""


def validate(cluster: Cluster) -> None:
    """Refuse a cluster whose fields do not suit each other, or are out of their bounds: rules that types cannot say.

    Raises:
        ValueError: the first broken rule, with the dotted field, the rule and the value.
    """
    minimum = {
        "num_workers": 0,
        "phases_per_job": 1,
        "cpus_per_worker": 1,
        "num_microbatches": 1,
        "checkpoint_every": 0,
        "max_failures": 0,
    }
    for name, least in minimum.items():
        if getattr(cluster, name) < least:
            raise ValueError(f"cluster.{name} must be at least {least}, not {getattr(cluster, name)}")
    if cluster.address is not None:
        places.ray_address("cluster.address", cluster.address)
    if cluster.min_workers is not None and not 1 <= cluster.min_workers <= cluster.num_workers:
        raise ValueError(f"cluster.min_workers must be from 1 to num_workers = {cluster.num_workers}, not {cluster.min_workers}")
    validate_stores(cluster)
    if not cluster.max_cached_gb >= 0:
        raise ValueError(f"cluster.max_cached_gb must be at least 0, not {cluster.max_cached_gb}")


def validate_stores(stores: Mlflow) -> None:
    """Refuse a store that cannot be read, and a $SJKO_HOME that is no folder.

    Raises:
        ValueError: names the flag or the variable, the rule and the value.
    """
    for name in VARIABLES:
        if hasattr(stores, name):
            _setting(stores, name)
    places.home()


def tracking_uri(stores: Mlflow) -> str:
    """Give MLflow's tracking URI, with every local path made absolute.

    Example:
        >>> tracking_uri(Cluster(tracking_uri="http://mlflow:5000"))
        'http://mlflow:5000'
    """
    return _setting(stores, "tracking_uri") or places.sqlite_url(places.home() / "mlflow.db")


def names_store(stores: Mlflow) -> bool:
    """Say whether a flag or a variable names MLflow's place; else it is the database of every command here."""
    return _setting(stores, "tracking_uri") is not None


def checkpoints(cluster: Cluster) -> str:
    """Give the place of checkpoints within a phase: a URL, or an absolute path."""
    return _setting(cluster, "checkpoints") or str(places.home() / "checkpoints")


def data(stores: Stores) -> str | None:
    """Give the place of prepared image sets, for workers in any folder; None where nothing says."""
    return _setting(stores, "data")


def variables() -> dict[str, str]:
    """List the environment variables that say where stores are, those that are set, and $SJKO_HOME, for workers in any folder."""
    given = {name: _setting(Cluster(), name) for name, variable in VARIABLES.items() if variable in os.environ}
    return {"SJKO_HOME": str(places.home())} | {VARIABLES[name]: value for name, value in given.items() if value}


READERS = {"tracking_uri": places.tracking, "checkpoints": places.place, "data": places.place}


def _setting(stores: Mlflow, name: str) -> str | None:
    """Read the place of a store: as it was given, or where it is None as the environment has it, so that a cluster's nodes
    know it.
    """
    for old, new in RENAMED_VARIABLES.items():
        if old in os.environ:
            raise ValueError(f"${old} is called ${new} now")
    given: str | None = getattr(stores, name)
    if given is not None:
        return READERS[name](f"store.{name}", given)
    variable = os.environ.get(VARIABLES[name])
    return None if variable is None else READERS[name](f"${VARIABLES[name]}", variable)
