"""What a flow goes from and to: the protocol that analytic measures, sets of points and sets of images share."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol

import numpy as np
from jaxtyping import Float

from components.conditions import Condition, Conditions, Law
from components.measures import Modes
from pipeline.data.tables import kept

Samples = Float[np.ndarray, "n *shape"]
EndName = Literal["source", "target"]
MOST_AT_ONCE = 1 << 27
"""Bytes of samples whose moments are measured at once."""


@dataclass(frozen=True)
class At:
    """The place of a batch in a flow, and the rows of it that one rank takes: a batch is a function of this alone.

    Example:
        >>> At("target", seed=0, phase=1, step=9, n=256, rows=slice(0, 128)).rows
        slice(0, 128, None)

    Attributes:
        end: which end of the flow it is for; the two draw different random numbers.
        n: samples of the global batch.
        rows: those of them that the rank takes.
    """

    end: EndName
    seed: int
    phase: int
    step: int
    n: int
    rows: slice


@dataclass(frozen=True)
class Moments:
    """The moments that standardisation needs: the mean of each coordinate, and one standard deviation that all coordinates
    share.

    One for all makes standardisation a similarity, which scales W2 exactly.
    """

    mean: Float[np.ndarray, "*shape"]
    std: float


class Joint(NamedTuple):
    """Samples, and the condition c of each."""

    samples: Samples
    conditions: Conditions


class End(Protocol):
    """One end of a flow, in the space that the flow lives in: all that training draws from."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Give the shape of one sample, without the batch: (d,) or (channels, side, side)."""

    def batch(self, at: At) -> Samples:
        """Give one rank's rows of the global batch of a step."""

    def sample(self, n: int, rng: np.random.Generator) -> Samples:
        """Draw n training samples independently."""


class Source(End, Protocol):
    """One end of a flow in units of its own: what is drawn from in training, and what samples are compared with."""

    @property
    def units(self) -> Literal["data", "space"]:
        """Say what coordinates mean: something of the data's own, or nothing, as noise's: then they are the flow's already."""

    @property
    def picture(self) -> str:
        """Name how samples are drawn: a key of `pipeline.evaluation.figures.DRAWINGS`."""

    @property
    def digest(self) -> str | None:
        """Hash all samples; None for an analytic measure, which its name identifies."""

    @property
    def num_distinct(self) -> int | None:
        """Count held-out samples, or those of training where they are fewer; None where each draw is a new one."""

    @property
    def modes(self) -> Modes | None:
        """Give the modes of the measure; None where it has none, or they are not known."""

    def moments(self) -> Moments:
        """Measure the mean of each coordinate and the one deviation of the training samples."""

    def held_out(self, n: int, rng: np.random.Generator) -> Samples:
        """Draw n samples that training never sees; none comes twice, and all there are come where more are asked for."""

    def seen(self, n: int, rng: np.random.Generator) -> Samples:
        """Draw n samples that training does see, as `held_out` does: floors compare the two."""


class JointSource(Protocol):
    """The target of a conditional flow: its samples with their conditions, in units of its own."""

    @property
    def condition(self) -> Condition:
        """Say what kind of condition each sample has."""

    def law(self) -> Law:
        """Give the law of c."""

    def batch(self, at: At) -> Joint:
        """Give one rank's rows of the global batch of a step."""

    def seen(self, n: int, rng: np.random.Generator) -> Joint:
        """Draw n samples that training does see, none twice."""

    def held_out(self, n: int, rng: np.random.Generator) -> Joint:
        """Draw n samples that training never sees, none twice."""

    def only(self, asked: object) -> Source:
        """Give the source of the samples of one class.

        Raises:
            ValueError: there is no such class, or the condition is values.
        """


class Conditional(Source, Protocol):
    """A source that a flow can be conditioned on: what `data.condition` may name is among its `conditions`."""

    @property
    def conditions(self) -> Mapping[str, Condition]:
        """List what its samples may be conditioned on, by name."""

    def joint(self, condition: Condition) -> JointSource:
        """Give the samples with one of the conditions."""


def moments_of(samples: Samples, weights: np.ndarray | None = None) -> Moments:
    """Measure the mean of each coordinate of samples, and the one standard deviation that all coordinates share.

    Args:
        weights: one of each sample; None: all count alike.

    Example:
        >>> moments_of(np.array([[0.0, 0.0], [2.0, 4.0]], dtype=np.float32))
        Moments(mean=array([1., 2.], dtype=float32), std=1.5811388300841898)
    """
    if samples.nbytes > MOST_AT_ONCE:
        return _moments_of_many(samples, weights)
    flat = samples.reshape(len(samples), -1).astype(np.float64)
    if weights is not None:
        mean = np.average(flat, axis=0, weights=weights)
        variance = np.average((flat - mean) ** 2, axis=0, weights=weights)
        return Moments(mean.reshape(samples.shape[1:]).astype(np.float32), float(np.sqrt(variance.mean())))
    return Moments(flat.mean(0).reshape(samples.shape[1:]).astype(np.float32), float(np.sqrt(flat.var(0).mean())))


def _moments_of_many(samples: Samples, weights: np.ndarray | None) -> Moments:
    """Measure the moments of samples a part at a time, so that those of a mapped file need not fit into memory."""
    of_rows = np.ones(len(samples)) if weights is None else np.asarray(weights, np.float64)

    def total(of: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
        start, weighted_sum = 0, np.zeros(math.prod(samples.shape[1:]))
        for part in kept.windows(samples):
            flat = part.reshape(len(part), -1).astype(np.float64)
            weighted_sum += of_rows[start : start + len(part)] @ of(flat)
            start += len(part)
        mean: np.ndarray = weighted_sum / of_rows.sum()
        return mean

    mean = total(lambda flat: flat)
    variance = total(lambda flat: (flat - mean) ** 2)
    return Moments(mean.reshape(samples.shape[1:]).astype(np.float32), float(np.sqrt(variance.mean())))
