"""Points that a person gives: which columns are coordinates, what is no point, what lies far outside the source."""

import numpy as np
import pyarrow as pa
import pytest

from pipeline.data.endpoints import load_endpoints
from pipeline.data.given.coordinates import Coordinates, as_table
from pipeline.data.given.outside import Reach
from pipeline.errors import Unusable
from pipeline.recipe import Data

XY = {"x": [1.0, 2.0], "y": [0.5, -1.5]}
LISTS = [[1.0, 0.5], [2.0, -1.5]]
EXPECTED = np.array(LISTS, dtype=np.float32)


@pytest.mark.parametrize(
    ("columns", "asked", "names"),
    [
        (XY, (), ("x", "y")),
        ({"id": ["a", "b"], **XY, "is_new": [True, False]}, (), ("x", "y")),
        ({"y": XY["y"], "x": XY["x"]}, ("x", "y"), ("x", "y")),
        ({"n": [7, 8], **XY}, ("x", "y"), ("x", "y")),
        ({"1": XY["y"], "n": [7, 8], "0": XY["x"]}, (), ("0", "1")),
        ({"point": pa.array(LISTS), "n": [7, 8]}, (), ("point",)),
        ({"point": pa.array(LISTS, pa.list_(pa.float32(), 2))}, (), ("point",)),
        ({"point": pa.array(LISTS, pa.large_list(pa.float64())), "sample": pa.array([[9.0], [9.0]])}, ("point",), ("point",)),
        ({"a": pa.array([[9.0], [9.0]]), "sample": pa.array(LISTS)}, (), ("sample",)),
        ({"x": pa.array(XY["x"], pa.float32()), "y": pa.array(["0.50", "-1.50"]).cast(pa.decimal128(5, 2))}, (), ("x", "y")),
    ],
)
def test_columns_of_points_are_found_and_all_others_kept(columns: dict, asked: tuple, names: tuple) -> None:
    table = pa.table(columns)
    coordinates = Coordinates.of(table.schema, (2,), "t", asked)
    assert coordinates.columns == names
    np.testing.assert_array_equal(coordinates.samples(table, "t"), EXPECTED)
    back, made = coordinates.back(table, EXPECTED + 1)
    assert made == names
    assert back.column_names == table.column_names
    for name in set(table.column_names) - set(names):
        assert back[name].equals(table[name])
    again = Coordinates.of(back.schema, (2,), "t", asked)
    np.testing.assert_array_equal(again.samples(back, "t"), EXPECTED + 1)


def test_images_are_points_too() -> None:
    images = np.arange(2 * 3 * 4 * 4, dtype=np.float64).reshape(2, 3, 4, 4)
    for table in (as_table(images, "t"), pa.table({"image": images.tolist()})):
        coordinates = Coordinates.of(table.schema, (3, 4, 4), "t")
        np.testing.assert_array_equal(coordinates.samples(table, "t"), images)


NAN, BIG = float("nan"), 1e300


@pytest.mark.parametrize(
    ("columns", "asked", "sentence"),
    [
        (
            {"x": [1.0, NAN], "y": [1.0, 2.0]},
            (),
            "t: row 8, column 'x' is missing; 1 of 2 rows have such: leave",
        ),
        ({"x": [1.0, None], "y": [1.0, 2.0]}, (), "t: row 8, column 'x' is missing"),
        ({"x": [1.0, BIG], "y": [1.0, 2.0]}, (), "t: row 8, column 'x' is infinite in float32"),
        ({"p": pa.array([[1.0, 2.0], [3.0]])}, (), "t: row 8, column 'p' has 1 numbers, and a point has 2"),
        ({"p": pa.array([[1.0, 2.0], None])}, (), "t: row 8, column 'p' is missing"),
        ({"p": pa.array([[1.0, 2.0], [3.0, NAN]])}, (), "t: row 8, column 'p' is missing"),
        (
            {**XY, "n": [1, 2]},
            (),
            r"t has 3 columns of numbers \(x, y, n\), and a point has 2 coordinates: name",
        ),
        ({"x": [1.0, 2.0]}, (), r"t has 1 column of numbers \(x\), and a point has 2 coordinates"),
        ({"word": ["a", "b"]}, (), "t has no numbers, and a point has 2 coordinates"),
        (XY, ("x", "z"), "t has no column 'z'; it has x, y"),
        (XY, ("x",), "--coordinates must name 2 different columns, one for each coordinate, not x"),
        (XY, ("x", "x"), "must name 2 different columns"),
        ({"x": [1.0, 2.0], "word": ["a", "b"]}, ("x", "word"), "t: column 'word' holds string, and a flow takes numbers"),
    ],
)
def test_what_is_no_point_is_one_sentence(columns: dict, asked: tuple, sentence: str) -> None:
    table = pa.table(columns)
    with pytest.raises(Unusable, match=sentence):
        Coordinates.of(table.schema, (2,), "t", asked).samples(table, "t", first=7)


def test_two_columns_of_one_name_are_refused() -> None:
    table = pa.table([[1.0], [2.0]], names=["x", "x"])
    with pytest.raises(Unusable, match="two columns are called 'x'"):
        Coordinates.of(table.schema, (2,), "t")


@pytest.mark.parametrize("dim", [1, 2, 50])
def test_hardly_any_draw_of_noise_is_far_and_what_nobody_would_draw_is(dim: int) -> None:
    ends = load_endpoints(Data(target="gaussian", dim=dim))
    reach = Reach.of(ends.source.sample, ends.shape)
    draws = ends.source.sample(100_000 // dim, np.random.default_rng(5))
    assert reach.far(draws).mean() < 1e-4
    radius = np.sqrt(dim) + 10
    assert reach.far((draws / np.linalg.norm(draws, axis=1, keepdims=True) * radius).astype(np.float32)).all()


def test_data_as_a_source_are_far_from_by_their_own_moments() -> None:
    ends = load_endpoints(Data(source="two_circles", target="moons"))
    reach = Reach.of(ends.source.sample, ends.shape)
    points = ends.source.inner.held_out  # type: ignore[union-attr]  # data as a source are standardised
    assert not reach.far(ends.from_source(points(1000, np.random.default_rng(0)))).any()
    away = points(10, np.random.default_rng(0)) + 100
    assert reach.far(ends.from_source(away.astype(np.float32))).all()


def test_a_coordinate_that_never_changes_makes_nothing_far_by_rounding() -> None:
    def draw(n: int, rng: np.random.Generator) -> np.ndarray:
        return np.concatenate([rng.standard_normal((n, 1)), np.full((n, 1), 3.0)], 1).astype(np.float32)

    reach = Reach.of(draw, (2,))
    assert reach.far(np.array([[0.0, 3.0001], [0.0, 4.0]], np.float32)).tolist() == [False, True]
