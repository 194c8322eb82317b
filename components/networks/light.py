"""The light pair for images on CPU cores: large dense layers, where the arithmetic is cheap, and few channels at full size.

At 28 x 28 and batch 64 an update of both networks costs under 1 GFLOP.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from components.networks.embedding import Given, embedding_of, projection_of
from components.networks.image_layers import Image, activate, activation, image_shape
from components.networks.pair import NetworkSpec


def smooth(x: Image) -> Image:
    """Filter images with [1, 2, 1] / 4 along each axis, as two means of two; the edge is repeated outside."""
    return functional.avg_pool2d(functional.avg_pool2d(functional.pad(x, (1, 1, 1, 1), mode="replicate"), 2, 1), 2, 1)


class LightMap(nn.Module):
    """The light map T(x, z): dense layers to a quarter of the side, a convolution there, two pixel shuffles (Shi et al. 2016)
    to the image.

    Images end in tanh: T begins near grey and not at the identity. A condition's embedding is added to the first hidden layer.
    """

    def __init__(self, spec: NetworkSpec, *, filtered: bool = False) -> None:
        """Build the map.

        Args:
            filtered: each pixel shuffle is followed by `smooth`: the pixels that it sets side by side come of other weights each,
                and leave a pattern of two pixels' length where images are neither black nor white.
        """
        super().__init__()
        self.filtered = filtered
        channels, side = image_shape(spec, divisor=4)
        self.side, width = side // 4, spec.width
        in_dim = math.prod(spec.sample_shape) + spec.z_dim
        self.dense = nn.Sequential(
            nn.Linear(in_dim, 4 * width), activation(), nn.Linear(4 * width, width * self.side**2), activation()
        )
        self.coarse = nn.Conv2d(width, width, 3, padding=1)
        self.middle = nn.Conv2d(width // 4, width // 2, 3, padding=1)
        self.fine = nn.Conv2d(width // 2, 4 * channels, 3, padding=1)
        self.width = width
        self.embedding = embedding_of(spec.condition, 4 * width)

    def forward(
        self, x: Float[Tensor, "n *shape"], z: Float[Tensor, "n z"] | None, condition: Given | None = None
    ) -> Float[Tensor, "n *shape"]:
        flat = x.flatten(1)
        first, *others = self.dense
        hidden = first(flat if z is None else torch.cat([flat, z], 1))
        if self.embedding is not None:
            hidden = hidden + self.embedding(condition)
        for layer in others:
            hidden = layer(hidden)
        hidden = hidden.unflatten(1, (self.width, self.side, self.side))
        hidden = activate(hidden + self.coarse(hidden))
        hidden = activate(self.middle(self._doubled(hidden)))
        return torch.tanh(self._doubled(self.fine(hidden)))

    def _doubled(self, x: Image) -> Float[Tensor, "n _ _ _"]:
        doubled = functional.pixel_shuffle(x, 2)
        return smooth(doubled) if self.filtered else doubled


class LightPotential(nn.Module):
    """The light potential's network D(x): the light map's way back, not normalised: v must be free to grow where measures
    part.
    """

    def __init__(self, spec: NetworkSpec) -> None:
        super().__init__()
        channels, side = image_shape(spec, divisor=4)
        width = spec.width
        self.fine = nn.Conv2d(4 * channels, width // 2, 3, padding=1)
        self.middle = nn.Conv2d(2 * width, width, 1)
        self.dense = nn.Sequential(nn.Linear(width * (side // 4) ** 2, 3 * width), activation(), nn.Linear(3 * width, 1))
        self.projection = projection_of(spec.condition, 3 * width)

    def forward(self, x: Image, condition: Given | None = None) -> Float[Tensor, " n"]:
        hidden = activate(self.fine(functional.pixel_unshuffle(x, 2)))
        hidden = activate(self.middle(functional.pixel_unshuffle(hidden, 2)))
        first, middle, last = self.dense
        features = middle(first(hidden.flatten(1)))
        outputs = last(features).squeeze(1)
        return outputs if self.projection is None else outputs + self.projection(condition, features)
