"""Transport maps T(x, z) and potentials for vectors; images are taken as vectors of their pixels."""

import math
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn

from components.shape import Shape
from components.streams import stream

LEAK = 0.2
"""LeakyReLU: its second derivative is zero, which makes the double backward of the gradient penalties cheap."""

GATE_RATE = 10.0
"""Learning rate of the gate relative to the other weights: under Adam it would need a step per 1 / rate to close."""


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
    """T(x, z) = gate * x + net(x, z), where net starts at zero and the gate at one: exactly the identity before training.

    The gate, one number per coordinate, closes where the data are thinner than the source: with a fixed skip the network would
    have to cancel x itself, which it cannot where it is narrower than d.
    """

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
        self.closed = nn.Parameter(torch.zeros(dim))

    def forward(self, x: Float[Tensor, "n *shape"], z: Float[Tensor, "n z"] | None) -> Float[Tensor, "n *shape"]:
        flat = x.flatten(1) if z is None else torch.cat([x.flatten(1), z], 1)
        gate = (1 - GATE_RATE * self.closed).view(x.shape[1:])
        return gate * x + self.net(self.features(flat)).view_as(x)


class PerceptronPotential(nn.Module):
    """The potential's network output D(x); `components.divergences` turns D into v."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.net = perceptron(math.prod(shape.sample_shape), shape.width, shape.depth, 1)

    def forward(self, x: Float[Tensor, "n *shape"]) -> Float[Tensor, " n"]:
        return self.net(x.flatten(1)).squeeze(1)
