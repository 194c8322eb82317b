"""The command line of registry, service and samples. Nothing heavy is imported before the arguments are known to be right."""

import re
from collections.abc import Sequence
from functools import partial
from typing import Annotated, Any

import tyro

from deploy.access import check_hosts, check_ports, hosts_of, token_of
from deploy.flags import (
    MOST_SAMPLES,
    Export,
    Generate,
    Promote,
    Register,
    Rollback,
    Serve,
    model_and_version,
    model_name,
)
from deploy.rules import Rule
from pipeline import cluster as clusters
from pipeline.cluster import Cluster
from pipeline.command import program
from pipeline.command.cli import check_json, parse_as
from pipeline.evaluation import size as evaluation_size
from pipeline.provenance import redacted
from pipeline.words import command_line

Command = (
    Annotated[Register, tyro.conf.subcommand("register")]
    | Annotated[Promote, tyro.conf.subcommand("promote")]
    | Annotated[Rollback, tyro.conf.subcommand("rollback")]
    | Annotated[Serve, tyro.conf.subcommand("serve")]
    | Annotated[Generate, tyro.conf.subcommand("generate")]
    | Annotated[Export, tyro.conf.subcommand("export")]
)


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
