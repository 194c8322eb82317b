"""Adam (Kingma and Ba 2015) on the parameters of one optimizer alone, as a function of tensors.

`torch.optim.Adam` holds the moments; the update is torch's functional one, because a step that is compiled whole can take
tensors in, but not an optimizer: it would be compiled again for each.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from torch.optim.adam import adam as functional_adam

Gradients = tuple[Tensor, ...]
Terms = Iterable[tuple[Gradients, Tensor]]
"""Gradients and what to report, of each part of a batch, made when they are asked for."""

Reduce = Callable[[Sequence[Tensor]], None]


class Adam(NamedTuple):
    """The tensors and numbers of one optimizer's update.

    Attributes:
        exp_avgs, exp_avg_sqs, steps: first and second moments of the parameters' gradients, and how many they have seen.
        lr: learning rate; a tensor where the step is compiled, since a number would be compiled in.
        fused: by one kernel; not where the step is compiled, which makes kernels of its own.
    """

    parameters: list[Tensor]
    exp_avgs: list[Tensor]
    exp_avg_sqs: list[Tensor]
    steps: list[Tensor]
    lr: float | Tensor
    beta1: float
    beta2: float
    eps: float
    fused: bool


def adam_of(optimizer: torch.optim.Adam, lr: float, *, compiled: bool = False) -> Adam:
    """Make the update of an optimizer's parameters; its moments are made where it has none yet."""
    (group,) = optimizer.param_groups
    parameters = group["params"]
    for parameter in parameters:
        if not optimizer.state[parameter]:
            optimizer.state[parameter] = {
                "step": torch.zeros((), device=parameter.device),
                "exp_avg": torch.zeros_like(parameter, requires_grad=False),
                "exp_avg_sq": torch.zeros_like(parameter, requires_grad=False),
            }
    beta1, beta2 = group["betas"]
    return Adam(
        parameters,
        exp_avgs=[optimizer.state[parameter]["exp_avg"] for parameter in parameters],
        exp_avg_sqs=[optimizer.state[parameter]["exp_avg_sq"] for parameter in parameters],
        steps=[optimizer.state[parameter]["step"] for parameter in parameters],
        lr=torch.tensor(lr, dtype=torch.float64, device=parameters[0].device) if compiled else lr,
        beta1=beta1,
        beta2=beta2,
        eps=group["eps"],
        fused=bool(group["fused"]) and not compiled,
    )


def update(adam: Adam, terms: Terms, reduce: Reduce) -> Float[Tensor, " m"]:
    """Take one step of Adam on an optimizer's parameters; the gradients of other networks are never computed.

    `autograd.grad` returns gradients in whatever memory layout the graph ended with, and fused Adam on CPU (torch 2.14) reads
    memory in order, strides unseen: a gradient is first put into its parameter's layout.

    Args:
        terms: their mean is what is taken.
        reduce: averages over the workers in place.

    Returns:
        The mean of what was to be reported.
    """
    gradients: list[Tensor] = []
    reports: list[Tensor] = []
    for more, report in terms:
        if gradients:
            torch._foreach_add_(gradients, more)
        else:
            gradients = list(more)
        reports.append(report)
    if len(reports) > 1:
        torch._foreach_div_(gradients, len(reports))
    gradients = [_in_layout_of(p, gradient) for p, gradient in zip(adam.parameters, gradients, strict=True)]
    reduce(gradients)
    with torch.no_grad():
        functional_adam(
            adam.parameters,
            gradients,
            adam.exp_avgs,
            adam.exp_avg_sqs,
            [],
            adam.steps,
            foreach=False,
            fused=adam.fused,
            amsgrad=False,
            beta1=adam.beta1,
            beta2=adam.beta2,
            lr=adam.lr,
            weight_decay=0.0,
            eps=adam.eps,
            maximize=False,
        )
    return torch.stack(reports).mean(0)


def _in_layout_of(parameter: Tensor, gradient: Tensor) -> Tensor:
    if gradient.stride() == parameter.stride():
        return gradient
    return torch.empty_like(parameter, requires_grad=False).copy_(gradient)
