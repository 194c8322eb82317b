"""One process among those that train a flow together: its rank, its rows of each batch, what is averaged over all."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor, nn

CPU = torch.device("cpu")


@dataclass(frozen=True)
class Ranks:
    """The place of this process among those that train together; by default it is the only one."""

    rank: int = 0
    size: int = 1
    device: torch.device = CPU

    @property
    def is_first(self) -> bool:
        """Say whether this process is the one that writes checkpoints, metrics and T_k."""
        return self.rank == 0

    def synchronise_buffers(self, modules: Sequence[nn.Module]) -> None:
        """Give every process the first one's running moments, which each has averaged over its own rows."""
        for buffer in (buffer for module in modules for buffer in module.buffers()) if self.size > 1 else ():
            dist.broadcast(buffer, 0)


@dataclass(frozen=True)
class Share:
    """The rows of a batch of n that are this process's; shares differ by a row or so where n is no multiple of their number.

    Example:
        >>> Share(slice(0, 3), n=4).weight
        0.75
    """

    rows: slice
    n: int

    @property
    def num_rows(self) -> int:
        """Count this process's rows of the batch."""
        return len(range(self.n)[self.rows])

    @property
    def weight(self) -> float:
        """Give this process's part of the whole batch, from 0 to 1: the weight of its mean in that of all."""
        return self.num_rows / self.n

    def mean_in_place(self, tensors: Sequence[Tensor]) -> None:
        """Average over the global batch what each process has averaged over its rows, in one collective."""
        if self.weight == 1:
            return
        flat = torch.cat([tensor.reshape(-1) for tensor in tensors])
        flat *= self.weight
        dist.all_reduce(flat)
        for tensor, mean in zip(tensors, torch.split(flat, [tensor.numel() for tensor in tensors]), strict=True):
            tensor.copy_(mean.view_as(tensor))


def rows_of(n: int, unit: int, *, rank: int, num_workers: int) -> slice:
    """Choose one rank's rows of a batch of n: whole units, as equally many as there can be."""
    units = n // unit
    return slice(unit * (rank * units // num_workers), unit * ((rank + 1) * units // num_workers))
