"""Csiszar divergences D_f(rho | nu) = E_nu[f(d rho / d nu)], model first, data second, and their convex conjugates.

All are normalised so that f(1) = 0, f*(0) = 0 and (f*)'(0) = 1. At the optimum of the semi-dual
d mu_{k+1} / d nu = (f*)'(-v) (Eq. 19).

A network does not return the potential v itself but an *output* D; `potential` maps one to the other. For most divergences
v = D; `jsd` and `forward_kl` need v bounded below, and their map keeps every term finite in floating point.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

Scalars = Float[Tensor, "..."]
Elementwise = Callable[[Scalars], Scalars]
LOG2 = math.log(2.0)


def identity(output: Scalars) -> Scalars:
    """v = D."""
    return output


@dataclass(frozen=True)
class Divergence:
    """One f-divergence: its generator f(t), its conjugate f*(s) and how a network's output D stands for it.

    Attributes:
        generator: f(t) for a density ratio t = d rho / d nu >= 0; infinite outside its domain.
        conjugate: f*(s) = sup_t [s t - f(t)].
        conjugate_gradient: (f*)'(s), the density ratio that the slope s stands for.
        potential: v as a function of D.
        target_term: f*(-v(D)), written so that it neither overflows nor cancels.
        map_reward: what the map maximises; v(D) everywhere but for `jsd`.
    """

    generator: Elementwise
    conjugate: Elementwise
    conjugate_gradient: Elementwise
    potential: Elementwise
    target_term: Elementwise
    map_reward: Elementwise


def _plain(generator: Elementwise, conjugate: Elementwise, conjugate_gradient: Elementwise) -> Divergence:
    """A divergence whose network output is the potential itself."""
    return Divergence(generator, conjugate, conjugate_gradient, identity, lambda d: conjugate(-d), identity)


def _on_domain(t: Scalars, value: Scalars, inside: Tensor) -> Scalars:
    return torch.where(inside, value, torch.full_like(t, math.inf))


def _chi2_conjugate(s: Scalars) -> Scalars:
    y = s.clamp(min=-2.0)
    return y + y.square() / 4


DIVERGENCES: dict[str, Divergence] = {
    # f is the indicator of t = 1: a hard marginal constraint, plain optimal transport (OTM).
    "linear": _plain(
        lambda t: _on_domain(t, torch.zeros_like(t), t == 1),
        identity,
        torch.ones_like,
    ),
    # KL(model | data), the paper's KLD.
    "kl": _plain(
        lambda t: torch.xlogy(t, t) - t + 1,
        torch.expm1,
        torch.exp,
    ),
    # Pearson's chi-squared.
    "chi2": _plain(
        lambda t: (t - 1).square(),
        _chi2_conjugate,
        lambda s: 1 + s.clamp(min=-2.0) / 2,
    ),
    # Bounded density ratio, d rho / d nu <= 2.
    "softplus": _plain(
        lambda t: _on_domain(t, torch.xlogy(t, t) + torch.xlogy(2 - t, 2 - t), t <= 2),
        lambda s: 2 * functional.softplus(s) - 2 * LOG2,
        lambda s: 2 * torch.sigmoid(s),
    ),
    # KL(data | model): v = exp(D) - 1 > -1, so f*(-v) = -log(1 + v) = -D. Not in the paper (docs/decisions.md).
    "forward_kl": Divergence(
        generator=lambda t: t - 1 - torch.log(t),
        conjugate=lambda s: -torch.log1p(-s),
        conjugate_gradient=lambda s: 1 / (1 - s),
        potential=torch.expm1,
        target_term=torch.neg,
        map_reward=torch.expm1,
    ),
    # 2 JSD: v = softplus(D) - log 2 makes the potential's loss that of a GAN's discriminator (Goodfellow et al. 2014); the
    # map's reward is the non-saturating -softplus(-D), as in the paper, instead of v.
    "jsd": Divergence(
        generator=lambda t: torch.xlogy(t, t) - (t + 1) * torch.log((t + 1) / 2),
        conjugate=lambda s: -torch.log(2 - torch.exp(s)),
        conjugate_gradient=lambda s: torch.exp(s) / (2 - torch.exp(s)),
        potential=lambda d: functional.softplus(d) - LOG2,
        target_term=lambda d: functional.softplus(-d) - LOG2,
        map_reward=lambda d: -functional.softplus(-d),
    ),
}
