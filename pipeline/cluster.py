"""Where and how a flow runs. Nothing here is part of a phase's identity."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pipeline import places
from pipeline.places import Place, RayAddress, Tracking

VARIABLES = {"tracking_uri": "SJKO_TRACKING_URI", "storage": "SJKO_STORAGE", "data": "SJKO_DATA"}


@dataclass(frozen=True)
class Cluster:
    """Workers, storage and tracking."""

    num_workers: int = 0
    """Ray Train workers per job; 0 trains in this process (Ray Train's local mode)"""
    min_workers: int | None = None
    """elastic: a job takes as many workers as the cluster has room for, from this many to num_workers, and goes on from its last
    checkpoint with more or fewer as nodes come and go; None: exactly num_workers"""
    phases_per_job: int = 1
    """consecutive phases trained by one Ray Train job; a job costs about ten seconds of start-up"""
    cpus_per_worker: int = 1
    """CPUs, and torch threads, of one worker"""
    use_gpu: bool = False
    """one GPU per worker"""
    address: RayAddress | None = None
    """address of a running Ray cluster, such as `auto` or ray://head:10001; None starts Ray here when workers are asked for"""
    tracking_uri: Tracking | None = None
    """MLflow tracking server; None: $SJKO_TRACKING_URI, or else a sqlite database under $SJKO_HOME"""
    storage: Place | None = None
    """folder or URL (s3://bucket/path) of mid-phase checkpoints, reachable from every worker; None: $SJKO_STORAGE, or else under
    $SJKO_HOME"""
    data: Place | None = None
    """folder or URL (s3://bucket/path) of the image sets that `prepare` wrote, reachable by workers; None: $SJKO_DATA, or
    else $SJKO_HOME/data"""
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
    """Rules that types cannot say.

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
    for read in (tracking_uri, storage, data):
        read(cluster)
    home()
    if not cluster.max_cached_gb >= 0:
        raise ValueError(f"cluster.max_cached_gb must be at least 0, not {cluster.max_cached_gb}")


def home() -> Path:
    """Folder of all local state: $SJKO_HOME, or .sjko in the current folder; absolute, since workers change directory."""
    return places.require_folder("$SJKO_HOME", places.path("$SJKO_HOME", os.environ.get("SJKO_HOME", ".sjko")))


def tracking_uri(cluster: Cluster) -> str:
    """The tracking URI with every local path made absolute."""
    return _setting(cluster, "tracking_uri", places.tracking) or places.sqlite_url(home() / "mlflow.db")


def storage(cluster: Cluster) -> str:
    """Where Ray Train keeps its checkpoints: a URL, or an absolute path."""
    return _setting(cluster, "storage", places.place) or str(home() / "checkpoints")


def data(cluster: Cluster) -> str | None:
    """Where prepared image sets are, for workers in any folder; None where nothing says."""
    return _setting(cluster, "data", places.place)


def variables() -> dict[str, str]:
    """The variables that say where things are, for workers in any folder; those of them that are set, and $SJKO_HOME."""
    fields = {"tracking_uri": tracking_uri, "storage": storage, "data": data}
    given = {name: read(Cluster()) for name, read in fields.items() if VARIABLES[name] in os.environ}
    return {"SJKO_HOME": str(home())} | {VARIABLES[name]: value for name, value in given.items() if value}


def _setting(cluster: Cluster, name: str, read: Callable[[str, str], str]) -> str | None:
    """A field of the cluster, or where it is None the environment's: how the nodes of a cluster know their stores."""
    given: str | None = getattr(cluster, name)
    if given is not None:
        return read(f"cluster.{name}", given)
    variable = os.environ.get(VARIABLES[name])
    return None if variable is None else read(f"${VARIABLES[name]}", variable)
