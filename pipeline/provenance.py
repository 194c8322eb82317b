"""Where a result comes from, in words that may be written down: commit, versions, parameters, addresses without secrets."""

import getpass
import os
import platform
import re
import subprocess
from collections.abc import Mapping
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

VERSIONED = ("torch", "numpy", "ray", "mlflow")
TRAINED_ON, EVALUATED_ON, SLOW = "sjko.trained_on", "sjko.evaluated_on", "sjko.slow"
"""Tags of a phase's run: the processors that made it and its figures; a sentence where one is slow at what the recipe asks."""


def redacted(uri: str) -> str:
    """Take out of a URI the user and password that it may carry."""
    return re.sub(r"//[^/\s]*@", "//", uri)


@cache
def commit() -> str:
    """Find the git commit of this code: $SJKO_COMMIT where only the files have travelled; `unknown` outside a repository."""
    if given := os.environ.get("SJKO_COMMIT"):
        return given
    root = Path(__file__).resolve().parent
    try:
        answer = subprocess.run(["git", "rev-parse", "HEAD"], cwd=root, capture_output=True, text=True, check=False)
    except FileNotFoundError:  # no git here
        return "unknown"
    return answer.stdout.strip() or "unknown"


@cache
def processor() -> str:
    """Name the model of this machine's processor."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, "") or platform.processor() or platform.machine() or "unknown processor"


def user() -> str:
    """Name who runs this process: $LOGNAME, $USER or the account's name; its number where it has none."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's account without a name
        return f"uid {os.getuid()}"


def machine() -> str:
    """Name this machine's processors, for who compares seconds: `2 x AMD EPYC`."""
    return f"{os.cpu_count()} x {processor()}"


def flatten(value: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Flatten nested mappings to dotted names, the form of MLflow's parameters."""
    flat: dict[str, str] = {}
    for name, inner in value.items():
        flat |= flatten(inner, f"{prefix}{name}.") if isinstance(inner, Mapping) else {f"{prefix}{name}": str(inner)}
    return flat


def versions() -> dict[str, str]:
    """Look up the versions of the packages that results may depend on."""
    return {name: _version(name) for name in VERSIONED}


_version = cache(version)  # which reads a file of metadata, and is asked for with every run
