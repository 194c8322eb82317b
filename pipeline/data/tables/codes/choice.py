"""Which transform a column of numbers gets."""

from typing import Any

import numpy as np

from pipeline.data.tables.codes.marginals import Power
from pipeline.data.tables.codes.quantiles import spikes_of

Floats = np.ndarray[Any, np.dtype[np.float64]]
HEAVY = 6.0
"""Standard deviations: a column that reaches farther after the power transform has tails that it does not tame."""


def transform_of(numbers: Floats, step: float | None) -> str:
    """Choose `quantile` for a column with spikes, or with tails that a power does not bring to a normal size, else `power`.

    >>> transform_of(np.random.default_rng(0).normal(size=100), None)
    'power'
    >>> transform_of(np.random.default_rng(0).standard_cauchy(size=1000), None)
    'quantile'

    Args:
        step: of the grid; None: there is none.
    """
    distinct, counts = np.unique(numbers, return_counts=True)
    if spikes_of(distinct, counts, step).any():
        return "quantile"
    coordinates = Power.fit(numbers, 0.0).to_normal(numbers, np.random.default_rng(0))
    return "power" if np.abs(coordinates).max() <= HEAVY else "quantile"
