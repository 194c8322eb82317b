"""What a column of numbers, dates or times is: how it becomes a coordinate, on which grid, between which ends."""

from dataclasses import replace

import numpy as np
import pyarrow as pa

from pipeline.data.tables.codes.grids import grid_of, tidy, whole_step
from pipeline.data.tables.codes.marginals import transform_of
from pipeline.data.tables.codes.units import Real, stored_as, unit_of, written
from pipeline.data.tables.passes.facts import Facts
from pipeline.data.tables.schema import Column

LARGEST = 1e150
"""Numbers beyond it are marks, not measurements, and their squares are infinite."""
LEAST_IDENTIFIERS = 10
"""Rows in which different whole numbers can be identifiers."""


class Unfit(ValueError):
    """A column cannot be learnt: the message says why, after its name."""


def whole_of(base: Column, facts: Facts) -> Column:
    """Describe a column of whole numbers.

    Raises:
        Unfit: it is an identifier.
    """
    assert facts.low is not None
    assert facts.high is not None
    (low, high), some = (facts.low.as_py(), facts.high.as_py()), facts.some
    if (low, high) == (0, 1):
        return replace(base, kind="boolean", transform="rank", categories=(0, 1))
    if (
        len(some) >= LEAST_IDENTIFIERS
        and len(some.unique()) == len(some)
        and counts_rows(np.asarray(some), facts.count, base.name)
    ):
        raise Unfit(f"is an identifier: no whole number comes twice, from {low} to {high}")
    return counted_of(replace(base, kind="integer"), some, (facts.low, facts.high), base.arrow_type)


def counts_rows(values: np.ndarray, rows: int, name: str) -> bool:
    """Say whether different whole numbers count the rows: they rise or fall, they leave little out, or are called so."""
    low, high = int(values.min()), int(values.max())
    rises = bool((values[1:] > values[:-1]).all() or (values[1:] < values[:-1]).all())
    words = name.casefold().replace("-", "_").split("_")
    return rises or high - low < 2 * rows or high - low > 2**53 or bool({"id", "uuid", "key", "nr", "index"} & set(words))


def counted_of(base: Column, some: pa.ChunkedArray, ends: tuple[pa.Scalar, pa.Scalar], of: pa.DataType) -> Column:
    """Describe a column that is counted in whole units of its type, by some values and the smallest and largest of all."""
    low, high = (written(end.cast(stored_as(of)).as_py(), of) for end in ends)
    numbers = unit_of(of, low, high).numbers(some)
    step = max(1.0, whole_step(numbers))
    return replace(base, transform=transform_of(numbers, step), grid=step, low=low, high=high)


def time_of(base: Column, facts: Facts) -> Column:
    """Describe a column of dates or times."""
    assert facts.low is not None
    assert facts.high is not None
    return counted_of(replace(base, kind="datetime"), facts.some, (facts.low, facts.high), base.arrow_type)


def number_of(base: Column, facts: Facts) -> Column:
    """Describe a column of numbers.

    Raises:
        Unfit: some are infinite, or beyond what can be measured.
    """
    assert facts.low is not None
    assert facts.high is not None
    low, high = float(facts.low.as_py()), float(facts.high.as_py())
    for end in (low, high):
        if not np.isfinite(end):
            raise Unfit("has infinite values: make them missing")
        if abs(end) > LARGEST:
            raise Unfit(f"has numbers beyond {LARGEST:g}, such as {end:g}: make them missing")
    of = base.arrow_type
    held = of.to_pandas_dtype() if pa.types.is_floating(of) else np.float64
    numbers = Real(of, (low, high)).numbers(facts.some)
    step, digits = grid_of(np.unique(np.append(numbers, [low, high])), float(np.finfo(held).eps))
    low, high = tidy(low, held), tidy(high, held)
    return replace(base, kind="number", transform=transform_of(numbers, step), grid=step, digits=digits, low=low, high=high)
