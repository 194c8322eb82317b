"""What the phases of a job are trained with beside themselves: the ends of the flow, sizes of networks, this process's share."""

from dataclasses import dataclass
from typing import Self

import torch

from components.conditions import Condition
from components.networks.pair import NetworkSpec
from pipeline.data.endpoints import Endpoints
from pipeline.phase import Phase
from pipeline.recipe import Network
from pipeline.training.ranks import Ranks, Share, rows_of

ALONE = Ranks()


@dataclass(frozen=True)
class Setting:
    """All that the phases of a job are trained with beside themselves: made once, and given to each.

    Example:
        >>> from pipeline.data.endpoints import load_endpoints
        >>> from pipeline.phase import phases_of
        >>> from pipeline.recipe import Recipe
        >>> recipe = Recipe()
        >>> Setting.of(phases_of(recipe)[0], load_endpoints(recipe.data)).share.num_rows
        256

    Attributes:
        endpoints: source and target of the flow.
        spec: sizes of the two networks.
        device: where they are.
        share: this process's rows of each batch.
        num_microbatches, compiled: as `components.jko.Problem` has them.
        channels_last: keep the channels of a pixel together in memory.
    """

    endpoints: Endpoints
    spec: NetworkSpec
    device: torch.device
    share: Share
    num_microbatches: int = 1
    compiled: bool = False
    channels_last: bool = False

    @classmethod
    def of(
        cls,
        phase: Phase,
        endpoints: Endpoints,
        ranks: Ranks = ALONE,
        *,
        num_microbatches: int = 1,
        compiled: bool = False,
        channels_last: bool = False,
    ) -> Self:
        """Make the setting of a phase, which is that of all others of its flow."""
        n, unit = phase.training.batch_size, indivisible(phase.network, num_microbatches)
        share = Share(rows_of(n, unit, rank=ranks.rank, num_workers=ranks.size), n)
        spec = network_spec(phase.network, endpoints.shape, endpoints.condition)
        return cls(endpoints, spec, ranks.device, share, num_microbatches, compiled, channels_last)


def network_spec(network: Network, sample_shape: tuple[int, ...], condition: Condition | None = None) -> NetworkSpec:
    """Collect the sizes of a recipe's two networks."""
    return NetworkSpec(
        sample_shape,
        network.width,
        network.depth,
        network.pair,
        z_dim=network.z_dim,
        num_frequencies=network.num_frequencies,
        second_order=network.second_order,
        condition=condition,
    )


def indivisible(network: Network, num_microbatches: int) -> int:
    """Count the rows of a batch that stay with one worker: equal microbatches, of whole groups that the potential compares."""
    return num_microbatches * network.pair.group_size
