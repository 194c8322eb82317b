"""The large transport map: a U-Net in the manner of NCSN++ (Song et al. 2021, App. H), styled by z instead of by time.

As Denoising Diffusion GANs (Xiao et al. 2022) and UOTM (arXiv 2305.14777) use it; the paper trains it on CIFAR-10 and
CelebA-HQ-256. The reference code's layers for the time, which nothing reads, are left out.
"""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from components.networks.embedding import Given, embedding_of
from components.networks.image_layers import (
    NEAR_ZERO,
    STYLE_DIM,
    Attention,
    Fir,
    Image,
    PixelNorm,
    StyledBlock,
    conv,
    group_norm,
    image_shape,
    scaled,
)
from components.networks.pair import NetworkSpec

ATTENTION_SIDE = 16
"""Side of the level that has attention."""

Style = Float[Tensor, "n style"]


class Encoder(nn.Module):
    """One level of the large map on the way down: two blocks, each followed by attention if `attend`. Keeps what enters and
    what they give.
    """

    def __init__(self, in_channels: int, channels: int, *, attend: bool) -> None:
        super().__init__()
        self.blocks = nn.ModuleList([StyledBlock(in_channels, channels), StyledBlock(channels, channels)])
        self.attentions = nn.ModuleList([Attention(channels) if attend else nn.Identity() for _ in self.blocks])

    def forward(self, x: Image, style: Style) -> list[Tensor]:
        kept = [x]
        for block, attention in zip(self.blocks, self.attentions, strict=True):
            kept.append(attention(block(kept[-1], style)))
        return kept


class Halving(nn.Module):
    """The step down from one level of the large map: a block that halves the side, plus a filtered strided convolution of the
    input pyramid.
    """

    def __init__(self, channels: int, pyramid_channels: int) -> None:
        super().__init__()
        self.block = StyledBlock(channels, channels, "down")
        strided = scaled(nn.Conv2d(pyramid_channels, channels, 3, stride=2))
        self.pyramid = nn.Sequential(Fir("blur"), strided)

    def forward(self, x: Image, pyramid: Float[Tensor, "n _ h w"], style: Style) -> Float[Tensor, "n c _ _"]:
        return (self.block(x, style) + self.pyramid(pyramid)) / math.sqrt(2)


class Decoder(nn.Module):
    """One level of the large map on the way up: three blocks, each of which also sees what the encoder kept, the last first;
    then attention.
    """

    def __init__(self, in_channels: int, channels: int, entry_channels: int, *, attend: bool) -> None:
        super().__init__()
        ins = (in_channels + channels, channels + channels, channels + entry_channels)
        self.blocks = nn.ModuleList([StyledBlock(in_, channels) for in_ in ins])
        self.attention = Attention(channels) if attend else nn.Identity()

    def forward(self, x: Image, kept: list[Tensor], style: Style) -> Float[Tensor, "n _ h w"]:
        for block, skip in zip(self.blocks, reversed(kept), strict=True):
            x = block(torch.cat([x, skip], 1), style)
        return self.attention(x)


class LargeMap(nn.Module):
    """The large transport map T(x, z) = tanh(net(x, z)), with net near zero at the start.

    With z_dim 100, 44,820,611 parameters for 3 channels at width 128; kind `large_256` has 38,049,091 at width 64. A condition's
    embedding is added to that of z.
    """

    def __init__(self, spec: NetworkSpec, multipliers: Sequence[int]) -> None:
        """Build the map.

        Args:
            multipliers: channels of each level, the finest first, in units of the width. A level has half the side of the one
                before.
        """
        super().__init__()
        widths = [spec.width * multiplier for multiplier in multipliers]
        channels, side = image_shape(spec, divisor=2 ** (len(widths) - 1))
        if spec.z_dim < 1:
            raise ValueError(f"these networks need a z_dim of at least 1, not {spec.z_dim}")
        dims = (spec.z_dim, *[STYLE_DIM] * 4)
        layers = [layer for dim in dims for layer in (scaled(nn.Linear(dim, STYLE_DIM)), nn.SiLU())]
        self.to_style = nn.Sequential(PixelNorm(), *layers)

        entries = [widths[0], *widths[:-1]]  # channels with which a level is entered on the way down
        attend = [side >> level == ATTENTION_SIDE for level in range(len(widths))]
        levels = list(zip(entries, widths, attend, strict=True))
        pyramids = [channels, *widths[:-2]]
        self.first = conv(channels, widths[0])
        self.encoders = nn.ModuleList([Encoder(entry, width, attend=here) for entry, width, here in levels])
        self.halvings = nn.ModuleList([Halving(*pair) for pair in zip(widths[:-1], pyramids, strict=True)])
        self.middle = nn.ModuleList([StyledBlock(widths[-1], widths[-1]) for _ in range(2)])
        self.attention = Attention(widths[-1])
        belows = [*widths[1:], widths[-1]]  # channels that come from below on the way up
        self.decoders = nn.ModuleList(
            [Decoder(below, width, entry, attend=here) for below, (entry, width, here) in zip(belows, levels, strict=True)]
        )
        self.doublings = nn.ModuleList([StyledBlock(width, width, "up") for width in widths[1:]])
        self.norm, self.last = group_norm(widths[0]), conv(widths[0], channels, gain=NEAR_ZERO)
        self.embedding = embedding_of(spec.condition, STYLE_DIM)

    def forward(self, x: Image, z: Float[Tensor, "n z"], condition: Given | None = None) -> Image:
        style = self.to_style(z) if self.embedding is None else self.to_style(z) + self.embedding(condition)
        pyramid, kept = x, [self.encoders[0](self.first(x), style)]
        for halving, encoder in zip(self.halvings, self.encoders[1:], strict=True):
            pyramid = halving(kept[-1][-1], pyramid, style)
            kept.append(encoder(pyramid, style))
        hidden = self.middle[1](self.attention(self.middle[0](kept[-1][-1], style)), style)
        hidden = self.decoders[-1](hidden, kept[-1], style)
        for level in reversed(range(len(self.doublings))):
            hidden = self.decoders[level](self.doublings[level](hidden, style), kept[level], style)
        return torch.tanh(self.last(functional.silu(self.norm(hidden))))
