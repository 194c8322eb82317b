"""What each column of a table is, found by looking at it.

The first rule that fits decides:

1. asked to be dropped; all missing, nested or infinite, which is refused; one value, a constant;
2. dates; truth values, 0 and 1;
3. text: a category, a date in a known form, or refused as an identifier or as free text;
4. whole numbers, refused as an identifier where none comes twice and they count the rows; other numbers.

A number becomes a coordinate by `transform_of`.
"""

from collections.abc import Collection
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.data.tables.codes import arrow_types, dates
from pipeline.data.tables.codes.conform import plain as made_plain
from pipeline.data.tables.codes.fitting import evenly
from pipeline.data.tables.codes.grids import grid_of, tidy
from pipeline.data.tables.codes.marginals import transform_of
from pipeline.data.tables.codes.units import SECONDS, Real, cell, stored_as, unit_of, written
from pipeline.data.tables.schema import Column, Schema
from pipeline.errors import Unusable
from pipeline.recipes.values import like, meant, shown

LEAST_HOT, MOST_HOT = 4, 32
"""Categories that have a coordinate each; fewer, and more, share one."""
MOST_CATEGORIES = 10_000
LARGEST = 1e150
"""Numbers beyond it are marks, not measurements, and their squares are infinite."""
NUMERAL = (
    r"^\s*[-+]?[%€$£]?\s?(?:(?:[1-9]\d{0,2}(?:[,.'\s\x{00A0}\x{202F}]\d{3})+|[1-9]\d{0,14}|0)(?:[.,]\d+)?|[.,]\d+)\s*[%€$£]?\s*$"
)
"""How a number looks in text."""
CODE, LEAST_IN_CODE = r"^\s*0\d", 4
"""How an identifier begins, and digits of one where all have as many."""
FEW = 20
"""Different numbers or dates of text that can be meant as categories."""
WORDS_OF_TEXT = 3
"""From so many words in a value on, on average, it is free text."""


class Unfit(ValueError):
    """A column cannot be learnt: the message says why, after its name."""


def infer(table: pa.Table, *, drop: Collection[str] = (), how: str = "leave out with --drop") -> Schema:
    """Find out what each column of a table is.

    >>> infer(pa.table({"x": [0.5, 2.0], "n": [1, 1]})).column("n").kind
    'constant'

    Args:
        drop: columns to leave out.
        how: a person can do that, for the message that names columns which cannot be learnt.

    Raises:
        Unusable: names the columns, the reasons and what to do.
    """
    if table.num_rows < 2:
        raise Unusable(f"a table must have at least two rows, not {table.num_rows}")
    names = table.column_names
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise Unusable(f"two columns are called {shown(twice)}")
    for name in drop:
        if name not in names:
            raise Unusable(f"there is no column {shown(name)} to drop{meant(like(name, names))}")
    columns, unfit = [], {}
    for name in names:
        try:
            columns.append(column_of(name, table[name], name in drop))
        except Unfit as reason:
            unfit[shown(name)] = str(reason)
    if unfit:
        reasons = "; ".join(f"the column {name} {reason}" for name, reason in unfit.items())
        raise Unusable(f"{reasons}; or {how} {' '.join(unfit)}")
    if not any(column.transform or column.nullable for column in columns):
        raise Unusable("no column has values that differ: there is nothing to learn")
    return Schema(tuple(columns))


def column_of(name: str, values: pa.ChunkedArray, dropped: bool) -> Column:
    """Find out what one column is."""
    of, text = values.type, str(values.type)
    if dropped:
        return Column(name, "dropped", text, reason="asked for")
    values = made_plain(values)
    base = Column(name, "constant", text, nullable=values.null_count > 0)
    plain = of.value_type if pa.types.is_dictionary(of) else of
    if pa.types.is_null(plain) or values.null_count == len(values):
        raise Unfit("has no value that is there")
    if not (arrow_types.is_choice(plain) or arrow_types.is_number(plain) or arrow_types.is_time(plain)):
        raise Unfit(f"has values of the type {text}, which are no numbers, categories or dates")
    there = values.drop_null()
    if is_single(there):
        return replace(base, value=cell(there[0].value if pa.types.is_dictionary(of) else there[0]))
    if pa.types.is_dictionary(of):
        return category_of(base, there, entries_of(there))
    for suits, found in RULES:
        if suits(of):
            return found(base, there)
    raise AssertionError(text)


def is_single(there: pa.ChunkedArray) -> bool:
    """Say whether all values are equal."""
    if pa.types.is_dictionary(there.type):
        there = pa.chunked_array([chunk.indices for chunk in there.unify_dictionaries().chunks])
    return bool(pc.all(pc.equal(there, there[0])).as_py())


def entries_of(there: pa.ChunkedArray) -> pa.Array:
    """Give the entries of a dictionary in their order, used or not."""
    return there.unify_dictionaries().chunk(0).dictionary.drop_null().unique()


def category_of(base: Column, there: pa.ChunkedArray, categories: pa.Array) -> Column:
    """Describe a column of categories.

    Raises:
        Unfit: there are too many.
    """
    if len(categories) > min(MOST_CATEGORIES, max(2, len(there) // 2)):
        rows = f"{len(there)} values" if base.nullable else f"{len(there)} rows"
        raise Unfit(f"has {len(categories)} categories in {rows}, more than half as many, or than {MOST_CATEGORIES}")
    if not arrow_types.is_choice(categories.type):
        raise Unfit(f"has categories of the type {categories.type}, which are no text, numbers or truth values")
    transform = "one_hot" if LEAST_HOT <= len(categories) <= MOST_HOT else "rank"
    return replace(base, kind="category", transform=transform, categories=tuple(categories.to_pylist()))


def truth_of(base: Column, there: pa.ChunkedArray) -> Column:
    """Describe a column of truth values."""
    return replace(base, kind="boolean", transform="rank", categories=(False, True))


def text_of(base: Column, there: pa.ChunkedArray) -> Column:
    """Describe a column of text: dates of one form, or categories.

    Raises:
        Unfit: it is an identifier or free text, or dates whose form is not certain.
    """
    distinct = there.unique()
    forms = dates.forms_of(distinct)
    if len(forms) > 1:
        raise Unfit(f"has dates that can be read as {forms[0]} or as {forms[1]}: write them as 2024-12-31")
    if forms:
        return dates_of(replace(base, format=forms[0]), there, forms[0])
    if len(distinct) > FEW and pc.all(pc.match_substring_regex(distinct, dates.LOOKS_SO)).as_py():
        raise Unfit(f"has dates of no form that is known, or of several, such as {few_of(distinct)}: write them as 2024-12-31")
    require_no_numbers(distinct)
    if len(distinct) <= max(2, len(there) // 2) and len(distinct) <= MOST_CATEGORIES:
        return category_of(base, there, distinct.sort())
    some = shown(distinct[0].as_py())
    if pc.mean(pc.add(pc.count_substring(distinct, " "), 1)).as_py() >= WORDS_OF_TEXT:
        raise Unfit(f"is free text, such as {some}")
    kind = "an identifier" if len(distinct) == len(there) else "text of too many kinds"
    raise Unfit(f"is {kind}: {len(distinct)} different values in {len(there)} rows, such as {some}")


def require_no_numbers(distinct: pa.Array) -> None:
    """Refuse texts that are numbers, but for a few words among them; digits of one length are codes.

    Raises:
        Unfit: they are.
    """
    is_number = pc.match_substring_regex(distinct, NUMERAL)
    numerals, words = distinct.filter(is_number), distinct.filter(pc.invert(is_number))
    if len(numerals) <= max(FEW, 2 * len(words)) or pc.any(pc.match_substring_regex(distinct, CODE)).as_py():
        return
    lengths = pc.min_max(pc.utf8_length(numerals))
    if lengths["min"] == lengths["max"] and lengths["min"].as_py() >= LEAST_IN_CODE and is_digits(numerals):
        return
    if len(words):
        raise Unfit(f"has words among numbers, such as {shown(words[0].as_py())}: make those missing")
    raise Unfit(f"has numbers that are written as text, such as {few_of(distinct)}: write them as 1234.5")


def is_digits(texts: pa.Array) -> bool:
    """Say whether texts are nothing but digits."""
    return bool(pc.all(pc.ascii_is_decimal(texts)).as_py())


def few_of(distinct: pa.Array) -> str:
    """Show the first and the last of some texts."""
    return f"{shown(distinct[0].as_py())} and {shown(distinct[-1].as_py())}"


def dates_of(base: Column, there: pa.ChunkedArray, form: str) -> Column:
    """Describe a column of dates that are written as text in a form."""
    seconds = dates.read(there, form)
    described = counted_of(replace(base, kind="datetime"), seconds, SECONDS)
    ends = pc.min_max(seconds)
    low, high = dates.write(pa.array([ends["min"], ends["max"]]), form).to_pylist()
    return replace(described, low=low, high=high)


def whole_of(base: Column, there: pa.ChunkedArray) -> Column:
    """Describe a column of whole numbers.

    Raises:
        Unfit: it is an identifier.
    """
    ends = pc.min_max(there)
    low, high = ends["min"].as_py(), ends["max"].as_py()
    if (low, high) == (0, 1):
        return replace(base, kind="boolean", transform="rank", categories=(0, 1))
    some = evenly(there)
    if len(some) >= 10 and len(some.unique()) == len(some) and counts_rows(np.asarray(some), len(there), base.name):
        raise Unfit(f"is an identifier: no whole number comes twice, from {low} to {high}")
    return counted_of(replace(base, kind="integer"), there, base.arrow_type)


def counts_rows(values: np.ndarray, rows: int, name: str) -> bool:
    """Say whether different whole numbers count the rows: they rise or fall, they leave little out, or are called so."""
    low, high = int(values.min()), int(values.max())
    rises = bool((values[1:] > values[:-1]).all() or (values[1:] < values[:-1]).all())
    words = name.casefold().replace("-", "_").split("_")
    return rises or high - low < 2 * rows or high - low > 2**53 or bool({"id", "uuid", "key", "nr", "index"} & set(words))


def counted_of(base: Column, there: pa.ChunkedArray, of: pa.DataType) -> Column:
    """Describe a column that is counted in whole units of its type."""
    ends = pc.min_max(there.cast(stored_as(of)))
    low, high = (written(ends[each].as_py(), of) for each in ("min", "max"))
    numbers = unit_of(of, low, high).numbers(evenly(there))
    step = max(1.0, grid_of(np.unique(np.append(numbers, 0.0)), 2**-52)[0] or 1.0)
    return replace(base, transform=transform_of(numbers, step), grid=step, low=low, high=high)


def time_of(base: Column, there: pa.ChunkedArray) -> Column:
    """Describe a column of dates or times."""
    return counted_of(replace(base, kind="datetime"), there, base.arrow_type)


def number_of(base: Column, there: pa.ChunkedArray) -> Column:
    """Describe a column of numbers.

    Raises:
        Unfit: some are infinite, or beyond what can be measured.
    """
    ends: Any = pc.min_max(there)
    low, high = float(ends["min"].as_py()), float(ends["max"].as_py())
    for end in (low, high):
        if not np.isfinite(end):
            raise Unfit("has infinite values: make them missing")
        if abs(end) > LARGEST:
            raise Unfit(f"has numbers beyond {LARGEST:g}, such as {end:g}: make them missing")
    of = base.arrow_type
    held = of.to_pandas_dtype() if pa.types.is_floating(of) else np.float64
    numbers = Real(of, (low, high)).numbers(evenly(there))
    step, digits = grid_of(np.unique(np.append(numbers, [low, high])), float(np.finfo(held).eps))
    low, high = tidy(low, held), tidy(high, held)
    return replace(base, kind="number", transform=transform_of(numbers, step), grid=step, digits=digits, low=low, high=high)


RULES = (
    (arrow_types.is_time, time_of),
    (pa.types.is_boolean, truth_of),
    (arrow_types.is_text, text_of),
    (pa.types.is_integer, whole_of),
    (arrow_types.is_number, number_of),
)
"""What a column of a type is described by."""
