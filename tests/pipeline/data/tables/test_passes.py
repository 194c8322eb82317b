"""A table in two passes, batch by batch: the same rows as those of a table in memory, whatever batches and shards there are."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.data import rows, source
from pipeline.data.source import moments_of
from pipeline.data.tables import kept
from pipeline.data.tables.inference import infer, infer_of
from pipeline.data.tables.passes import sampling, shards, sinks
from pipeline.data.tables.passes.asked import Asked
from pipeline.data.tables.passes.facts import Gathered
from pipeline.data.tables.passes.sampling import Rows
from pipeline.data.tables.passes.shards import ParquetFiles, shards_at
from pipeline.data.tables.preparing import HOW, alike, prepared
from pipeline.data.tables.reading import read
from pipeline.errors import Unusable

N = 1200
RNG = np.random.default_rng(0)
HOLES = RNG.random(N) < 0.1
TABLE = pa.table(
    {
        "x": RNG.normal(size=N).astype(np.float32),
        "n": pa.array(RNG.poisson(3, N), pa.int32()),
        "w": pa.array(RNG.uniform(0.5, 2, N)),
        "word": pa.array(np.array(["a", "b", "c"])[RNG.integers(3, size=N)], mask=HOLES),
        "kind": pa.array(np.array(["u", "v"])[RNG.integers(2, size=N)]).dictionary_encode(),
        "day": [f"{1 + i % 28:02}.0{1 + i % 9}.2024" for i in range(N)],
        "when": pa.array(10**12 + RNG.integers(0, 10**9, N), pa.timestamp("ms")),
        "truth": RNG.random(N) < 0.3,
        "unit": ["kg"] * N,
        "part": np.where(np.arange(N) % 4, "train", "test"),
    }
)
ASKED = {
    "all": Asked(columns=tuple(TABLE.column_names[:-1])),
    "split": Asked(split="part"),
    "weights": Asked(weights="w", split="part"),
    "classes": Asked(condition=("word",), columns=("x", "word"), split="part"),
    "values": Asked(condition=("x", "n"), split="part"),
}


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is read whole, and batches have a hundred rows."""
    monkeypatch.setattr(shards, "LEAST_STREAMED", 0)
    monkeypatch.setattr(shards, "BATCH", 100)


def sharded(table: pa.Table, folder: Path, *ends: int) -> str:
    """Write a table as shards whose first is of narrower types, which is nothing that a row depends on."""
    for number, (start, end) in enumerate(zip((0, *ends), (*ends, len(table)), strict=True)):
        pq.write_table(table.slice(start, end - start), folder / f"part-{number}.parquet", row_group_size=70)
    return str(folder)


@pytest.mark.parametrize("asked", [name for name in ASKED if name != "classes"])
def test_rows_are_those_of_the_table_in_memory(asked: str, tmp_path: Path, small: None) -> None:
    opened = shards_at(sharded(TABLE, tmp_path, 333, 700), "x")
    assert isinstance(opened, ParquetFiles)
    made, whole = prepared(opened, ASKED[asked], "t"), prepared(TABLE, ASKED[asked], "t")
    assert made.digest == whole.digest
    assert made.coding.table(made.test[:5]).equals(whole.coding.table(whole.test[:5]))


def test_classes_of_a_column_are_those_of_all_shards(tmp_path: Path, small: None) -> None:
    table = TABLE.filter(pa.array(~HOLES))
    opened = shards_at(sharded(table, tmp_path, 400), "x")
    assert prepared(opened, ASKED["classes"], "t").digest == prepared(table, ASKED["classes"], "t").digest


@pytest.mark.parametrize("least", [0, 1 << 26])
def test_an_index_of_pandas_without_a_name_is_no_column(least: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shards, "LEAST_STREAMED", least)
    frame = TABLE.to_pandas().sample(frac=1, random_state=0)
    frame.to_parquet(tmp_path / "shuffled.parquet")
    assert "__index_level_0__" in pq.read_schema(tmp_path / "shuffled.parquet").names
    assert shards_at(str(tmp_path / "shuffled.parquet"), "x").schema.names == TABLE.column_names
    assert read(str(tmp_path / "shuffled.parquet")).column_names == TABLE.column_names


def test_shards_of_other_types_are_brought_together(tmp_path: Path, small: None) -> None:
    first = TABLE.slice(0, 600).set_column(1, "n", TABLE["n"].slice(0, 600).cast(pa.int8()))
    pq.write_table(first, tmp_path / "part-0.parquet")
    pq.write_table(TABLE.slice(600), tmp_path / "part-1.parquet")
    made = prepared(shards_at(str(tmp_path), "x"), ASKED["split"], "t")
    assert made.digest == prepared(TABLE, ASKED["split"], "t").digest
    pq.write_table(TABLE.rename_columns([*TABLE.column_names[:-1], "other"]), tmp_path / "part-2.parquet")
    with pytest.raises(Unusable, match=r"part-2\.parquet has the columns x, n, .*, and part-0\.parquet x, n"):
        shards_at(str(tmp_path), "x")


def in_batches(table: pa.Table, size: int) -> Iterator[tuple[pa.Table, Rows]]:
    for start in range(0, len(table), size):
        part = table.slice(start, size)
        yield part, Rows.of(len(part), start)


@pytest.mark.parametrize("size", [7, 100, N])
def test_what_a_column_is_does_not_depend_on_batches(size: int) -> None:
    gathered = {name: Gathered(TABLE[name].type) for name in TABLE.column_names}
    for part, of_rows in in_batches(TABLE, size):
        for name, each in gathered.items():
            each.add(part[name], of_rows)
    found = infer_of({name: each.facts() for name, each in gathered.items()}, TABLE.schema, N, HOW)
    assert found == infer(TABLE)


@pytest.mark.parametrize("most", [50, 400])
def test_of_many_rows_a_sample_is_fitted_to_that_their_places_decide(
    most: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sampling, "MOST_ROWS", most)
    digests = set()
    for batch in (64, 100, 5000):
        monkeypatch.setattr(shards, "BATCH", batch)
        made = prepared(TABLE, ASKED["weights"], "t")
        digests.add(made.digest)
    assert len(digests) == 1
    back = made.coding.table(made.train)
    expected = TABLE.drop_columns(["w", "part"]).filter(pa.array(np.arange(N) % 4 != 0))
    for name in ("n", "word", "kind", "day", "truth", "unit"):
        assert back[name].to_pylist() == expected[name].to_pylist(), f"{name}: of all rows, sampled or not"
    assert np.abs(made.train.mean(0)).max() < 0.5
    sampled = sampling.Sampled(pa.int64())
    sampled.add(pa.chunked_array([np.arange(10_000)]), Rows.of(10_000))
    numbers = np.asarray(sampled.values)
    assert most // 2 <= len(numbers) <= most
    assert (np.diff(numbers) > 0).all(), "in their order"


def test_rows_that_are_many_are_mapped_from_a_file_that_goes_with_them(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = prepared(TABLE, ASKED["split"], "t")
    monkeypatch.setattr(sinks, "MOST_IN_MEMORY", 0)
    monkeypatch.setattr(kept, "WINDOW", 1000)
    sinks.folder.cache_clear()
    made = prepared(TABLE, ASKED["split"], "t")
    assert kept.is_file(made.train)
    assert made.digest == expected.digest
    (coding,) = (home / "cache" / "coding").iterdir()
    assert len(list(coding.iterdir())) == 2
    kept.write(rows.name_of(made), made, str(home / "data"))
    found = kept.read(rows.name_of(made), str(home / "data"))
    assert found is not None
    assert found.digest == expected.digest  # type: ignore[attr-defined]  # of rows
    del made
    assert not list(coding.iterdir())
    sinks.folder.cache_clear()


def test_moments_of_many_samples_are_measured_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    samples, weights = RNG.normal(3, 2, (500, 4)).astype(np.float32), RNG.uniform(0, 2, 500)
    expected = [moments_of(samples), moments_of(samples, weights)]
    monkeypatch.setattr(source, "MOST_AT_ONCE", 0)
    monkeypatch.setattr(kept, "WINDOW", 100)
    for found, whole in zip([moments_of(samples), moments_of(samples, weights)], expected, strict=True):
        np.testing.assert_allclose(found.mean, whole.mean, rtol=1e-6)
        assert found.std == pytest.approx(whole.std, rel=1e-12)


def test_the_other_end_is_read_in_batches_too(tmp_path: Path, small: None) -> None:
    coding = prepared(TABLE, ASKED["split"], "t").coding
    opened = shards_at(sharded(TABLE, tmp_path, 500), "x")
    assert alike(opened, ASKED["split"], coding, "s").digest == alike(TABLE, ASKED["split"], coding, "s").digest


BAD = {
    "a missing value": (
        {"x": pa.array([None if i == 300 else 1.5 * i for i in range(N)])},
        "column x has a missing value in row 301",
    ),
    "a bad weight": ({"w": np.where(np.arange(N) == 250, -1.0, 1.0)}, "row 250 has -1"),
    "an infinite value": ({"x": np.where(np.arange(N) == 999, np.inf, 1.0 * np.arange(N))}, "the column x has infinite values"),
}


@pytest.mark.parametrize("fault", BAD)
def test_faults_in_any_batch_are_one_sentence_with_their_row(fault: str, small: None) -> None:
    columns, told = BAD[fault]
    table = TABLE
    schema = infer(TABLE.drop_columns(["w", "part"])) if fault == "a missing value" else None
    for name, values in columns.items():
        table = table.set_column(table.column_names.index(name), name, pa.array(values).cast(table[name].type))
    with pytest.raises(Unusable, match=told):
        prepared(table, Asked(weights="w", split="part", schema=schema), "t")


def test_a_file_that_changes_between_the_passes_is_refused(tmp_path: Path, small: None) -> None:
    opened = shards_at(sharded(TABLE, tmp_path, 500), "x")
    pq.write_table(TABLE.slice(0, 200), tmp_path / "part-1.parquet")
    with pytest.raises(Unusable, match=r"part-1\.parquet has changed while it was read"):
        prepared(opened, ASKED["split"], "t")
