"""A UNet with attention as the transport map of small images, and the light pair's network as its potential."""

from dataclasses import replace

from torch import Tensor, nn
from torchcfm.models.unet.unet import UNetModelWrapper

from components.networks.pair import NetworkSpec
from components.networks.pairs import Light


class UNetMap(nn.Module):
    """T(x) = x + UNet(x): the last layer of the UNet (Dhariwal & Nichol 2021, from torchcfm) starts at zero, T as the identity.

    It was made for a time beside x; here that is always 0.
    """

    def __init__(self, spec: NetworkSpec) -> None:
        super().__init__()
        self.net = UNetModelWrapper(
            spec.sample_shape,
            num_channels=spec.width,  # a multiple of 32
            num_res_blocks=1,
            channel_mult=(1, 2),
            attention_resolutions=str(spec.sample_shape[-1] // 2),
        )

    def forward(self, x: Tensor, z: Tensor | None) -> Tensor:
        moved: Tensor = x + self.net(x.new_zeros(len(x)), x)
        return moved


class UNet(Light):
    """A pair for images of 8 to 32 pixels: `network: {kind: unet:UNet}`. The potential, of which gradient penalties take second
    derivatives, is the light pair's.
    """

    takes = frozenset({"width"})
    defaults = {"network.width": 32, "data.target": "digits"}  # noqa: RUF012  # read, never changed
    sides = (8, 16, 28, 32)

    def build_map(self, spec: NetworkSpec) -> nn.Module:
        return UNetMap(spec)

    def build_potential(self, spec: NetworkSpec) -> nn.Module:
        return super().build_potential(replace(spec, width=4 * spec.width))
