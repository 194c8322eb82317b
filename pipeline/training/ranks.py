"""One Ray Train worker among the others: its rank, its rows of the global batch, what is averaged over all."""

from collections.abc import Sequence
from dataclasses import dataclass

import ray.train
import torch
import torch.distributed as dist
from ray.train.torch import get_device
from torch import Tensor, nn

from pipeline.phase import Phase
from pipeline.training.build import indivisible, rows_of


@dataclass(frozen=True)
class Ranks:
    """This worker's place among the others."""

    rank: int
    size: int
    device: torch.device

    @property
    def is_first(self) -> bool:
        """Whether this worker writes: checkpoints, metrics, T_k."""
        return self.rank == 0

    def synchronise_buffers(self, modules: Sequence[nn.Module]) -> None:
        """Give every worker the first one's running moments, which each has averaged over its own rows."""
        for buffer in (buffer for module in modules for buffer in module.buffers()) if self.size > 1 else ():
            dist.broadcast(buffer, 0)


@dataclass(frozen=True)
class Share:
    """This worker's rows of the global batch, of n in all; shares differ by a row or so where n is no multiple of the workers."""

    rows: slice
    n: int

    @property
    def num_rows(self) -> int:
        """How many they are."""
        return len(range(self.n)[self.rows])

    @property
    def weight(self) -> float:
        """Of the whole batch."""
        return self.num_rows / self.n

    def mean_in_place(self, tensors: Sequence[Tensor]) -> None:
        """Average over the global batch what each worker has averaged over its rows, in one collective."""
        if self.weight == 1:
            return
        flat = torch.cat([tensor.reshape(-1) for tensor in tensors])
        flat *= self.weight
        dist.all_reduce(flat)
        for tensor, mean in zip(tensors, torch.split(flat, [tensor.numel() for tensor in tensors]), strict=True):
            tensor.copy_(mean.view_as(tensor))


def ranks_of(*, local: bool) -> Ranks:
    """This worker's place; `local`: in Ray Train's local mode, whose context may not be asked inside a Ray Tune trial."""
    if local:
        return Ranks(0, 1, get_device())
    context = ray.train.get_context()
    return Ranks(context.get_world_rank(), context.get_world_size(), get_device())


def share_of(phase: Phase, ranks: Ranks, num_microbatches: int) -> Share:
    """This worker's rows of the phase's batches."""
    n, unit = phase.training.batch_size, indivisible(phase.network, num_microbatches)
    return Share(rows_of(n, unit, rank=ranks.rank, num_workers=ranks.size), n)
