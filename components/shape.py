"""What it takes to build a pair of networks."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Shape:
    """Sizes of a transport map and of its potential.

    Attributes:
        kind: name in `components.networks.NETWORKS`.
        sample_shape: of one sample: (d,) or (channels, side, side).
        width: units of a hidden layer, or channels at full resolution.
        depth: hidden layers, or residual blocks at the lowest resolution.
        z_dim: size of the latent z; 0 for a deterministic map.
        num_frequencies: random Fourier features of the map's input.
    """

    kind: str
    sample_shape: tuple[int, ...]
    width: int
    depth: int
    z_dim: int = 0
    num_frequencies: int = 0
