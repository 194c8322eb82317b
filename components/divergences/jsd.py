"""KL less twice the Jensen-Shannon divergence: what a map lowers that learns from a GAN's non-saturating loss."""

import torch
from torch.nn import functional

from components.divergences.base import FDivergence, PerSample, Scalar, Scalars
from components.divergences.twice_jsd import LOG2, TwiceJSD


class JSD(FDivergence):
    """KL less twice the Jensen-Shannon divergence, f(t) = (t + 1) log((t + 1) / 2) - (t - 1): the paper's S-JKO with JSD.

    There D = log(d nu / d rho) is learned as a GAN's discriminator, and the map maximises -softplus(-D), the non-saturating
    reward, in place of the potential of 2 JSD. With t = d rho / d nu that is -log(1 + t), up to a constant -f'(t) of this f: the
    step is that of KL - 2 JSD (Arjovsky & Bottou 2017, Theorem 2.5). D is still learned by the discriminator's loss, which is
    free of the heavy tail of f*(-v) = exp(-D) - softplus(-D) + const; -L_v is therefore 2 JSD, and not this F.
    """

    curvature = 0.5
    source_fixed = True

    def generator(self, t: Scalars) -> Scalars:
        return (t + 1) * torch.log((t + 1) / 2) - (t - 1)

    def conjugate(self, s: Scalars) -> Scalars:
        y = s.clamp(min=-LOG2)  # f'(0): below it t = 0 is best
        return 2 * torch.expm1(y) - y

    def conjugate_gradient(self, s: Scalars) -> Scalars:
        return 2 * torch.exp(s.clamp(min=-LOG2)) - 1

    def potential(self, output: Scalars) -> Scalars:
        return LOG2 - functional.softplus(-output)

    def potential_loss(self, on_target: PerSample, on_transported: PerSample, cost: PerSample, source: FDivergence) -> Scalar:
        return TwiceJSD().potential_loss(on_target, on_transported, cost, source)
