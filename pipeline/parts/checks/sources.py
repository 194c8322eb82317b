"""What is tried of a source: that a batch is a function of its place in the flow, and what metrics rely on."""

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from pipeline.data.source import At, Moments, Samples, Source
from pipeline.parts.checks.check import Check, Failed, require, tried

NUM = 16
FOR_MOMENTS = 4000
"""Samples that moments are compared with."""
DEVIATIONS = 6.0
"""Of a mean of that many samples from the mean: one in 5e8 is farther off."""
MOST_COMPARED = 20_000
"""Held-out samples of which all are drawn, to see that none is drawn twice."""
AT = At("target", seed=0, phase=1, step=2, n=NUM, rows=slice(0, NUM))


def checks_of(source: Source, again: Callable[[], Source]) -> list[Check]:
    """Try a source; `again` makes another one of the same name.

    >>> from pipeline.data.own import as_source
    >>> made = as_source(np.random.default_rng(0).normal(size=(100, 3)), "noise")
    >>> {check.passed for check in checks_of(made, lambda: made)}
    {True}
    """
    shape = tuple(source.shape)
    distinct = "give float32 samples, none twice, equal ones for equal generators"
    return [
        tried("shape", "be (d,) or (channels, side, side)", lambda: _shape(source)),
        tried("units", "be data or space", lambda: _one_of(source.units, ("data", "space"))),
        tried("picture", "be the name of a drawing", lambda: _picture(source)),
        tried("batch", f"give float32 samples (n, {', '.join(map(str, shape))}), all finite", lambda: _batch(source)),
        tried("batch", "be the same for an equal place in the flow, also of a source made anew", lambda: _equal(source, again)),
        tried("batch", "be another for another step or another seed", lambda: _other(source)),
        tried("batch", "give rows that do not depend on which others are asked for", lambda: _rows(source)),
        tried("sample", "give float32 samples, all finite, equal ones for equal generators", lambda: _drawn(source, "sample")),
        tried("held_out", distinct, lambda: _distinct(source, "held_out")),
        tried("seen", distinct, lambda: _distinct(source, "seen")),
        tried("moments", f"agree with those of {FOR_MOMENTS} samples", lambda: _moments(source)),
    ]


def _shape(source: Source) -> str:
    shape = source.shape
    fits = isinstance(shape, tuple) and len(shape) in (1, 3) and all(isinstance(side, int) and side > 0 for side in shape)
    require(fits and (len(shape) == 1 or shape[1] == shape[2]), f"it is {shape!r}"[:200])
    return str(shape)


def _one_of(value: object, known: tuple[str, ...]) -> str:
    require(value in known, f"it is {value!r}"[:200])
    return str(value)


def _picture(source: Source) -> str:
    from pipeline.evaluation.figures import DRAWINGS  # matplotlib

    return _one_of(source.picture, tuple(DRAWINGS))


def _samples(given: object, n: int, source: Source, *, most: bool = False) -> Samples:
    """Take what a source gave for n float32 samples; `most`: or fewer."""
    if not isinstance(given, np.ndarray):
        raise Failed(f"it gives a {type(given).__name__} in place of an array")
    shape = tuple(source.shape)
    number = len(given) if given.ndim else 0
    right = given.shape[1:] == shape and (1 <= number <= n if most else number == n)
    require(right, f"it gives the shape {given.shape} in place of {(n, *shape)}")
    require(given.dtype == np.float32, f"it gives {given.dtype}")
    bad = int((~np.isfinite(given)).sum())
    require(bad == 0, f"{bad} of {given.size} numbers are not finite")
    return given


def _batch(source: Source) -> str:
    return f"{_samples(source.batch(AT), NUM, source).shape} in float32"


def _equal(source: Source, again: Callable[[], Source]) -> str:
    first = source.batch(AT).copy()
    require(np.array_equal(first, source.batch(AT)), "two calls give different samples")
    other = again()
    require(other.digest == source.digest, "made a second time it has other samples: draw them with a seed")
    require(np.array_equal(first, other.batch(AT)), "made a second time it gives other samples: draw them with a seed")
    return "equal"


def _other(source: Source) -> str:
    first = source.batch(AT).copy()
    for field, at in (("step", replace(AT, step=3)), ("seed", replace(AT, seed=1))):
        require(not np.array_equal(first, source.batch(at)), f"another {field} gives the same samples")
    return "different"


def _rows(source: Source) -> str:
    whole = source.batch(AT).copy()
    for rows in (slice(3, 7), slice(0, 1), slice(9, NUM)):
        part = source.batch(replace(AT, rows=rows))
        require(part.shape == whole[rows].shape, f"rows {rows.start} to {rows.stop} have the shape {part.shape}")
        require(np.array_equal(part, whole[rows]), f"rows {rows.start} to {rows.stop} alone are others than in the whole batch")
    return "equal"


def _drawn(source: Source, method: str, n: int = NUM) -> str:
    draw = getattr(source, method)
    first, again = (_samples(draw(n, np.random.default_rng(0)), n, source, most=method != "sample").copy() for _ in range(2))
    require(np.array_equal(first, again), "equal generators give different samples: use the one that is given alone")
    return f"{len(first)} in float32"


def _distinct(source: Source, method: str) -> str:
    told = _drawn(source, method)
    if source.num_distinct is None:
        return f"{told}; each is new"
    require(source.num_distinct >= 2, f"num_distinct is {source.num_distinct}")
    if source.num_distinct > MOST_COMPARED:
        return told
    draw, n = getattr(source, method), 2 * MOST_COMPARED
    first, again = (_ordered(draw(n, np.random.default_rng(seed)), source) for seed in (0, 1))
    require(len(first) >= source.num_distinct, f"it gives {len(first)} of {source.num_distinct} where all are asked for")
    require(np.array_equal(first, again), f"asked for all, it gives {len(first)} that are not the same ones: some come twice")
    return f"{len(first)}, each once"


def _ordered(samples: Samples, source: Source) -> np.ndarray:
    rows = np.asarray(samples).reshape(-1, math.prod(source.shape))
    in_order: np.ndarray = rows[np.lexsort(rows.T)]
    return in_order


def _moments(source: Source) -> str:
    given = source.moments()
    require(isinstance(given, Moments), f"it gives a {type(given).__name__} and no pipeline.data.source.Moments")
    mean, shape = np.asarray(given.mean), tuple(source.shape)
    require(mean.shape == shape, f"the mean has the shape {mean.shape} in place of {shape}")
    is_finite = bool(np.isfinite(mean).all()) and math.isfinite(given.std) and given.std >= 0
    require(is_finite, f"they are not finite, std {given.std}")
    samples = source.sample(FOR_MOMENTS, np.random.default_rng(0)).astype(np.float64)
    of_mean = samples.std(0) / math.sqrt(len(samples))
    off = np.abs(samples.mean(0) - mean) / (of_mean + 1e-6 * (1 + np.abs(mean)))
    require(bool((off <= DEVIATIONS).all()), f"a coordinate's mean is {off.max():.0f} deviations off that of samples")
    std = float(np.sqrt(samples.reshape(len(samples), -1).var(0).mean()))
    require(abs(std - given.std) <= 0.2 * max(std, given.std), f"the deviation is {given.std:.4g}, and that of samples {std:.4g}")
    return f"deviation {given.std:.4g}; samples have {std:.4g}"
