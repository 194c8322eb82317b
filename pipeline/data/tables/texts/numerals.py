"""Numbers as people write them: with marks between thousands, with either decimal mark, with a dash for what is missing."""

import re
from collections.abc import Iterator

import pyarrow as pa
import pyarrow.compute as pc

GAPS = (",", ".", "'", "’", "\u00a0", "\u202f", " ", "_")  # noqa: RUF001  # an apostrophe as typographers set it
STYLES = tuple((gap, mark) for gap in GAPS for mark in ".," if gap != mark)
"""Pairs of what may stand between thousands, and of the decimal mark."""
BLANKS = ("", "-", "--", "–", "—", "?", ".", "*")  # noqa: RUF001  # dashes
"""Cells that among numbers say that there is none."""
LARGEST = 2.0**63


class Unclear(ValueError):
    """A number that can be read in two ways; the message says which.

    Attributes:
        text: as it is written.
    """

    def __init__(self, text: str, readings: tuple[str, str]) -> None:
        super().__init__(f"{text!r}, which can be read as {readings[0]} or as {readings[1]}: write it as one of these")
        self.text = text


def numbers_in(column: pa.ChunkedArray, decimal: str | None = None) -> pa.ChunkedArray | None:
    """Read a column of text whose cells are numbers, and dashes and the like; None where one of them is something else.

    Example:
        >>> numbers_in(pa.chunked_array([["1,234.5", "-", "7"]])).to_pylist()
        [1234.5, None, 7.0]
        >>> numbers_in(pa.chunked_array([["1,234", "a"]])) is None
        True

    Args:
        decimal: the decimal mark, where it is known.

    Raises:
        Unclear: a number can be read in two ways, such as 1,234.
    """
    cells = pc.utf8_trim_whitespace(column)
    is_blank = pc.is_in(cells, pa.array(BLANKS))
    distinct = pc.if_else(is_blank, None, cells).drop_null().unique()
    if not len(distinct) or pc.any(pc.match_substring_regex(distinct, r"^[-+]?0\d")).as_py():  # as identifiers begin
        return None
    if decimal != "," and pc.all(pc.match_substring_regex(distinct, _pattern("", "."))).as_py():  # as where no dash is among them
        return _plain(distinct).take(pc.index_in(cells, distinct))
    readings = list(_readings(distinct, decimal)) or list(_readings(distinct, None))
    if not readings:
        return None
    for other in readings[1:]:
        if (differs := pc.index(pc.not_equal(readings[0], other), True).as_py()) >= 0:
            both = (_written(reading[differs].as_py()) for reading in (readings[0], other))
            raise Unclear(distinct[differs].as_py(), (next(both), next(both)))
    return readings[0].take(pc.index_in(cells, distinct))


def _readings(distinct: pa.Array, decimal: str | None) -> Iterator[pa.Array]:
    """Read texts in every style that suits them all."""
    for gap, mark in STYLES:
        if decimal in (None, mark) and pc.all(pc.match_substring_regex(distinct, _pattern(gap, mark))).as_py():
            yield _plain(pc.replace_substring(pc.replace_substring(distinct, gap, ""), mark, "."))


def _plain(texts: pa.Array) -> pa.Array:
    """Read numbers without marks between thousands, whole ones as such where 64 bits hold them."""
    numbers = pc.replace_substring_regex(texts, r"^\+", "").cast(pa.float64())
    is_whole = not pc.any(pc.match_substring_regex(texts, "[.eE]")).as_py()
    return numbers.cast(pa.int64()) if is_whole and pc.max(pc.abs(numbers)).as_py() < LARGEST else numbers


def _pattern(gap: str, mark: str) -> str:
    """Write the pattern of numbers with a gap between thousands, of none where that is empty, and a decimal mark."""
    whole, mark = rf"\d{{1,3}}(?:{re.escape(gap)}\d{{3}})+|\d+" if gap else r"\d+", re.escape(mark)
    return rf"^[-+]?(?:(?:{whole})(?:{mark}\d*)?|{mark}\d+)(?:[eE][-+]?\d+)?$"


def _written(number: float) -> str:
    return f"{number:.15g}"
