"""The cost of transport c_h: the only place where the step size h and the dimension are applied."""

import math
from abc import ABC, abstractmethod

import torch
from jaxtyping import Float, Int
from torch import Tensor

MATMUL = "use_mm_for_euclid_dist"
ROWS_AT_ONCE = 64


class Cost(ABC):
    """A cost of moving a sample, in units of 2 h: a JKO step pays `between(x, y) / 2h` for each.

    An own one extends this class. The step is a Wasserstein one for the squared distance alone.

    Example:
        >>> from components.table import cost
        >>> isinstance(cost("squared"), Cost)
        True
    """

    @abstractmethod
    def between(self, x: Float[Tensor, "n *shape"], y: Float[Tensor, "n *shape"]) -> Float[Tensor, " n"]:
        """Compute the cost of moving each sample x to y: not negative, 0 where they are equal, differentiable in y."""

    def matrix(self, x: Float[Tensor, "m *shape"], y: Float[Tensor, "n *shape"]) -> Float[Tensor, "m n"]:
        """Compute the cost of moving every x to every y; at most ROWS_AT_ONCE samples x are paired with all y at a time."""
        return torch.cat([self._block(rows, y) for rows in x.split(ROWS_AT_ONCE)])

    def nearest(self, x: Float[Tensor, "m *shape"], y: Float[Tensor, "n *shape"], less: Float[Tensor, " n"]) -> Int[Tensor, " m"]:
        """Find the number j of the point y_j of least cost, less what is taken off at y_j, for each x."""
        return (self.matrix(x, y) - less).argmin(1)

    def _block(self, x: Float[Tensor, "m *shape"], y: Float[Tensor, "n *shape"]) -> Float[Tensor, "m n"]:
        m, n = len(x), len(y)
        return self.between(x.repeat_interleave(n, 0), y.repeat(m, *[1] * (y.ndim - 1))).view(m, n)


class Squared(Cost):
    """The squared distance |x - y|^2: the true JKO step."""

    def between(self, x: Float[Tensor, "n *shape"], y: Float[Tensor, "n *shape"]) -> Float[Tensor, " n"]:
        return (x - y).flatten(1).square().sum(1)

    def matrix(self, x: Float[Tensor, "m *shape"], y: Float[Tensor, "n *shape"]) -> Float[Tensor, "m n"]:
        x, y = _about_middle(x, y)
        return torch.cdist(x, y, compute_mode=MATMUL).square()

    def nearest(self, x: Float[Tensor, "m *shape"], y: Float[Tensor, "n *shape"], less: Float[Tensor, " n"]) -> Int[Tensor, " m"]:
        x, y = _about_middle(x, y)  # |x - y|^2 - less is least where 2 x y - |y|^2 + less is most: a third of the time
        return torch.addmm(less - y.square().sum(1), x, 2 * y.T).argmax(1)


def _about_middle(
    x: Float[Tensor, "m *shape"], y: Float[Tensor, "n *shape"]
) -> tuple[Float[Tensor, "m d"], Float[Tensor, "n d"]]:
    """Subtract the mean of y from both: their distances stay, and |y|^2 of data far from 0 has no digits left for them."""
    middle = y.flatten(1).mean(0)
    return x.flatten(1) - middle, y.flatten(1) - middle


class MeanSquared(Cost):
    """The squared distance divided by the dimension d, as the reference code has it: its h is h / d of the true step."""

    def between(self, x: Float[Tensor, "n *shape"], y: Float[Tensor, "n *shape"]) -> Float[Tensor, " n"]:
        return (x - y).flatten(1).square().mean(1)

    def matrix(self, x: Float[Tensor, "m *shape"], y: Float[Tensor, "n *shape"]) -> Float[Tensor, "m n"]:
        return Squared().matrix(x, y) / x[0].numel()

    def nearest(self, x: Float[Tensor, "m *shape"], y: Float[Tensor, "n *shape"], less: Float[Tensor, " n"]) -> Int[Tensor, " m"]:
        return Squared().nearest(x, y, less * x[0].numel())


def transport_cost(x: Float[Tensor, "n *shape"], y: Float[Tensor, "n *shape"], *, h: float, cost: Cost) -> Float[Tensor, " n"]:
    """Compute c_h(x, y) = |x - y|^2 / (2 h) per sample (Eq. 13), or what another cost has in place of |x - y|^2.

    Example:
        >>> import torch
        >>> x, y = torch.zeros(2, 3), torch.ones(2, 3)
        >>> transport_cost(x, y, h=0.5, cost=Squared()), transport_cost(x, y, h=0.5, cost=MeanSquared())
        (tensor([3., 3.]), tensor([1., 1.]))

    Args:
        h: JKO step size, in squared units of the space the flow lives in; `inf` drops the cost.
    """
    return x.new_zeros(x.shape[0]) if math.isinf(h) else cost.between(x, y) / (2 * h)
