"""Samples with their conditions: rows in memory that have one each."""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from typing import Any, ClassVar, Protocol, Self

import numpy as np

from components.conditions import Condition, Conditions, Law
from pipeline.data.points import Points
from pipeline.data.source import At, Joint, Samples, Source
from pipeline.data.tables import kept

Mask = np.ndarray
"""Which rows are kept."""


class OfRows(Source, Protocol):
    """A source whose samples are rows in memory."""

    def only(self, train: Mask, test: Mask) -> Self:
        """Give the source of some of the rows."""


def as_they_are(rows: np.ndarray, at: At | None) -> Samples:
    """Give rows that are kept as samples.

    Example:
        >>> as_they_are(np.zeros((2, 3)), None).shape
        (2, 3)
    """
    return rows


@dataclass(frozen=True, eq=False)
class JointRows:
    """Rows in memory with a condition for each, as a `JointSource`: drawn with the same random numbers as the rows alone.

    Example:
        >>> points = Points(np.eye(4, dtype=np.float32), np.zeros((2, 4), dtype=np.float32))
        >>> kinds = np.array([0, 1, 1, 1]), np.array([1, 0])
        >>> joint = JointRows(points, points, Condition("label", ("a", "b")), *kinds)
        >>> joint.law().weights.tolist(), joint.held_out(2, np.random.default_rng(0)).conditions.shape
        ([0.25, 0.75], (2,))

    Attributes:
        source: of the rows, in the data's own units.
        rows: the rows as they are kept.
        condition: what kind of condition each has.
        train, test: conditions of the rows to train on, and of those held out.
        view: brings rows as they are kept to samples; the place of a batch is given with those of a batch.
    """

    source: OfRows
    rows: Points
    condition: Condition
    train: Conditions
    test: Conditions
    view: Callable[[np.ndarray, At | None], Samples] = as_they_are

    @cached_property
    def _numbers(self) -> Points:
        """Make a source of the numbers of rows in place of rows: draws of them are draws of both."""
        return Points(np.arange(len(self.train)), np.arange(len(self.test)), weights=self.rows.weights)

    def law(self) -> Law:
        """Give the law of the conditions to train on."""
        return Law.of(self.condition, self.train, None if self.rows.weights is None else self.rows.weights[0])

    def batch(self, at: At) -> Joint:
        """Give one rank's rows of the global batch of a step."""
        return self._of_train(self._numbers.batch(at), at)

    def sample(self, n: int, rng: np.random.Generator) -> Joint:
        """Draw n training samples with replacement."""
        return self._of_train(self._numbers.sample(n, rng))

    def seen(self, n: int, rng: np.random.Generator) -> Joint:
        """Draw n training samples without replacement."""
        return self._of_train(self._numbers.seen(n, rng))

    def held_out(self, n: int, rng: np.random.Generator) -> Joint:
        """Draw n held-out samples without replacement."""
        numbers = self._numbers.held_out(n, rng)
        return Joint(self.view(self.rows.test[numbers], None), self.test[numbers])

    def only(self, asked: object) -> Source:
        """Give the source of the samples of one class.

        Raises:
            ValueError: there is no such class, or the condition is values, which no two samples share.
        """
        number = class_of(self.condition, asked)
        return self.source.only(self.train == number, self.test == number)

    def _of_train(self, numbers: np.ndarray, at: At | None = None) -> Joint:
        return Joint(self.view(self.rows.train[numbers], at), self.train[numbers])


def class_of(condition: Condition, asked: object) -> int:
    """Read a class whose samples are looked for among the data.

    Raises:
        ValueError: there is no such class, or the condition is values, which no two samples share.
    """
    number = condition.read(asked)
    if not isinstance(number, int):
        raise ValueError(f"condition {condition.name} is values, and there are no held-out samples of {asked}")
    return number


@dataclass(frozen=True)
class Conditioned(Points):
    """Two arrays of samples with conditions of their own, as a `Source` that a flow can be conditioned on.

    Example:
        >>> x, angle = np.zeros((5, 2), dtype=np.float32), np.zeros((5, 1), dtype=np.float32)
        >>> given = {"angle": (Condition("angle", num_values=1), angle, angle[:2])}
        >>> list(Conditioned(x, x[:2], given=given).conditions)
        ['angle']

    Attributes:
        given: by name, the kind of condition, and those of the samples to train on and held out.
    """

    given: Mapping[str, tuple[Condition, Conditions, Conditions]] = field(default_factory=dict)
    kept_as: ClassVar[str] = "conditioned"

    def __post_init__(self) -> None:
        """Refuse conditions that are not one for each sample."""
        for condition, train, test in self.given.values():
            condition.require(train, len(self.train))
            condition.require(test, len(self.test))

    @cached_property
    def digest(self) -> str:
        """Hash all points, and all conditions with their names."""
        digest = hashlib.sha256(Points(self.train, self.test, weights=self.weights).digest.encode())
        for name, (condition, *parts) in sorted(self.given.items()):
            digest.update(repr((name, condition)).encode())
            if condition.shift:  # equal values in other units are others
                digest.update(repr((condition.shift, condition.scale)).encode())
            for conditions in parts:
                digest.update(np.ascontiguousarray(conditions).data)
        return digest.hexdigest()

    @property
    def conditions(self) -> dict[str, Condition]:
        """List the conditions by name."""
        return {name: condition for name, (condition, _, _) in self.given.items()}

    def joint(self, condition: Condition) -> JointRows:
        """Give the samples with one of their conditions."""
        return JointRows(self, self, *self.given[condition.name])

    def only(self, train: Mask, test: Mask) -> Self:
        """Give the source of some of the samples, which has no conditions."""
        return replace(self, train=self.train[train], test=self.test[test], weights=self.kept_weights(train, test), given={})

    def files(self) -> dict[str, kept.File]:
        """Give all that these samples are, by the name of the file that each part is kept in."""
        described = {name: asdict(condition) for name, (condition, _, _) in self.given.items()}
        arrays = (kept.numbered(f"condition{i}", parts) for i, (_, *parts) in enumerate(self.given.values()))
        conditions = {name: array for each in arrays for name, array in each.items()}
        return {**super().files(), "conditions.json": json.dumps(described).encode(), **conditions}

    @classmethod
    def of_files(cls, contents: Mapping[str, Any], **others: Any) -> Self:
        """Make the samples again of what `files` has given."""
        given = {}
        for i, (name, fields) in enumerate(json.loads(contents["conditions.json"]).items()):
            given[name] = (Condition.of(fields), *kept.pair(f"condition{i}", contents))
        return super().of_files(contents, given=given, **others)
