"""What a person gives as data: read as rows of float32, or refused in one sentence."""

import datetime
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from scipy import sparse
from torch.utils.data import TensorDataset

from pipeline.data.own import held_out_of
from pipeline.errors import Unusable
from sjko.data.given import rows_of
from sjko.data.joined import joined_of, points_of
from sjko.ends import end_of

ROWS = np.arange(12).reshape(6, 2)
FRAME = pd.DataFrame(ROWS, columns=["a", "b"], index=list("uvwxyz"))
GOOD: dict[str, Callable[[], Any]] = {
    "float64": lambda: ROWS.astype(np.float64),
    "integers": lambda: ROWS,
    "not contiguous": lambda: np.asfortranarray(ROWS),
    "a list of lists": ROWS.tolist,
    "a list of tensors": lambda: [torch.from_numpy(row) for row in ROWS],
    "a tuple of arrays": lambda: tuple(ROWS),
    "a tensor that wants a gradient": lambda: torch.tensor(ROWS, dtype=torch.float32, requires_grad=True),
    "a tensor of 16 bits": lambda: torch.tensor(ROWS, dtype=torch.bfloat16),
    "a sparse tensor": lambda: torch.tensor(ROWS, dtype=torch.float64).to_sparse(),
    "a torch data set with labels": lambda: TensorDataset(torch.tensor(ROWS), torch.zeros(6)),
    "a sparse matrix": lambda: sparse.csr_matrix(ROWS),
    "objects that are numbers": lambda: ROWS.astype(object),
    "a frame with an index": lambda: FRAME,
    "a frame of nullable types": FRAME.convert_dtypes,
    "a frame of one name twice": lambda: pd.DataFrame(ROWS, columns=["a", "a"]),
    "a table": lambda: pa.table(FRAME.reset_index(drop=True)),
    "a table of vectors": lambda: pa.table({"s": pa.FixedSizeListArray.from_arrays(pa.array(ROWS.ravel()), 2)}),
}


@pytest.mark.parametrize("case", GOOD)
def test_rows_are_read_in_whatever_form_they_are(case: str) -> None:
    samples = rows_of(GOOD[case]()).samples
    assert samples.dtype == np.float32
    np.testing.assert_array_equal(samples, ROWS)


def test_samples_of_a_frame_are_a_frame_of_its_columns_in_float32() -> None:
    rows = rows_of(FRAME.assign(c=[True, False] * 3))
    back = rows.form.back(rows.samples)
    assert list(back.columns) == ["a", "b", "c"]
    assert set(map(str, back.dtypes)) == {"float32"}
    assert list(rows.form.back(rows.samples, rows.index).index) == list("uvwxyz")
    table = rows_of(pa.table({"x": [1, 2], "y": [0.5, 1.5]}))
    assert table.form.back(table.samples).schema == pa.schema({"x": pa.float32(), "y": pa.float32()})


def write(folder: Path, name: str) -> str:
    path = folder / name
    if name.endswith(".npy"):
        np.save(path, ROWS)
    elif name.endswith(".npz"):
        np.savez(path, only=ROWS)
    elif name.endswith(".parquet"):
        pq.write_table(pa.table(FRAME.reset_index(drop=True)), path)
    else:
        (FRAME[1:] if "plain" in name else FRAME).to_csv(path, index=False, header="plain" not in name)
    return str(path)


@pytest.mark.parametrize("name", ["x.npy", "x.npz", "x.parquet", "x.csv", "plain.csv"])
def test_files_of_numbers_are_read_by_path_and_by_url(name: str, tmp_path: Path) -> None:
    path = write(tmp_path, name)
    for location in (path, Path(path), f"file://{path}"):
        rows = rows_of(location)
        np.testing.assert_array_equal(rows.samples, ROWS[1:] if name == "plain.csv" else ROWS)
    assert rows.form.columns == {"x.parquet": ("a", "b"), "x.csv": ("a", "b"), "plain.csv": ("0", "1")}.get(name)


def test_a_data_set_of_ray_is_read_in_its_order(one_ray: None) -> None:
    import ray.data

    whole = ray.data.from_pandas([FRAME[:4], FRAME[4:]])
    np.testing.assert_array_equal(rows_of(whole).samples, ROWS)
    assert rows_of(whole).form.columns == ("a", "b")
    np.testing.assert_array_equal(rows_of(ray.data.from_numpy(ROWS)).samples, ROWS)


BAD: dict[str, tuple[Callable[[], Any], str]] = {
    "a vector": (
        lambda: np.arange(5),
        r"x must have rows and columns, not the shape \(5,\): write x\[:, None\] for rows of one number",
    ),
    "grey images without channels": (lambda: np.zeros((5, 8, 8)), r"x must be \(n, d\), or images \(n, channels, side, side\)"),
    "a number": (lambda: 3.0, "x must be an array, a data frame, .* not a float"),
    "nothing in it": (lambda: np.zeros((0, 3)), r"x: samples must be numbers of shape .* not float64 \(0, 3\)"),
    "missing": (lambda: [[1.0, 2.0], [3.0, np.nan]], "x: row 1, column 1 is missing; 1 of 2 rows have such"),
    "infinite": (lambda: [[1.0, np.inf], [3.0, 2.0]], "x: row 0, column 1 is infinite"),
    "too large for float32": (lambda: [[1.0, 1e39], [3.0, 2.0]], "x: row 0, column 1 is infinite in float32"),
    "None among numbers": (lambda: [[1.0, None], [3.0, 2.0]], "x: row 0, column 1 is missing"),
    "complex numbers": (lambda: np.ones((3, 2), complex), "x: samples must be numbers"),
    "text": (lambda: [["a", "b"], ["c", "d"]], "x: samples must be numbers"),
    "rows of two lengths": (lambda: [[1, 2], [3]], "x must be rows of one length"),
    "a generator": (lambda: (row for row in ROWS), "x must be an array, .* not a generator, which can be read once only"),
    "masked": (lambda: np.ma.masked_equal(ROWS, 4), "x: row 2 has a masked value"),
    "a column of text": (
        lambda: FRAME.assign(name="z"),
        "x: column 'name' holds (str|object), and a flow takes numbers: leave it out",
    ),
    "a column of dates": (lambda: FRAME.assign(day=datetime.datetime(2026, 1, 1)), "x: column 'day' holds datetime64"),
    "a frame that misses something": (
        lambda: FRAME.assign(c=[1, 2, None, 4, 5, 6]),
        "x: row 2, column 'c' is missing; 1 of 6 rows",
    ),
    "a frame without rows": (lambda: FRAME[:0], "x has no rows"),
    "a frame without columns": (lambda: FRAME[[]], "x has no columns"),
    "a table of text": (lambda: pa.table({"a": ["p", "q"]}), "x: column 'a' holds string"),
    "a table that misses something": (lambda: pa.table({"a": [1, None]}), "x: row 1, column 'a' is missing"),
    "vectors that miss one": (
        lambda: pa.table({"s": pa.array([[1.0, 2.0], None, [3.0, 4.0]], pa.list_(pa.float64(), 2))}),
        "x: row 1, column 's' is missing",
    ),
    "lists that miss one": (lambda: pa.table({"s": pa.array([[1.0], [2.0], None])}), "x: row 2, column 's' is missing"),
    "a dictionary": (lambda: {"a": [1, 2]}, "x must be an array, .* not a dict"),
    "no file": (lambda: "nowhere.npy", "x: there is no file nowhere.npy"),
    "a file of something": (lambda: "x.pickle", "x must end in one of .parquet, .*, or be a folder of such files, not x.pickle"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_is_no_rows_of_numbers_is_one_sentence(case: str) -> None:
    make, message = BAD[case]
    with pytest.raises(Unusable, match=message) as caught:
        rows_of(make())
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("x.npy", b"nothing", "x: .*x.npy cannot be read: "),
        ("x.parquet", b"nothing", "x: .*x.parquet cannot be read: ArrowInvalid"),
        (
            "x.csv",
            b"a,b\n1,2\n3\n",
            r"x.csv, row 3 \(counted from the first line as 1\), has 1 cells, and the first 2",
        ),
        ("x.csv", b"a,b\n1,z\n", "x.csv: column 'b' holds string"),
        ("x.csv", b"", "x.csv is empty"),
        ("x.csv", b",a\n0,1\n1,2\n", "x.csv: column 0 has no name, as an index has none: write the file with index=False"),
        ("x.csv", b",0,1\n0,1,2\n1,2,3\n", "x.csv: column 0 has no name, as an index has none: write the file with index=False"),
        ("x.csv", b"1.5,\n2.5,3.5\n", "x.csv: column 1 of the first line is missing among numbers: fill it, or leave"),
        ("x.csv", b"NA,1.5\n2.5,3.5\n", "x.csv: column 0 of the first line is missing among numbers"),
    ],
)
def test_a_file_that_cannot_be_read_is_one_sentence(name: str, content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(Unusable, match=message) as caught:
        rows_of(tmp_path / name)
    assert "\n" not in str(caught.value)


def test_rows_are_divided_by_what_they_are_or_as_is_said() -> None:
    rows = joined_of(np.random.default_rng(0).normal(size=(500, 2)))
    points = points_of(rows, None)
    assert 60 < len(points.test) < 140
    given = points_of(rows, joined_of(np.zeros((3, 2))))
    assert (len(given.train), len(given.test)) == (500, 3)
    for wrong, message in [
        (lambda: points_of(rows, joined_of(np.zeros((3, 4)))), r"held_out: its samples are \(4,\), those of x \(2,\)"),
        (lambda: points_of(joined_of([[1, 2], [1, 2]]), None), "x: all 2 rows are equal"),
        (lambda: points_of(joined_of([[1, 2]]), None), "x: 1 sample is too few"),
        (lambda: points_of(joined_of(FRAME), joined_of(FRAME[["b", "a"]])), "held_out: its columns are b, a, those of x a, b"),
    ]:
        with pytest.raises(Unusable, match=message):
            wrong()


def test_one_in_five_of_equal_rows_is_held_out_and_rows_that_are_added_move_none() -> None:
    """An array of four kinds of rows had all of a kind on one side, or was said to have too few rows."""
    kinds = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], dtype=bool)
    points = points_of(joined_of(np.repeat(kinds, 250, axis=0)))
    for kind in kinds.astype(np.float32):
        assert 25 < (points.test == kind).all(1).sum() < 75
    rows = np.random.default_rng(0).normal(size=(300, 2)).astype(np.float32)
    once, twice = held_out_of(rows, "x"), held_out_of(np.concatenate([rows, rows[:150], rows[:50]]), "x")
    np.testing.assert_array_equal(twice[:300], once)


def test_an_index_that_pandas_has_written_is_no_feature(tmp_path: Path) -> None:
    FRAME.to_parquet(tmp_path / "x.parquet")
    for given in (tmp_path / "x.parquet", pa.Table.from_pandas(FRAME[::2])):
        assert rows_of(given).form.columns == ("a", "b")


def test_a_first_line_that_counts_from_zero_is_one_of_names(tmp_path: Path) -> None:
    pd.DataFrame(ROWS).to_csv(tmp_path / "x.csv", index=False)
    rows = rows_of(tmp_path / "x.csv")
    assert rows.form.columns == ("0", "1")
    np.testing.assert_array_equal(rows.samples, ROWS)


def test_a_frame_may_have_columns_of_any_names() -> None:
    frame = pd.DataFrame(np.random.default_rng(0).normal(size=(50, 3)), columns=["held_out", "batch", "shape"])
    end = end_of(frame, None, "x")
    assert (end.form.columns, end.warnings) == (("held_out", "batch", "shape"), ())


def test_columns_that_a_flow_would_not_do_justice_to_are_named() -> None:
    rng = np.random.default_rng(0)
    array = np.stack([rng.normal(size=200), np.ones(200), 50 * rng.normal(size=200)], axis=1)
    (scales,) = end_of(array, None, "x").of_scales
    assert "x: the standard deviation of column 0 is less than a tenth of that of column 2" in scales
    assert "divide each by its deviation first" in scales
    (constant,) = end_of(array, None, "x").warnings
    assert "x: column 1 has one value only, and samples will vary about it" in constant
    assert end_of(pd.DataFrame(array), None, "x").warnings == (), "of a table constants come back"
    assert end_of(pd.DataFrame(array), None, "x").of_scales == (), "each column of a frame is coded in its own units"
    late = np.stack([1.7e9 + np.arange(200), np.arange(200)], axis=1)
    for given in (late, late.astype(np.int64), torch.from_numpy(late)):
        assert "x: column 0 has fewer different values in float32" in end_of(given, None, "x").warnings[-1]
    assert end_of(late - late.mean(axis=0), None, "x").warnings == ()
    assert end_of(late.astype(np.float32)[:, 1:], None, "x").warnings == ()


def test_images_that_are_not_in_unit_range_are_told() -> None:
    levels = np.arange(5 * 64, dtype=np.float32).reshape(5, 1, 8, 8) % 256
    (told,) = end_of(levels, None, "x").warnings
    assert "these images go from 0 to 255: write x / 127.5 - 1" in told
    assert end_of(levels / 127.5 - 1, None, "x").warnings == ()


def test_an_array_under_the_name_of_an_archive_is_read(tmp_path: Path) -> None:
    with (tmp_path / "x.npz").open("wb") as file:
        np.save(file, np.eye(3))
    np.testing.assert_array_equal(rows_of(tmp_path / "x.npz").samples, np.eye(3))


def test_whole_numbers_of_any_size_and_vectors_beside_columns_of_a_table() -> None:
    large = pa.table({"a": pa.array([2**60 + 1, 3]), "b": [1.0, 2.0]})
    np.testing.assert_allclose(rows_of(large).samples[:, 0], [2.0**60, 3])
    mixed = pa.table({"a": [1.0, 2.0], "v": pa.FixedSizeListArray.from_arrays(pa.array([1.0, 2, 3, 4]), 2)})
    with pytest.raises(Unusable, match="x: column 'v' holds vectors beside other columns: give it alone"):
        rows_of(mixed)
