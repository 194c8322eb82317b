"""A hard constraint on the marginal in the place of a divergence: plain optimal transport (OTM)."""

import math

import torch

from components.divergences.base import FDivergence, Scalars


class Linear(FDivergence):
    """The hard marginal constraint of optimal transport: f is the indicator of t = 1, and f*(s) = s."""

    curvature = math.inf
    fixes_marginal = True

    def generator(self, t: Scalars) -> Scalars:
        return torch.where(t == 1, torch.zeros_like(t), torch.full_like(t, math.inf))

    def conjugate(self, s: Scalars) -> Scalars:
        return s

    def conjugate_gradient(self, s: Scalars) -> Scalars:
        return torch.ones_like(s)

    def source_term(self, v: Scalars, cost: Scalars) -> Scalars:
        return v  # c does not depend on v, and is left out
