"""The large potential: the discriminator of Denoising Diffusion GANs (Xiao et al. 2022), without time, as the paper has it."""

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from components.networks.embedding import Given, projection_of
from components.networks.image_layers import (
    LEAK,
    NEAR_ZERO,
    Fir,
    Image,
    SumHead,
    activate,
    conv,
    image_shape,
    minibatch_std,
    scaled,
)
from components.networks.pair import NetworkSpec


class DownBlock(nn.Module):
    """A residual block that halves the side: twice (LeakyReLU, conv), halved before the second, plus a 1x1 convolution of the
    input, halved alike.
    """

    def __init__(self, in_channels: int, out_channels: int, *, halve: bool) -> None:
        super().__init__()
        self.halve = Fir("down") if halve else nn.Identity()
        self.conv_in = conv(in_channels, out_channels)
        self.conv_out = conv(out_channels, out_channels, gain=NEAR_ZERO)
        self.skip = scaled(nn.Conv2d(in_channels, out_channels, 1, bias=False))

    def forward(self, x: Image) -> Float[Tensor, "n _ _ _"]:
        hidden = activate(self.conv_in(functional.leaky_relu(x, LEAK)))
        return (self.skip(self.halve(x)) + self.conv_out(self.halve(hidden))) / math.sqrt(2)


class LargePotential(nn.Module):
    """The large potential's network D(x), near zero at the start; samples of a batch are compared in groups of four.

    12,247,809 parameters for 3 channels at width 128; kind `large_256` has 26,881,537 at width 64 (which the reference code
    starts away from zero).
    """

    def __init__(self, spec: NetworkSpec, multipliers: Sequence[int], num_halvings: int) -> None:
        """Build the potential.

        Args:
            multipliers: channels before the first block and after each, in units of the width.
            num_halvings: how many of the blocks, counted from the last, halve the side.
        """
        super().__init__()
        widths = [spec.width * multiplier for multiplier in multipliers]
        num_kept = len(widths) - 1 - num_halvings
        channels, _ = image_shape(spec, divisor=2**num_halvings)
        blocks = [DownBlock(a, b, halve=index >= num_kept) for index, (a, b) in enumerate(pairwise(widths))]
        self.blocks = nn.Sequential(conv(channels, widths[0], size=1), *blocks)
        self.compare = conv(widths[-1] + 1, widths[-1], gain=NEAR_ZERO)
        self.last = scaled(SumHead(widths[-1]))
        self.projection = projection_of(spec.condition, widths[-1])

    def forward(self, x: Image, condition: Given | None = None) -> Float[Tensor, " n"]:
        hidden = self.blocks(x)
        hidden = self.compare(torch.cat([hidden, minibatch_std(hidden)], 1))
        hidden = activate(hidden)
        outputs = self.last(hidden)
        return outputs if self.projection is None else outputs + self.projection(condition, hidden)
