"""What it takes to build a pair of networks."""

from dataclasses import dataclass
from typing import Literal

Kind = Literal["perceptron", "residual", "light", "small", "large", "large_256"]


@dataclass(frozen=True)
class Shape:
    """Sizes of a transport map and of its potential.

    Attributes:
        sample_shape: of one sample: (d,) or (channels, side, side).
        width: units of a hidden layer, or channels of the widest images of a convolutional network.
        depth: hidden layers; perceptrons only.
        z_dim: size of the latent z; 0 for a deterministic map.
        num_frequencies: random Fourier features of the map's input; perceptrons only.
        kind: name in `components.pairs`.
        second_order: the map has an affine part and the potential a quadratic one, exact between Gaussians; perceptrons only.
    """

    sample_shape: tuple[int, ...]
    width: int
    depth: int
    z_dim: int = 0
    num_frequencies: int = 0
    kind: Kind = "perceptron"
    second_order: bool = False
