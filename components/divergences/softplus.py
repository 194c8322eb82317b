"""The divergence whose conjugate is a softplus, with a bounded density ratio."""

import math

import torch
from torch.nn import functional

from components.divergences.base import FDivergence, Scalars


class Softplus(FDivergence):
    """The divergence of bounded density ratios, f(t) = t log t + (2 - t) log(2 - t), infinite where d rho / d nu > 2."""

    curvature = 2.0

    def generator(self, t: Scalars) -> Scalars:
        return torch.where(t <= 2, torch.xlogy(t, t) + torch.xlogy(2 - t, 2 - t), torch.full_like(t, math.inf))

    def conjugate(self, s: Scalars) -> Scalars:
        return 2 * functional.softplus(s) - 2 * math.log(2.0)

    def conjugate_gradient(self, s: Scalars) -> Scalars:
        return 2 * torch.sigmoid(s)
