"""The pairs of networks that come with the project. Their networks, and torch with them, are imported when one is built."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from components.networks.pair import GROUP_SIZE, Defaults, NetworkPair, NetworkSpec, Rule

if TYPE_CHECKING:
    import torch.nn


class Perceptron(NetworkPair):
    """Perceptrons that start as the identity, for vectors; images are taken as vectors of their pixels."""

    takes = frozenset({"width", "depth", "z_dim", "num_frequencies", "second_order", "condition"})

    def build_map(self, spec: NetworkSpec) -> "torch.nn.Module":
        from components.networks.perceptron import PerceptronMap

        return PerceptronMap(spec)

    def build_potential(self, spec: NetworkSpec) -> "torch.nn.Module":
        from components.networks.perceptron import PerceptronPotential

        return PerceptronPotential(spec)

    def start_from(self, potential: Any, draw: "Callable[[str], torch.Tensor]") -> None:
        if potential.second_order:
            potential.start_from(draw("source"), draw("target"))

    def track(
        self,
        potential: Any,
        source: "Sequence[torch.Tensor]",
        transported: "Sequence[torch.Tensor]",
        reduce: "Callable[[Sequence[torch.Tensor]], None]",
    ) -> None:
        if potential.second_order:
            potential.track(source, transported, reduce)

    def rules(self, fields: Mapping[str, Any]) -> Iterator[Rule]:
        holds = not fields["network.second_order"] or fields["data.condition"] is None
        reason = " and data.condition is given: each condition has moments of its own"
        yield Rule("network.second_order", holds, "false", reason)


class Residual(NetworkPair):
    """The reference code's toy networks: blocks of three SiLU layers."""

    takes = frozenset({"width", "depth", "z_dim", "condition"})
    defaults: ClassVar[Defaults] = {"network.width": 128, "network.z_dim": 2}

    def build_map(self, spec: NetworkSpec) -> "torch.nn.Module":
        from components.networks.residual import ResidualMap

        return ResidualMap(spec)

    def build_potential(self, spec: NetworkSpec) -> "torch.nn.Module":
        from components.networks.residual import ResidualPotential

        return ResidualPotential(spec)


class Light(NetworkPair):
    """The light pair, for images on CPU cores."""

    takes = frozenset({"width", "z_dim", "condition"})
    defaults: ClassVar[Defaults] = {"network.width": 32, "data.target": "fashion_mnist"}
    sides = range(8, 1025, 4)

    def build_map(self, spec: NetworkSpec) -> "torch.nn.Module":
        from components.networks.light import LightMap

        return LightMap(spec)

    def build_potential(self, spec: NetworkSpec) -> "torch.nn.Module":
        from components.networks.light import LightPotential

        return LightPotential(spec)

    def rules(self, fields: Mapping[str, Any]) -> Iterator[Rule]:
        yield Rule("network.width", fields["network.width"] % 4 == 0, "a multiple of 4")


class LightFiltered(Light):
    """The light pair with a map that filters what it enlarges, for images of any kind on CPU cores."""

    def build_map(self, spec: NetworkSpec) -> "torch.nn.Module":
        from components.networks.light import LightMap

        return LightMap(spec, filtered=True)


class Small(NetworkPair):
    """The paper's small image pair, whose map reads 8 x 8 sums of the noise and has batch norm."""

    takes = frozenset({"width", "condition"})
    defaults: ClassVar[Defaults] = {"network.width": 64, "data.target": "cifar10"}
    sides = (8, 16, 32, 64, 128, 256, 512, 1024)
    shares_batch_statistics = True

    def build_map(self, spec: NetworkSpec) -> "torch.nn.Module":
        from components.networks.small import SmallMap

        return SmallMap(spec)

    def build_potential(self, spec: NetworkSpec) -> "torch.nn.Module":
        from components.networks.small import SmallPotential

        return SmallPotential(spec)

    def first_anchor(self, spec: NetworkSpec) -> "list[torch.nn.Module]":
        """Give what enlarges the noise, which is smaller than the images."""
        from components.networks.small import SmallLift

        return [SmallLift(spec)]

    def rules(self, fields: Mapping[str, Any]) -> Iterator[Rule]:
        yield Rule("network.width", fields["network.width"] % 4 == 0, "a multiple of 4")
        noise = fields["data.source"] == "normal"
        yield Rule("data.source", noise, "normal", ", which sees 8 x 8 sums of the noise")
        yield Rule("jko.parametrization", fields["jko.parametrization"] == "direct", "direct")


class Large(NetworkPair):
    """The paper's NCSN++ pair, for images with a side of 16 to 128 pixels."""

    takes = frozenset({"width", "z_dim", "condition"})
    defaults: ClassVar[Defaults] = {"network.width": 128, "network.z_dim": 100, "data.target": "cifar10"}
    sides: Sequence[int] = (16, 32, 64, 128)
    group_size = GROUP_SIZE
    map_multipliers: tuple[int, ...] = (1, 2, 2, 2)
    potential_multipliers: tuple[int, ...] = (1, 1, 2, 4, 4)
    num_halvings = 3

    def build_map(self, spec: NetworkSpec) -> "torch.nn.Module":
        from components.networks.large_map import LargeMap

        return LargeMap(spec, self.map_multipliers)

    def build_potential(self, spec: NetworkSpec) -> "torch.nn.Module":
        from components.networks.large_potential import LargePotential

        return LargePotential(spec, self.potential_multipliers, self.num_halvings)

    def rules(self, fields: Mapping[str, Any]) -> Iterator[Rule]:
        width = fields["network.width"]
        grouped = width % 4 == 0 and (width <= 32 or width % 32 == 0)
        yield Rule("network.width", grouped, "a multiple of 32, or of 4 up to 32")
        yield Rule("network.z_dim", fields["network.z_dim"] > 0, "at least 1")


class Large256(Large):
    """The paper's NCSN++ pair for images of 256 pixels."""

    defaults: ClassVar[Defaults] = {"network.width": 64, "network.z_dim": 100, "data.target": "celeba_hq", "data.size": 256}
    sides = (256,)
    share_of_peak = 0.016  # at batch 32, from the same file
    map_multipliers = (1, 1, 2, 2, 4, 4)
    potential_multipliers = (2, 4, 8, 8, 8, 8, 8)
    num_halvings = 6
