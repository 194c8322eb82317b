"""Problems that nobody has tuned for: each a function of its number, of whatever kind, and judged by what it is."""

import numpy as np
import pytest

from benchmarks.problems import DIMENSIONS, KINDS, SIZES, problem

SEEDS = range(24)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_problem_is_a_function_of_its_number(seed: int) -> None:
    one, again = problem(seed), problem(seed)
    for ends in ("source", "target"):
        draws = [getattr(each.ends, ends).sample(300, np.random.default_rng(1)) for each in (one, again)]
        np.testing.assert_array_equal(*draws)
        assert np.isfinite(draws[0]).all()
        assert draws[0].dtype == np.float32
        assert draws[0].shape == (300, one.dim)
    target = one.ends.target.sample(20_000, np.random.default_rng(2))
    assert abs(float(target.std()) - 1) < 0.2
    if one.size is not None:
        assert len(np.unique(target, axis=0)) <= one.size


@pytest.mark.slow
def test_problems_are_of_every_kind_size_and_dimension() -> None:
    found = [problem(seed) for seed in SEEDS]
    assert {each.kind for each in found} >= KINDS.keys() - {"heavy"}
    assert {each.dim for each in found} == {*DIMENSIONS}
    assert {each.size for each in found} == {*SIZES}
    assert {each.source for each in found} == {"normal", "another", "shifted"}


@pytest.mark.slow
def test_samples_of_a_mixture_lie_in_its_modes_as_often_as_their_weights_say() -> None:
    (given,) = [each for each in map(problem, SEEDS) if each.kind == "mixture"][:1]
    assert given.target.modes is not None
    labels = given.target.modes.mode_of(given.target.sample(50_000, np.random.default_rng(0)))
    assert (labels >= 0).mean() > 0.98
    share = np.bincount(labels[labels >= 0], minlength=len(given.target.modes.mode_weights)) / (labels >= 0).sum()
    np.testing.assert_allclose(share, given.target.modes.mode_weights, atol=5 * np.sqrt(0.25 / 50_000))
