"""Transport maps T(x, z) and potentials for vectors, and the table of all pairs."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn

from components.image_networks import LightMap, LightPotential
from components.shape import Shape
from components.streams import stream

LEAK = 0.2
"""LeakyReLU: its second derivative is zero, which makes the double backward of the gradient penalties cheap."""


def perceptron(in_dim: int, width: int, depth: int, out_dim: int) -> nn.Sequential:
    """`depth` hidden layers of `width` units."""
    dims = [in_dim, *([width] * depth)]
    hidden = [layer for a, b in pairwise(dims) for layer in (nn.Linear(a, b), nn.LeakyReLU(LEAK))]
    return nn.Sequential(*hidden, nn.Linear(width, out_dim))


class FourierFeatures(nn.Module):
    """x -> (x, sin(x W), cos(x W)) with fixed W ~ N(0, 1) (Tancik et al. 2020): a perceptron alone bends too slowly."""

    frequencies: Tensor

    def __init__(self, dim: int, num_frequencies: int) -> None:
        super().__init__()
        frequencies = stream(0, "frequencies").standard_normal((dim, num_frequencies))
        self.register_buffer("frequencies", torch.from_numpy(frequencies).float())

    def forward(self, x: Float[Tensor, "n d"]) -> Float[Tensor, "n e"]:
        phase = x @ self.frequencies
        return torch.cat([x, phase.sin(), phase.cos()], 1)


class PerceptronMap(nn.Module):
    """T(x, z) = x + net(x, z); the last layer starts at zero, so T is exactly the identity before training."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        dim = math.prod(shape.sample_shape)
        in_dim = dim + shape.z_dim
        self.features = FourierFeatures(in_dim, shape.num_frequencies)
        self.net = perceptron(in_dim + 2 * shape.num_frequencies, shape.width, shape.depth, dim)
        head = self.net[-1]
        assert isinstance(head, nn.Linear)
        nn.init.zeros_(head.weight)
        nn.init.zeros_(head.bias)

    def forward(self, x: Float[Tensor, "n *shape"], z: Float[Tensor, "n z"] | None) -> Float[Tensor, "n *shape"]:
        flat = x.flatten(1) if z is None else torch.cat([x.flatten(1), z], 1)
        return x + self.net(self.features(flat)).view_as(x)


class PerceptronPotential(nn.Module):
    """The potential's network output D(x); `components.divergences` turns D into v."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.net = perceptron(math.prod(shape.sample_shape), shape.width, shape.depth, 1)

    def forward(self, x: Float[Tensor, "n *shape"]) -> Float[Tensor, " n"]:
        return self.net(x.flatten(1)).squeeze(1)


@dataclass(frozen=True)
class Pair:
    """Constructors of a map and of its potential."""

    transport_map: Callable[[Shape], nn.Module]
    potential: Callable[[Shape], nn.Module]


NETWORKS: dict[str, Pair] = {
    "mlp": Pair(PerceptronMap, PerceptronPotential),
    "light": Pair(LightMap, LightPotential),
}
