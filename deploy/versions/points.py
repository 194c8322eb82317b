"""What a version's own file for MLflow needs to take points of the source: see `deploy.flavour.sjko_sampler`."""

import math
from typing import Any

import numpy as np

from deploy.versions.graph import example_of, input_of
from pipeline.data.endpoints import Standardised
from pipeline.data.given.outside import RULE
from pipeline.data.space import Space
from pipeline.generator import Generator, rows_per_part


def points_of(generator: Generator, n: int = 2) -> np.ndarray:
    """Draw points of the source in its own units as rows (n, d): an example of what a version takes."""
    source = generator.endpoints.source
    units = source.inner if isinstance(source, Standardised) else source
    return units.sample(n, np.random.default_rng(0)).reshape(n, -1).astype(np.float32)


def described(generator: Generator) -> dict[str, Any]:
    """Describe the input of a generator, ready for JSON."""
    shape, condition = tuple(generator.endpoints.shape), generator.endpoints.condition
    return {
        "width": example_of(generator).shape[1],
        "what": input_of(generator),
        "dim": math.prod(shape),
        "z_dim": generator.phase.network.z_dim,
        "rows_per_part": rows_per_part(shape),
        "rule": RULE,
        "classes": [] if condition is None else list(condition.classes),
    }


def source_arrays(generator: Generator) -> dict[str, np.ndarray]:
    """Give the arrays of a generator's source: how its points come to the space of the graph, and how far they reach there.

    With them goes the law of the condition in its own units, which is empty where there is none.
    """
    source, dim, law = generator.endpoints.source, generator.dim, generator.endpoints.law
    space = source.space if isinstance(source, Standardised) else Space(np.zeros(dim), 1.0)
    mixed = {} if space.unmixing is None else {"unmixing": space.unmixing}
    return mixed | {
        "shift": np.asarray(space.shift, np.float32).ravel(),
        "scale": np.asarray(space.scale),
        "mean": generator.reach.mean,
        "deviation": generator.reach.deviation,
        "most": np.asarray(generator.reach.most),
        "law": np.zeros(0)
        if law is None
        else np.asarray(law.weights if law.condition.classes else law.condition.in_units(law.weights)),
    }
