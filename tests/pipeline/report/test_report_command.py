"""`python -m pipeline report`: the page, the JSON, and every way in which files do not go together."""

import json
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import made_tables
import numpy as np
import pyarrow as pa
import pytest
from pyarrow import csv, parquet

from deploy.rules import Rule
from pipeline.command.cli import main

RNG = np.random.default_rng(0)
SMALL = pa.table({"x": RNG.normal(size=60), "kind": RNG.choice(["a", "b"], 60), "n": RNG.integers(0, 9, 60)})


@pytest.fixture
def report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[int, Path]]:
    """Run the command on tables; gives its exit code and the page."""
    monkeypatch.chdir(tmp_path)

    def run(*flags: str, **tables: pa.Table) -> tuple[int, Path]:
        words = []
        for name, table in tables.items():
            parquet.write_table(table, f"{name}.parquet")
            words += [f"--{name}", f"{name}.parquet"]
        page = tmp_path / "report.html"
        return main(["report", *words, "--to", str(page), *flags]), page

    return run


class Reader(HTMLParser):
    """What a page holds: its words, its elements, what it asks for."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.words, self.tags, self.asked, self.open = "", [], [], []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.asked += [value for name, value in attrs if name in ("src", "href") and not (value or "").startswith("data:")]

    def handle_data(self, data: str) -> None:
        self.words += data.replace("\xa0", " ")


@pytest.mark.slow
def test_the_page_needs_nothing_and_holds_verdict_figures_and_pictures_and_rules_take_its_metrics(
    report: Callable[..., tuple[int, Path]],
) -> None:
    code, page = report("--json", "found.json", "--predict", "species", real=made_tables.HELD_OUT, generated=made_tables.OTHERS)
    assert code == 0
    text = page.read_text()
    read, found = Reader(text), json.loads(Path("found.json").read_text())
    assert not read.asked
    assert not re.search(r"https?://|@import|url\(", text)
    assert found["headline"] in read.words
    assert all(remark["text"] in read.words for remark in found["remarks"])
    names = {name.removesuffix("_floor") for name in found["metrics"]}
    assert all(name in read.words for name in names)
    assert read.tags.count("svg") > len(names) + 7
    assert "prefers-color-scheme: dark" in text
    assert "@media print" in text
    assert len(text) < 500_000
    metrics = found["metrics"]  # what promotion rules take
    for text in ("c2st_auc <= 0.55", "encoded_w2 <= 1.2 * floor", "copied_share <= 0.01"):
        rule = Rule.parse(text)
        bound = rule.bound(metrics, None)
        assert bound is not None
        assert rule.holds(metrics[rule.metric], bound)


@pytest.mark.slow
def test_equal_files_give_equal_pages(report: Callable[..., tuple[int, Path]]) -> None:
    _, page = report(real=SMALL, generated=SMALL)
    first = page.read_bytes()
    report(real=SMALL, generated=SMALL)
    assert page.read_bytes() == first


def test_names_and_categories_are_shown_as_they_are(report: Callable[..., tuple[int, Path]]) -> None:
    evil = '<script>alert("x")</script>'
    table = SMALL.rename_columns([evil, "<b>&amp;", "n"]).set_column(2, "'\"><img>", pa.array(["<i>", "</svg>"] * 30))
    code, page = report(real=table, generated=table)
    read = Reader(page.read_text())
    assert code == 0
    assert not {"script", "img"} & set(read.tags)
    assert evil in read.words
    assert "<b>&amp;" in read.words


@pytest.mark.slow
def test_a_large_file_is_sampled_and_any_kind_of_column_is_drawn(report: Callable[..., tuple[int, Path]]) -> None:
    def table(n: int, seed: int, *, all_missing: bool = False) -> pa.Table:
        rng = np.random.default_rng(seed)
        days = np.datetime64("2020-01-01") + rng.integers(0, 900, n).astype("timedelta64[D]")
        return pa.table(
            {
                "day": days,
                "time": pa.array(rng.integers(0, 86_400, n).astype(np.int32), pa.time32("s")),
                "written": np.strings.add(rng.integers(10, 29, n).astype(str), ".12.2023"),
                "town": np.array([f"town {i}" for i in range(40)])[np.minimum(39, rng.geometric(0.1, n))],
                "coded": pa.array(rng.choice(["u", "v"], n)).dictionary_encode(),
                "same": np.full(n, 7),
                "spike": np.where(rng.random(n) < 0.5, 0.0, rng.pareto(1.0, n)),
                "some": pa.array(rng.normal(size=n), mask=np.ones(n, bool) if all_missing else rng.random(n) < 0.5),
            }
        )

    code, page = report("--json", "found.json", real=table(7000, 0), generated=table(3000, 1, all_missing=True))
    found = json.loads(Path("found.json").read_text())
    assert code == 0
    assert found["rows"] == {"--real": 7000, "--generated": 3000}
    assert found["rows_compared"] == 2500
    assert "“some” is missing in 100 % of the generated rows" in " ".join(each["text"] for each in found["remarks"])
    assert "2021-01" in Reader(page.read_text()).words


def test_csv_is_read_beside_parquet(report: Callable[..., tuple[int, Path]]) -> None:
    csv.write_csv(SMALL, "made.csv")
    code, page = report("--generated", "made.csv", real=SMALL)
    assert code == 0
    assert page.is_file()


def with_column(name: str, values: object) -> pa.Table:
    return SMALL.append_column(name, pa.array(values))


ONE = {"real": SMALL.select(["x"]), "generated": SMALL.select(["x"])}
REFUSED: dict[str, tuple[dict[str, pa.Table], tuple[str, ...], str]] = {
    "no common column": (
        {"real": SMALL, "generated": SMALL.rename_columns(["a", "b", "c"])},
        (),
        "--generated and --real have no column in common: 'a', 'b', 'c'; 'x', 'kind', 'n'",
    ),
    "a column too few": (
        {"real": SMALL, "generated": SMALL.drop_columns(["n"])},
        (),
        "--generated lacks what --real has: 'n'; to judge the others, --drop n",
    ),
    "a column too many": (
        {"real": SMALL.drop_columns(["n", "kind"]), "generated": SMALL},
        (),
        "--real lacks what --generated has: 'kind', 'n'; to judge the others, --drop kind n",
    ),
    "another type": (
        {"real": SMALL, "generated": SMALL.set_column(2, "n", pa.array(["1"] * 60))},
        (),
        "column 'n' holds numbers in --real and categories in --generated; leave it out with --drop n",
    ),
    "no row": (
        {"real": SMALL, "generated": SMALL.slice(0, 0)},
        (),
        "--generated has 0 rows; a report needs at least 20 of each file",
    ),
    "one row": ({"real": SMALL.slice(0, 1), "generated": SMALL}, (), "--real has 1 row; a report needs at least 20 of each file"),
    "constant": (
        {"real": pa.table({"x": [1.0] * 60}), "generated": SMALL.select(["x"])},
        (),
        "no column has values that differ: there is nothing to learn",
    ),
    "all missing": (
        {"real": with_column("gone", [None] * 60), "generated": with_column("gone", [None] * 60)},
        (),
        "the column gone has no value that is there; leave out with --drop gone",
    ),
    "text": (
        {"real": with_column("id", [f"row {i}" for i in range(60)]), "generated": with_column("id", ["x"] * 60)},
        (),
        "the column id is an identifier: 60 different values in 60 rows, such as row 0; leave out with --drop id",
    ),
    "infinite": (
        {"real": SMALL, "generated": SMALL.set_column(0, "x", pa.array([np.inf] * 60))},
        (),
        "column 'x' of --generated has infinite values or numbers beyond 1e+150; leave it out with --drop x",
    ),
    "lists": (
        {"real": with_column("v", [[1]] * 60), "generated": with_column("v", [[1]] * 60)},
        (),
        "column 'v' of --real holds list<element: int64>, which no report compares; leave it out with --drop v",
    ),
    "nothing left": (ONE, ("--drop", "x"), "--real has no column to judge"),
    "no such column to drop": (ONE, ("--drop", "y"), "--drop must name columns of the files, not 'y'"),
    "no such column to predict": (ONE, ("--predict", "y"), "--predict must name a column that is judged (x), not 'y'"),
    "nothing to predict from": (ONE, ("--predict", "x"), "--predict x needs a second column to predict it from"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_does_not_go_together_is_one_sentence(
    case: str, report: Callable[..., tuple[int, Path]], capsys: pytest.CaptureFixture[str]
) -> None:
    tables, flags, sentence = REFUSED[case]
    code, page = report("--json", "found.json", *flags, **tables)
    assert (code, capsys.readouterr().err) == (2, f"error: {sentence}\n")
    assert not page.exists()
    assert not Path("found.json").exists()


def test_files_that_are_not_there_or_cannot_be_written_are_one_sentence(
    report: Callable[..., tuple[int, Path]], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    code, page = report("--generated", "nothing.parquet", real=SMALL)
    told = capsys.readouterr().err
    assert code == 2
    assert "nothing.parquet" in told
    assert told.count("\n") == 1
    assert not page.exists()
    parquet.write_table(SMALL, "real.parquet")
    assert main(["report", "--real", "real.parquet", "--generated", "real.parquet", "--to", str(tmp_path)]) == 2
    assert capsys.readouterr().err == f"error: --to must be a file that can be written, not {tmp_path}\n"


def test_a_column_that_is_dropped_is_not_judged(report: Callable[..., tuple[int, Path]]) -> None:
    identified = with_column("id", [f"row {i}" for i in range(60)])
    code, _ = report("--drop", "id", "--json", "found.json", real=identified, generated=SMALL)
    assert code == 0
    assert [column["name"] for column in json.loads(Path("found.json").read_text())["columns"]] == ["x", "kind", "n"]
