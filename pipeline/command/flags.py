"""The commands of `python -m pipeline` and their flags: plain values, nothing heavy is imported."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from pipeline.cluster import Cluster
from pipeline.command.prepare import Prepare
from pipeline.evaluation import extractors
from pipeline.evaluation.size import Evaluation, EvaluationSize
from pipeline.places import Server, Source
from pipeline.recipe import Data, Jko, Network, Training

DASHBOARD = "http://127.0.0.1:8265"


@dataclass(frozen=True)
class FlowFlags:
    """What a command that trains flows is given: a recipe, fields that replace its own, where to run."""

    recipe: tyro.conf.Positional[str]
    """name of a recipe in pipeline/recipes, or a path ending in .yaml"""
    data: Data = field(default_factory=Data)
    network: Network = field(default_factory=Network)
    jko: Jko = field(default_factory=Jko)
    training: Training = field(default_factory=Training)
    seed: int = 0
    """seed of every random number"""
    cluster: Cluster = field(default_factory=Cluster)
    json: Path | None = None
    """also write the result to this file"""


@dataclass(frozen=True)
class Run(FlowFlags):
    """Train a flow: every phase that is not in the store yet, then its metrics and pictures."""

    evaluation: Evaluation = field(default_factory=Evaluation)
    dry_run: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """show the resolved recipe, the fingerprints and what is already in the store; train and write nothing"""


@dataclass(frozen=True)
class List:
    """List the flows of the store."""

    cluster: Cluster = field(default_factory=Cluster)
    json: Path | None = None
    """also write the result to this file"""


@dataclass(frozen=True)
class Show:
    """Show the phases of a flow with their metrics."""

    run: tyro.conf.Positional[str]
    """an MLflow run id, runs:/ID/phase, or the first eight or more characters of a fingerprint"""
    cluster: Cluster = field(default_factory=Cluster)
    json: Path | None = None
    """also write the result to this file"""


@dataclass(frozen=True)
class Evaluate:
    """Compute the metrics of any published map afresh and draw its samples."""

    reference: tyro.conf.Positional[str]
    """an MLflow run id, runs:/ID/phase, or the first eight or more characters of a fingerprint"""
    extractor: str | None = None
    """image metrics in the features of this network as well: lenet, lenet_digits, effnet or inception, which with its published
    weights gives FID and KID"""
    weights: Source | None = None
    """path or URL of the weights of `inception`; the other networks bring their own"""
    evaluation: EvaluationSize = field(default_factory=EvaluationSize)
    num_images: int = 5000
    """images for those metrics, at most what is held out; FID is published with 50000"""
    cluster: Cluster = field(default_factory=Cluster)
    json: Path | None = None
    """also write the result to this file"""

    def require_consistent(self) -> None:
        """Refuse flags that do not go together.

        Raises:
            ValueError: names the flag.
        """
        if self.num_images < 2:
            raise ValueError(f"--num-images must be at least 2, not {self.num_images}")
        if self.extractor is not None:
            extractors.require_named(self.extractor, self.weights, "--extractor", "--weights")
        elif self.weights is not None:
            raise ValueError("--weights is for --extractor, which is not given")


@dataclass(frozen=True)
class Submit(FlowFlags):
    """Send a flow to a running cluster as a job and follow its log; the job goes on when this command ends."""

    evaluation: Evaluation = field(default_factory=Evaluation)
    address: Server = DASHBOARD
    """the cluster's dashboard, which `ray dashboard ray_cluster.yaml` brings to this machine"""
    detach: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """do not follow the log"""


@dataclass(frozen=True)
class Status:
    """Show a job of a cluster, or all of them."""

    job: tyro.conf.Positional[str | None] = None
    """what `submit` printed"""
    address: Server = DASHBOARD
    """the cluster's dashboard"""
    follow: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """print the job's log and follow it to the end"""
    json: Path | None = None
    """also write the result to this file"""


@dataclass(frozen=True)
class Stop:
    """Stop a job of a cluster; its finished phases are in the store, and the same submission goes on from there."""

    job: tyro.conf.Positional[str]
    """what `submit` printed"""
    address: Server = DASHBOARD
    """the cluster's dashboard"""
    json: Path | None = None
    """also write the result to this file"""


Command = (
    Annotated[Run, tyro.conf.subcommand("run")]
    | Annotated[List, tyro.conf.subcommand("list")]
    | Annotated[Show, tyro.conf.subcommand("show")]
    | Annotated[Evaluate, tyro.conf.subcommand("evaluate")]
    | Annotated[Prepare, tyro.conf.subcommand("prepare")]
    | Annotated[Submit, tyro.conf.subcommand("submit")]
    | Annotated[Status, tyro.conf.subcommand("status")]
    | Annotated[Stop, tyro.conf.subcommand("stop")]
)
