"""KL(model | data), the paper's KLD."""

import math

import torch

from components.divergences.base import FDivergence, Scalars

STEEPEST = 40.0
"""The slope s from which on f*(s) is a straight line: exp(40)^2 is the last that float32 holds with room, and Adam squares."""


class KL(FDivergence):
    """KL(model | data), the paper's KLD, f(t) = t log t - t + 1; f* is that of density ratios t up to exp(40)."""

    curvature = 1.0
    logistic_fit = True

    def generator(self, t: Scalars) -> Scalars:
        return torch.xlogy(t, t) - t + 1

    def conjugate(self, s: Scalars) -> Scalars:
        line = math.expm1(STEEPEST) + math.exp(STEEPEST) * (s - STEEPEST)
        return torch.where(s < STEEPEST, torch.expm1(s.clamp(max=STEEPEST)), line)

    def conjugate_gradient(self, s: Scalars) -> Scalars:
        return torch.exp(s.clamp(max=STEEPEST))
