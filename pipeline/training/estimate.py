"""What a flow will take, before anything is trained: parameters, memory of a worker, arithmetic, hours."""

from collections.abc import Callable
from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from components.gradients import outputs_at, transport
from pipeline.cluster import Cluster
from pipeline.data.specs import condition_of, sample_shape
from pipeline.recipe import Recipe
from pipeline.training.solving.setting import network_spec

TFLOPS = {"H100": (495.0, 989.0), "A100": (156.0, 312.0), "L4": (60.0, 121.0), "T4": (8.1, 65.0)}
"""Peak of dense products on tensor cores, float32 (TF32 where there is one) and 16 bits, from NVIDIA's data sheets."""
BYTES, NUM_TRIED = 4, 4


@dataclass(frozen=True)
class Estimate:
    """The cost of one flow before it is trained: parameters, steps, arithmetic and memory.

    Attributes:
        map_parameters, potential_parameters: numbers that are learned.
        num_steps: optimizer steps of all phases.
        flop_per_step: of one step at the global batch; multiplications and additions counted singly, penalties averaged over
            `penalty_every` steps.
        memory_bytes: of one worker: weights, average, anchor, gradients, Adam's moments, and what the backward pass keeps.
        share_of_peak: of a GPU's arithmetic that a step reaches. Measured for the large pairs on an H100; other networks and GPUs
            are taken to reach as much as the large pair there.
    """

    map_parameters: int
    potential_parameters: int
    num_steps: int
    flop_per_step: float
    memory_bytes: float
    share_of_peak: float

    def hours(self, gpu: str, *, bfloat16: bool) -> float:
        """Compute the hours of one GPU for all steps, evaluation not included."""
        return self.num_steps * self.flop_per_step / (TFLOPS[gpu][bfloat16] * 1e12 * self.share_of_peak) / 3600


def estimate(recipe: Recipe, cluster: Cluster) -> Estimate:
    """Estimate a flow's cost: build the networks without memory, and count.

    Arithmetic of a step, in forward passes: the anchor 1; T 3 (its backward is twice its forward); D on target and transported
    samples 3 each; D for the map's loss 2 (its weights need no gradient). A penalty adds the gradient in x (1) and its own
    gradient (about 3): on the target, and on transported samples where r2 > 0.
    """
    training = recipe.training
    spec = network_spec(recipe.network, sample_shape(recipe.data), condition_of(recipe.data))
    pair = spec.pair
    with torch.device("meta"):
        transport_map, potential = pair.build_map(spec).to("meta"), pair.build_potential(spec).to("meta")
        x = torch.empty(NUM_TRIED, *spec.sample_shape)
        z = torch.empty(NUM_TRIED, spec.z_dim) if spec.z_dim else None
        c = torch.from_numpy(spec.condition.empty(NUM_TRIED)).to("meta") if spec.condition else None
        of_map, kept_by_map = forward(lambda: transport(transport_map, x, z, c))
        of_potential, kept_by_potential = forward(lambda: outputs_at(potential, x, c))
    penalised = training.r1 > 0 or training.r2 > 0
    num_penalised = (2 if training.r2 > 0 else 1) if penalised else 0  # samples per sample: target, or both
    per_sample = 4 * of_map + (3 + 3 + 2 + 4 * num_penalised / training.penalty_every) * of_potential
    share = training.batch_size / max(1, cluster.num_workers) / cluster.num_microbatches
    activations = share * (kept_by_map + 2 * kept_by_potential * (3 if penalised else 1))
    num_map, num_potential = (sum(each.numel() for each in network.parameters()) for network in (transport_map, potential))
    first = training.first_num_steps or training.num_steps
    return Estimate(
        num_map,
        num_potential,
        first + (recipe.jko.num_phases - 1) * training.num_steps,
        per_sample * training.batch_size,
        BYTES * (6 * num_map + 4 * num_potential) + activations / (2 if training.bfloat16 else 1),
        pair.share_of_peak,
    )


def forward(call: Callable[[], Tensor]) -> tuple[float, float]:
    """Count the FLOP of a network's pass forward, and the bytes that its backward pass needs beside the weights, per sample."""
    sizes: dict[int, int] = {}
    tensors: list[Tensor] = []  # alive, so that no two have one address

    def pack(tensor: Tensor) -> Tensor:
        if not isinstance(tensor, nn.Parameter):
            tensors.append(tensor)
            sizes[tensor.untyped_storage()._cdata] = prod(tensor.shape) * tensor.element_size()
        return tensor

    with FlopCounterMode(display=False) as counter, torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        call()
    return counter.get_total_flops() / NUM_TRIED, sum(sizes.values()) / NUM_TRIED


def lines(estimated: Estimate, recipe: Recipe) -> list[str]:
    """Write an estimate in lines for a person."""
    kind = "bfloat16" if recipe.training.bfloat16 else "float32"
    hours = ", ".join(f"{gpu} {estimated.hours(gpu, bfloat16=recipe.training.bfloat16):.3g}" for gpu in TFLOPS)
    return [
        f"transport map {estimated.map_parameters:,} parameters, potential {estimated.potential_parameters:,}",
        f"{estimated.num_steps:,} steps of {estimated.flop_per_step / 1e9:.3g} GFLOP in {kind}; a worker needs about "
        f"{estimated.memory_bytes / 2**30:.2g} GiB",
        f"hours of one GPU at {estimated.share_of_peak:.1%} of its peak, as large pairs reached on an H100: {hours}",
    ]
