"""The reference code's toy networks: blocks of SiLU layers with a skip around each."""

import math

from jaxtyping import Float
from torch import Tensor, nn

from components.conditions import Condition
from components.networks.embedding import Given, embedding_of
from components.networks.pair import NetworkSpec
from components.networks.perceptron import start_at_zero


class ResidualBlocks(nn.Module):
    """The trunk x -> linear to `width` -> `depth` blocks h -> (h + block(h)) / sqrt(2), each block three times (linear, SiLU).

    A condition's embedding is added before the first block.
    """

    def __init__(self, dim: int, width: int, depth: int, condition: Condition | None) -> None:
        super().__init__()
        self.first = nn.Linear(dim, width)
        self.blocks = nn.ModuleList(
            nn.Sequential(*[layer for _ in range(3) for layer in (nn.Linear(width, width), nn.SiLU())]) for _ in range(depth)
        )
        self.embedding = embedding_of(condition, width)

    def forward(self, x: Float[Tensor, "n d"], condition: Given | None = None) -> Float[Tensor, "n width"]:
        hidden = self.first(x) if self.embedding is None else self.first(x) + self.embedding(condition)
        for block in self.blocks:
            hidden = (hidden + block(hidden)) / math.sqrt(2)
        return hidden


class ResidualMap(nn.Module):
    """The toy map of the reference code (182,658 weights at its sizes), as T = x + net(x, z) with net = 0 at the start."""

    def __init__(self, spec: NetworkSpec) -> None:
        super().__init__()
        dim, width = math.prod(spec.sample_shape), spec.width
        self.blocks = ResidualBlocks(dim, width, spec.depth, spec.condition)
        self.latent = nn.Sequential(nn.Linear(spec.z_dim, width), nn.SiLU(), nn.Linear(width, width)) if spec.z_dim else None
        self.head = nn.Sequential(nn.Linear(width, width), nn.SiLU(), nn.Linear(width, dim))
        start_at_zero(self.head[-1])

    def forward(
        self, x: Float[Tensor, "n *shape"], z: Float[Tensor, "n z"] | None, condition: Given | None = None
    ) -> Float[Tensor, "n *shape"]:
        hidden = self.blocks(x.flatten(1), condition)
        if self.latent is not None:
            hidden = hidden + self.latent(z)
        return x + self.head(hidden).view_as(x)


class ResidualPotential(nn.Module):
    """The toy potential of the reference code (165,633 weights at its sizes)."""

    def __init__(self, spec: NetworkSpec) -> None:
        super().__init__()
        width = spec.width
        blocks = ResidualBlocks(math.prod(spec.sample_shape), width, spec.depth, spec.condition)
        self.net = nn.Sequential(blocks, nn.Linear(width, width), nn.SiLU(), nn.Linear(width, 1))

    def forward(self, x: Float[Tensor, "n *shape"], condition: Given | None = None) -> Float[Tensor, " n"]:
        blocks, *head = self.net
        hidden = blocks(x.flatten(1), condition)
        for layer in head:
            hidden = layer(hidden)
        return hidden.squeeze(1)
