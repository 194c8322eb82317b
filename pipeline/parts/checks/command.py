"""The command `check-part`: a table of what was tried of a part, and an error where something fails."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from components.parts.loading import pinned
from pipeline.command import report
from pipeline.command.flags import CheckPart
from pipeline.errors import Unusable
from pipeline.files import write_json
from pipeline.parts.checks.of_name import checks_of, kind_of


def check_part(command: CheckPart) -> Mapping[str, Any]:
    """Carry out `check-part`: try a part, and show what was found.

    Raises:
        Unusable: something fails: the first that does; `--json` is written before.
        PartError: there is no such part, or it is not of the kind that the command says.
    """
    name = command.part
    kind = command.kind or kind_of(name)
    with report.status(f"trying the {kind} {name}"):
        called = pinned(name)
        checks = checks_of(name, kind, command.shape)
    failed = [check for check in checks if not check.passed]
    report.line(f"{kind} {called}")
    rows = [["ok" if check.passed else "FAILED", check.what, check.must, check.found] for check in checks]
    report.console.print(report.grid(["", "tried", "must", "found"], rows))
    result = {"part": called, "kind": kind, "passed": not failed, "checks": [asdict(check) for check in checks]}
    if failed:
        write_json(command.json, result)
        more = f" ({len(failed) - 1} more in the table)" if len(failed) > 1 else ""
        raise Unusable(f"{name}: {failed[0]}{more}")
    report.line(f"all {len(checks)} checks have passed")
    return result
