"""Twice the Jensen-Shannon divergence, with the losses of a GAN."""

import math

import torch
from torch.nn import functional

from components.divergences.base import FDivergence, Scalars

LOG2 = math.log(2.0)


class JSD(FDivergence):
    """Twice the Jensen-Shannon divergence, f(t) = t log t - (t + 1) log((t + 1) / 2).

    v = softplus(D) - log 2 makes the potential's loss that of a GAN's discriminator (Goodfellow et al. 2014). It is logistic
    regression already: D is a log density ratio without a `logistic_fit`.
    """

    curvature = 0.5
    finite_conjugate = False

    def generator(self, t: Scalars) -> Scalars:
        return torch.xlogy(t, t) - (t + 1) * torch.log((t + 1) / 2)

    def conjugate(self, s: Scalars) -> Scalars:
        return -torch.log(2 - torch.exp(s))

    def conjugate_gradient(self, s: Scalars) -> Scalars:
        return torch.exp(s) / (2 - torch.exp(s))

    def potential(self, output: Scalars) -> Scalars:
        return functional.softplus(output) - LOG2

    def target_term(self, output: Scalars) -> Scalars:
        return functional.softplus(-output) - LOG2

    def map_reward(self, output: Scalars) -> Scalars:
        return -functional.softplus(-output)  # non-saturating, as in the paper, instead of v
