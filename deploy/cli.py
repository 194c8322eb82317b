"""The command line of registry, service and samples. Nothing heavy is imported before the arguments are known to be right."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from deploy.rules import Rule
from deploy.serving import check_hosts, check_ports, hosts_of, token_of
from pipeline import cluster as clusters
from pipeline.cluster import Cluster
from pipeline.command import program
from pipeline.command.cli import check_json, parse_as
from pipeline.evaluation import size as evaluation_size
from pipeline.evaluation.size import EvaluationSize
from pipeline.places import Place, RayAddress, Tracking
from pipeline.provenance import redacted
from pipeline.words import command_line

MOST_SAMPLES = 10**10
"""Of one command: its driver keeps a digest of each part."""


@dataclass(frozen=True)
class Store:
    """Which MLflow, and where images are."""

    tracking_uri: Tracking | None = None
    """MLflow tracking server; None keeps a sqlite database under $SJKO_HOME"""
    data: Place | None = None
    """folder or URL of the image sets that `python -m pipeline prepare` wrote; None: $SJKO_HOME/data"""
    json: Path | None = None
    """also write the result to this file"""


@dataclass(frozen=True)
class Register:
    """Make a version of a trained flow's final map, under the alias @candidate."""

    run: tyro.conf.Positional[str]
    """an MLflow run id, runs:/ID/phase, or the first eight or more characters of a fingerprint"""
    name: str
    """name of the registered model"""
    evaluation: EvaluationSize = field(default_factory=EvaluationSize)
    store: Store = field(default_factory=Store)


@dataclass(frozen=True)
class Promote:
    """Verify a version, measure it on fresh samples, and point an alias at it; exit code 3 where the rule does not hold."""

    name: tyro.conf.Positional[str]
    """name of the registered model"""
    version: int | None = None
    """number of the version; None: the one that @candidate points at"""
    alias: str = "champion"
    """the alias to move"""
    require: str | None = None
    """rule, such as 'w2 <= 1.0 * champion', 'w2 <= 1.2 * floor' or 'modes_covered >= 25'"""
    evaluation: EvaluationSize = field(default_factory=EvaluationSize)
    store: Store = field(default_factory=Store)


@dataclass(frozen=True)
class Rollback:
    """Point an alias back at the version before."""

    name: tyro.conf.Positional[str]
    """name of the registered model"""
    alias: str = "champion"
    """the alias to move"""
    store: Store = field(default_factory=Store)


@dataclass(frozen=True)
class Serve:
    """Serve samples over HTTP until Ctrl-C; an alias is followed as it moves."""

    model: tyro.conf.Positional[str]
    """NAME@ALIAS or NAME@VERSION"""
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
    address: RayAddress | None = None
    """address of a running Ray cluster; None starts Ray here"""
    store: Store = field(default_factory=Store)


@dataclass(frozen=True)
class Generate:
    """Draw many samples with Ray Data and write them as Parquet; started again, it goes on with what is missing."""

    model: tyro.conf.Positional[str]
    """NAME@ALIAS or NAME@VERSION"""
    num_samples: int
    """how many"""
    to: Place
    """folder: a path, or a URL such as s3://bucket/out"""
    phase: int | None = None
    """draw from mu_{k+1} = T_k of this phase k instead of the last one"""
    seed: int = 0
    """seed of x and z: equal seeds give equal samples, whatever the number of workers"""
    workers: int = 1
    """Ray workers, of one CPU each"""
    address: RayAddress | None = None
    """address of a running Ray cluster; None starts Ray here"""
    store: Store = field(default_factory=Store)


@dataclass(frozen=True)
class Export:
    """Write a version's generator as one file for other runtimes."""

    model: tyro.conf.Positional[str]
    """NAME@ALIAS or NAME@VERSION"""
    to: Path
    """the file"""
    format: Literal["pt2", "onnx"] | None = None
    """torch.export's format or ONNX; None: what the file's name ends in"""
    store: Store = field(default_factory=Store)


Command = (
    Annotated[Register, tyro.conf.subcommand("register")]
    | Annotated[Promote, tyro.conf.subcommand("promote")]
    | Annotated[Rollback, tyro.conf.subcommand("rollback")]
    | Annotated[Serve, tyro.conf.subcommand("serve")]
    | Annotated[Generate, tyro.conf.subcommand("generate")]
    | Annotated[Export, tyro.conf.subcommand("export")]
)


def model_name(text: str) -> str:
    """A registered model's name.

    Raises:
        ValueError: it could not be part of a URI or a path.
    """
    if not text or not all(c.isascii() and (c.isalnum() or c in "._-") for c in text) or text.startswith("."):
        raise ValueError(f"NAME must be letters, digits, '.', '_' and '-', not {text!r}")
    return text


def model_and_version(text: str) -> tuple[str, str]:
    """NAME@ALIAS or NAME@VERSION.

    Raises:
        ValueError: it is neither.
    """
    name, at, which = text.partition("@")
    if not at or not which:
        raise ValueError(f"MODEL must be NAME@ALIAS or NAME@VERSION, such as two_circles@champion, not {text!r}")
    return model_name(name), model_name(which)


def check_alias(text: str) -> None:
    """
    Raises:
        ValueError: NAME@ALIAS could not say it, or MLflow keeps it for itself.
    """
    if not re.fullmatch(r"(?!(latest|v\d+)$)[a-z_][a-z0-9_-]{0,63}", text, re.ASCII | re.IGNORECASE):
        rule = "letters, digits, '_' and '-', without a digit first, which names a version, and none of latest, v1, v2, ..."
        raise ValueError(f"--alias must be {rule}, not {text!r}")


def check(command: Any) -> None:
    """Refuse what cannot work before anything is loaded.

    Raises:
        ValueError: what is wrong, in one line.
    """
    clusters.validate(Cluster(tracking_uri=command.store.tracking_uri, data=command.store.data))
    check_json(command.store.json)
    if isinstance(command, Promote | Rollback):
        check_alias(command.alias)
    if isinstance(command, Register | Promote):
        evaluation_size.validate(command.evaluation)
    match command:
        case Register(name=name) | Rollback(name=name):
            model_name(name)
        case Promote():
            model_name(command.name)
            if command.require is not None:
                Rule.parse(command.require)
        case Serve():
            model_and_version(command.model)
            least, most = command.replicas
            if not 1 <= least <= most:
                raise ValueError(f"--replicas must be a least and a most number, 1 or more, not {least} {most}")
            check_ports(command.port, command.metrics_port, command.address)
            check_hosts("--hosts", hosts_of(command.hosts))
            token_of(command.host, command.token_file)
        case Generate():
            model_and_version(command.model)
            bounds = {"num_samples": (1, MOST_SAMPLES), "workers": (1, 10**6), "seed": (0, 2**63 - 1), "phase": (0, 10**6)}
            for name, (least, most) in bounds.items():
                value = getattr(command, name)
                if value is not None and not least <= value <= most:
                    rule = f"at least {least}" if value < least else f"at most {most}"
                    raise ValueError(f"--{name.replace('_', '-')} must be {rule}, not {value}")
        case Export():
            model_and_version(command.model)
            check_export(command)


def check_export(command: Export) -> None:
    """Refuse a file that cannot be written, or whose format nobody named."""
    if (command.to.exists() and not command.to.is_file()) or not command.to.absolute().parent.is_dir():
        raise ValueError(f"--to must be a file in an existing folder, not {command.to}")
    if command.format is None and command.to.suffix not in (".pt2", ".onnx"):
        raise ValueError(f"--to must end in .pt2 or .onnx where there is no --format, not {command.to}")


def main(arguments: Sequence[str]) -> int:
    """Run a command; the exit code is 2 for the user's mistakes, 3 for a refused promotion, 1 for other failures."""
    return program.main(arguments, read, execute, partial(what_goes_on, arguments=arguments))


def read(arguments: Sequence[str]) -> Any:
    """The command of an argument vector, after all that can be refused at once.

    Raises:
        ValueError: what is wrong, in one line.
    """
    command = parse_as(Command, "python -m deploy", arguments)
    check(command)
    return command


def execute(command: Any) -> None:
    """Do what a parsed command says."""
    from pipeline.command import report

    with report.status("loading torch and MLflow"):
        from deploy import commands  # seconds that --help must not cost
    report.quieten()
    commands.execute(command)


def what_goes_on(command: Any, arguments: Sequence[str]) -> str:
    """What a command leaves that was stopped, and how to go on."""
    left = {
        Serve: "the service has ended, and the same command starts it again",
        Generate: "finished files are kept, and the same command goes on",
        Register: "the version is there as a whole or not at all: see the registry, or give the same command",
    }
    again = command_line("python", "-m", "deploy", *(redacted(argument) for argument in arguments))
    return f"{left.get(type(command), 'nothing was changed; the same command begins again')}:\n    {again}"
