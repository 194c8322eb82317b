"""Transport maps T(x, z) and potentials for vectors, and the table of all pairs."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn

from components.image_networks import LightMap, LightPotential


def perceptron(in_dim: int, width: int, depth: int, out_dim: int, activation: Callable[[], nn.Module]) -> nn.Sequential:
    """`depth` hidden layers of `width` units."""
    dims = [in_dim, *([width] * depth)]
    hidden = [layer for a, b in pairwise(dims) for layer in (nn.Linear(a, b), activation())]
    return nn.Sequential(*hidden, nn.Linear(width, out_dim))


class PerceptronMap(nn.Module):
    """T(x, z) = x + net(x, z); the last layer starts at zero, so T is exactly the identity before training."""

    def __init__(self, shape: tuple[int, ...], *, width: int, depth: int, z_dim: int) -> None:
        super().__init__()
        dim = math.prod(shape)
        self.net = perceptron(dim + z_dim, width, depth, dim, nn.SiLU)
        head = self.net[-1]
        nn.init.zeros_(head.weight)
        nn.init.zeros_(head.bias)

    def forward(self, x: Float[Tensor, "n *shape"], z: Float[Tensor, "n z"] | None) -> Float[Tensor, "n *shape"]:
        inputs = x.flatten(1) if z is None else torch.cat([x.flatten(1), z], 1)
        return x + self.net(inputs).view_as(x)


class PerceptronPotential(nn.Module):
    """The potential's network output D(x); `components.divergences` turns D into v."""

    def __init__(self, shape: tuple[int, ...], *, width: int, depth: int) -> None:
        super().__init__()
        self.net = perceptron(math.prod(shape), width, depth, 1, nn.SiLU)

    def forward(self, x: Float[Tensor, "n *shape"]) -> Float[Tensor, " n"]:
        return self.net(x.flatten(1)).squeeze(1)


@dataclass(frozen=True)
class Pair:
    """Constructors of a map and of its potential."""

    transport_map: Callable[..., nn.Module]
    potential: Callable[..., nn.Module]


NETWORKS: dict[str, Pair] = {
    "mlp": Pair(PerceptronMap, PerceptronPotential),
    "light": Pair(LightMap, LightPotential),
}
