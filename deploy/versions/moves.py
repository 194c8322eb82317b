"""Who moved an alias, when and why, as tags of a version in MLflow's registry."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from pipeline.provenance import user

PROMOTED, ROLLED_BACK = "promoted", "rolled_back"
REGISTERED_BY = "sjko.registered_by"

BEEN = "sjko.been."
"""Beginning of the tags of a model with the versions that each alias has pointed at, the last at the end."""
MOST_BEEN = 200
"""Versions that are written there: MLflow takes 5,000 characters."""


@dataclass(frozen=True)
class Move:
    """The last time that an alias came to a version, or left it by a rollback.

    Attributes:
        what: PROMOTED or ROLLED_BACK.
        alias: that was moved.
        at: time in UTC, as ISO 8601 has it.
        by: name of the account.
        because: the rule with its numbers, or the version that the alias went back to.
    """

    what: str
    alias: str
    at: str
    by: str
    because: str


def tags(what: str, alias: str, because: str) -> dict[str, str]:
    """Write a move of an alias by this process, now, as tags.

    >>> sorted(tags(PROMOTED, "champion", "no rule was given"))
    ['sjko.promoted_at.champion', 'sjko.promoted_because.champion', 'sjko.promoted_by.champion']
    """
    now = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    return {f"sjko.{what}_{key}.{alias}": value for key, value in {"at": now, "by": user(), "because": because}.items()}


def up_to(been: Sequence[int], number: int) -> list[int]:
    """Take where an alias has been up to the last time at a version, which is put at the end where MLflow's page moved it there.

    >>> up_to([1, 2, 1, 3], 1), up_to([1, 2], 5)
    ([1, 2, 1], [1, 2, 5])
    """
    if number not in been:
        return [*been, number]
    return list(been[: len(been) - list(reversed(been)).index(number)])


def moves_in(tags: Mapping[str, str]) -> list[Move]:
    """Read the moves that tags of a version tell of, the earliest first."""
    moves = []
    for what in (PROMOTED, ROLLED_BACK):
        prefix = f"sjko.{what}_at."
        for alias in (key.removeprefix(prefix) for key in tags if key.startswith(prefix)):
            at, by, because = (tags.get(f"sjko.{what}_{key}.{alias}", "") for key in ("at", "by", "because"))
            moves.append(Move(what, alias, at, by, because))
    return sorted(moves, key=lambda move: move.at)
