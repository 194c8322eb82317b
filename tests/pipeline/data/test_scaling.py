"""The space that a flow lives in: one scale, a scale of each coordinate, or uncorrelated ones, and the way back."""

from dataclasses import replace
from typing import cast

import numpy as np
import pytest
from flows import tiny

from components.streams import stream
from pipeline.data.analytic import noise
from pipeline.data.endpoints import Endpoints, between, load_endpoints
from pipeline.data.points import Points
from pipeline.data.source import At
from pipeline.data.space import BLOCK, Space
from pipeline.errors import Unusable
from pipeline.generator import Generator
from pipeline.phase import Phase, phases_of
from pipeline.recipe import Data, Scaling
from pipeline.recipes.loading import load_recipe
from pipeline.recipes.rules import validate

SCALINGS: tuple[Scaling, ...] = (False, True, "axes", "whitened")
EACH = pytest.mark.parametrize("scaling", SCALINGS)
OF_AXES = pytest.mark.parametrize("scaling", ["axes", "whitened"])
AT = At("target", 0, 0, 3, 64, slice(0, 64))
UNITS = np.array([1e-3, 1.0, 50.0, 1e5])
MIXED = np.linalg.cholesky(0.2 * np.eye(4) + 0.8).T * UNITS
"""Four correlated columns of very different units are rows of N(0, I) times this."""


def correlated(n: int, seed: int = 0) -> np.ndarray:
    rows: np.ndarray = (np.random.default_rng(seed).standard_normal((n, 4)) @ MIXED + 3 * UNITS).astype(np.float32)
    return rows


def ends_of(rows: np.ndarray, scaling: Scaling, weights: np.ndarray | None = None) -> Endpoints:
    both = None if weights is None else (weights, weights[:9])
    return between(noise(rows.shape[1:]), Points(rows, rows[:9], weights=both), standardise=scaling)


@EACH
def test_samples_come_back_from_the_space_in_their_own_units(scaling: Scaling) -> None:
    rows = correlated(500)
    space = ends_of(rows, scaling).space
    np.testing.assert_allclose(space.to_units(space.to_space(rows)) / UNITS, rows / UNITS, atol=2e-2 if scaling is True else 1e-5)


def test_axes_have_variance_one_and_whitened_ones_are_uncorrelated() -> None:
    rows = correlated(2000)
    axes, whitened = (ends_of(rows, scaling).space.to_space(rows).astype(np.float64) for scaling in ("axes", "whitened"))
    np.testing.assert_allclose(axes.mean(0), 0, atol=1e-4)
    np.testing.assert_allclose(axes.std(0), 1, rtol=1e-5)
    np.testing.assert_allclose(np.corrcoef(axes.T), np.corrcoef(rows.T), atol=1e-4)
    assert abs(np.corrcoef(rows.T)[0, 1]) > 0.7
    np.testing.assert_allclose(np.cov(whitened.T), np.eye(4), atol=0.01)  # of the shrinkage
    nearest = [int(np.abs(np.corrcoef(whitened[:, j], rows.T)[0, 1:]).argmax()) for j in range(4)]
    assert nearest == [0, 1, 2, 3], "each coordinate stays nearest to its own column"


@OF_AXES
def test_the_identity_makes_noise_that_has_the_moments_of_the_data_where_it_is_whitened(scaling: Scaling) -> None:
    """T_{-1} is the identity of the space: its samples are N(mean, covariance) of the data, or of their diagonal."""
    rows = correlated(4000)
    units = ends_of(rows, scaling).to_units(np.random.default_rng(1).standard_normal((100_000, 4), dtype=np.float32)) / UNITS
    expected = np.cov((rows / UNITS).T)
    np.testing.assert_allclose(units.mean(0), (rows / UNITS).mean(0), atol=0.02)
    np.testing.assert_allclose(np.cov(units.T), expected if scaling == "whitened" else np.diag(np.diag(expected)), atol=0.02)


@OF_AXES
def test_weights_count(scaling: Scaling) -> None:
    low, high = correlated(300), correlated(300, seed=1) + 10 * UNITS.astype(np.float32)
    weights = np.repeat([1.0, 0.0], 300)
    space = ends_of(np.concatenate([low, high]), scaling, weights).space
    np.testing.assert_allclose(space.shift / UNITS, low.mean(0) / UNITS, atol=0.2)


@OF_AXES
def test_a_source_that_is_data_comes_into_the_space_by_the_same_way(scaling: Scaling) -> None:
    ends = load_endpoints(Data(source="spiral", target="moons", standardise=scaling))
    drawn = ends.source.sample(200, stream(0, "source"))
    units = load_endpoints(Data(source="spiral", target="moons", standardise=False)).source.sample(200, stream(0, "source"))
    np.testing.assert_allclose(ends.to_units(drawn), units, atol=1e-5)
    np.testing.assert_array_equal(ends.from_source(units), drawn)
    np.testing.assert_array_equal(ends.space.to_space(units), drawn)


@OF_AXES
def test_what_is_given_one_condition_is_in_the_same_space(scaling: Scaling) -> None:
    ends = load_endpoints(Data(target="moons", condition="mode", standardise=scaling))
    given = ends.given(1)
    assert given.space is ends.space
    samples, conditions = ends.batch(AT)
    assert conditions is not None
    np.testing.assert_allclose(ends.to_units(samples), ends.joint.batch(AT).samples, atol=1e-5)  # type: ignore[union-attr]
    upper = given.to_units(given.target.sample(500, stream(0, "target")))
    assert upper.mean(0) == pytest.approx(given.data.sample(500, stream(0, "target")).mean(0), abs=1e-5)


def test_a_row_has_the_same_digits_whatever_rows_are_beside_it() -> None:
    rows, space = correlated(3 * BLOCK + 5), ends_of(correlated(500), "whitened").space
    whole, inside = space.to_units(rows), space.to_space(rows)
    for n in (0, 1, 7, BLOCK, BLOCK + 1):
        np.testing.assert_array_equal(space.to_units(rows[:n]), whole[:n])
        np.testing.assert_array_equal(space.to_space(rows[:n]), inside[:n])


@OF_AXES
@pytest.mark.parametrize("constant", [0.0, 7.0, 1e6])
def test_a_constant_column_stays_of_order_one_and_comes_back(scaling: Scaling, constant: float) -> None:
    rows = correlated(300)
    rows[:, 1] = constant
    space = ends_of(rows, scaling).space
    inside = space.to_space(rows)
    np.testing.assert_allclose(inside[:, 1], 0, atol=1e-3)
    assert np.abs(inside).max() < 10
    np.testing.assert_allclose(space.to_units(inside)[:, 1], constant, rtol=1e-5, atol=1e-2)
    assert np.abs(np.delete(np.asarray(space.scale) / UNITS, 1) - 1).max() < 0.2


def test_columns_that_depend_on_each_other_are_whitened_as_far_as_that_goes() -> None:
    rows = correlated(1000)
    rows[:, 3] = (rows[:, 0] / UNITS[0] + rows[:, 1]) * UNITS[3]
    space = ends_of(rows, "whitened").space
    inside = space.to_space(rows)
    values = np.linalg.eigvalsh(np.cov(inside.T))
    assert values[0] < 1e-3
    assert np.allclose(values[1:], 1, atol=0.02)
    np.testing.assert_allclose(space.to_units(inside) / UNITS, rows / UNITS, atol=1e-3)
    drawn = space.to_units(np.random.default_rng(0).standard_normal((1000, 4), dtype=np.float32)) / UNITS
    off = drawn[:, 3] - drawn[:, 0] - drawn[:, 1]
    assert off.std() < 0.1 * drawn[:, 3].std(), "noise across the plane of the data hardly leaves it"


@OF_AXES
def test_fewer_rows_than_coordinates_are_whitened_by_shrunk_correlations(scaling: Scaling) -> None:
    rows = np.random.default_rng(0).standard_normal((6, 40)).astype(np.float32)
    space = ends_of(rows, scaling).space
    inside = space.to_space(rows)
    assert np.isfinite(inside).all()
    assert np.abs(inside).max() < 10, "nothing is blown up that six rows do not know"
    np.testing.assert_allclose(space.to_units(inside), rows, atol=1e-4)


@OF_AXES
def test_samples_that_are_all_equal_are_refused(scaling: Scaling) -> None:
    with pytest.raises(Unusable, match=r"data\.standardise must be false where all samples of data\.target are equal"):
        ends_of(np.full((9, 3), 5, np.float32), scaling)


@pytest.mark.parametrize(("target", "dim"), [("digits", 2), ("gaussian", 1025)])
@OF_AXES
def test_images_and_very_long_vectors_have_one_scale(target: str, dim: int, scaling: Scaling) -> None:
    with pytest.raises(
        ValueError, match=rf"data\.standardise must be true or false for data\.target {target}, .*, not {scaling}"
    ):
        validate(replace(tiny(), data=Data(target=target, dim=dim, standardise=scaling)))
    assert load_recipe("moons", data__standardise=scaling).data.standardise == scaling


def test_a_scaling_is_part_of_a_phase_and_one_scale_is_the_one_of_before() -> None:
    phases = [phases_of(tiny(1, standardise=scaling))[0] for scaling in SCALINGS]
    assert len({phase.fingerprint for phase in phases}) == len(SCALINGS)
    assert [Phase.from_json(phase.to_json()).data.standardise for phase in phases] == list(SCALINGS)
    assert '"standardise":true' in phases[1].to_json()


def test_samples_and_transported_points_of_a_generator_are_in_units() -> None:
    ends = load_endpoints(Data(source="spiral", target="moons", standardise="whitened"))
    phase = phases_of(tiny(1, source="spiral", standardise="whitened"))[0]
    resting = Generator(phase, ends, [])  # no map: T_{-1}
    given = cast(np.ndarray, load_endpoints(Data(target="spiral")).data.sample(100, stream(0, "source")))
    np.testing.assert_allclose(resting.transport(given), given, atol=1e-5)
    np.testing.assert_allclose(resting.sample(50), resting.source(50), atol=1e-6)


def test_a_space_is_what_its_arrays_say() -> None:
    for scaling in SCALINGS:
        space = ends_of(correlated(200), scaling).space
        space.to_space(correlated(3))  # what is found on the way is not among them
        again = Space(**{"scale": space.scale, **space.arrays()})
        np.testing.assert_array_equal(again.to_units(correlated(9)), space.to_units(correlated(9)))
