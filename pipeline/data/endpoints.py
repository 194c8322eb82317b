"""The two ends of a flow in the space that it lives in, and the way from there to the data's own units."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, Never, cast

import numpy as np

from components.conditions import Condition, Conditions, Law
from pipeline.data.source import At, Conditional, End, JointSource, Samples, Source
from pipeline.data.space import Space, space_of
from pipeline.data.specs import ends_of
from pipeline.errors import FlowError, Unusable
from pipeline.recipe import Data, Scaling

if TYPE_CHECKING:
    from pipeline.data.tables.coding import Coding


@dataclass(frozen=True)
class Standardised:
    """A source as an end of a flow: its samples, brought into the space that the flow lives in."""

    inner: Source
    space: Space

    @property
    def shape(self) -> tuple[int, ...]:
        """Give the shape of one sample."""
        return self.inner.shape

    def batch(self, at: At) -> Samples:
        """Give one rank's rows of the global batch of a step, standardised."""
        return self.space.to_space(self.inner.batch(at))

    def sample(self, n: int, rng: np.random.Generator) -> Samples:
        """Draw n training samples, standardised."""
        return self.space.to_space(self.inner.sample(n, rng))

    def seen(self, n: int, rng: np.random.Generator) -> Samples:
        """Draw n training samples, none twice, standardised."""
        return self.space.to_space(self.inner.seen(n, rng))


@dataclass(frozen=True)
class Endpoints:
    """Source and target of a flow in the space that it lives in, and the way back to the data's own units.

    Example:
        >>> ends = load_endpoints(Data(target="moons"))
        >>> ends.source.shape, ends.data.held_out(4, np.random.default_rng(0)).shape
        ((2,), (4, 2))

    Attributes:
        source, target: in the space that the flow lives in.
        data: the target in its own units: what samples are compared with.
        space: the way between the two, and the same for a source that has units.
        data_uri: the folder of prepared sets that was looked in, as `load_endpoints` was given it.
        law: of the condition c that the flow's maps are given; None where they are given none.
        joint: the target with the condition of each sample, where it was loaded.
        given_class: the one class whose samples the target is (`given`); None where it is all.
    """

    source: End
    target: Standardised
    data: Source
    space: Space
    data_uri: str | None = None
    law: Law | None = None
    joint: JointSource | None = None
    given_class: int | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """Give the shape of one sample, without the batch: (d,) or (channels, side, side)."""
        return self.target.shape

    @property
    def coding(self) -> "Coding | None":
        """Give the way from samples to a table, where the data are one."""
        coding: Coding | None = getattr(self.data, "coding", None)
        return coding

    @property
    def starts_from_rows(self) -> bool:
        """Say whether the source is the rows of a table, coded as those of the data are."""
        return getattr(getattr(self.source, "inner", None), "coding", None) is not None

    @property
    def condition(self) -> Condition | None:
        """Give the kind of condition that the flow's maps are given; None where they are given none."""
        return None if self.law is None else self.law.condition

    def batch(self, at: At) -> tuple[Samples, Conditions | None]:
        """Give one rank's rows of the target's global batch of a step, and their conditions."""
        if self.joint is None:
            return self.target.batch(at), None
        samples, conditions = self.joint.batch(at)
        return self.space.to_space(samples), conditions

    def given(self, asked: object) -> "Endpoints":
        """Give the ends of the flow given one condition: its law always has it, the data are those of that class.

        Raises:
            ValueError: there is no such condition, or the maps are given none.
        """
        law = law_at(self.law, asked)
        if self.joint is None:
            return replace(self, law=law)
        data = self.joint.only(asked)
        end, (number,) = Standardised(data, self.space), law.present()
        return replace(self, target=end, data=data, law=law, joint=None, given_class=number)

    def to_units(self, samples: Samples) -> Samples:
        """Bring samples from the space that the flow lives in to the data's own units."""
        return self.space.to_units(samples)

    def from_source(self, points: Samples) -> Samples:
        """Bring points of the source to the space that the flow lives in; those of a source without units are there already."""
        return self.source.space.to_space(points) if isinstance(self.source, Standardised) else points


def law_at(law: Law | None, asked: object) -> Law:
    """Give the law of c that always has the condition which a person asks for.

    Raises:
        ValueError: there is no such condition, or the maps are given none.
    """
    if law is None:
        raise ValueError(f"condition must be left out: this flow was trained without data.condition, not {asked!r}")
    return law.at(asked)


def between(
    source: Source, target: Source, *, standardise: Scaling, data_uri: str | None = None, condition: Condition | None = None
) -> Endpoints:
    """Make two sources the ends of a flow.

    Example:
        >>> from pipeline.data.specs import spec_of
        >>> moons, noise = (spec_of(name).open(Data(), "target", (2,), None) for name in ("moons", "normal"))
        >>> between(noise, moons, standardise=True).target.shape
        (2,)

    Args:
        standardise: as `Data.standardise` has it.
        condition: what the flow's maps are given, of what the target offers.

    Raises:
        Unusable: samples have different shapes, or are all equal and to be standardised.
    """
    if source.shape != target.shape:
        raise Unusable(f"data.source: its samples are {source.shape}, those of data.target {target.shape}")
    space = space_of(target, standardise)
    joint = None if condition is None else cast(Conditional, target).joint(condition)
    law = None if joint is None else joint.law()
    return Endpoints(_in_space(source, space), Standardised(target, space), target, space, data_uri, law, joint)


def load_endpoints(data: Data, data_uri: str | None = None) -> Endpoints:
    """Open source and target of a recipe.

    Example:
        >>> load_endpoints(Data(target="gaussian", dim=5)).shape
        (5,)

    Args:
        data_uri: folder or URL of prepared sets; None: $SJKO_HOME/data, and what is built in is read as it comes.

    Raises:
        FlowError: a data set is not on this machine, or not the one that the recipe means.
    """
    specs = ends_of(data)
    shape = specs["target"].shape(data)
    target, source = (spec.open(data, end, shape, data_uri) for end, spec in specs.items())
    condition = specs["target"].condition(data)  # of rows, which are known once they are opened
    return between(source, target, standardise=data.standardise, data_uri=data_uri, condition=condition)


def load_source(
    data: Data,
    shape: tuple[int, ...],
    space: Space,
    data_uri: str | None = None,
    *,
    picture: str | None = None,
    law: Law | None = None,
    coding: "Coding | None" = None,
) -> Endpoints:
    """Open what drawing from a trained map needs, without its target: who samples does not have the data.

    Args:
        space: that the flow lives in.
        picture: how samples are drawn, so that an own target need not be imported; None: as the target says.
        law: of the condition that the map is given.
        coding: the way from samples to a table, where the data are one.

    Raises:
        FlowError: the source is not on this machine.
    """
    specs = ends_of(data)
    source = specs["source"].open(data, "source", shape, data_uri)
    absent = NotLoaded(data.target, shape, specs["target"].picture if picture is None else picture, coding=coding)
    return Endpoints(_in_space(source, space), Standardised(absent, space), absent, space, data_uri, law)


def _in_space(source: Source, space: Space) -> End:
    """See a source from the space that a flow lives in; one that has no units is there already."""
    return source if source.units == "space" else Standardised(source, space)


@dataclass(frozen=True)
class NotLoaded:
    """The target of a flow that is only drawn from: it refuses whatever would need the data."""

    name: str
    shape: tuple[int, ...]
    picture: str
    units: Literal["data"] = "data"
    digest: None = None
    num_distinct: None = None
    modes: None = None
    coding: "Coding | None" = None

    def _refuse(self, *_: object) -> Never:
        raise FlowError(f"data.target: {self.name} was not loaded, only what drawing from its maps needs")

    batch = sample = held_out = seen = moments = _refuse
