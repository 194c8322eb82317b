"""Any table comes back from its coordinates: columns, order, types, missing values, and values up to what is stated."""

import datetime
import string
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from pipeline.data.tables.encoding import Encoding
from pipeline.data.tables.inference import infer
from pipeline.data.tables.schema import Schema
from pipeline.errors import Unusable

Values = Callable[[np.random.Generator, int], pa.Array]
DAY = datetime.date(2000, 1, 1).toordinal()
RNG_OF_TIMES = np.random.default_rng(0)


PHASES = (Phase.explicit, Phase.generate)
"""Not to shrink: large tables take minutes."""


def choice(of: pa.DataType, *values: object) -> Values:
    return lambda rng, rows: pa.array([values[i] for i in rng.integers(0, len(values), rows)], of)


EXACT: dict[str, Values] = {
    "int8": lambda rng, rows: pa.array(rng.integers(-128, 127, rows), pa.int8()),
    "uint64": lambda rng, rows: pa.array(2**63 + rng.integers(0, 50, rows).astype(np.uint64), pa.uint64()),
    "int64": lambda rng, rows: pa.array(-(2**62) + 100 * rng.integers(0, 50, rows), pa.int64()),
    "bool": choice(pa.bool_(), True, False),
    "zero or one": choice(pa.int32(), 0, 1),
    "text": choice(pa.string(), "yes", "no", "", "ö", "1"),
    "large text": choice(pa.large_string(), *string.ascii_letters[:40]),
    "view": choice(pa.string_view(), "a", "b"),
    "dictionary": choice(pa.dictionary(pa.int8(), pa.string(), ordered=True), "low", "high", "middle"),
    "whole dictionary": choice(pa.dictionary(pa.int16(), pa.int64()), 3, 1, 2),
    "decimal": lambda rng, rows: pa.array([Decimal(int(each)) / 100 for each in rng.integers(0, 999, rows)], pa.decimal128(9, 2)),
    "tenths": lambda rng, rows: pa.array(np.round(rng.normal(50, 9, rows), 1)),
    "short tenths": lambda rng, rows: pa.array(np.round(rng.normal(0, 9, rows), 1).astype(np.float32)),
    "halves": lambda rng, rows: pa.array(rng.integers(0, 9, rows) / 2),
    "zeros": lambda rng, rows: pa.array(np.where(rng.random(rows) < 0.4, 0.0, np.round(rng.exponential(3, rows), 2))),
    "date": lambda rng, rows: pa.array(rng.integers(0, 9999, rows).astype(np.int32)).cast(pa.date32()),
    "date64": lambda rng, rows: pa.array(86_400_000 * rng.integers(0, 9999, rows)).cast(pa.date64()),
    "zone": lambda rng, rows: pa.array(1_700_000_000 + 3600 * rng.integers(0, 9000, rows)).cast(
        pa.timestamp("s", "Europe/Berlin")
    ),
    "nanoseconds": lambda rng, rows: pa.array(10**18 + 10**9 * rng.integers(0, 9000, rows)).cast(pa.timestamp("ns")),
    "time": lambda rng, rows: pa.array((60 * rng.integers(0, 1440, rows)).astype(np.int32)).cast(pa.time32("s")),
    "duration": lambda rng, rows: pa.array(rng.integers(-500, 500, rows)).cast(pa.duration("ms")),
    "written": lambda rng, rows: pa.array(
        [datetime.date.fromordinal(DAY + int(each)).strftime("%d.%m.%Y") for each in rng.integers(0, 900, rows)]
    ),
    "constant": choice(pa.string(), "kg"),
    "constant date": choice(pa.date32(), datetime.date(2024, 2, 29)),
}
CLOSE: dict[str, Values] = {
    "normal": lambda rng, rows: pa.array(rng.normal(size=rows)),
    "single": lambda rng, rows: pa.array(rng.normal(size=rows).astype(np.float32)),
    "half": lambda rng, rows: pa.array(rng.normal(size=rows).astype(np.float16)),
    "skewed": lambda rng, rows: pa.array(np.exp(2 * rng.normal(size=rows))),
    "heavy": lambda rng, rows: pa.array(rng.standard_cauchy(size=rows)),
    "tiny": lambda rng, rows: pa.array(1e-200 * rng.normal(size=rows)),
    "large": lambda rng, rows: pa.array(1e140 * rng.normal(size=rows)),
    "far": lambda rng, rows: pa.array(1e9 + rng.normal(size=rows)),
    "spike": lambda rng, rows: pa.array(np.where(rng.random(rows) < 0.3, 1.25, rng.normal(size=rows))),
    "seconds": lambda rng, rows: pa.array(rng.integers(0, 10**9, rows)).cast(pa.timestamp("us")),
}


@st.composite
def tables(draw: st.DrawFn) -> pa.Table:
    """Tables of some of these columns, some with missing values."""
    kinds = draw(st.lists(st.sampled_from([*EXACT, *CLOSE]), min_size=1, max_size=5, unique=True))
    rng, rows = np.random.default_rng(draw(st.integers(0, 2**32))), draw(st.integers(90, 400))
    columns = {}
    for kind in kinds:
        values = (EXACT | CLOSE)[kind](rng, rows)
        if draw(st.booleans()):
            there = rng.random(rows) > draw(st.sampled_from([0.01, 0.3, 0.8]))
            values = pa.array([value if known else None for value, known in zip(values, there, strict=True)], values.type)
        columns[kind] = values
    return pa.table(columns).slice(draw(st.integers(0, 3)))


def encoded(table: pa.Table) -> tuple[Encoding, np.ndarray]:
    encoding = Encoding.fit(infer(table), table)
    return encoding, encoding.encode(table, np.random.default_rng(0))


@settings(max_examples=20, phases=PHASES, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(tables())
def test_any_table_comes_back(table: pa.Table) -> None:
    try:
        encoding, coordinates = encoded(table)
    except Unusable:
        return
    assert np.isfinite(coordinates).all()
    back = encoding.decode(coordinates)
    assert back.schema == table.schema
    for name in table.column_names:
        assert back[name].is_null().equals(table[name].is_null()), name
        if name in EXACT:
            assert back[name].to_pylist() == table[name].to_pylist(), name
        else:
            wrong = np.abs(numbers(back[name]) - numbers(table[name]))
            assert wrong.max() <= 2e-3 * np.ptp(numbers(table[name])), name


def numbers(values: pa.ChunkedArray) -> np.ndarray:
    there = values.drop_null()
    return np.asarray(there.cast(pa.int64()) if pa.types.is_temporal(there.type) else there).astype(np.float64)


@settings(max_examples=8, phases=PHASES, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(tables(), st.floats(0.1, 30))
def test_whatever_is_generated_is_a_table_of_the_original_kind(table: pa.Table, size: float) -> None:
    try:
        encoding = Encoding.fit(infer(table), table)
    except Unusable:
        return
    rng = np.random.default_rng(0)
    made = encoding.decode(size * rng.standard_normal((300, encoding.width)))
    assert made.schema == table.schema
    for name in table.column_names:
        known = [value for value in table[name].to_pylist() if value is not None]
        some = [value for value in made[name].to_pylist() if value is not None]
        if encoding.schema.column(name).categories:
            assert set(some) <= set(known), name
        elif encoding.schema.column(name).format is None and some and encoding.schema.column(name).value is None:
            assert min(known) <= min(some), name
            assert max(some) <= max(known), name
        assert made[name].null_count == 0 or table[name].null_count > 0


@settings(max_examples=8, phases=PHASES, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(tables())
def test_files_and_yaml_give_back_what_was_written(table: pa.Table) -> None:
    try:
        encoding, coordinates = encoded(table)
    except Unusable:
        return
    assert Schema.from_yaml(encoding.schema.to_yaml()) == encoding.schema
    files = encoding.to_files()
    assert files == encoded(table)[0].to_files()
    again = Encoding.from_files(files)
    assert again.schema == encoding.schema
    assert again.decode(coordinates).equals(encoding.decode(coordinates))


@pytest.mark.parametrize("share", [0.05, 0.4, 0.9])
def test_a_spike_keeps_its_share_exactly(share: float) -> None:
    rng = np.random.default_rng(2)
    values = np.where(np.arange(1000) < 1000 * share, 0.0, np.exp(rng.normal(size=1000)))
    table = pa.table({"x": values})
    encoding = Encoding.fit(infer(table), table)
    made = np.asarray(encoding.decode(rng.standard_normal((40_000, 1)))["x"])
    assert np.mean(made == 0) == pytest.approx(share, abs=0.01)
    assert np.all((made == 0) | (made >= values[values > 0].min()))


def test_a_transform_that_does_not_suit_a_column_still_gives_coordinates() -> None:
    table = pa.table({"x": np.where(np.arange(500) < 495, 0, np.arange(500))})
    schema = infer(table)
    assert schema.column("x").transform == "quantile"
    for transform in ("power", "standard"):
        chosen = Schema((replace(schema.column("x"), transform=transform),))
        encoding = Encoding.fit(chosen, table)
        coordinates = encoding.encode(table, np.random.default_rng(0))
        assert np.abs(coordinates).max() < 60
        assert np.mean(np.asarray(encoding.decode(coordinates)["x"]) == 0) > 0.9


def test_a_large_table_is_fitted_to_some_rows_and_encoded_by_blocks() -> None:
    rng = np.random.default_rng(3)
    rows = 600_000
    table = pa.table({"x": rng.normal(size=rows), "n": rng.poisson(3, rows), "c": rng.choice(["a", "b", "c"], rows)})
    encoding, coordinates = encoded(table)
    back = encoding.decode(coordinates)
    assert back["n"].equals(table["n"])
    assert back["c"].equals(table["c"].cast(back["c"].type))
    assert np.abs(coordinates.mean(0)).max() < 0.02
    assert np.abs(coordinates.std(0) - 1).max() < 0.02


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
@pytest.mark.parametrize(("count", "seconds"), [(600_000_000, 1), (9_000, 86_400)])
def test_times_over_years_stay_on_the_seconds_or_days_that_they_are_counted_in(unit: str, count: int, seconds: int) -> None:
    moments = RNG_OF_TIMES.integers(0, count, 500) * seconds
    table = pa.table({"when": pa.array(moments, pa.timestamp("s")).cast(pa.timestamp(unit))})
    encoding = Encoding.fit(infer(table), table)
    back = encoding.decode(encoding.encode(table, np.random.default_rng(0)))["when"].cast(pa.timestamp("s"))  # refuses fractions
    assert (back.cast(pa.int64()).to_numpy() % seconds == 0).all()
    assert np.abs(back.cast(pa.int64()).to_numpy() - moments).max() <= 1e-6 * count * seconds
