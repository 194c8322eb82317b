"""The commands of `python -m pipeline` and their flags: plain values, nothing heavy is imported."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import tyro

from pipeline.cluster import Cluster, Mlflow, Stores
from pipeline.data.tables.naming import is_location
from pipeline.evaluation import extractors
from pipeline.evaluation.size import Evaluation, EvaluationSize
from pipeline.places import Server, Source
from pipeline.recipe import Data, Jko, Network, Recipe, Training

DASHBOARD = "http://127.0.0.1:8265"
MEANT = "an MLflow run id, runs:/ID/phase, or the first eight or more characters of a fingerprint"
Reference = Annotated[tyro.conf.Positional[str], tyro.conf.arg(help=MEANT)]
"""The map of a phase, as a person names it."""
KindOfPart = Literal["divergence", "network", "cost", "source", "metric", "extractor"]


@dataclass(frozen=True, kw_only=True)
class Command:
    """One command of a program: what the flags of all commands share."""

    json: Path | None = None
    """also write the result to this file"""


@dataclass(frozen=True)
class FlowFlags(Command):
    """The flags of a command that trains flows: a recipe, fields that replace its own, where to run."""

    recipe: tyro.conf.Positional[str]
    """name of a recipe in pipeline/recipes, or a path ending in .yaml"""
    data: Data = field(default_factory=Data)
    network: Network = field(default_factory=Network)
    jko: Jko = field(default_factory=Jko)
    training: Training = field(default_factory=Training)
    seed: int = 0
    """seed of every random number"""
    cluster: Cluster = field(default_factory=Cluster)

    def resolved(self) -> Recipe:
        """Make the recipe that the command line resolves to."""
        return Recipe(self.data, self.network, self.jko, self.training, self.seed)

    @property
    def stem(self) -> str:
        """Give the recipe's name, without the folder and the ending of its file; that of a table where it is of any table."""
        if not is_location(self.data.target):
            return Path(self.recipe).stem
        named = [part for part in Path(self.data.target).parts if not set(part) & set("*?[")]  # a pattern has the folder's name
        return Path(named[-1]).stem.partition(".")[0] if named else Path(self.recipe).stem


@dataclass(frozen=True)
class Run(FlowFlags):
    """Train a flow: every phase that is not in the store yet, then its metrics and pictures."""

    evaluation: Evaluation = field(default_factory=Evaluation)
    dry_run: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """show the resolved recipe, the fingerprints and what is already in the store; train and write nothing"""


@dataclass(frozen=True)
class List(Command):
    """List the flows of the store."""

    store: Mlflow = field(default_factory=Mlflow)


@dataclass(frozen=True)
class Ui(Command):
    """Start MLflow's page on the store that the commands use, on 127.0.0.1, until Ctrl-C.

    Example: `ui --port 5001`, then open http://127.0.0.1:5001.
    """

    port: int = 5000
    """where it listens"""
    store: Mlflow = field(default_factory=Mlflow)


@dataclass(frozen=True)
class Show(Command):
    """Show the phases of a flow with their metrics."""

    reference: Reference
    store: Mlflow = field(default_factory=Mlflow)


@dataclass(frozen=True)
class Evaluate(Command):
    """Compute the metrics of any published map afresh and draw its samples."""

    reference: Reference
    extractor: str | None = None
    """image metrics in the features of this network as well: lenet, lenet_digits, effnet, inception, which with its published
    weights gives FID and KID, or package.module:name of your own"""
    weights: Source | None = None
    """path or URL of the weights of `inception`; the other networks bring their own"""
    evaluation: EvaluationSize = field(default_factory=EvaluationSize)
    num_images: int = 5000
    """images for those metrics, at most what is held out; FID is published with 50000"""
    condition: str | None = None
    """NAME=CLASS, such as label=3: of a conditional flow the samples given that class, beside the held-out samples of it; None:
    of all classes, as often as the data have them"""
    store: Stores = field(default_factory=Stores)

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
    """Send a flow to a running cluster and follow its log; it goes on there when this command ends."""

    evaluation: Evaluation = field(default_factory=Evaluation)
    dashboard: Server = DASHBOARD
    """the cluster's dashboard, which `ray dashboard ray_cluster.yaml` brings to this machine"""
    detach: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """do not follow the log"""
    words: tyro.conf.Suppress[tuple[str, ...]] = ()
    """what was written after `submit`; no flag"""


@dataclass(frozen=True)
class Status(Command):
    """Show a flow that was sent to a cluster, or all of them."""

    submission: tyro.conf.Positional[str | None] = None
    """what `submit` printed"""
    dashboard: Server = DASHBOARD
    """the cluster's dashboard"""
    follow: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """print its log and follow it to the end"""


@dataclass(frozen=True)
class Stop(Command):
    """Stop a flow that was sent to a cluster; its finished phases are in the store, and sending it again goes on from there."""

    submission: tyro.conf.Positional[str]
    """what `submit` printed"""
    dashboard: Server = DASHBOARD
    """the cluster's dashboard"""


@dataclass(frozen=True)
class Schema(Command):
    """Show what each column of a table is: its kind, missing values, range, grid, transform, and how many coordinates it becomes.

    What is not as it should be is corrected in the YAML that --to writes. An identifier, or free text, is refused: a flow cannot
    learn it. `--drop NAME` leaves it out.
    """

    file: tyro.conf.Positional[str]
    """path or URL of a table (.parquet, .csv, .arrow, .npy, ...), a folder of them, or a pattern such as "data/*.csv" """
    to: Path | None = None
    """the YAML file to write; there must be none yet"""
    drop: tuple[str, ...] = ()
    """columns to leave out"""


@dataclass(frozen=True)
class CheckPart(Command):
    """Try a part of a flow, your own or one that is built in, and show what was found; exit code 2 where something fails.

    A divergence: f* against a numerical supremum of s t - f(t), slopes, convexity, losses. A pair of networks: shapes, gradients
    of first and second order, the distance from the identity, states, copies. A source: equal batches for an equal place, rows,
    moments. A cost: not negative, 0 at rest, a finite gradient. `run` tries the own parts of its recipe too, but for what takes
    time. What to write for each kind is in docs/parts.md.
    """

    part: tyro.conf.Positional[str]
    """package.module:name of your own, "my_parts:alpha(alpha=0.5)" where it has options, or the name of one built in, as jsd"""
    kind: Annotated[KindOfPart | None, tyro.conf.arg(name="as")] = None
    """which kind of part it is meant to be; None: what it is"""
    shape: tuple[int, ...] = ()
    """shape of the samples on which a network, cost or metric is tried, as 2 or 1 28 28. Left out: images of a pair's smallest
    side, or points of the plane"""


@dataclass(frozen=True)
class Report(Command):
    """Judge generated rows beside real ones: a page with a verdict, figures with their floors, pictures.

    Example: `report --real held_out.parquet --generated made.parquet --train train.parquet --to report.html`. Files are Parquet,
    CSV, Arrow or arrays of numpy, at a path or a URL. Of a flow to a table, `report MODEL --to report.html` takes samples of its
    map, the rows that it held out, or those of `--data`, and those it was trained on. It logs the figures to the map's MLflow
    run. What to make of the page is in docs/tables.md.
    """

    to: Path
    """the page, one HTML file"""
    reference: tyro.conf.Positional[str | None] = None
    """a map of a flow to a table: a registered version, NAME@ALIAS or NAME@NUMBER, an MLflow run id, runs:/ID/phase, or the first
    eight or more characters of a fingerprint"""
    data: Source | None = None
    """of such a map: rows that it has not seen, in place of those that its flow held out"""
    real: Source | None = None
    """rows that the model has not seen, or with no --train all real rows there are"""
    generated: Source | None = None
    """rows that it has made"""
    train: Source | None = None
    """rows that the model was trained on: among them copies are looked for"""
    predict: str | None = None
    """a column that is predicted from the others, by a model that learns from generated rows and one that learns from real"""
    drop: tuple[str, ...] = ()
    """columns that are left out, such as identifiers and free text"""
    schema: Source | None = None
    """what the columns are, as `python -m pipeline schema` has written and you have corrected it; left out: that of the map, or
    what is found in the real rows"""
    store: Stores = field(default_factory=Stores)

    def require_consistent(self) -> None:
        """Refuse flags that do not go together.

        Raises:
            ValueError: names the flag.
        """
        if self.reference is None and self.data is not None:
            raise ValueError("--data is of a map, which comes right after `report`; of files, write --real and --generated")
        if self.reference is None and (self.real is None or self.generated is None):
            missing = "--real" if self.real is None else "--generated"
            raise ValueError(f"{missing} must be given, or the map of a flow right after `report`")
        if self.reference is not None and self.real is not None:
            raise ValueError(f"--real must be left out where a map is judged: write --data {self.real}")
        for flag, value in (("--generated", self.generated), ("--train", self.train)):
            if self.reference is not None and value is not None:
                raise ValueError(f"{flag} must be left out where a map is judged, which brings its own")
