"""The program `python -m deploy`: registry, service and samples; what is refused at once."""

import re

from deploy.access import check_hosts, check_ports, hosts_of, token_of
from deploy.flags import (
    MOST_SAMPLES,
    Export,
    Generate,
    List,
    Promote,
    Register,
    Rollback,
    Serve,
    Show,
    Transport,
    Unregister,
    model_and_version,
    model_name,
)
from deploy.rules import Rule
from pipeline.command.flows import UNCHANGED, check_evaluation, check_store
from pipeline.command.program import Action, Later, Program

BOUNDS = {"num_samples": (1, MOST_SAMPLES), "seed": (0, 2**63 - 1), "phase": (0, 10**6)}


def require_alias(alias: str) -> None:
    """Refuse an alias that NAME@ALIAS could not say, or that MLflow keeps for itself.

    >>> require_alias("champion")

    Raises:
        ValueError: the rule and the alias.
    """
    if not re.fullmatch(r"(?!(latest|v\d+)$)[a-z_][a-z0-9_-]{0,63}", alias, re.ASCII | re.IGNORECASE):
        rule = "letters, digits, '_' and '-', without a digit first, which names a version, and none of latest, v1, v2, ..."
        raise ValueError(f"--alias must be {rule}, not {alias!r}")


def check_register(command: Register) -> None:
    """Refuse a `register` whose stores, name or sizes of the evaluation cannot be."""
    check_store(command)
    check_evaluation(command.evaluation)
    model_name(command.name)
    check_bounds(command)


def check_show(command: Show | Unregister) -> None:
    """Refuse a `show` or an `unregister` whose store or name cannot be."""
    check_store(command)
    model_name(command.name)


def check_promote(command: Promote) -> None:
    """Refuse a `promote` whose stores, alias, name or sizes of the evaluation cannot be, or whose rule is none."""
    check_store(command)
    require_alias(command.alias)
    check_evaluation(command.evaluation)
    model_name(command.name)
    if command.require is not None:
        Rule.parse(command.require)


def check_rollback(command: Rollback) -> None:
    """Refuse a `rollback` whose stores, alias or name cannot be."""
    check_store(command)
    require_alias(command.alias)
    model_name(command.name)


def check_serve(command: Serve) -> None:
    """Refuse a `serve` that nobody could reach, or that anybody could reach for want of a token."""
    check_store(command)
    model_and_version(command.model)
    least, greatest = command.replicas
    if not 1 <= least <= greatest:
        raise ValueError(f"--replicas must be a least and a most number, 1 or more, not {least} {greatest}")
    check_ports(command.port, command.metrics_port, command.cluster.address)
    check_hosts("--hosts", hosts_of(command.hosts))
    token_of(command.host, command.token_file)


def check_rows(command: Generate | Transport) -> None:
    """Refuse a `generate` or a `transport` whose stores, model or numbers cannot be."""
    check_store(command)
    model_and_version(command.model)
    check_bounds(command, **{"cluster.num_workers": (command.cluster.num_workers, 1, 10**6)})


def check_bounds(command: Register | Generate | Transport, **others: tuple[int, int, int]) -> None:
    """Refuse a command with a number that is out of its bounds."""
    bounded = {f"--{name.replace('_', '-')}": (getattr(command, name, None), *bounds) for name, bounds in BOUNDS.items()}
    for name, (value, least, greatest) in {**bounded, **others}.items():
        if value is not None and not least <= value <= greatest:
            rule = f"at least {least}" if value < least else f"at most {greatest}"
            raise ValueError(f"{name} must be {rule}, not {value}")


def check_transport(command: Transport) -> None:
    """Refuse a `transport` like a `generate`, and one whose results would be its points when it goes on."""
    check_rows(command)
    if command.from_.rstrip("/") == command.to.rstrip("/"):
        raise ValueError(f"--to must be another folder than --from, not {command.to}")


def check_export(command: Export) -> None:
    """Refuse an `export` whose stores or model cannot be, whose file cannot be written, or whose format nobody named."""
    check_store(command)
    model_and_version(command.model)
    if (command.to.exists() and not command.to.is_file()) or not command.to.absolute().parent.is_dir():
        raise ValueError(f"--to must be a file in an existing folder, not {command.to}")
    if command.format is None and command.to.suffix not in (".pt2", ".onnx"):
        raise ValueError(f"--to must end in .pt2 or .onnx where there is no --format, not {command.to}")


def action(name: str) -> Later:
    """Name the function of `deploy.actions` that carries a command out, to be imported when it is called."""
    return Later("torch and MLflow", f"deploy.actions:{name}")


AGAIN = f"{UNCHANGED}; the same command begins again:"
STARTS_AGAIN = "the service has ended, and the same command starts it again:"
GOES_ON = "finished files are kept, and the same command goes on:"
WHOLE = "the version is there as a whole or not at all: see the registry, or give the same command:"
PROGRAM = Program(
    "deploy",
    {
        "register": Action(Register, check_register, action("register"), WHOLE),
        "unregister": Action(Unregister, check_show, Later("MLflow", "deploy.listing:unregistered"), UNCHANGED),
        "list": Action(List, check_store, Later("MLflow", "deploy.listing:list_models"), UNCHANGED),
        "show": Action(Show, check_show, Later("MLflow", "deploy.listing:show"), UNCHANGED),
        "promote": Action(Promote, check_promote, action("promoted"), AGAIN),
        "rollback": Action(Rollback, check_rollback, action("rolled_back"), AGAIN),
        "serve": Action(Serve, check_serve, action("serve"), STARTS_AGAIN),
        "generate": Action(Generate, check_rows, action("generated"), GOES_ON),
        "transport": Action(Transport, check_transport, action("transported"), GOES_ON),
        "export": Action(Export, check_export, action("exported"), AGAIN),
    },
)
main = PROGRAM.main
