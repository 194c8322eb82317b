"""Weights of a few points that stand for many samples: poststratification."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from components.costs import Squared

NUM_CELLS = 64
"""Cells of space that keep the shares of the many samples: of so many points that each still has some thirty of 2,000."""


def merged(points: Float[Tensor, "n *shape"]) -> tuple[Float[Tensor, "k *shape"], Int[Tensor, " k"]]:
    """Take every point once, in the order in which each comes first, and count how often each is there.

    Example:
        >>> merged(torch.tensor([[2.0], [1.0], [2.0]]))
        (tensor([[2.],
                [1.]]), tensor([2, 1]))
    """
    _, number, counts = torch.unique(points.flatten(1), dim=0, return_inverse=True, return_counts=True)
    first = torch.full_like(counts, len(points))
    first.scatter_reduce_(0, number, torch.arange(len(points), device=points.device), "amin")
    order = first.argsort()
    return points[first[order]], counts[order]


def poststratified(
    points: Float[Tensor, "n *shape"], samples: Float[Tensor, "m *shape"], counts: Int[Tensor, " n"] | None = None
) -> Float[Tensor, " n"]:
    """Weight points so that each cell of space has the share that it has among many samples of the same measure.

    The masses of far parts among n points are off by chance, by 1 / sqrt(n) of them, and W2 feels the long ways. Cells are those
    of every (n / 64)-th point. Points of one cell weigh the same: weights by nearest samples would draw all to the middle in
    many dimensions. Where the points are all samples there are, all weights are 1 / n.

    Example:
        >>> points, samples = torch.tensor([[0.0], [1.0]]), torch.tensor([[0.0], [0.1], [-0.1], [1.1]])
        >>> poststratified(points, samples)
        tensor([0.7500, 0.2500])

    Args:
        counts: how often each point was drawn, where they are `merged`; None: once.

    Returns:
        Positive weights of sum 1.
    """
    n = len(points)
    counts = torch.ones(n, dtype=torch.long, device=points.device) if counts is None else counts
    centres = points[torch.linspace(0, n - 1, min(n, NUM_CELLS), device=points.device).long()]
    none = torch.zeros(len(centres), device=points.device)
    of_points, of_samples = (Squared().nearest(each, centres, none) for each in (points, samples))
    shares = torch.bincount(of_samples, minlength=len(centres)).clamp_min(1).double()  # a cell of points has some mass
    weights = counts * (shares / torch.bincount(of_points.repeat_interleave(counts), minlength=len(centres)))[of_points]
    return (weights / weights.sum()).to(points.dtype)
