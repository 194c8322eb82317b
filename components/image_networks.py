"""A light pair of convolutional networks for small images on few cores.

Shapes are (n, channels, side, side) with a side divisible by 4. Both work at full, half and quarter resolution, where most of
their arithmetic is done.
"""

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from components.shape import Shape

LEAK = 0.2


def _conv(channels_in: int, channels_out: int, *, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(channels_in, channels_out, 3, stride=stride, padding=1)


class _Block(nn.Module):
    """Residual block of two convolutions, scaled so that the sum keeps its variance."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first, self.second = _conv(channels, channels), _conv(channels, channels)

    def forward(self, x: Float[Tensor, "n c s s"]) -> Float[Tensor, "n c s s"]:
        hidden = self.first(functional.leaky_relu(x, LEAK))
        return (x + self.second(functional.leaky_relu(hidden, LEAK))) * 0.5**0.5


class LightMap(nn.Module):
    """T(x, z) = x + net(x, z), net a U-Net of two levels; the last layer starts at zero, so T starts as the identity.

    z enters as a bias of every channel at the lowest resolution.
    """

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        channels, width, z_dim = shape.sample_shape[0], shape.width, shape.z_dim
        self.input = _conv(channels, width)
        self.down_1, self.down_2 = _conv(width, 2 * width, stride=2), _conv(2 * width, 4 * width, stride=2)
        self.z_layer = nn.Linear(z_dim, 4 * width) if z_dim else None
        self.blocks = nn.Sequential(*(_Block(4 * width) for _ in range(shape.depth)))
        self.up_1, self.up_2 = _conv(4 * width, 2 * width), _conv(2 * width, width)
        self.output = _conv(width, channels)
        nn.init.zeros_(self.output.weight)
        assert self.output.bias is not None
        nn.init.zeros_(self.output.bias)

    def forward(self, x: Float[Tensor, "n c s s"], z: Float[Tensor, "n z"] | None) -> Float[Tensor, "n c s s"]:
        full = functional.leaky_relu(self.input(x), LEAK)
        half = functional.leaky_relu(self.down_1(full), LEAK)
        quarter = self.down_2(half)
        if self.z_layer is not None:
            quarter = quarter + self.z_layer(z)[:, :, None, None]
        quarter = self.blocks(quarter)
        half = half + functional.leaky_relu(self.up_1(functional.interpolate(quarter, scale_factor=2)), LEAK)
        full = full + functional.leaky_relu(self.up_2(functional.interpolate(half, scale_factor=2)), LEAK)
        return x + self.output(full)


class LightPotential(nn.Module):
    """The potential's network output D(x): strided convolutions, residual blocks, then a linear layer."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        (channels, side, _), width = shape.sample_shape, shape.width
        self.input = _conv(channels, width)
        self.down_1, self.down_2 = _conv(width, 2 * width, stride=2), _conv(2 * width, 4 * width, stride=2)
        self.blocks = nn.Sequential(*(_Block(4 * width) for _ in range(shape.depth)))
        self.output = nn.Linear(4 * width * (side // 4) ** 2, 1)

    def forward(self, x: Float[Tensor, "n c s s"]) -> Float[Tensor, " n"]:
        full = functional.leaky_relu(self.input(x), LEAK)
        half = functional.leaky_relu(self.down_1(full), LEAK)
        features = functional.leaky_relu(self.blocks(self.down_2(half)), LEAK)
        return self.output(features.flatten(1)).squeeze(1)
