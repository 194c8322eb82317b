"""What a flow may be conditioned on: the kind of condition c of T(x, z, c) and v(y, c), and the law that c is drawn from.

A condition is a class, counted from 0, or real values. The JKO step is taken for each value of c by itself: the cost moves x
only. This file imports no torch: rules of recipes read it before anything heavy is.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from jaxtyping import Float, Int

Conditions = Int[np.ndarray, " n"] | Float[np.ndarray, "n v"]
"""One condition per sample: classes in int64, or values in float32."""
MOST_ATOMS = 65_536
"""Rows of values that a law keeps at most."""
MOST_SHOWN = 60
MOST_LISTED = 30
MOST_DIGITS = 10
WHOLE = re.compile(r"-?[0-9]+")


def _shown(asked: object) -> str:
    """Write what somebody asked for, at most 60 characters of it."""
    text = ascii(asked)
    return text if len(text) <= MOST_SHOWN else f"{text[:MOST_SHOWN]}..."


@dataclass(frozen=True)
class Condition:
    """A kind of condition: classes with names, or a number of real values of order 1.

    Example:
        >>> Condition("label", ("cat", "dog")).read("dog")
        1

    Attributes:
        name: what a recipe calls it.
        classes: names of the classes in order; empty where it is values.
        num_values: how many values one condition has; 0 where it is a class.
        shift, scale: of values that people write in other units, units = shift + scale * value; empty: they do not.
    """

    name: str
    classes: tuple[str, ...] = ()
    num_values: int = 0
    shift: tuple[float, ...] = field(default=(), repr=False)
    scale: tuple[float, ...] = field(default=(), repr=False)

    def __post_init__(self) -> None:
        """Refuse names of classes that would be taken for the numbers of others."""
        for number, name in enumerate(self.classes):
            if name.isdecimal() and name != str(number) and int(name) < self.num_classes:
                raise ValueError(f"condition {self.name}: class {number} is called {name}, which reads as the number of another")

    @classmethod
    def of(cls, described: Mapping[str, Any]) -> "Condition":
        """Make a condition of its fields, as JSON has them."""
        fields: Any = {name: tuple(each) if isinstance(each, list) else each for name, each in described.items()}
        return cls(**fields)

    def require(self, conditions: Conditions, n: int) -> None:
        """Refuse what is not one condition of this kind for each of n samples.

        Raises:
            ValueError: says what is wrong.
        """
        shape = (n,) if self.classes else (n, self.num_values)
        if conditions.shape != shape:
            raise ValueError(f"condition {self.name} of {n} samples must have the shape {shape}, not {conditions.shape}")
        if self.classes and not (conditions.dtype.kind in "iu" and ((conditions >= 0) & (conditions < self.num_classes)).all()):
            raise ValueError(f"condition {self.name} must be whole numbers from 0 to {self.num_classes - 1}, one for each sample")
        if not self.classes and not (conditions.dtype.kind == "f" and np.isfinite(conditions).all()):
            raise ValueError(f"condition {self.name} must be finite numbers")

    @property
    def num_classes(self) -> int:
        """Count the classes; 0 where the condition is values."""
        return len(self.classes)

    def empty(self, n: int) -> Conditions:
        """Give n conditions that are all class 0, or all values 0."""
        return np.zeros(n, np.int64) if self.classes else np.zeros((n, self.num_values), np.float32)

    def read(self, asked: object) -> int | Float[np.ndarray, " v"]:
        """Read one condition as a person writes it: the name of a class, or its number, or values with commas between them.

        Raises:
            ValueError: there is no such class, or the values are not as many finite numbers as one condition has.
        """
        return self._class(asked) if self.classes else self._values(asked)

    @property
    def is_numbered(self) -> bool:
        """Say whether all classes are called by whole numbers, so that a number is always meant as a name."""
        return bool(self.classes) and all(WHOLE.fullmatch(name) for name in self.classes)

    def from_units(self, values: Float[np.ndarray, "*n v"]) -> Float[np.ndarray, "*n v"]:
        """Bring values from the units that people write them in to those that networks take."""
        if self.shift:
            values = (values - np.array(self.shift)) / np.array(self.scale)
        return values.astype(np.float32)

    def in_units(self, conditions: Conditions) -> np.ndarray:
        """Write conditions as people do: values in their own units; of classes that are all called by numbers, those numbers.

        Example:
            >>> Condition("year", ("1990", "1991")).in_units(np.array([0, 1, 1])).tolist()
            [1990, 1991, 1991]
        """
        if self.is_numbered:
            return np.array([int(name) for name in self.classes], dtype=np.int64)[conditions]
        return (conditions * np.array(self.scale) + np.array(self.shift)).astype(np.float32) if self.shift else conditions

    def require_named(self, asked: object) -> None:
        """Refuse the number of a class where all are called by numbers: a person means the name.

        Raises:
            ValueError: no class is called so.
        """
        if self.is_numbered and isinstance(asked, int | np.integer) and str(asked) not in self.classes:
            raise self._unknown(asked)

    def _class(self, asked: object) -> int:
        text = str(asked) if isinstance(asked, str | int | np.integer | np.bool_) else ""
        if text in self.classes:
            return self.classes.index(text)
        is_number = text.isdecimal() and len(text) < MOST_DIGITS and not (self.is_numbered and isinstance(asked, str))
        if is_number and int(text) < self.num_classes:
            return int(text)
        raise self._unknown(asked)

    def _unknown(self, asked: object) -> ValueError:
        numbered = [name if self.is_numbered or name == str(i) else f"{i} ({name})" for i, name in enumerate(self.classes)]
        numbered.sort(key=int if self.is_numbered else lambda name: 0)
        more = f" and {self.num_classes - MOST_LISTED} more" if self.num_classes > MOST_LISTED else ""
        return ValueError(f"condition {self.name} must be one of {', '.join(numbered[:MOST_LISTED])}{more}, not {_shown(asked)}")

    def _values(self, asked: object) -> Float[np.ndarray, " v"]:
        try:
            parts: Any = asked.split(",") if isinstance(asked, str) else asked
            with np.errstate(over="ignore"):  # what overflows float32 is infinite, which is refused below
                wide = np.atleast_1d(np.asarray(parts, dtype=np.float64))
                values = self.from_units(wide) if wide.shape == (self.num_values,) else wide
        except (ValueError, TypeError, OverflowError):
            values = np.full(1, np.nan, np.float32)
        if values.shape != (self.num_values,) or not np.isfinite(values).all():
            count = f"{self.num_values} numbers with commas between them" if self.num_values > 1 else "a number"
            raise ValueError(f"condition {self.name} must be {count}, not {_shown(asked)}")
        return values


@dataclass(frozen=True, eq=False)
class Law:
    """The law of c: probabilities of classes, or rows of values of equal weight.

    Example:
        >>> law = Law.of(Condition("label", ("cat", "dog")), np.array([0, 1, 1, 1]))
        >>> law.weights.tolist(), law.draw(4, np.random.default_rng(0)).tolist()
        ([0.25, 0.75], [1, 1, 0, 0])

    Attributes:
        weights: probability of each class, or all values; float64 (k,), or float32 (m, v).
    """

    condition: Condition
    weights: np.ndarray

    @classmethod
    def of(cls, condition: Condition, conditions: Conditions, weights: np.ndarray | None = None) -> "Law":
        """Take the law of c from the conditions of training samples: how often each class is, or the values themselves.

        Args:
            weights: one of each sample; None: all count alike.
        """
        if condition.classes:
            counts = np.bincount(conditions, weights=weights, minlength=condition.num_classes)
            return cls(condition, counts / counts.sum())
        num_atoms = min(len(conditions), MOST_ATOMS)
        if weights is None:
            rows = np.linspace(0, len(conditions) - 1, num_atoms).astype(np.int64)  # from all over: rows may be sorted
        else:
            cumulative = np.cumsum(weights, dtype=np.float64)
            rows = np.searchsorted(cumulative, (np.arange(MOST_ATOMS) + 0.5) / MOST_ATOMS * cumulative[-1])
        return cls(condition, np.asarray(conditions[rows], dtype=np.float32))

    def draw(self, n: int, rng: np.random.Generator) -> Conditions:
        """Draw n conditions independently; the first ones are the same for every n."""
        quantiles = rng.random(n)
        if self.condition.classes:
            cumulative = np.cumsum(self.weights)
            return np.searchsorted(cumulative / cumulative[-1], quantiles, side="right").astype(np.int64)
        return np.asarray(self.weights[(quantiles * len(self.weights)).astype(np.int64)])

    def present(self) -> list[int]:
        """List the classes that occur."""
        return np.flatnonzero(self.weights).tolist() if self.condition.classes else []

    def at(self, asked: object) -> "Law":
        """Give the law that always has one condition.

        Raises:
            ValueError: there is no such condition, or no sample to train on has it.
        """
        read = self.condition.read(asked)
        if isinstance(read, int) and not self.weights[read]:
            raise ValueError(f"condition {self.condition.name}: no sample to train on is of the class {_shown(asked)}")
        weights = np.eye(self.condition.num_classes)[read] if self.condition.classes else np.asarray(read)[None]
        return replace(self, weights=weights)


def asked_of(condition: Condition | None, text: str) -> str:
    """Take the condition out of what a person writes as NAME=CLASS, or as NAME=VALUE,VALUE,...

    Example:
        >>> asked_of(Condition("label", ("cat", "dog")), "label=dog")
        'dog'

    Raises:
        ValueError: the name is another, or the map is given no condition.
    """
    if condition is None:
        raise ValueError(f"--condition must be left out: this flow was trained without data.condition, not {text!r}")
    name, equals, asked = text.partition("=")
    if name != condition.name or not equals:
        raise ValueError(f"--condition must be {condition.name}={'CLASS' if condition.classes else 'VALUES'}, not {text!r}")
    return asked
