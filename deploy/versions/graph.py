"""The generator of a version as one graph: the module that is exported, an example of its input, and that input in words."""

import numpy as np
import torch
from torch import Tensor, nn

from components.gradients import transport
from pipeline.generator import Generator


class GeneratorGraph(nn.Module):
    """The whole way from noise to samples in the data's own units, as one module that can be exported.

    `noise` has shape (n, d + z_dim + c). First comes x ~ mu in the space the flow lives in (N(0, I) unless the recipe has another
    source), then z ~ N(0, I). Then comes the condition, where the map takes one: the number of a class, or values in their own
    units.
    """

    shift: Tensor
    scale: Tensor
    mixing: Tensor | None
    mean: Tensor
    deviation: Tensor

    def __init__(self, generator: Generator) -> None:
        super().__init__()
        self.maps = nn.ModuleList(generator.maps)
        self.shape = generator.endpoints.shape
        self.dim, self.z_dim = int(np.prod(self.shape)), generator.phase.network.z_dim
        space = generator.endpoints.space
        self.register_buffer("shift", torch.from_numpy(np.asarray(space.shift, dtype=np.float32)))
        self.register_buffer("scale", torch.as_tensor(space.scale, dtype=torch.float32))
        self.register_buffer("mixing", None if space.mixing is None else torch.from_numpy(space.mixing))
        self.condition = generator.endpoints.condition
        units = (0.0, 1.0) if self.condition is None or not self.condition.shift else (self.condition.shift, self.condition.scale)
        for name, numbers in zip(("mean", "deviation"), units, strict=True):
            self.register_buffer(name, torch.tensor(numbers, dtype=torch.float32))

    def forward(self, noise: Tensor) -> Tensor:
        """Map noise (n, d + z_dim + c) to samples (n, ...) in the data's own units."""
        end = self.dim + self.z_dim
        x = noise[:, : self.dim].reshape(-1, *self.shape)
        z = noise[:, self.dim : end] if self.z_dim else None
        given = None
        if self.condition is not None:
            values = (noise[:, end:] - self.mean) / self.deviation
            given = noise[:, end].round().long() if self.condition.classes else values
        for transport_map in self.maps:
            x = transport(transport_map, x, z, given)
        return self.shift + self.scale * (x if self.mixing is None else x @ self.mixing.T)


def example_of(generator: Generator) -> np.ndarray:
    """Draw two rows of noise to trace a generator with: one row would fix the batch size of the exported graph at 1."""
    dim = int(np.prod(generator.endpoints.shape)) + generator.phase.network.z_dim
    noise = np.random.default_rng(0).standard_normal((2, dim), dtype=np.float32)
    condition = generator.endpoints.condition
    if condition is None:
        return noise
    empty = condition.empty(2) if condition.classes else condition.in_units(condition.empty(2))
    return np.concatenate([noise, empty.reshape(2, -1).astype(np.float32)], 1)


def input_of(generator: Generator) -> str:
    """Say what stands in the columns of a generator's noise, as the end of a sentence."""
    dim, z_dim = int(np.prod(generator.endpoints.shape)), generator.phase.network.z_dim
    first = f"{generator.phase.data.source} in its first {dim} columns"
    noise = f"{first}, then {z_dim} standard normal ones" if z_dim else first
    condition = generator.endpoints.condition
    if condition is None:
        return noise
    given = "the number of the class" if condition.classes else f"{condition.num_values} values"
    return f"{noise}, then {given} that is given, {condition.name}"
