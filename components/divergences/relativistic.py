"""The paired comparison of Jolicoeur-Martineau (2019) in the place of an f-divergence."""

import math

from torch.nn import functional

from components.divergences.base import Divergence, FDivergence, PerSample, Scalar


class Relativistic(Divergence):
    """The paired comparison F(rho) = sup_v E[log 2 - softplus(v(T(x)) - v(y))], each transported sample beside one of the
    target.
    """

    curvature = 0.5
    paired = True

    def potential_loss(self, on_target: PerSample, on_transported: PerSample, cost: PerSample, source: FDivergence) -> Scalar:
        return functional.softplus(on_transported - on_target).mean() - math.log(2.0)

    def map_loss(self, on_target: PerSample | None, on_transported: PerSample, cost: PerSample) -> Scalar:
        assert on_target is not None
        return cost.mean() + functional.softplus(on_target - on_transported).mean()
