"""The semi-dual of one JKO step (Eq. 16-21): the loss of the potential v, the loss of the transport map T, the penalties.

    L_v = E_nu[f2*(-v(y))] + E_mu[f1*(v(T(x)) - c)]      minimised over v
    L_T = E_mu[c - v(T(x))]                              minimised over T

f1 = linear leaves the source marginal fixed: S-JKO, and with one phase source-fixed UOTM. f1 = kl is UOTM (arXiv
2305.14777), f1 = f2 = linear is OTM.

The network's output may be a log density ratio, D = log(d nu / d T_# mu). Logistic regression between the two samples then has
the same minimiser as L_v. Of all losses with that minimiser it has the smallest asymptotic variance (Qin 1998).
`fit = logistic` learns v that way: the same fixed point, without the heavy tail of exp(-v).
"""

import math
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from components.costs import Cost
from components.divergences.base import Divergence, FDivergence

FitName = Literal["conjugate", "logistic"]


@dataclass(frozen=True)
class Objective:
    """The semi-dual of one phase: its divergences, its transport cost and its penalties.

    Example:
        >>> from components.table import cost, divergence
        >>> objective = Objective(divergence("kl"), divergence("linear"), cost("squared"), h=0.1, r1=1.0, r2=0.0)
        >>> objective.fit
        'conjugate'

    Attributes:
        divergence: F of the JKO step.
        source_divergence: the one of the source side; `linear` keeps the source marginal fixed.
        cost: of transport, in units of 2 h.
        h: JKO step size; `inf` drops the cost, which leaves a plain f-GAN.
        r1: weight of the gradient penalty on target samples.
        r2: weight of the gradient penalty on transported samples.
        fit: how v is learned for a given T: by L_v itself (`conjugate`), or by logistic regression.
    """

    divergence: Divergence
    source_divergence: FDivergence
    cost: Cost
    h: float
    r1: float
    r2: float
    fit: FitName = "conjugate"


def potential_loss(
    objective: Objective,
    on_target: Float[Tensor, " n"],
    on_transported: Float[Tensor, " n"],
    cost: Float[Tensor, " n"],
) -> Float[Tensor, ""]:
    """Compute L_v without penalties, from the network outputs D(y) and D(T(x)) and the cost c; 0 at v = 0 for f1 = linear.

    For fixed T and f1 = linear, -L_v is a lower estimate of F(T_# mu): the running divergence. That of a logistic fit, and of
    `jsd`, which is learned by one, is twice the Jensen-Shannon divergence, whatever F is.

    Example:
        >>> from components.table import cost, divergence
        >>> objective = Objective(divergence("kl"), divergence("linear"), cost("squared"), h=0.1, r1=1.0, r2=0.0)
        >>> zeros = torch.zeros(4)
        >>> potential_loss(objective, zeros, zeros, cost=zeros)
        tensor(0.)
    """
    if objective.fit == "logistic":
        return functional.softplus(-on_target).mean() + functional.softplus(on_transported).mean() - 2 * math.log(2.0)
    return objective.divergence.potential_loss(on_target, on_transported, cost, objective.source_divergence)


def map_loss(
    objective: Objective,
    on_transported: Float[Tensor, " n"],
    on_target: Float[Tensor, " n"] | None,
    cost: Float[Tensor, " n"],
) -> Float[Tensor, ""]:
    """Compute L_T from the network outputs and the cost; D(y) is needed by a paired divergence alone.

    Example:
        >>> from components.table import cost, divergence
        >>> objective = Objective(divergence("kl"), divergence("linear"), cost("squared"), h=0.1, r1=1.0, r2=0.0)
        >>> zeros = torch.zeros(4)
        >>> map_loss(objective, zeros, None, cost=zeros + 0.5)
        tensor(0.5000)
    """
    return objective.divergence.map_loss(on_target, on_transported, cost)


def gradient_penalty(
    objective: Objective, outputs: Float[Tensor, " m"], inputs: Float[Tensor, "m *shape"], *, num_target: int
) -> Float[Tensor, ""]:
    """Compute (r1 / 2) E_nu|grad D(y)|^2 + (r2 / 2) E|grad D(T(x))|^2 (R1: Mescheder et al. 2018; R2: Huang et al. 2024).

    `inputs` holds the target samples first, then the transported ones; both norms come from one backward pass, and the
    graph is kept, since the penalty is differentiated again.

    Example:
        >>> from components.table import cost, divergence
        >>> objective = Objective(divergence("kl"), divergence("linear"), cost("squared"), h=0.1, r1=1.0, r2=0.0)
        >>> samples = torch.ones(4, 2, requires_grad=True)
        >>> gradient_penalty(objective, outputs=3 * samples[:, 0], inputs=samples, num_target=2).item()
        4.5
    """
    (gradient,) = torch.autograd.grad(outputs.sum(), inputs, create_graph=True)
    squared_norm = gradient.flatten(1).square().sum(1)
    r1 = squared_norm[:num_target].mean() * (objective.r1 / 2)
    if objective.r2 == 0:
        return r1
    return r1 + squared_norm[num_target:].mean() * (objective.r2 / 2)
