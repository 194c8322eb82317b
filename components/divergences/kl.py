"""KL(model | data), the paper's KLD."""

import torch

from components.divergences.base import FDivergence, Scalars


class KL(FDivergence):
    """KL(model | data), the paper's KLD, f(t) = t log t - t + 1."""

    curvature = 1.0
    logistic_fit = True

    def generator(self, t: Scalars) -> Scalars:
        return torch.xlogy(t, t) - t + 1

    def conjugate(self, s: Scalars) -> Scalars:
        return torch.expm1(s)

    def conjugate_gradient(self, s: Scalars) -> Scalars:
        return torch.exp(s)
