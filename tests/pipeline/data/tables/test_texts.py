"""Text files as people write them: numbers with marks between thousands, dashes, odd first lines, dates of many forms."""

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.data.tables.codes import dates
from pipeline.data.tables.encoding import Encoding
from pipeline.data.tables.formats import parsed
from pipeline.data.tables.inference import infer
from pipeline.data.tables.texts.numerals import GAPS, numbers_in
from pipeline.errors import Unusable


def read(text: str) -> dict[str, list[Any]]:
    table = parsed(text.encode(), ".csv", "x.csv")
    assert isinstance(table, pa.Table)
    return table.to_pydict()


READ = {
    "English thousands": ('n,x\n1,"1,234.5"\n2,"12"\n', {"n": [1, 2], "x": [1234.5, 12.0]}),
    "English thousands beside decimals": ('n,x\n1.25,"1,234"\n2.5,"1,000"\n', {"n": [1.25, 2.5], "x": [1234, 1000]}),
    "millions": ('x\n"1,234,567"\n"999"\n', {"x": [1234567, 999]}),
    "German thousands": ("n;x\n1;1.234,5\n2;12\n", {"n": [1, 2], "x": [1234.5, 12.0]}),
    "German thousands beside decimals": ("n;x\n1,5;1.234\n2,25;5.000\n", {"n": [1.5, 2.25], "x": [1234, 5000]}),
    "Swiss": ("x,n\n1'234.5,1\n7,2\n", {"x": [1234.5, 7.0], "n": [1, 2]}),
    "French": ("x;n\n1\u202f234,5;1\n7;2\n", {"x": [1234.5, 7.0], "n": [1, 2]}),
    "both decimal marks": ("x;y\n1,5;2.5\n2,5;3.25\n", {"x": [1.5, 2.5], "y": [2.5, 3.25]}),
    "three decimals": ("x\n1.234\n2.345\n", {"x": [1.234, 2.345]}),
    "three decimals and a question mark": ("x\n1.234\n?\n", {"x": [1.234, None]}),
    "dashes": ("n,x\n1,-\n-,2.5\n3,–\n", {"n": [1, None, 3], "x": [None, 2.5, None]}),  # noqa: RUF001  # a long dash
    "plus signs": ("n,x\n+1,a\n-2,b\n", {"n": [1, -2], "x": ["a", "b"]}),
    "a dash among words": ("n,x\n1,-\n2,a\n", {"n": [1, 2], "x": ["-", "a"]}),
    "codes with zeros in front": ("n,x\n1,007\n2,120\n", {"n": [1, 2], "x": ["007", "120"]}),
    "numbers of twenty digits": ("n,x\n1,12345678901234567891\n2,12\n", {"n": [1, 2], "x": ["12345678901234567891", "12"]}),
    "its separator is said": ("sep=;\r\na;b\r\n1,5;2\r\n", {"a": [1.5], "b": [2]}),
    "lines end with a separator": ("a,b,\n1,2,\n3,4,\n", {"a": [1, 3], "b": [2, 4]}),
    "blanks after separators": ("a, b, c\n1, 2, x y\n3, 4, z\n", {"a": [1, 3], "b": [2, 4], "c": ["x y", "z"]}),
}


@pytest.mark.parametrize("case", READ)
def test_what_is_meant_is_read(case: str) -> None:
    text, expected = READ[case]
    assert read(text) == expected


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('n,x\n1,"1,234"\n2,"1,000"\n', "x.csv, line 2, column 'x' has '1,234', which can be read as 1234 or as 1.234"),
        ('t,x\n"a\nb",7\nc,"1,500"\n', "x.csv, line 4, column 'x' has '1,500', which can be read as 1500 or as 1.5"),
        ("sep=;\nx\n12\n1,234\n", "x.csv, line 4, column 'x' has '1,234'"),
        ("x;n\n1,234;1\n\n2,500;2\n", "x.csv, line 2, column 'x' has '1,234'"),
        (",x\n1,2\n", "column 0 has no name, as an index has none"),
        ("x,,y\n1,2,3\n", "column 1 has no name, give it one in the first line"),
        ("0.5,red\n1.5,red\n2,blue\n", "the first line looks like a row, not like names of columns (0.5, red)"),
        ("red;5\nred;2\nblue;7\n", "the first line looks like a row"),
        ("<!DOCTYPE html><p>Not found", "is no text of a table, but a page of the web"),
        ('[{"x": 1}]', "is no text of a table, but JSON"),
        ("PK\x03\x04...", "is no text of a table, but a workbook or an archive"),
    ],
)
def test_what_can_be_read_in_two_ways_is_refused_with_its_line(text: str, told: str) -> None:
    with pytest.raises(Unusable) as refused:
        read(text)
    assert told in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("text", ["land,2019,2020\nIT,1,2\nFR,3,4\n", "2019,b\n1,x\n2,y\n", "<5,[a\n1,2\n", "a,b\na,b\n"])
def test_a_line_of_names_may_hold_numbers_and_marks(text: str) -> None:
    assert list(read(text)) == text.partition("\n")[0].split(",")


@given(
    st.lists(st.integers(-(10**12), 10**12), min_size=1, max_size=20),
    st.sampled_from([gap for gap in GAPS if gap != "."]),
)
def test_numbers_with_any_gap_come_back(numbers: list[int], gap: str) -> None:
    texts = [f"{number / 4:_.2f}".replace("_", gap) for number in numbers]
    found = numbers_in(pa.chunked_array([texts]))
    assert found is not None
    np.testing.assert_array_equal(np.asarray(found, np.float64), np.array(numbers) / 4)


WRITTEN = {
    "%-d.%-m.%Y": ["1.2.2024", "31.12.2023"],
    "%d.%m.%y": ["01.02.24", "31.12.99"],
    "%-m/%-d/%Y": ["1/2/2024", "12/31/2023"],
    "%-d/%-m/%Y %-H:%M": ["31/1/2024 9:05", "1/12/2024 0:30"],
    "%m/%d/%Y %I:%M %p": ["01/31/2024 09:05 PM", "12/01/2024 12:30 AM"],
    "%d.%m.%Y": ["01.02.2024", "31.12.2023"],
    "%-d %b %Y": ["1 Feb 2024", "31 Dec 2023"],
}


@pytest.mark.parametrize("form", WRITTEN)
def test_dates_of_a_known_form_come_back_as_they_were_written(form: str) -> None:
    texts = WRITTEN[form] * 15
    table = pa.table({"day": texts, "x": np.arange(30.0)})
    assert dates.forms_of(table["day"].unique()) == [form]
    schema = infer(table)
    assert (schema.column("day").kind, schema.column("day").format) == ("datetime", form)
    encoding = Encoding.fit(schema, table)
    assert encoding.decode(encoding.encode(table, np.random.default_rng(0)))["day"].to_pylist() == texts


N = np.arange(60)


@pytest.mark.parametrize(
    ("column", "told"),
    [
        (
            [f"2024-01-{1 + i % 28:02}" if i % 2 else f"{1 + i % 28:02}.01.2024" for i in N],
            "has dates of no form that is known, or of",
        ),
        ([f"{1 + i % 3:02}/{1 + i % 12:02}/2024" for i in N % 12], "dates that can be read as %d/%m/%Y or as %m/%d/%Y"),
        ([f"{1 + i % 3:02}-{1 + i % 12:02}-24" for i in N], "dates that can be read as %d-%m-%y or as %y-%m-%d"),
        ([f"{1.5 * (i % 25)}" for i in N], "has numbers that are written as text, such as 0.0 and 36.0"),
        ([f"{i % 25} %" for i in N], "has numbers that are written as text"),
        ([f"${i % 25}.50" for i in N], "has numbers that are written as text"),
        ([f"{i % 25}" if i % 9 else "unknown" for i in N], "has words among numbers, such as unknown"),
    ],
)
def test_text_that_is_meant_otherwise_is_no_category(column: list[str], told: str) -> None:
    with pytest.raises(Unusable, match=told) as refused:
        infer(pa.table({"c": column, "x": N * 0.5}))
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    "column",
    [
        [f"{80331 + 7 * (i % 25)}" for i in N],
        [f"{i % 25:05}" for i in N],
        [f"10.0.0.{i % 25}" for i in N],
        [f"{i % 7}" for i in N],
        [f"{i % 25} m" for i in N],
    ],
)
def test_codes_and_few_numbers_of_text_are_categories(column: list[str]) -> None:
    assert infer(pa.table({"c": column, "x": N * 0.5})).column("c").kind == "category"
