"""What a pair of networks is: a transport map, a potential, and what the rest must know of them.

An own pair is a class like those of `components.networks.pairs`. It overrides what differs from `NetworkPair`, which stands for
networks of any samples that need nothing special. This file imports no torch: rules of recipes read it before anything heavy is.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from components.conditions import Condition

if TYPE_CHECKING:
    import torch.nn

GROUP_SIZE = 4
"""Consecutive samples of a batch that a minibatch standard deviation compares."""
SHARE_OF_PEAK = 0.038
"""Share of one H100's peak that a step of the large pair reached in bfloat16 (batch 256, docs/figures/accelerator_h100.json)."""
Defaults = Mapping[str, str | int | float | bool | None]


@dataclass(frozen=True)
class NetworkSpec:
    """A pair of networks and the sizes that it is built in.

    Example:
        >>> from components.networks.pairs import Perceptron
        >>> NetworkSpec((2,), width=64, depth=3, pair=Perceptron(), z_dim=1).num_frequencies
        0

    Attributes:
        sample_shape: of one sample: (d,) or (channels, side, side).
        width: units of a hidden layer, or channels of the widest images of a convolutional network.
        depth: hidden layers, where the pair takes a depth.
        pair: builds the transport map and the potential.
        z_dim: size of the latent z; 0 for a deterministic map.
        num_frequencies: random Fourier features of the map's input, where the pair takes them.
        second_order: the map has an affine part and the potential a quadratic one, exact between Gaussians; where the
            pair takes it.
        condition: what both networks are given beside their samples; None where nothing.
    """

    sample_shape: tuple[int, ...]
    width: int
    depth: int
    pair: "NetworkPair"
    z_dim: int = 0
    num_frequencies: int = 0
    second_order: bool = False
    condition: Condition | None = None


class Rule(NamedTuple):
    """A rule that a recipe keeps with a pair: the dotted field, whether it holds, what the field must be, and why."""

    field: str
    holds: bool
    must_be: str
    reason: str = ""


class NetworkPair:
    """A transport map T(x, z) and a potential's network D(x) that suit each other; T(x, z, c) and D(x, c) where they take a
    condition.

    Attributes:
        takes: fields of a recipe's `network` with influence, beside its kind, and `condition` where the networks can be given
            one. A depth that is not taken is not read, what else is not must be 0 or false.
        defaults: recipe fields, by dotted name, whose defaults are the pair's own.
        sides: in pixels, of the square images in [-1, 1] that the map makes; empty for samples of any shape and scale.
        group_size: consecutive samples of a batch that the potential compares, which stay on one worker and in one microbatch.
        shares_batch_statistics: a sample's T(x, z) depends on its whole batch while training, so that microbatches change it.
        share_of_peak: of a GPU's arithmetic that a step reaches, for estimates.

    Example:
        >>> NetworkPair.sides, NetworkPair.group_size
        ((), 1)
    """

    takes: frozenset[str] = frozenset({"width", "depth", "z_dim"})
    defaults: ClassVar[Defaults] = {}
    sides: Sequence[int] = ()
    group_size: int = 1
    shares_batch_statistics: bool = False
    share_of_peak: float = SHARE_OF_PEAK

    def wrong(self) -> str:
        """Say which attribute is not what it must be; empty where all are."""
        sizes = [*self.sides, self.group_size] if isinstance(self.sides, Sequence) else []
        right = {
            "takes must be a set of names": isinstance(self.takes, Set) and all(isinstance(each, str) for each in self.takes),
            "defaults must be a mapping of recipe fields to values": isinstance(self.defaults, Mapping),
            "sides must be a sequence of numbers of pixels": isinstance(self.sides, Sequence),
            "sides and group_size must be whole numbers above 0": all(isinstance(each, int) and each > 0 for each in sizes),
        }
        return next((rule for rule, holds in right.items() if not holds), "")

    # Not abstract: around networks that are there already, a `State` has this class itself as its pair.

    def build_map(self, spec: NetworkSpec) -> "torch.nn.Module":
        """Build T(x, z) with weights from torch's generator; z is None where `z_dim` is 0. With a condition: T(x, z, c)."""
        raise NotImplementedError

    def build_potential(self, spec: NetworkSpec) -> "torch.nn.Module":
        """Build D(x), one number per sample, with weights from torch's generator. With a condition: D(x, c)."""
        raise NotImplementedError

    def first_anchor(self, spec: NetworkSpec) -> "list[torch.nn.Module]":
        """Give T_{-1} of phase 0: no map, which is the identity."""
        return []

    def start_from(self, potential: Any, draw: "Callable[[str], torch.Tensor]") -> None:
        """Prepare a new potential with samples of both measures, which `draw` gives for "source" and "target"."""

    def track(
        self,
        potential: Any,
        source: "Sequence[torch.Tensor]",
        transported: "Sequence[torch.Tensor]",
        reduce: "Callable[[Sequence[torch.Tensor]], None]",
    ) -> None:
        """Show a potential the transported samples of a step, in parts, before it is updated; part of what is compiled.

        Args:
            source: the sample of the source that each is of.
            reduce: averages tensors over the workers in place.
        """

    def rules(self, fields: Mapping[str, Any]) -> Iterator[Rule]:
        """Give the rules that a recipe keeps beside those that the attributes say.

        Args:
            fields: all of the recipe, by dotted name.
        """
        yield from ()
