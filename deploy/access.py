"""Who may reach the service: the token, the names that requests may give, the ports; refused before anything is loaded."""

import ipaddress
import os
import re
import secrets
import stat
from collections.abc import Sequence
from pathlib import Path

SHORTEST_TOKEN = 16


def is_loopback(host: str) -> bool:
    """Say whether only this machine can reach what listens on a host.

    >>> is_loopback("127.0.0.1"), is_loopback("::1"), is_loopback("0.0.0.0")
    (True, True, False)
    """
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def token_of(host: str, token_file: Path | None) -> str | None:
    """Read the bearer token from a file, else from $SJKO_TOKEN; one is required as soon as others can reach the host.

    Returns:
        The token, or None where there is none and none is required.

    Raises:
        ValueError: there is no token where one is required, it is too short, or others can read its file.
    """
    token = os.environ.get("SJKO_TOKEN", "").strip()
    if token_file is not None:
        if not token_file.is_file():
            raise ValueError(f"--token-file must be an existing file, not {token_file}")
        if token_file.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise ValueError(f"--token-file must be readable by its owner alone: chmod 600 {token_file}")
        token = token_file.read_text().strip()
    if not token and not is_loopback(host):
        raise ValueError(f"--token-file or $SJKO_TOKEN is required with --host {host}, which others can reach")
    if token and (len(token) < SHORTEST_TOKEN or not token.isascii() or not token.isprintable()):
        example = secrets.token_urlsafe(24)
        raise ValueError(f"the token must have {SHORTEST_TOKEN} or more printable ASCII characters, such as {example}")
    return token or None


def check_ports(port: int, metrics_port: int | None, address: str | None) -> None:
    """Refuse a port of the service and one of its metrics that cannot go together.

    >>> check_ports(8000, 8001, None)

    Args:
        address: of a running Ray cluster, which has a metrics port of its own; None where Ray is started here.

    Raises:
        ValueError: a number is no port, both are the same, or the cluster has a metrics port of its own.
    """
    for name, number in (("--port", port), ("--metrics-port", metrics_port)):
        if number is not None and not 1 <= number < 65_536:
            raise ValueError(f"{name} must be from 1 to 65535, not {number}")
    if metrics_port == port:
        raise ValueError(f"--metrics-port must be another port than --port, {port}")
    if metrics_port is not None and address is not None:
        raise ValueError("--metrics-port belongs to a Ray that is started here; a cluster's is `ray start --metrics-export-port`")


def hosts_of(hosts: str | None) -> tuple[str, ...]:
    """Split the host names of `--hosts` at their commas.

    >>> hosts_of("demo.example.org, demo")
    ('demo.example.org', 'demo')
    """
    return () if hosts is None else tuple(name.strip() for name in hosts.split(","))


def check_hosts(name: str, hosts: Sequence[str]) -> None:
    """Refuse host names that cannot stand in a Host header, where a browser writes them in small letters.

    Args:
        name: of the flag or argument that the error names.

    Raises:
        ValueError: one of the hosts cannot be such a name, or `hosts` is one text instead of a list.
    """
    for host in [hosts] if isinstance(hosts, str) else hosts:
        if isinstance(hosts, str) or not re.fullmatch("[a-z0-9._-]+|[0-9a-f:]+", host):
            rule = "names such as demo.example.org, in small letters and without a port"
            raise ValueError(f"{name} must be a list of {rule}, not {host!r}")
