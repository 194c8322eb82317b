"""Values that come in heaps, as ages to five years: they are found, come back exactly, and are generated as often as before."""

import numpy as np
import pyarrow as pa
import pytest

from pipeline.data.tables.codes.fitting import Fitting
from pipeline.data.tables.codes.heaps import Heaps
from pipeline.data.tables.codes.marginals import MARGINALS
from pipeline.data.tables.columns import fitted, restored
from pipeline.data.tables.encoding import Encoding
from pipeline.data.tables.inference import infer

RNG = np.random.default_rng(0)


def heaped(rows: int, share: float = 0.7) -> np.ndarray:
    """Whole numbers about 500, that share of them multiples of five."""
    rng = np.random.default_rng(rows)
    exact = rng.normal(500, 60, rows)
    return np.where(rng.random(rows) < share, 5 * np.rint(exact / 5), np.rint(exact))


@pytest.mark.parametrize("transform", MARGINALS)
def test_generated_values_have_the_heaps_of_the_real_ones(transform: str) -> None:
    numbers = heaped(4000)
    marginal = MARGINALS[transform].fit(numbers, 1.0)
    made = np.rint(marginal.from_normal(RNG.standard_normal(50_000)))
    for digit in range(5):
        assert (made % 5 == digit).mean() == pytest.approx((numbers % 5 == digit).mean(), abs=0.02)
    assert np.median(made) == pytest.approx(500, abs=5)


@pytest.mark.parametrize("transform", MARGINALS)
def test_heaped_values_come_back_from_coordinates_of_32_bits(transform: str) -> None:
    numbers = heaped(3000)
    marginal = MARGINALS[transform].fit(numbers, 1.0)
    assert len(marginal.cells.weights) == 5
    coordinates = marginal.to_normal(numbers, RNG).astype(np.float32).astype(np.float64)
    assert (np.rint(marginal.from_normal(coordinates)) == numbers).all()
    again = MARGINALS[transform](**marginal.arrays())
    assert (again.from_normal(coordinates) == marginal.from_normal(coordinates)).all()


def test_heaps_are_those_of_the_weighted_rows() -> None:
    numbers = heaped(4000)
    weights = np.where(numbers % 5 == 0, 0.25, 1.0)
    heaps = Heaps.of(numbers, 1.0, weights)
    again = Heaps.of(np.repeat(numbers, np.where(numbers % 5 == 0, 1, 4)), 1.0)
    assert heaps.weights == pytest.approx(again.weights, abs=0.05)


def test_a_value_that_no_row_had_keeps_a_narrow_cell() -> None:
    heaps = Heaps.of(5 * np.rint(RNG.normal(100, 9, 3000)), 1.0)
    low, high = heaps.cells(np.arange(400.0, 420.0))
    assert (high > low).all()
    assert np.allclose(low[1:], high[:-1])
    assert np.rint(heaps.values((low + high) / 2)).tolist() == list(range(400, 420))


@pytest.mark.parametrize(
    "numbers",
    [
        np.rint(RNG.normal(500, 60, 4000)),
        np.where(RNG.random(4000) < 0.5, 0.0, np.rint(RNG.exponential(60, 4000))),
        np.rint(RNG.exponential(3, 4000)),
        np.array([3.0]),
    ],
    ids=["none", "a spike", "few values", "one row"],
)
def test_no_heaps_are_found_where_there_are_none(numbers: np.ndarray) -> None:
    heaps = Heaps.of(numbers, 1.0)
    assert heaps.weights.tolist() == [1.0]
    assert heaps.arrays() == {}
    assert heaps.values(numbers) is numbers


def test_heaps_are_no_spikes() -> None:
    table = pa.table({"age": heaped(4000).astype(np.int64)})
    assert infer(table).column("age").transform == "power"


def test_an_encoding_that_was_written_before_there_were_heaps_is_read() -> None:
    table = pa.table({"age": heaped(500).astype(np.int64)})
    (column,) = infer(table).columns
    code = fitted(column, Fitting(table["age"]))
    arrays = {name: array for name, array in code.arrays().items() if name != "heaps"}
    assert len(restored(column, arrays).marginal.cells.weights) == 1  # type: ignore[attr-defined]  # of a numeric column
    encoding = Encoding.fit(infer(table), table)
    again = Encoding.from_files(encoding.to_files())
    x = RNG.standard_normal((100, 1))
    assert again.decode(x).equals(encoding.decode(x))
