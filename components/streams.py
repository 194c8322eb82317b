"""Random numbers as a pure function of (seed, phase, step, purpose).

Counter-based generators (Philox, Salmon et al. 2011) have no state to save: the numbers of step 1000 are found without
drawing those of steps 0-999, so a resumed phase equals an uninterrupted one and any number of workers sees the same
global batch.
"""

import numpy as np

PURPOSES = (
    "initial_map",
    "initial_potential",
    "source",
    "target",
    "z",
    "anchor_z",
    "evaluation_source",
    "evaluation_z",
    "evaluation_target",
    "evaluation_floor",
    "projections",
    "standardisation",
    "frequencies",
    "problem",
    "generation_source",
    "generation_z",
    "flip",
    "shards",
    "rows",
    "source_shards",
    "source_rows",
    "target_noise",
)
"""A purpose is its place in this table: a new one goes to the end, since elsewhere it would change every draw behind it."""


def stream(seed: int, purpose: str, *, phase: int = 0, step: int = 0) -> np.random.Generator:
    """The generator of one purpose at one step of one phase, always at its beginning."""
    key = np.array([seed, PURPOSES.index(purpose)], dtype=np.uint64)
    counter = np.array([0, 0, step, phase], dtype=np.uint64)  # least significant word first: draws never reach step
    return np.random.Generator(np.random.Philox(key=key, counter=counter))


def normal(rng: np.random.Generator, *shape: int) -> np.ndarray:
    """Standard normal numbers in float32, the precision of the networks."""
    return rng.standard_normal(shape, dtype=np.float32)
