"""The transport cost c_h: the only place where the step size h and the dimension are applied."""

import math
from typing import Literal

from jaxtyping import Float
from torch import Tensor

CostName = Literal["squared", "mean_squared"]


def transport_cost(
    x: Float[Tensor, "n *shape"], y: Float[Tensor, "n *shape"], *, h: float, cost: CostName
) -> Float[Tensor, " n"]:
    """Compute c_h(x, y) = |x - y|^2 / (2 h) per sample (Eq. 13).

    Example:
        >>> import torch
        >>> x, y = torch.zeros(2, 3), torch.ones(2, 3)
        >>> transport_cost(x, y, h=0.5, cost="squared"), transport_cost(x, y, h=0.5, cost="mean_squared")
        (tensor([3., 3.]), tensor([1., 1.]))

    Args:
        h: JKO step size, in squared units of the space the flow lives in; `inf` drops the cost.
        cost: `squared` is the true JKO step; `mean_squared` averages over the d dimensions as the reference code does, so
            that its h is h / d of the true step.
    """
    if math.isinf(h):
        return x.new_zeros(x.shape[0])
    squared = (x - y).flatten(1).square()
    per_sample = squared.sum(1) if cost == "squared" else squared.mean(1)
    return per_sample / (2 * h)
