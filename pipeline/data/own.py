"""Sources from outside this repository: a `Source`, or arrays of samples that become one."""

import hashlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, cast

import numpy as np

from components.conditions import Condition
from components.measures import Modes
from components.parts import loading
from components.parts.loading import describe_error, load
from components.parts.naming import PartError, shown
from pipeline.data import rows
from pipeline.data.points import Points
from pipeline.data.source import EndName, Source
from pipeline.data.specs import SourceSpec
from pipeline.errors import Unusable
from pipeline.recipe import Data
from pipeline.recipes.values import Refused
from pipeline.words import counted

HELD_OUT = 5
"""One row in so many is held out."""
PROTOCOL = ("shape", "units", "picture", "digest", "num_distinct", "modes", "moments", "batch", "sample", "held_out", "seen")


@dataclass(frozen=True)
class OwnSpec(SourceSpec):
    """The specification of an own source: nothing is imported before its shape or its samples are asked for."""

    name: str
    fields = frozenset({"digest"})
    source_fields = frozenset({"source_digest"})

    @property
    def picture(self) -> str:  # type: ignore[override]  # the protocol has it as an attribute
        """Name how samples are drawn."""
        return source_of(self.name).picture

    @property
    def modes(self) -> Modes | None:
        """Give the modes of the source, where it has any."""
        return source_of(self.name).modes

    def conditions(self, data: Data) -> Mapping[str, Condition]:
        """List what the source says that its samples may be conditioned on; of rows elsewhere, what their name says of it."""
        if data.condition is not None and (condition := rows.condition_of(self.name, data.condition)) is not None:
            return {data.condition: condition}
        offered: Mapping[str, Condition] = getattr(source_of(self.name), "conditions", {})
        return offered

    def shape(self, data: Data) -> tuple[int, ...]:
        """Give the shape of the source's samples."""
        return tuple(source_of(self.name).shape)

    def fits(self, shape: tuple[int, ...]) -> bool:
        """Say whether the source's samples have the shape."""
        return tuple(source_of(self.name).shape) == shape

    def resolve(self, data: Data, end: EndName, data_uri: str | None, most_bytes: float) -> Data:
        """Fill in the digest of the source's samples, where it has one."""
        digest = opened(self.name, data_uri).digest
        given = data.digest if end == "target" else data.source_digest
        if given not in (None, digest):
            field = "digest" if end == "target" else "source_digest"
            raise Refused(f"data.{field}", f"{digest} for the samples of {shown(self.name)}", given)
        return replace(data, digest=digest) if end == "target" else replace(data, source_digest=digest)

    def open(self, data: Data, end: EndName, shape: tuple[int, ...], data_uri: str | None) -> Source:
        """Give the source, whose samples must be those that the recipe means."""
        self.resolve(data, end, data_uri, 0)
        return opened(self.name, data_uri)


def opened(name: str, data_uri: str | None) -> Source:
    """Make the source that an own part's name means, with all of its samples.

    Args:
        data_uri: folder or URL where rows may be that are in no memory of this process.

    Raises:
        PartError: there is none, or it is no source.
        Unusable: it is rows that are not here.
    """
    return rows.opened(name, data_uri) if rows.are_rows(name) else source_of(name)


def source_of(name: str) -> Source:
    """Make the source that an own part's name means; of rows that are not here, what their name says of them.

    Raises:
        PartError: there is none, or it is no source.
    """
    return rows.known(name) if rows.are_rows(name) else _made(name, loading.digest_now(name))


@cache
def _made(name: str, digest: str | None) -> Source:
    """Make a source once in a process, and anew after an edit of what its name means.

    Args:
        digest: of the code as it is now, where the name has none.
    """
    return _source(load(name, {}, object), name)


def remade(name: str) -> Source:
    """Make the source anew, which equals the first where it is deterministic.

    Raises:
        PartError: it is no source this time.
    """
    return _source(loading.remade(name), name)


def _source(made: Any, name: str) -> Source:
    """Take what an own part has made for a source, whatever it raises where it is asked for its shape."""
    try:
        source = as_source(made, shown(name))
        shape = source.shape
        if not isinstance(shape, tuple) or not all(isinstance(side, int) for side in shape):
            raise PartError(f"{shown(name)}: shape must be a tuple of whole numbers, not {shape!r}"[:300])
    except (PartError, Unusable):
        raise
    except Exception as error:
        raise PartError(f"{shown(name)} cannot be used as a source: {describe_error(error)}") from error
    return source


def as_source(made: Any, name: str) -> Source:
    """Take a `Source`, an array (n, ...) of samples, or a pair of arrays, to train on and held out, for a `Source`.

    Example:
        >>> as_source(np.random.default_rng(0).normal(size=(100, 3)), "noise").shape
        (3,)

    Raises:
        PartError: it is none of these; says what it lacks.
        Unusable: samples are not numbers, not finite, or too few.
    """
    if isinstance(made, tuple) and len(made) == 2:
        train, test = (samples_of(each, name) for each in made)
        if train.shape[1:] != test.shape[1:]:
            raise Unusable(f"{name}: samples to train on are {train.shape[1:]}, held-out ones {test.shape[1:]}")
        return points(train, test)
    if hasattr(made, "__array__"):
        return points(*divided(samples_of(made, name), name))
    missing = [attribute for attribute in PROTOCOL if not hasattr(made, attribute)]
    if missing:
        raise PartError(
            f"{name} must make an array (n, ...) of samples, a pair of them, or a pipeline.data.source.Source; "
            f"a {type(made).__name__} has no {', '.join(missing)}"
        )
    return cast(Source, made)


def samples_of(array: Any, name: str) -> np.ndarray:
    """Make float32 samples (n, ...) of an array of numbers.

    Raises:
        Unusable: they are not numbers, not finite, or not at least two samples.
    """
    samples = np.asarray(array)
    if samples.dtype.kind not in "fiub" or samples.ndim < 2 or 0 in samples.shape:
        raise Unusable(
            f"{name}: samples must be numbers of shape (n, d) or (n, channels, side, side), not {samples.dtype} {samples.shape}"
        )
    with np.errstate(over="ignore"):
        single: np.ndarray = np.ascontiguousarray(samples, dtype=np.float32)
    bad = np.flatnonzero(~np.isfinite(single.reshape(len(single), -1)).all(1))
    if len(bad):
        raise Unusable(f"{name}: sample {bad[0]} holds a number that is not finite in float32, and so do {len(bad) - 1} others")
    return single


def divided(samples: np.ndarray, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Divide samples into those to train on and one in five held out.

    Raises:
        Unusable: one of the two would be empty.
    """
    held_out = held_out_of(samples, name)
    return samples[~held_out], samples[held_out]


def held_out_of(samples: np.ndarray, name: str) -> np.ndarray:
    """Say which samples are held out, one in five, by a hash of each: a row that is added moves no other.

    Of equal ones one in five is, as of rows of a table: were all on one side, what is held out would be other than what is
    trained on.

    Raises:
        Unusable: all are, or none is.
    """
    held_out, before = np.zeros(len(samples), bool), Counter[bytes]()
    for number, row in enumerate(samples):
        digest = hashlib.blake2b(row.tobytes()).digest()
        if again := before[digest]:
            before[digest] += 1
            digest = hashlib.blake2b(digest + again.to_bytes(8, "little")).digest()
        else:
            before[digest] = 1
        held_out[number] = digest[0] % HELD_OUT == 0
    if not 0 < held_out.sum() < len(samples):
        are = "is" if len(samples) == 1 else "are"
        raise Unusable(f"{name}: {counted(len(samples), 'sample')} {are} too few to hold some of them out")
    return held_out


def points(train: np.ndarray, test: np.ndarray) -> Points:
    """Make a source of samples in memory, drawn as images where they have the shape of images."""
    return Points(train, test, picture=rows.picture_of(train.shape[1:]))
