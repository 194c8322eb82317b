"""Pearson's chi-squared divergence of model from data."""

from components.divergences.base import FDivergence, Scalars


class Chi2(FDivergence):
    """Pearson's chi-squared divergence, f(t) = (t - 1)^2."""

    curvature = 2.0

    def generator(self, t: Scalars) -> Scalars:
        return (t - 1).square()

    def conjugate(self, s: Scalars) -> Scalars:
        y = s.clamp(min=-2.0)
        return y + y.square() / 4

    def conjugate_gradient(self, s: Scalars) -> Scalars:
        return 1 + s.clamp(min=-2.0) / 2
