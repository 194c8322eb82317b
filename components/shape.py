"""What it takes to build a pair of networks."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Shape:
    """Sizes of a transport map and of its potential.

    Attributes:
        sample_shape: of one sample: (d,) or (channels, side, side).
        width: units of a hidden layer.
        depth: hidden layers.
        z_dim: size of the latent z; 0 for a deterministic map.
        num_frequencies: random Fourier features of the map's input.
    """

    sample_shape: tuple[int, ...]
    width: int
    depth: int
    z_dim: int = 0
    num_frequencies: int = 0
