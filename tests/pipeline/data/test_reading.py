"""Tables in files as people have them: every format, patterns and folders, and what cannot be read in one sentence."""

import gzip
from collections.abc import Callable
from pathlib import Path

import fsspec
import numpy as np
import pyarrow as pa
import pytest
from pyarrow import feather, parquet

from pipeline.data.tables import reading
from pipeline.data.tables.reading import read, read_any
from pipeline.errors import Unusable

TABLE = pa.table({"x": [1.5, 2.5, 3.5], "n": [1, 2, 3], "word": ["a", "b", "c"]})
TEXT = b"x,n,word\n1.5,1,a\n2.5,2,b\n3.5,3,c\n"


def compressed(text: bytes) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as packed:
        packed.write(text)
    return bytes(sink.getvalue())


@pytest.mark.parametrize(
    ("file", "write"),
    [
        ("a.parquet", lambda path: parquet.write_table(TABLE, path)),
        ("a.feather", lambda path: feather.write_feather(TABLE, str(path))),
        ("a.arrow", lambda path: feather.write_feather(TABLE, str(path), compression="uncompressed")),
        ("a.csv", lambda path: path.write_bytes(TEXT)),
        ("A.CSV", lambda path: path.write_bytes(b"\xef\xbb\xbf" + TEXT.replace(b"\n", b"\r\n"))),
        ("a.tsv", lambda path: path.write_bytes(TEXT.replace(b",", b"\t"))),
        ("a.csv.gz", lambda path: path.write_bytes(gzip.compress(TEXT))),
        ("a.csv.zst", lambda path: path.write_bytes(compressed(TEXT))),
        ("semicolons.csv", lambda path: path.write_bytes(TEXT.replace(b",", b";").replace(b".", b","))),
        ("bars.txt", lambda path: path.write_bytes(TEXT.replace(b",", b"|"))),
        ("quoted.csv", lambda path: path.write_bytes(TEXT.replace(b"a", b'"a"'))),
    ],
)
def test_every_format_gives_the_same_table(file: str, write, tmp_path: Path) -> None:
    write(tmp_path / file)
    assert read(str(tmp_path / file)).to_pydict() == TABLE.to_pydict()


def test_arrays_become_numbered_columns_and_an_npz_of_columns_keeps_their_names(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.eye(2))
    np.savez(tmp_path / "one.npz", x=np.eye(2))
    np.savez(tmp_path / "columns.npz", x=np.arange(3), y=np.ones(3))
    np.save(tmp_path / "images.npy", np.zeros((2, 1, 8, 8)))
    for file in ("a.npy", "one.npz"):
        assert read(str(tmp_path / file)).to_pydict() == {"0": [1.0, 0.0], "1": [0.0, 1.0]}
    assert read(str(tmp_path / "columns.npz")).column_names == ["x", "y"]
    assert read_any(str(tmp_path / "images.npy")).shape == (2, 1, 8, 8)
    with pytest.raises(Unusable, match="not one of the shape"):
        read(str(tmp_path / "images.npy"))


def test_a_text_without_names_and_missing_cells(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("1,2\n3,4\n")
    assert read(str(tmp_path / "a.csv")).to_pydict() == {"0": [1, 3], "1": [2, 4]}
    (tmp_path / "b.csv").write_text('x,word\n1,\nNA,"NA"\n')
    assert read(str(tmp_path / "b.csv")).to_pydict() == {"x": [1, None], "word": [None, "NA"]}


def test_types_are_those_of_all_rows(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("x\n" + "1\n" * 2_000_000 + "1.5\n")
    assert read(str(tmp_path / "a.csv")).schema.field("x").type == pa.float64()


@pytest.mark.parametrize("location", ["{}", "{}/", "{}/*.parquet", "{}/part-*.parquet", "file://{}"])
def test_a_folder_or_a_pattern_is_one_table_in_the_order_of_names(location: str, tmp_path: Path) -> None:
    for number in (1, 0, 2):
        parquet.write_table(TABLE.slice(number, 1), tmp_path / f"part-{number}.parquet")
    (tmp_path / "_SUCCESS").touch()
    (tmp_path / ".part.parquet").write_text("no table")
    assert read(location.format(tmp_path)).to_pydict() == TABLE.to_pydict()


def test_a_table_is_read_from_a_storage(s3_here: None, new_bucket: Callable[[], str]) -> None:
    s3 = f"s3://{new_bucket()}"
    for number in (1, 0, 2):
        with fsspec.open(f"{s3}/cells/part-{number}.csv.gz", "wb") as file:
            file.write(gzip.compress(b"".join(line for i, line in enumerate(TEXT.splitlines(True)) if i in (0, number + 1))))
    for location in (f"{s3}/cells", f"{s3}/cells/*.csv.gz", f"{s3}/*/part-*"):
        assert read(location).to_pydict() == TABLE.to_pydict()
    with pytest.raises(Unusable, match=r"there is no file"):
        read(f"{s3}/cells/other.csv")


def test_a_storage_that_refuses_asks_for_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(*_: object) -> None:
        raise PermissionError("Access Denied")

    monkeypatch.setattr(reading, "stamp_of", denied)
    with pytest.raises(Unusable, match="Access Denied; are the credentials of this storage set"):
        read("/x.csv")


def test_columns_are_taken_in_the_order_asked_for(tmp_path: Path) -> None:
    path = str(tmp_path / "a.parquet")
    parquet.write_table(TABLE, path)
    assert read(path, columns=["word", "x"]).column_names == ["word", "x"]
    with pytest.raises(Unusable, match="has no column 'wrod'; it has x, n, word; did you mean word"):
        read(path, columns=["wrod"])


BAD = {
    "missing.csv": (None, "there is no file"),
    "a.xlsx": (b"", r"must end in one of \.parquet"),
    "a.csv": (b"x,y\n1,2\n3,4,5\n", r"row 3 \(counted from the first line as 1\), has 3 cells, and the first 2"),
    "b.csv": ("x,y\n1,2\ngrün,4\n".encode("latin1"), r"line 3, is not UTF-8"),
    "c.csv": (b"", "is empty"),
    "d.csv": ("x\n1\n".encode("utf-16"), "is in UTF-16"),
    "e.csv": (b"1,,3\n4,5,6\n", "column 1 of the first line is missing among numbers"),
    "f.csv": (b",x\n0,1\n1,2\n", "column 0 has no name"),
    "g.csv": (b"x,x\n0,1\n1,2\n", "two columns are called 'x'"),
    "h.parquet": (b"no parquet", "cannot be read: ArrowInvalid: .*magic bytes"),
    "i.csv.gz": (b"no gzip", "cannot be read"),
    "j.npy": (b"no numpy", "cannot be read"),
    "k.npz": (b"no numpy", "cannot be read"),
    "l.h5ad": (b"", "files of AnnData need its package|cannot be read"),
}


@pytest.mark.parametrize("file", BAD)
def test_what_is_no_table_is_refused_in_one_sentence(file: str, tmp_path: Path) -> None:
    content, told = BAD[file]
    if content is not None:
        (tmp_path / file).write_bytes(content)
    with pytest.raises(Unusable, match=told) as refused:
        read(str(tmp_path / file))
    assert "\n" not in str(refused.value)


def test_shards_that_do_not_fit_are_named(tmp_path: Path) -> None:
    parquet.write_table(TABLE, tmp_path / "a.parquet")
    parquet.write_table(TABLE.rename_columns(["x", "n", "other"]), tmp_path / "b.parquet")
    with pytest.raises(Unusable, match=r"b\.parquet has the columns x, n, other, and a\.parquet x, n, word"):
        read(str(tmp_path))
    parquet.write_table(TABLE.set_column(2, "word", pa.array([[1], [2], [3]])), tmp_path / "b.parquet")
    with pytest.raises(Unusable, match="types that do not go together"):
        read(str(tmp_path))
    (tmp_path / "c.csv").write_bytes(TEXT)
    with pytest.raises(Unusable, match=r"files of several kinds, \.csv, \.parquet"):
        read(str(tmp_path))


def test_a_file_that_changes_while_it_is_read_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.csv").write_bytes(TEXT)
    system = fsspec.filesystem("file")
    real = type(system).cat_file

    def growing(self, path, **others):
        content = real(self, path, **others)
        with open(path, "ab") as file:
            file.write(b"4.5,4,d\n")
        return content

    monkeypatch.setattr(type(system), "cat_file", growing)
    with pytest.raises(Unusable, match="has changed while it was read"):
        read(str(tmp_path / "a.csv"))
