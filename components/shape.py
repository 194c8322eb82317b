"""What it takes to build a pair of networks."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Shape:
    """Sizes of a transport map and of its potential.

    Attributes:
        sample_shape: of one sample: (d,) or (channels, side, side).
        width: units of a hidden layer.
        depth: hidden layers.
        z_dim: size of the latent z; 0 for a deterministic map.
        num_frequencies: random Fourier features of the map's input; perceptrons only.
        kind: `perceptron` is ours, `residual` the toy network of the reference code.
        second_order: the map has an affine part and the potential a quadratic one, exact between Gaussians; perceptrons only.
    """

    sample_shape: tuple[int, ...]
    width: int
    depth: int
    z_dim: int = 0
    num_frequencies: int = 0
    kind: Literal["perceptron", "residual"] = "perceptron"
    second_order: bool = False
