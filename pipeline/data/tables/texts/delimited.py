"""Text files of tables as people write them: commas, semicolons, tabs or bars between cells, decimal points or commas, with a
line of names or without one.
"""

import csv as text_csv
import io
import re

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv

from components.parts.loading import describe_error
from pipeline.data.tables.texts.numerals import Unclear, numbers_in
from pipeline.errors import Unusable

SEPARATORS = (",", ";", "\t", "|")
LOOKED_AT = 1 << 16
"""Bytes of a file from which its separator is told."""
MOST_LINES = 100
MOST_AT_ONCE = (1 << 31) - 1
"""Bytes of one block, from which the types of columns are told: those of all rows, where a file has fewer."""
MISSING = ("", "na", "n/a", "null", "none", "nan")
"""Words for a missing value, in small letters."""
DECIMAL_COMMA, DECIMAL_POINT = re.compile(r"[-+]?\d+,\d+"), re.compile(r"[-+]?\d*\.\d+")
PERHAPS_THOUSANDS = re.compile(r"[-+]?[1-9]\d{0,2}[.,]\d{3}")
"""Numbers whose mark may stand for a fraction, or between thousands."""
SAYS_SEPARATOR = re.compile(rb"sep=(.)\r?\n")
"""The first line that some programs write for others of their kind."""
EXACT = 2.0**53
"""Whole numbers beyond it are not all doubles."""
BEGINNINGS = {b"\xff\xfe": "UTF-16", b"\xfe\xff": "UTF-16"}
OTHERS = {
    rb"PK\x03\x04|\xd0\xcf\x11\xe0": "a workbook or an archive",
    rb"%PDF-": "a PDF",
    rb"\x1f\x8b|\x28\xb5\x2f\xfd": "compressed, and its name does not end in .gz or .zst",
    rb"\s*<(?i:!doctype|html|\?xml)": "a page of the web, perhaps one that says what went wrong",
    rb"\s*[\[{]\s*[\"\[{]": "JSON",
}
"""What is no text of a table, by how it begins."""


def read(content: bytes, name: str) -> pa.Table:
    """Read the text of a table; its separator and decimal mark are told from its first lines.

    Numbers may have marks between thousands, and dashes or question marks among them are missing values. Whole numbers with zeros
    in front, or of more digits than 64 bits hold, are identifiers, and stay text.

    Example:
        >>> read("größe;art;preis\\n1,5;a;1.200,5\\n2,5;b;-\\n".encode(), "x.csv").to_pydict()
        {'größe': [1.5, 2.5], 'art': ['a', 'b'], 'preis': [1200.5, None]}

    Args:
        name: how messages call it.

    Raises:
        Unusable: it is not UTF-8, has rows of different lengths or numbers that can be read in two ways, or its first line may be
            names or numbers; says which line.
    """
    text = content.removeprefix(b"\xef\xbb\xbf")
    _require_utf8(text, name)
    if says_separator := SAYS_SEPARATOR.match(text):
        text = text[says_separator.end() :]
    lines = [line for line in text[:LOOKED_AT].decode(errors="ignore").splitlines()[:MOST_LINES] if line.strip()]
    if not lines:
        raise Unusable(f"{name} is empty")
    separator = says_separator[1].decode() if says_separator else _separator(lines)
    cells = list(text_csv.reader(lines[: -1 if len(text) > LOOKED_AT else None], delimiter=separator))
    options = csv.ReadOptions(
        use_threads=False, block_size=max(1 << 20, len(text) + 1)
    )  # of one block: types are those of all rows
    first = [cell.strip() for cell in cells[0]] if cells else []
    unnamed = _has_no_names(first, name)
    if not unnamed:
        _require_names(first, cells[1:], name)
    if unnamed:
        options.autogenerate_column_names = True
    parsing = csv.ParseOptions(delimiter=separator, newlines_in_values=b'"' in text)
    decimal = _decimal(cells, separator)
    converting = csv.ConvertOptions(strings_can_be_null=True, quoted_strings_can_be_null=False, decimal_point=decimal or ".")
    marks: list[str] = []
    try:
        table = csv.read_csv(pa.BufferReader(text), options, parsing, converting)
        if marks := _identifiers(table, text, (options, parsing)):
            converting.column_types = dict.fromkeys(marks, pa.string())
            table = csv.read_csv(pa.BufferReader(text), options, parsing, converting)
    except pa.ArrowInvalid as error:
        raise _refused(error, name) from error
    if unnamed:
        table = table.rename_columns([str(i) for i in range(table.num_columns)])
    table = _tidied(table, name)
    for number, column in enumerate(table.column_names):
        if pa.types.is_string(table[number].type) and column not in marks:
            try:
                numbers = numbers_in(table[number], decimal)
            except Unclear as unclear:
                row = pc.index(pc.utf8_trim_whitespace(table[number]), unclear.text).as_py() + (not unnamed)
                line = _line_of(row, text, separator)
                raise Unusable(f"{name}, line {line + bool(says_separator)}, column {column!r} has {unclear}") from None
            table = table if numbers is None else table.set_column(number, column, numbers)
    return table


def _tidied(table: pa.Table, name: str) -> pa.Table:
    """Leave out columns without a name and without a value, as lines that end with a separator have, and blanks around names.

    Raises:
        Unusable: a column with values has no name.
    """
    empty = [
        number for number, column in enumerate(table.column_names) if not column.strip() and pa.types.is_null(table[number].type)
    ]
    table = table.select([number for number in range(table.num_columns) if number not in empty])
    names = [column.strip() for column in table.column_names]
    if "" in names:
        number = names.index("")
        what = "as an index has none: write the file with index=False" if number == 0 else "give it one in the first line"
        raise Unusable(f"{name}: column {number} has no name, {what}")
    if any(column.startswith(" ") for column in table.column_names[1:]):  # divided by a separator and a blank
        for number, field in enumerate(table.schema):
            if pa.types.is_string(field.type):
                table = table.set_column(number, field, pc.utf8_trim_whitespace(table[number]))
    return table.rename_columns(names)


def _line_of(row: int, text: bytes, separator: str) -> int:
    """Give the number, from 1, of the line that a row begins in."""
    reader = text_csv.reader(io.StringIO(text.decode(), newline=""), delimiter=separator)
    begins, count = 1, 0
    for cells in reader:
        count += bool(cells)
        if count > row:
            break
        begins = reader.line_num + 1
    return begins


def _identifiers(table: pa.Table, text: bytes, options: tuple[csv.ReadOptions, csv.ParseOptions]) -> list[str]:
    """Find the columns of whole numbers that only identifiers are: with zeros in front, or with more digits than 64 bits hold."""
    if len(set(table.column_names)) < table.num_columns:
        return []
    with_zeros = re.search(rb"(^|[^\d.])0\d", text) is not None
    whole = [field.name for field in table.schema if with_zeros and pa.types.is_integer(field.type)]
    large = [field.name for field in table.schema if pa.types.is_floating(field.type)]
    large = [name for name in large if (pc.max(pc.abs(table[name])).as_py() or 0.0) > EXACT]
    if not whole + large:
        return []
    converting = csv.ConvertOptions(include_columns=whole + large, column_types=dict.fromkeys(whole + large, pa.string()))
    words = csv.read_csv(pa.BufferReader(text), *options, converting)
    patterns = {**dict.fromkeys(whole, r"^\s*0\d"), **dict.fromkeys(large, r"^\s*\d{16,}\s*$")}
    return [name for name, pattern in patterns.items() if pc.any(pc.match_substring_regex(words[name], pattern)).as_py()]


def _require_utf8(text: bytes, name: str) -> None:
    """Name the line of the first byte that is not UTF-8, or what else the file is."""
    for beginning, what in OTHERS.items():
        if re.match(beginning, text):
            raise Unusable(f"{name} is no text of a table, but {what}: write it as CSV")
    if kind := BEGINNINGS.get(text[:2]):
        raise Unusable(f"{name} is in {kind}: write it as UTF-8")
    try:
        text.decode()
    except UnicodeDecodeError as error:
        line = text.count(b"\n", 0, error.start) + 1
        raise Unusable(f"{name}, line {line}, is not UTF-8: write it as UTF-8, as with iconv -f latin1 -t utf-8") from None


def _separator(lines: list[str]) -> str:
    """Find the letter that divides most lines into as many cells as the first, and into most."""

    def cells(separator: str) -> tuple[int, int]:
        counts = [len(row) for row in text_csv.reader(lines, delimiter=separator)]
        return (sum(count == counts[0] for count in counts) if counts[0] > 1 else 0, counts[0])

    return max(SEPARATORS, key=cells)


def _decimal(cells: list[list[str]], separator: str) -> str | None:
    """Tell the decimal mark by the numbers whose mark can be no other; None where there are none, or some of either kind."""
    words = [word for row in cells for cell in row if not PERHAPS_THOUSANDS.fullmatch(word := cell.strip())]
    commas, points = (any(mark.fullmatch(word) for word in words) for mark in (DECIMAL_COMMA, DECIMAL_POINT))
    if commas == points:
        return None
    return "," if commas else "."


def _has_no_names(first: list[str], name: str) -> bool:
    """Say whether the first line is numbers, which are then no names of columns.

    Raises:
        Unusable: it may be either.
    """
    counted = [str(number) for number in range(len(first))]
    numbers, missing = [_is_number(each) for each in first], [each.lower() in MISSING for each in first]
    if first == counted:  # as a frame without names of its own is written
        return False
    if first and all(numbers):
        return True
    of_index = bool(first) and not first[0] and first[1:] == counted[:-1]
    if any(numbers) and not of_index and all(is_number or gap for is_number, gap in zip(numbers, missing, strict=True)):
        raise Unusable(
            f"{name}: column {missing.index(True)} of the first line is missing among numbers: fill it, or leave the row out; "
            "and if that is a line of names, give each column one"
        )
    return False


def _require_names(first: list[str], rows: list[list[str]], name: str) -> None:
    """Refuse a first line that looks like a row: of it, numbers stand above numbers, and words among those below them.

    Raises:
        Unusable: it does; read as names it would be lost as a row.
    """
    below = [{row[number].strip() for row in rows if number < len(row)} for number in range(len(first))]
    numbers = [_is_number(cell) for cell in first]
    words = [cell for cell, is_number in zip(first, numbers, strict=True) if not is_number]
    if not words or not any(numbers):
        return
    of_values = all(
        any(map(_is_number, values)) if is_number else cell in values
        for cell, is_number, values in zip(first, numbers, below, strict=True)
    )
    if of_values:
        shown = ", ".join(first[:4])
        raise Unusable(f"{name}: the first line looks like a row, not like names of columns ({shown}): write names above it")


def _is_number(text: str) -> bool:
    try:
        float(text.replace(",", "."))
    except ValueError:
        return False
    return text.lower() not in MISSING


def _refused(error: pa.ArrowInvalid, name: str) -> Unusable:
    """Say which row has another number of cells."""
    ragged = re.search(r"Row #(\d+): Expected (\d+) columns, got (\d+)", str(error))
    if ragged:
        row, expected, got = ragged.groups()
        return Unusable(f"{name}, row {row} (counted from the first line as 1), has {got} cells, and the first {expected}")
    return Unusable(f"{name} cannot be read: {describe_error(error)}")
