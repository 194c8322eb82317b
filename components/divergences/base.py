"""What a divergence is for the semi-dual: how v is learned from a network's output D, and what the map is rewarded for.

Csiszar divergences D_f(rho | nu) = E_nu[f(d rho / d nu)], model first, data second, are normalised so that f(1) = 0, f*(0) = 0
and (f*)'(0) = 1. At the optimum of the semi-dual d mu_{k+1} / d nu = (f*)'(-v) (Eq. 19).
"""

from abc import ABC, abstractmethod

from jaxtyping import Float
from torch import Tensor

Scalars = Float[Tensor, "..."]
PerSample = Float[Tensor, " n"]
Scalar = Float[Tensor, ""]


class Divergence(ABC):
    """The functional F of a JKO step, as the losses of a network's output D on target samples y and transported samples T(x).

    An own one that is a Csiszar divergence extends `FDivergence`; any other gives both losses itself.

    Example:
        >>> from components.table import divergence
        >>> divergence("relativistic").paired
        True

    Attributes:
        curvature: of F about the data, f''(1): F(nu (1 + g)) is f''(1) / 2 E_nu[g^2] for small g, so that divergences whose
            products with h agree make about equal steps there.
        paired: the map's loss takes D(y) too, and the source marginal is fixed.
        source_fixed: `potential_loss` learns another v than the map maximises, or knows no divergence of the source side: with a
            soft one the two losses would be no unbalanced problem, and recipes refuse it.
        logistic_fit: D is a log density ratio, log(d nu / d T_# mu), which logistic regression can learn in place of the loss.
        finite_conjugate: f* is finite everywhere, so that the divergence may stand on the source side.
        fixes_marginal: on the source side it keeps the source marginal as it is; -L_v is then an estimate of F itself, the
            running divergence. Otherwise L_v has the transport cost in it.
    """

    curvature: float
    paired: bool = False
    source_fixed: bool = False
    logistic_fit: bool = False
    finite_conjugate: bool = False
    fixes_marginal: bool = False

    @abstractmethod
    def potential_loss(self, on_target: PerSample, on_transported: PerSample, cost: PerSample, source: "FDivergence") -> Scalar:
        """Compute L_v without penalties, with the divergence of the source side."""

    @abstractmethod
    def map_loss(self, on_target: PerSample | None, on_transported: PerSample, cost: PerSample) -> Scalar:
        """Compute L_T; D(y) is None unless the divergence is `paired`."""


class FDivergence(Divergence):
    """A Csiszar divergence: its generator f(t), its conjugate f*(s) and how a network's output D stands for v.

    For most v = D. Where v must be bounded below, `potential` maps one to the other, and `target_term` keeps every term finite in
    floating point.

    Example:
        >>> from components.table import divergence
        >>> divergence("chi2").curvature
        2.0
    """

    finite_conjugate = True

    @abstractmethod
    def generator(self, t: Scalars) -> Scalars:
        """Compute f(t) for a density ratio t = d rho / d nu >= 0; infinite outside its domain."""

    @abstractmethod
    def conjugate(self, s: Scalars) -> Scalars:
        """Compute f*(s) = sup_t [s t - f(t)], for a slope s."""

    @abstractmethod
    def conjugate_gradient(self, s: Scalars) -> Scalars:
        """Compute (f*)'(s), the density ratio that the slope s stands for."""

    def potential(self, output: Scalars) -> Scalars:
        """Compute the potential v from the network's output D; they are equal unless v is bounded below."""
        return output

    def target_term(self, output: Scalars) -> Scalars:
        """Compute f*(-v(D)) on target samples, written so that it neither overflows nor cancels."""
        return self.conjugate(-self.potential(output))

    def source_term(self, v: Scalars, cost: Scalars) -> Scalars:
        """Compute f1*(v(T(x)) - c), where this is the divergence f1 of the source side."""
        return self.conjugate(v - cost)

    def potential_loss(self, on_target: PerSample, on_transported: PerSample, cost: PerSample, source: "FDivergence") -> Scalar:
        v = self.potential(on_transported)
        return self.target_term(on_target).mean() + source.source_term(v, cost).mean()

    def map_loss(self, on_target: PerSample | None, on_transported: PerSample, cost: PerSample) -> Scalar:
        return cost.mean() - self.potential(on_transported).mean()
