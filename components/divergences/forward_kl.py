"""KL(data | model), which is not in the paper (docs/decisions.md)."""

import torch

from components.divergences.base import FDivergence, Scalars


class ForwardKL(FDivergence):
    """KL(data | model), f(t) = t - 1 - log t. Since v must be above -1, v = exp(D) - 1, so that f*(-v) = -log(1 + v) = -D."""

    curvature = 1.0
    logistic_fit = True
    finite_conjugate = False

    def generator(self, t: Scalars) -> Scalars:
        return t - 1 - torch.log(t)

    def conjugate(self, s: Scalars) -> Scalars:
        return -torch.log1p(-s)

    def conjugate_gradient(self, s: Scalars) -> Scalars:
        return 1 / (1 - s)

    def potential(self, output: Scalars) -> Scalars:
        return torch.expm1(output)

    def target_term(self, output: Scalars) -> Scalars:
        return torch.neg(output)
