"""A light pair of convolutional networks for small images on few cores.

Shapes are (n, channels, side, side) with a side divisible by 4.
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
    """T(x, z) = x + net(x, z), net a U-Net on half and quarter resolution; T starts as the identity, its last layer being zero.

    Blocks of 2 x 2 pixels become channels and back (pixel shuffle), since convolutions at full resolution would cost most and
    say least. z enters as a bias of every channel at the lowest resolution.
    """

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        channels, width, z_dim = 4 * shape.sample_shape[0], shape.width, shape.z_dim
        self.input, self.down = _conv(channels, width), _conv(width, 2 * width, stride=2)
        self.z_layer = nn.Linear(z_dim, 2 * width) if z_dim else None
        self.blocks = nn.Sequential(*(_Block(2 * width) for _ in range(shape.depth)))
        self.up, self.output = _conv(2 * width, width), _conv(width, channels)
        nn.init.zeros_(self.output.weight)
        assert self.output.bias is not None
        nn.init.zeros_(self.output.bias)

    def forward(self, x: Float[Tensor, "n c s s"], z: Float[Tensor, "n z"] | None) -> Float[Tensor, "n c s s"]:
        half = functional.leaky_relu(self.input(functional.pixel_unshuffle(x, 2)), LEAK)
        quarter = self.down(half)
        if self.z_layer is not None:
            quarter = quarter + self.z_layer(z)[:, :, None, None]
        raised = self.up(functional.interpolate(self.blocks(quarter), scale_factor=2))
        return x + functional.pixel_shuffle(self.output(half + functional.leaky_relu(raised, LEAK)), 2)


class LightPotential(nn.Module):
    """The potential's network output D(x): half and quarter resolution, residual blocks, then a linear layer."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        (channels, side, _), width = shape.sample_shape, shape.width
        self.input, self.down = _conv(4 * channels, width), _conv(width, 2 * width, stride=2)
        self.blocks = nn.Sequential(*(_Block(2 * width) for _ in range(shape.depth)))
        self.output = nn.Linear(2 * width * (side // 4) ** 2, 1)

    def forward(self, x: Float[Tensor, "n c s s"]) -> Float[Tensor, " n"]:
        half = functional.leaky_relu(self.input(functional.pixel_unshuffle(x, 2)), LEAK)
        features = functional.leaky_relu(self.blocks(self.down(half)), LEAK)
        return self.output(features.flatten(1)).squeeze(1)
