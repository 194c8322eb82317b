"""Adam (Kingma and Ba 2015) on the parameters of one optimizer alone, as a function of tensors.

The update is torch's functional one, because a step that is compiled whole can take tensors in, but not an optimizer: it would
be compiled again for each.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from torch.optim.adam import adam as functional_adam

Gradients = tuple[Tensor, ...]
Terms = Iterable[tuple[Gradients, Tensor]]
"""Gradients and what to report, of each part of a batch, made when they are asked for."""

Reduce = Callable[[Sequence[Tensor]], None]


@dataclass
class Moments:
    """What Adam keeps of the parameters of one network between its steps.

    `torch.optim.Adam` would hold the same, but the first one in a process imports torch's compiler: 1 to 1.5 CPU-seconds before
    the first step of every worker.

    Example:
        >>> moments = Moments([torch.zeros(2, requires_grad=True)], betas=(0.5, 0.9))
        >>> adam_of(moments, lr=1e-3).exp_avgs
        [tensor([0., 0.])]

    Attributes:
        parameters: of the network, in its order.
        betas: decay of the first and of the second moments.
        eps: what is added to the root of a second moment.
        fused: whether one kernel does the update.
        of: `step`, `exp_avg` and `exp_avg_sq` of each parameter; nothing of one that no step has moved yet.
    """

    parameters: list[Tensor]
    betas: tuple[float, float]
    eps: float = 1e-8
    fused: bool = True
    of: dict[Tensor, dict[str, Tensor]] = field(default_factory=lambda: defaultdict(dict))


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


def adam_of(moments: Moments, lr: float, *, compiled: bool = False) -> Adam:
    """Make the update of a network's parameters; its moments are made where it has none yet."""
    parameters = moments.parameters
    for parameter in parameters:
        if not moments.of[parameter]:
            moments.of[parameter] = {
                "step": torch.zeros((), device=parameter.device),
                "exp_avg": torch.zeros_like(parameter, requires_grad=False),
                "exp_avg_sq": torch.zeros_like(parameter, requires_grad=False),
            }
    beta1, beta2 = moments.betas
    return Adam(
        parameters,
        exp_avgs=[moments.of[parameter]["exp_avg"] for parameter in parameters],
        exp_avg_sqs=[moments.of[parameter]["exp_avg_sq"] for parameter in parameters],
        steps=[moments.of[parameter]["step"] for parameter in parameters],
        lr=torch.tensor(lr, dtype=torch.float64, device=parameters[0].device) if compiled else lr,
        beta1=beta1,
        beta2=beta2,
        eps=moments.eps,
        fused=moments.fused and not compiled,
    )


def update(adam: Adam, terms: Terms, reduce: Reduce) -> Float[Tensor, " m"]:
    """Take one step of Adam on an optimizer's parameters; the gradients of other networks are never computed.

    `autograd.grad` returns gradients in whatever memory layout the graph ended with. Fused Adam on CPU (torch 2.14) reads memory
    in order, strides unseen. So a gradient is first put into its parameter's layout.

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
