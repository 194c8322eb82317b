"""The batches of a phase, as a function of its step: one rank's rows of numbers that every rank draws alike."""

from collections.abc import Callable

import numpy as np
import torch

from components.gradients import Batch
from components.streams import normal, stream
from pipeline.data.endpoints import Endpoints
from pipeline.data.source import At
from pipeline.parts.faults import require_batches
from pipeline.phase import Phase


def batches_of(phase: Phase, endpoints: Endpoints, rows: slice, device: torch.device) -> Callable[[int], Batch]:
    """Make the function (step) -> one rank's rows of the step's global batch.

    Every worker draws the whole batch and keeps its own rows, so one, two or eight workers see the same numbers. Noise on the
    target is for v alone, as in the reference code: a blurred measure overlaps with what is transported.

    In a conditional flow, sample i of the source has the condition of sample i of the target. So c has the data's law on both
    sides, and L_v, a difference of two means, has no noise of two draws of c.
    """
    seed, n = phase.seed, phase.training.batch_size
    z_dim, shared = phase.network.z_dim, phase.jko.z == "shared"

    def draw(step: int) -> Batch:
        def rng(purpose: str) -> np.random.Generator:
            return stream(seed, purpose, phase=phase.k, step=step)

        def keep(samples: np.ndarray) -> torch.Tensor:
            return torch.from_numpy(samples[rows]).to(device)

        z = keep(normal(rng("z"), n, z_dim)) if z_dim else None
        anchor_z = z if shared else keep(normal(rng("anchor_z"), n, z_dim))
        drawn = endpoints.source.batch(At("source", seed, phase.k, step, n, rows))
        samples, conditions = endpoints.batch(At("target", seed, phase.k, step, n, rows))
        require_batches(phase, step, drawn, samples, (len(range(n)[rows]), *endpoints.shape))
        source = torch.from_numpy(drawn).to(device)
        target = torch.from_numpy(samples).to(device)
        condition = None if conditions is None else torch.from_numpy(conditions).to(device)
        if phase.target_noise:  # all that v sees of the target: R1 and a relativistic pairing are taken at the noised samples too
            target = target + phase.target_noise * keep(normal(rng("target_noise"), n, *endpoints.shape))
        return Batch(source, target, z, anchor_z, condition)

    return draw
