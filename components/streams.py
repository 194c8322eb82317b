"""Random numbers as a pure function of (seed, phase, step, purpose).

Counter-based generators (Philox, Salmon et al. 2011) have no state to save. They give the numbers of step 1000 without drawing
those before it. So a resumed phase equals an uninterrupted one, and any number of workers sees the same global batch.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch  # which a list of flows need not wait for

PURPOSES = {
    "initial_map": 0,
    "initial_potential": 1,
    "source": 2,
    "target": 3,
    "z": 4,
    "anchor_z": 5,
    "evaluation_source": 6,
    "evaluation_z": 7,
    "evaluation_target": 8,
    "evaluation_floor": 9,
    "projections": 10,
    "standardisation": 11,
    "frequencies": 12,
    "problem": 13,
    "generation_source": 14,
    "generation_z": 15,
    "flip": 16,
    "shards": 17,
    "rows": 18,
    "source_shards": 19,
    "source_rows": 20,
    "target_noise": 21,
    "evaluation_condition": 22,
    "generation_condition": 23,
    "outside": 24,
    "given_table": 25,
    "own_parts": 26,
    "points": 27,
    "points_source": 28,
}
"""The number that stands for each purpose in the generator's key. Published flows were drawn from these, so that none may change;
a new purpose takes the next number, wherever its line stands."""

_one_at_a_time = threading.RLock()


def stream(seed: int, purpose: str, *, phase: int = 0, step: int = 0) -> np.random.Generator:
    """Make the random generator of one purpose at one step of one phase, always at its beginning.

    Example:
        >>> once, again = stream(0, "source", step=7), stream(0, "source", step=7)
        >>> bool((once.random(3) == again.random(3)).all())
        True
    """
    key = np.array([seed, PURPOSES[purpose]], dtype=np.uint64)
    counter = np.array([0, 0, step, phase], dtype=np.uint64)  # least significant word first: draws never reach step
    return np.random.Generator(np.random.Philox(key=key, counter=counter))


def normal(rng: np.random.Generator, *shape: int) -> np.ndarray:
    """Draw standard normal numbers in float32, the precision of the networks.

    Example:
        >>> draws = normal(stream(0, "z"), 5, 2)
        >>> draws.shape, draws.dtype
        ((5, 2), dtype('float32'))
    """
    return rng.standard_normal(shape, dtype=np.float32)


@contextmanager
def seeded(number: int, device: "torch.device | None" = None) -> Iterator[None]:
    """Let code that draws from torch's global generator draw what a number decides; the generator is then as it was before.

    Threads share it, so that one at a time is in such a context.

    Args:
        device: a GPU whose generator is meant as well.
    """
    import torch

    with _one_at_a_time, torch.random.fork_rng(devices=[device] if device is not None and device.type == "cuda" else []):
        torch.manual_seed(number)
        yield
