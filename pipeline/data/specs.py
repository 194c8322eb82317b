"""What is known of a source before any of it is loaded: its shape, the fields of a recipe that it reads, its rules."""

from collections.abc import Mapping
from pkgutil import resolve_name
from typing import ClassVar, Protocol

from components.conditions import Condition
from components.measures import Modes
from pipeline.data import table
from pipeline.data.source import EndName, Source
from pipeline.data.tables.naming import is_location
from pipeline.recipe import Data


class SourceSpec(Protocol):
    """The specification of a source: what recipes must know of it, in milliseconds, and how it is opened."""

    picture: str
    """how samples are drawn: a key of `pipeline.evaluation.figures.DRAWINGS`"""
    fields: ClassVar[frozenset[str]] = frozenset()
    """the fields of `Data` that have an influence where this is the target"""
    source_fields: ClassVar[frozenset[str]] = frozenset()
    """those that have one where it is the source"""

    @property
    def modes(self) -> Modes | None:
        """Give the modes of the target, where there are any: there are metrics for them."""
        return None

    def conditions(self, data: Data) -> Mapping[str, Condition]:
        """List what a flow to this target may be conditioned on, by the names that recipes have for it."""
        return {}

    def condition(self, data: Data) -> Condition | None:
        """Find the kind of condition that a recipe names, of those that it offers as the target; None where it names none."""
        return None if data.condition is None else self.conditions(data)[data.condition]

    def shape(self, data: Data) -> tuple[int, ...]:
        """Give the shape of a sample where this is the target."""
        ...

    def fits(self, shape: tuple[int, ...]) -> bool:
        """Say whether this can be the source for a target of a shape, be it with other values of the fields that it reads."""
        ...

    def require_target(self, data: Data) -> None:
        """Refuse values of its fields that it cannot have as the target of a flow.

        Raises:
            Refused: names the field, the rule and the value.
        """
        return

    def require_source(self, data: Data, shape: tuple[int, ...]) -> None:
        """Refuse values of its fields that it cannot have as the source of a flow to a target of a shape.

        Raises:
            Refused: names the field, the rule and the value.
        """
        return

    def normal_form(self, data: Data) -> Data:
        """Bring a recipe whose target this is to the form that equal ones share."""
        return data

    def resolve(self, data: Data, end: EndName, data_uri: str | None, most_bytes: float) -> Data:
        """Fill in what a recipe leaves open and only the data say, such as the digest of prepared images.

        Args:
            data_uri: folder or URL of prepared sets; None: $SJKO_HOME/data.
            most_bytes: larger sets are streamed.

        Raises:
            Unusable: the data are not there, or are others than the recipe means.
        """
        return data

    def open(self, data: Data, end: EndName, shape: tuple[int, ...], data_uri: str | None) -> Source:
        """Open the source: load its samples, or find out how they are read.

        Args:
            shape: of the target.
            data_uri: folder or URL of prepared sets; None: $SJKO_HOME/data.

        Raises:
            FlowError: it is not on this machine, or not the one that the recipe means.
        """
        ...


def spec_of(name: str) -> SourceSpec:
    """Find the specification of a source by the name that recipes have for it, be it that of an own part.

    Example:
        >>> spec_of("moons").shape(Data())
        (2,)
    """
    built_in = table.MEASURES | table.IMAGE_SETS | table.TABLES
    if name in built_in:
        spec: SourceSpec = resolve_name(built_in[name])
        return spec
    made: SourceSpec = resolve_name(table.TABLE if is_location(name) else table.OWN)(name)
    return made


def ends_of(data: Data) -> dict[EndName, SourceSpec]:
    """Find the specifications of both ends of a flow, the target first."""
    return {"target": spec_of(data.target), "source": spec_of(data.source)}


def sample_shape(data: Data) -> tuple[int, ...]:
    """Give the shape of a recipe's samples, without loading any.

    Example:
        >>> sample_shape(Data(target="mnist", size=32))
        (1, 32, 32)
    """
    return spec_of(data.target).shape(data)


def condition_of(data: Data) -> Condition | None:
    """Find the kind of condition that a recipe names, without loading any sample; None where it names none.

    Example:
        >>> condition_of(Data(target="mnist", condition="label")).num_classes
        10
    """
    return spec_of(data.target).condition(data)
