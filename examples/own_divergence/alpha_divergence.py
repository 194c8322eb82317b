"""Amari's alpha-divergences of model from data, a family that holds KL (1), KL of data from model (0) and Hellinger's (1/2)."""

import math

import torch
from torch import Tensor

from components.divergences.base import FDivergence


class Alpha(FDivergence):
    """D_f with f(t) = (t^a - a t + a - 1) / (a (a - 1)): f(1) = f'(1) = 0 and f''(1) = 1 for every alpha a.

    f*(s) = ((1 + (a - 1) s)^(a / (a - 1)) - 1) / a. For a > 1 it is finite for every slope s, 1 + (a - 1) s < 0 counting as 0,
    and the network's output is v itself. For a < 1 it is finite for s < 1 / (1 - a) only: v = (exp((1 - a) D) - 1) / (1 - a)
    stays where it is, and D is then the log density ratio log(d nu / d rho), which logistic regression can learn (`jko.fit`).

    Args:
        alpha: from -1 on, but 0 and 1, which are built in as forward_kl and kl. Large ones punish samples where there are no
            data, small ones data where there are no samples.
    """

    curvature = 1.0

    def __init__(self, alpha: float = 0.5) -> None:
        if not -1 <= alpha < math.inf or alpha in (0, 1):
            raise ValueError(f"alpha must be at least -1, and neither 0 (forward_kl) nor 1 (kl), not {alpha}")
        self.alpha = alpha
        self.finite_conjugate = alpha > 1
        self.logistic_fit = alpha < 1

    def generator(self, t: Tensor) -> Tensor:
        a = self.alpha
        return (t**a - a * t + a - 1) / (a * (a - 1))

    def conjugate(self, s: Tensor) -> Tensor:
        a = self.alpha
        return ((1 + (a - 1) * s).clamp(min=0) ** (a / (a - 1)) - 1) / a

    def conjugate_gradient(self, s: Tensor) -> Tensor:
        a = self.alpha
        return (1 + (a - 1) * s).clamp(min=0) ** (1 / (a - 1))

    def potential(self, output: Tensor) -> Tensor:
        return output if self.alpha > 1 else torch.expm1((1 - self.alpha) * output) / (1 - self.alpha)

    def target_term(self, output: Tensor) -> Tensor:
        return self.conjugate(-output) if self.alpha > 1 else torch.expm1(-self.alpha * output) / self.alpha
