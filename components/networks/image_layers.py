"""Building blocks of the image networks: FIR resampling, adaptive group norm, attention, minibatch standard deviation.

All of them can be differentiated twice, in any memory format and under autocast. Residual sums are divided by sqrt(2), which
keeps their variance.
"""

import math
from contextlib import nullcontext
from typing import Any, Literal, TypeVar

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from components.networks.pair import GROUP_SIZE, NetworkSpec

Image = Float[Tensor, "n c h w"]
Resampling = Literal["down", "up", "blur"]
Layer = TypeVar("Layer", nn.Linear, nn.Conv2d)

LEAK = 0.2
"""LeakyReLU of the potentials."""

NEAR_ZERO = 1e-5
"""Gain of layers that start with next to no effect: at exactly zero the layers before them would get no gradient."""

STYLE_DIM = 256
"""Size of the embedding of z that styles a map."""

GROUP_SIZES = (GROUP_SIZE, 2, 1)
"""Samples that the minibatch standard deviation compares: the first that divides the batch."""


def activate(x: Tensor) -> Tensor:
    """Apply LeakyReLU in place, to what nothing else reads: its result is all that its derivatives need, no mask is kept."""
    return functional.leaky_relu(x, LEAK, inplace=True)


def activation() -> nn.Module:
    """Make LeakyReLU, in place, a layer."""
    return nn.LeakyReLU(LEAK, inplace=True)


def image_shape(spec: NetworkSpec, *, divisor: int) -> tuple[int, int]:
    """Give channels and side of a specification's images, which are square with a side that `divisor` divides."""
    sizes = spec.sample_shape
    if len(sizes) != 3 or sizes[1] != sizes[2] or sizes[1] % divisor:
        needs = f"these networks need square images with a side that {divisor} divides"
        raise ValueError(f"{needs}, not samples of shape {sizes}")
    return sizes[0], sizes[1]


def scaled(layer: Layer, gain: float = 1.0) -> Layer:
    """Scale a layer's initial weights: uniform with variance 2 gain^2 / (fan in + fan out), biases zero (Ho et al. 2020,
    DDPM).
    """
    nn.init.xavier_uniform_(layer.weight, gain)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


def conv(in_channels: int, out_channels: int, size: int = 3, gain: float = 1.0) -> nn.Conv2d:
    """Make a convolution that keeps the side of the image."""
    return scaled(nn.Conv2d(in_channels, out_channels, size, padding=size // 2), gain)


def group_norm(channels: int, *, affine: bool = True) -> nn.GroupNorm:
    """Make a group norm with groups of four channels or more, at most 32 of them."""
    return nn.GroupNorm(min(channels // 4, 32), channels, eps=1e-6, affine=affine)


class Fir(nn.Module):
    """A filter that halves, doubles or keeps (plus one) the side, [1, 3, 3, 1] / 8 along each axis; zeros outside the image.

    The resampling of StyleGAN 2 (Karras et al. 2020). One depthwise convolution is two to thirteen times as fast on CPU as a
    sum of shifted slices.
    """

    kernel: Tensor

    def __init__(self, resampling: Resampling) -> None:
        super().__init__()
        taps = torch.tensor([1.0, 3.0, 3.0, 1.0])
        self.resampling = resampling
        gain = 16 if resampling == "up" else 64  # three of four of the pixels between which "up" filters are zeros
        self.register_buffer("kernel", torch.outer(taps, taps) / gain, persistent=False)

    def forward(self, x: Image) -> Float[Tensor, "n c _ _"]:
        stride, padding = (1, 2) if self.resampling == "blur" else (2, 1)
        filtered: Tensor = Filtered.apply(x, self.kernel, stride, padding, 2 * x.shape[-1], self.resampling == "up")
        return filtered


class Filtered(torch.autograd.Function):
    """One kernel on each channel, or the adjoint of that, which is then its gradient.

    So derivatives of any order cost one depthwise convolution each. Those of torch's own cost one per channel from the second
    on, which was half of a step of the large pair on an accelerator.
    """

    @staticmethod
    def forward(  # noqa: PLR0917  # torch gives all by position
        x: Image, kernel: Tensor, stride: int, padding: int, side: int, adjoint: bool
    ) -> Tensor:
        """Filter x; the adjoint's result has the given side, which a stride of two leaves open."""
        channels = x.shape[1]
        kernel = kernel.to(x.dtype).expand(channels, 1, *kernel.shape)
        if not adjoint:
            return functional.conv2d(x, kernel, stride=stride, padding=padding, groups=channels)
        least = (x.shape[-1] - 1) * stride - 2 * padding + kernel.shape[-1]
        return functional.conv_transpose2d(
            x, kernel, stride=stride, padding=padding, output_padding=side - least, groups=channels
        )

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        x, kernel, ctx.stride, ctx.padding, _, ctx.adjoint = inputs
        ctx.side = x.shape[-1]
        ctx.save_for_backward(kernel)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        (kernel,) = ctx.saved_tensors
        of_x: Tensor = Filtered.apply(gradient, kernel, ctx.stride, ctx.padding, ctx.side, not ctx.adjoint)
        return of_x, None, None, None, None, None


class PixelNorm(nn.Module):
    """The normalisation of latents z -> z / sqrt(mean(z^2)) (Karras et al. 2018, Sec. 4.2)."""

    def forward(self, z: Float[Tensor, "n z"]) -> Float[Tensor, "n z"]:
        return z * (z.square().mean(1, keepdim=True) + 1e-8).rsqrt()


class AdaptiveGroupNorm(nn.Module):
    """AdaGN: GroupNorm(x) * (1 + scale) + shift, both linear in the style (Dhariwal and Nichol 2021, Sec. 3)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = group_norm(channels, affine=False)
        self.style = scaled(nn.Linear(STYLE_DIM, 2 * channels))

    def forward(self, x: Image, style: Float[Tensor, "n style"]) -> Image:
        scale, shift = self.style(style)[:, :, None, None].chunk(2, 1)
        return self.norm(x) * (1 + scale) + shift


class StyledBlock(nn.Module):
    """BigGAN's residual block with AdaGN (Brock et al. 2019; Song et al. 2021, App. H): twice (norm, SiLU, conv).

    Resampling comes before the first convolution and on the skip, which has a 1x1 convolution unless nothing changes.
    """

    def __init__(self, in_channels: int, out_channels: int, resampling: Resampling | None = None) -> None:
        super().__init__()
        self.resample = Fir(resampling) if resampling else nn.Identity()
        self.norm_in, self.conv_in = AdaptiveGroupNorm(in_channels), conv(in_channels, out_channels)
        self.norm_out, self.conv_out = AdaptiveGroupNorm(out_channels), conv(out_channels, out_channels, gain=NEAR_ZERO)
        changes = resampling or in_channels != out_channels
        self.skip = conv(in_channels, out_channels, size=1) if changes else nn.Identity()

    def forward(self, x: Image, style: Float[Tensor, "n style"]) -> Float[Tensor, "n _ _ _"]:
        hidden = self.conv_in(self.resample(functional.silu(self.norm_in(x, style))))
        hidden = self.conv_out(functional.silu(self.norm_out(hidden, style)))
        return (self.skip(self.resample(x)) + hidden) / math.sqrt(2)


class Attention(nn.Module):
    """Single-head attention over the pixels, softmax(Q K^T / sqrt(c)) V, as a residual block (Song et al. 2021, App. H).

    Written out, because the second derivative of torch's fused attention does not exist; 256 pixels are few.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = group_norm(channels)
        # Variance scaling sees 4c as fan in + fan out where Q, K and V alone have 2c: variance 0.1 / c for each of the three.
        self.query_key_value = conv(channels, 3 * channels, size=1, gain=math.sqrt(0.2))
        self.out = conv(channels, channels, size=1, gain=NEAR_ZERO)

    def forward(self, x: Image) -> Image:
        pixels = self.query_key_value(self.norm(x)).flatten(2).transpose(1, 2)
        query, key, value = pixels.chunk(3, 2)
        weights = (query @ key.transpose(1, 2) / math.sqrt(x.shape[1])).softmax(2)
        mixed = (weights @ value).transpose(1, 2).unflatten(2, x.shape[2:])
        return (x + self.out(mixed)) / math.sqrt(2)


def minibatch_std(x: Image) -> Float[Tensor, "n 1 h w"]:
    """Measure the standard deviation over groups of samples, averaged over channels and pixels (Karras et al. 2018, Sec. 3).

    A group is four consecutive samples; two or one where four does not divide n. So target and transported samples in one
    batch, and the slices of a batch on several workers, form the groups they form apart, if four divides each of their sizes.
    """
    n, _, height, width = x.shape
    group_size = next(size for size in GROUP_SIZES if n % size == 0)
    groups = x.unflatten(0, (n // group_size, group_size))
    std = (groups.var(1, correction=0) + 1e-8).sqrt().mean((1, 2, 3))
    return std.repeat_interleave(group_size)[:, None, None, None].expand(n, 1, height, width)


class SumHead(nn.Linear):
    """The last layers of a potential: a sum over space, then a linear layer in the weights' own precision: bfloat16 has too
    few bits for v.
    """

    def __init__(self, channels: int) -> None:
        super().__init__(channels, 1)

    def forward(self, x: Image) -> Float[Tensor, " n"]:
        known = torch.amp.is_autocast_available(x.device.type)  # not to the meta device, on which arithmetic is counted
        with torch.autocast(x.device.type, enabled=False) if known else nullcontext():
            return super().forward(x.to(self.weight.dtype).sum((2, 3))).squeeze(1)
