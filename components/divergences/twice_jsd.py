"""Twice the Jensen-Shannon divergence, with the losses of a GAN whose generator's loss saturates."""

import math

import torch
from torch.nn import functional

from components.divergences.base import FDivergence, Scalars

LOG2 = math.log(2.0)


class TwiceJSD(FDivergence):
    """Twice the Jensen-Shannon divergence, f(t) = t log t - (t + 1) log((t + 1) / 2).

    v = softplus(D) - log 2 makes the potential's loss that of a GAN's discriminator (Goodfellow et al. 2014): logistic
    regression, D is a log density ratio. The map maximises v itself, whose slope vanishes where the data are rare: from far away
    a step hardly moves. `jsd` is the non-saturating one.
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
