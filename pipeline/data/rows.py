"""Rows of numbers that a user of Python has in memory, as a source whose name says what they are: `:rows-3-1f2e3d4c5b6a`.

The name has the shape of a sample and the beginning of the digest of all of them. So equal data make equal flows, and another
process, which does not have them, can show and sample such a flow. Workers read them from a file under their name.

Rows with a condition each have the number of its classes or values in their name as well: `:rows-3-1f2e3d4c5b6a-classes-10`.
"""

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, Never, cast
from weakref import WeakValueDictionary

from components.conditions import Condition
from pipeline.data.joint import Conditioned
from pipeline.data.points import Points
from pipeline.data.source import Source
from pipeline.data.tables import kept
from pipeline.errors import Unusable
from pipeline.provenance import redacted

NAME = re.compile(r":rows-(\d+(?:x\d+)*)-([0-9a-f]{12})(?:-(classes|values)-(\d+))?")
_held: WeakValueDictionary[str, Points] = WeakValueDictionary()
"""Rows of this process, as long as a flow has them."""


def are_rows(name: str) -> bool:
    """Say whether a source's name is one of rows in somebody's memory.

    Example:
        >>> are_rows(":rows-3-1f2e3d4c5b6a"), are_rows("moons")
        (True, False)
    """
    return NAME.fullmatch(name) is not None


def hold(points: Points) -> tuple[str, Points]:
    """Name rows, so that recipes of this process can mean them for as long as the caller holds what is returned."""
    name = name_of(points)
    return name, _held.setdefault(name, points)


def name_of(points: Points) -> str:
    """Name rows by the shape of a sample and the digest of all of them, and by what kind of condition each has."""
    name = f":rows-{'x'.join(map(str, points.shape))}-{points.digest[:12]}"
    for condition in points.conditions.values() if isinstance(points, Conditioned) else ():
        name += f"-classes-{condition.num_classes}" if condition.classes else f"-values-{condition.num_values}"
    return name


def shape_of(name: str) -> tuple[int, ...]:
    """Read the shape of one sample from the name of rows.

    Example:
        >>> shape_of(":rows-3x8x8-1f2e3d4c5b6a")
        (3, 8, 8)
    """
    match = NAME.fullmatch(name)
    assert match is not None
    return tuple(int(size) for size in match[1].split("x"))


def condition_of(name: str, asked: str) -> Condition | None:
    """Give the condition of rows as far as their name says it, with numbers for the names of classes; None where they are here.

    Args:
        asked: what a recipe calls it.
    """
    match = NAME.fullmatch(name)
    if match is None or match[3] is None or name in _held:
        return None
    count = int(match[4])
    return Condition(asked, tuple(map(str, range(count)))) if match[3] == "classes" else Condition(asked, num_values=count)


def picture_of(shape: tuple[int, ...]) -> str:
    """Choose how samples of a shape are drawn: as images where they have the shape of images."""
    return "images" if len(shape) == 3 and shape[0] in (1, 3) else "points"


@dataclass(frozen=True)
class Elsewhere:
    """Rows in the memory of another process: what is known of them is their name, and what needs more is refused."""

    name: str
    units: Literal["data"] = "data"
    digest: None = None
    num_distinct: None = None
    modes: None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """Give the shape of one sample."""
        return shape_of(self.name)

    @property
    def picture(self) -> str:
        """Name how samples are drawn."""
        return picture_of(self.shape)

    def _refuse(self, *_: object) -> Never:
        raise missing(self.name)

    batch = sample = held_out = seen = moments = _refuse


def known(name: str) -> Source:
    """Give the rows of a name where this process has them, and else what is known of them."""
    return _held.get(name) or Elsewhere(name)


def opened(name: str, data_uri: str | None) -> Source:
    """Give the rows of a name, from memory or from the file that was written for workers.

    Raises:
        Unusable: they are neither here nor there.
    """
    points = _held.get(name) or _read(name, kept.place_of(data_uri))
    if points is None:
        place = f"{redacted(kept.place_of(data_uri))}/{kept.FOLDER}"
        raise Unusable(f"{missing(name)}; they are not in {place} either, where workers would find them")
    return points


@lru_cache(maxsize=4)
def _read(name: str, place: str) -> Points | None:
    """Read the rows of a name once in a process, as long as few are read."""
    points = cast(Points | None, kept.read(name, place))
    _held.update({} if points is None else {name: points})  # so that what is known of a name is all of it
    if points is not None and name_of(points) != name:
        raise Unusable(
            f"{redacted(place)}/{kept.FOLDER}/{name[1:]} holds other rows than its name says: remove it, and fit again"
        )
    return points


def keep(names: Iterable[str], data_uri: str | None) -> None:
    """Write the rows of this process that names mean to the place of data, so that other processes find them there."""
    for name in names:
        points = _held.get(name)
        if points is not None:
            kept.write(name, points, data_uri)


def missing(name: str) -> Unusable:
    """Make the error of a flow whose data nobody here has."""
    numbers = math.prod(shape_of(name))
    return Unusable(
        f"{name}: the data of this flow, rows of {numbers} numbers, were in the memory of another process; its maps can be "
        "sampled here, and what needs the data works where Flow.fit is given them again"
    )
