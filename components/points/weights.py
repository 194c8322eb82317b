"""Weights of a few points that stand for many samples: poststratification."""

import torch
from jaxtyping import Float
from torch import Tensor

from components.costs import Squared

NUM_CELLS = 64
"""Cells of space that keep the shares of the many samples: of so many points that each still has some thirty of 2,000."""


def poststratified(points: Float[Tensor, "n *shape"], samples: Float[Tensor, "m *shape"]) -> Float[Tensor, " n"]:
    """Weight points so that each cell of space has the share that it has among many samples of the same measure.

    The masses of far parts among n points are off by chance, by 1 / sqrt(n) of them, and W2 feels the long ways. Cells are those
    of every (n / 64)-th point. Points of one cell weigh the same: weights by nearest samples would draw all to the middle in
    many dimensions. Where the points are all samples there are, all weights are 1 / n.

    Example:
        >>> points, samples = torch.tensor([[0.0], [1.0]]), torch.tensor([[0.0], [0.1], [-0.1], [1.1]])
        >>> poststratified(points, samples)
        tensor([0.7500, 0.2500])

    Returns:
        Positive weights of sum 1.
    """
    n = len(points)
    centres = points[torch.linspace(0, n - 1, min(n, NUM_CELLS), device=points.device).long()]
    none = torch.zeros(len(centres), device=points.device)
    of_points, of_samples = (Squared().nearest(each, centres, none) for each in (points, samples))
    shares = torch.bincount(of_samples, minlength=len(centres)).clamp_min(1).double()  # a cell of points has some mass
    weights = (shares / torch.bincount(of_points, minlength=len(centres)))[of_points]
    return (weights / weights.sum()).to(points.dtype)
