"""The small image pair of the paper's ablations, taken over from OTM (Rout et al. 2022); sizes as in the reference code.

Here every block is x plus a branch. The reference's up-blocks run their main branch twice and have no skip. Its potential
activates in place, so that its skips carry LeakyReLU(x). Its map has transposed convolutions, which only start differently.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from components.networks.embedding import Given, embedding_of, projection_of
from components.networks.image_layers import LEAK, Image, SumHead, activation, image_shape
from components.networks.pair import NetworkSpec

SOURCE_SIDE = 8
"""Side of the noise images: 192 numbers for three channels."""

FIRST_SIDE = 4
"""Side of the first feature maps."""


def coarse(x: Image) -> Float[Tensor, "n c 8 8"]:
    """Sum full-size noise over blocks to an 8 x 8 grid, scaled so that N(0, I) gives N(0, I).

    The paper's small map takes 192 numbers. Taken from noise of the size of images, they leave a source one shape everywhere.
    """
    block = x.shape[-1] // SOURCE_SIDE
    return functional.avg_pool2d(x, block) * block


class UpBlock(nn.Module):
    """A block that doubles the side: nearest upsampling of x plus (norm, ReLU, upsampling, conv, norm, ReLU, conv)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.main = nn.Sequential(
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
            nn.Upsample(scale_factor=2),
            nn.Conv2d(width, width, 3, padding=1),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
            nn.Conv2d(width, width, 3, padding=1),
        )

    def forward(self, x: Image) -> Float[Tensor, "n c _ _"]:
        return self.main(x) + functional.interpolate(x, scale_factor=2.0)  # in this order: the sum gets the convolution's layout


class SmallMap(nn.Module):
    """The small map T(x) in (-1, 1): coarse noise of side 8 -> linear to side 4 -> one up-block per doubling -> norm, ReLU,
    conv, tanh.

    421,827 parameters for 3 x 32 x 32 at width 64. Batch norm takes its statistics from the batch while training. A condition's
    embedding is added to the first feature maps.
    """

    def __init__(self, spec: NetworkSpec) -> None:
        super().__init__()
        channels, side = image_shape(spec, divisor=FIRST_SIDE)
        doublings = (side // FIRST_SIDE).bit_length() - 1
        if side != FIRST_SIDE << doublings or side < SOURCE_SIDE:
            raise ValueError(f"network.kind small makes images with a side of 8, 16, 32, 64, ... pixels, not {side}")
        self.first = nn.Linear(channels * SOURCE_SIDE**2, spec.width * FIRST_SIDE**2)
        self.blocks = nn.Sequential(*[UpBlock(spec.width) for _ in range(doublings)])
        last = nn.Conv2d(spec.width, channels, 3, padding=1)
        self.last = nn.Sequential(nn.BatchNorm2d(spec.width), nn.ReLU(inplace=True), last, nn.Tanh())
        self.embedding = embedding_of(spec.condition, spec.width * FIRST_SIDE**2)

    def forward(self, x: Image, z: Float[Tensor, "n z"] | None, condition: Given | None = None) -> Image:
        hidden = self.first(coarse(x).flatten(1))
        if self.embedding is not None:
            hidden = hidden + self.embedding(condition)
        return self.last(self.blocks(hidden.unflatten(1, (-1, FIRST_SIDE, FIRST_SIDE))))


class SmallLift(nn.Module):
    """The anchor T_{-1} of the small map: the coarse noise that it sees, upsampled bicubically."""

    def __init__(self, spec: NetworkSpec) -> None:
        super().__init__()
        self.side = spec.sample_shape[-1]

    def forward(self, x: Image, z: Float[Tensor, "n z"] | None, condition: Given | None = None) -> Image:
        return functional.interpolate(coarse(x), size=(self.side, self.side), mode="bicubic")


class DownBlock(nn.Module):
    """A residual block, x plus (LeakyReLU, conv, LeakyReLU, conv); where `halve`, mean pooling over 2 x 2 and a 1x1
    convolution on the skip.
    """

    def __init__(self, in_channels: int, width: int, *, halve: bool, is_first: bool = False) -> None:
        super().__init__()
        self.main = nn.Sequential(
            nn.Identity() if is_first else nn.LeakyReLU(LEAK),  # pixels are not activated
            nn.Conv2d(in_channels, width, 3, padding=1),
            activation(),
            nn.Conv2d(width, width, 3, padding=1),
        )
        self.pool = nn.AvgPool2d(2) if halve else nn.Identity()
        self.skip = nn.Conv2d(in_channels, width, 1) if halve else nn.Identity()

    def forward(self, x: Image) -> Float[Tensor, "n _ _ _"]:
        return self.skip(self.pool(x)) + self.pool(self.main(x))


class SmallPotential(nn.Module):
    """The small potential's network D(x): four residual blocks, the first two halving the side, then a sum over space.

    264,769 parameters for 3 channels at width 64: the reference's 264,899 without 130 that nothing reads.
    """

    def __init__(self, spec: NetworkSpec) -> None:
        super().__init__()
        channels, _ = image_shape(spec, divisor=4)
        width = spec.width
        self.blocks = nn.Sequential(
            DownBlock(channels, width, halve=True, is_first=True),
            DownBlock(width, width, halve=True),
            DownBlock(width, width, halve=False),
            DownBlock(width, width, halve=False),
        )
        self.last = SumHead(width)
        self.projection = projection_of(spec.condition, width)

    def forward(self, x: Image, condition: Given | None = None) -> Float[Tensor, " n"]:
        hidden = torch.relu(self.blocks(x))
        outputs = self.last(hidden)
        return outputs if self.projection is None else outputs + self.projection(condition, hidden)
