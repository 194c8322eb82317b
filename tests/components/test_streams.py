"""Random numbers as a pure function of (seed, phase, step, purpose)."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.streams import PURPOSES, normal, stream

FAR = 2**40
COORDINATES = st.tuples(st.integers(0, 2**63), st.sampled_from(PURPOSES), st.integers(0, FAR), st.integers(0, FAR))


def draws(seed, purpose, phase, step, n=8):
    return stream(seed, purpose, phase=phase, step=step).standard_normal(n)


@settings(deadline=None, max_examples=60)
@given(COORDINATES, COORDINATES)
def test_a_stream_is_a_function_of_its_arguments_and_different_arguments_differ(one, other):
    first = draws(*one)
    stream(*other[:2], phase=other[2], step=other[3]).random(100)
    np.testing.assert_array_equal(draws(*one), first)
    if one != other:
        assert not np.isin(draws(*other), first).any()


def test_a_stream_does_not_depend_on_nor_touch_the_global_generator():
    before = np.random.get_state()[1].copy()
    first = draws(1, "source", 0, 0)
    np.testing.assert_array_equal(np.random.get_state()[1], before)
    np.random.standard_normal(3)
    np.testing.assert_array_equal(draws(1, "source", 0, 0), first)


NEIGHBOURS = [
    (0, "source", 0, 0),
    (1, "source", 0, 0),
    (0, "target", 0, 0),
    (0, "z", 0, 0),
    (0, "anchor_z", 0, 0),
    (0, "source", 1, 0),
    (0, "source", 0, 1),
    (0, "source", 1, 1),
    (0, "source", FAR, 0),
    (0, "source", 0, FAR),
    (0, "source", FAR, FAR),
    (2**63, "source", 0, 0),
]


def test_neighbouring_streams_are_uncorrelated():
    n = 20_000
    samples = np.stack([draws(*coordinates, n=n) for coordinates in NEIGHBOURS])
    correlations = np.corrcoef(samples)[np.triu_indices(len(NEIGHBOURS), 1)]
    assert np.abs(correlations).max() < 4.5 / np.sqrt(n)  # 66 pairs of a standard error of 1 / sqrt(n)


def test_long_draws_of_one_step_do_not_run_into_the_next():
    long = stream(0, "source", step=0).integers(2**63, size=200_000)
    for step, phase in itertools.product((0, 1, 2), (0, 1)):
        if (step, phase) != (0, 0):
            assert not np.isin(stream(0, "source", step=step, phase=phase).integers(2**63, size=1000), long).any()


def test_an_unknown_purpose_is_refused():
    with pytest.raises(ValueError, match="not in tuple"):
        stream(0, "nonsense")


def test_purposes_are_distinct_and_keep_their_place():
    """A purpose's number is part of every draw: new ones go to the end, or flows that were published change."""
    assert len(set(PURPOSES)) == len(PURPOSES)
    first = "initial_map initial_potential source target z anchor_z"
    assert list(PURPOSES[:6]) == first.split()


@pytest.mark.parametrize("shape", [(5,), (4, 3), (2, 3, 4, 4), (6, 0)])
def test_normal_numbers_are_float32_of_the_shape_asked_for(shape):
    numbers = normal(stream(0, "source"), *shape)
    assert numbers.dtype == np.float32
    assert numbers.shape == shape


def test_normal_numbers_have_the_moments_of_a_normal():
    numbers = normal(stream(3, "source"), 200_000).astype(np.float64)
    for power, moment, variance in ((1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96)):
        assert np.mean(numbers**power) == pytest.approx(moment, abs=4 * np.sqrt(variance / len(numbers)))


def test_the_rows_of_a_smaller_draw_are_the_first_of_a_larger_one():
    np.testing.assert_array_equal(normal(stream(0, "source"), 5, 3), normal(stream(0, "source"), 9, 3)[:5])
