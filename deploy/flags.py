"""The commands of `python -m deploy` and their flags: plain values, nothing heavy is imported."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import tyro

from pipeline.cluster import Mlflow, Stores
from pipeline.command.flags import Command, Reference
from pipeline.evaluation.size import EvaluationSize
from pipeline.places import Place, RayAddress, Source

MOST_SAMPLES = 10**10
"""Most samples of one command: its driver keeps a digest of each part in memory."""


@dataclass(frozen=True)
class RunningRay:
    """The Ray that a command runs on: a running cluster, or one that is started here."""

    address: RayAddress | None = None
    """address of a running Ray cluster, such as `auto` or ray://head:10001; None starts Ray here"""


@dataclass(frozen=True)
class Workers(RunningRay):
    """The Ray that a command runs on, and how many of its workers draw."""

    num_workers: int = 1
    """Ray workers, of one CPU each"""


Model = Annotated[tyro.conf.Positional[str], tyro.conf.arg(help="NAME@ALIAS or NAME@VERSION")]
ALLOWED = "run the code of own parts that a version carries or names; read it first"
AllowCode = Annotated[bool, tyro.conf.FlagCreatePairsOff, tyro.conf.arg(help=ALLOWED)]


@dataclass(frozen=True)
class Register(Command):
    """Make a version of a trained flow's map, under the alias @candidate; that of its last phase unless --phase says another."""

    reference: Reference
    name: str
    """name of the registered model"""
    phase: int | None = None
    """register T_k of this phase k, counted from 0, instead of the last one"""
    evaluation: EvaluationSize = field(default_factory=EvaluationSize)
    store: Stores = field(default_factory=Stores)


@dataclass(frozen=True)
class Unregister(Command):
    """Take a version out of the registry; its map stays in the store and can be registered again."""

    name: tyro.conf.Positional[str]
    """name of the registered model"""
    version: tyro.conf.Positional[int]
    """number of the version"""
    drop_aliases: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """also where aliases point at it: they are taken away with it"""
    store: Mlflow = field(default_factory=Mlflow)


@dataclass(frozen=True)
class Promote(Command):
    """Verify a version, measure it on fresh samples, and point an alias at it; exit code 3 where the rule does not hold."""

    name: tyro.conf.Positional[str]
    """name of the registered model"""
    version: int | None = None
    """number of the version; None: the one that @candidate points at"""
    alias: str = "champion"
    """the alias to move"""
    require: str | None = None
    """rule, such as 'w2 <= 1.0 * champion', 'w2 <= 1.2 * floor' or 'modes_covered >= 25'"""
    allow_code: AllowCode = False
    evaluation: EvaluationSize = field(default_factory=EvaluationSize)
    store: Stores = field(default_factory=Stores)


@dataclass(frozen=True)
class List(Command):
    """List the registered models and their aliases."""

    store: Mlflow = field(default_factory=Mlflow)


@dataclass(frozen=True)
class Show(Command):
    """Show the versions of a registered model: figures, phases, aliases, and who moved those when and why."""

    name: tyro.conf.Positional[str]
    """name of the registered model"""
    all: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """also a table of every figure of every version, with floors"""
    store: Mlflow = field(default_factory=Mlflow)


@dataclass(frozen=True)
class Rollback(Command):
    """Point an alias back at the version before; given again, at the one before that."""

    name: tyro.conf.Positional[str]
    """name of the registered model"""
    alias: str = "champion"
    """the alias to move"""
    allow_code: AllowCode = False
    store: Stores = field(default_factory=Stores)


@dataclass(frozen=True)
class Serve(Command):
    """Serve samples over HTTP until Ctrl-C; an alias is followed as it moves."""

    model: Model
    host: str = "127.0.0.1"
    """address to listen on; others than this machine can be let in with a token only"""
    port: int = 8000
    """port to listen on"""
    replicas: tuple[int, int] = (1, 1)
    """least and most replicas, of one CPU each; between them the number follows the load"""
    token_file: Path | None = None
    """file with the bearer token, mode 600; also taken from $SJKO_TOKEN"""
    hosts: str | None = None
    """names beside localhost that the Host header of requests may have, with commas between them: demo.example.org,demo; with a
    token and no names any is taken"""
    metrics_port: int | None = None
    """port of this machine that Prometheus reads; None takes a free one, which is printed"""
    allow_code: AllowCode = False
    cluster: RunningRay = field(default_factory=RunningRay)
    store: Stores = field(default_factory=Stores)


@dataclass(frozen=True)
class Generate(Command):
    """Draw many samples with Ray Data and write them as Parquet; started again, it goes on with what is missing."""

    model: Model
    num_samples: int
    """how many"""
    to: Place
    """folder: a path, or a URL such as s3://bucket/out"""
    phase: int | None = None
    """draw from mu_{k+1} = T_k of this phase k instead of the last one"""
    seed: int = 0
    """seed of x and z: equal seeds give equal samples, whatever the number of workers"""
    allow_code: AllowCode = False
    condition: str | None = None
    """NAME=CLASS, such as label=3, that all samples are given, or NAME=VALUE,VALUE,...; None: of a conditional model drawn for
    each from the data's distribution, and written beside the sample"""
    cluster: Workers = field(default_factory=Workers)
    store: Stores = field(default_factory=Stores)


@dataclass(frozen=True)
class Transport(Command):
    """Apply a map to the points in given files, row by row, with Ray Data; started again, it goes on with what is missing."""

    model: Model
    from_: Annotated[Source, tyro.conf.arg(name="from")]
    """points of the source in its own units, N(0, I) where it is noise. A Parquet, CSV, Arrow, npy or npz file, a folder of such,
    or a pattern in quotes, here or at a URL such as s3://bucket/in"""
    to: Place
    """folder: a path, or a URL such as s3://bucket/out"""
    coordinates: tuple[str, ...] = ()
    """columns with the coordinates of a point, in order; none: those called 0, 1, ..., or one with lists, or all with numbers"""
    phase: int | None = None
    """apply T_k of this phase k instead of the last one"""
    seed: int = 0
    """seed of z: row i gets the same z for equal seeds, whatever the number of workers"""
    allow_code: AllowCode = False
    condition: str | None = None
    """NAME=CLASS, such as label=3, that all points are given, or NAME=VALUE,VALUE,...; None: of a conditional model drawn for
    each from the data's distribution, and written beside the point"""
    cluster: Workers = field(default_factory=Workers)
    store: Stores = field(default_factory=Stores)


@dataclass(frozen=True)
class Export(Command):
    """Write a version's generator as one file for other runtimes."""

    model: Model
    to: Path
    """the file"""
    format: Literal["pt2", "onnx"] | None = None
    """torch.export's format or ONNX; None: what the file's name ends in"""
    allow_code: AllowCode = False
    store: Stores = field(default_factory=Stores)


def model_name(name: str) -> str:
    """Check the name of a registered model, and return it.

    Raises:
        ValueError: the name could not be part of a URI or a path.
    """
    if not name or not all(c.isascii() and (c.isalnum() or c in "._-") for c in name) or name.startswith("."):
        raise ValueError(f"NAME must be letters, digits, '.', '_' and '-', not {name!r}")
    return name


def model_and_version(model: str) -> tuple[str, str]:
    """Split NAME@ALIAS or NAME@VERSION into the model's name and the alias or number.

    >>> model_and_version("two_circles@champion")
    ('two_circles', 'champion')

    Raises:
        ValueError: the text is neither.
    """
    name, at, which = model.partition("@")
    if not at or not which:
        raise ValueError(f"MODEL must be NAME@ALIAS or NAME@VERSION, such as two_circles@champion, not {model!r}")
    return model_name(name), model_name(which)
