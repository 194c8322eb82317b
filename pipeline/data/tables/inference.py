"""What each column of a table is, found by looking at it.

The first rule that fits decides:

1. asked to be dropped; all missing, nested or infinite, which is refused; one value, a constant;
2. dates; truth values, 0 and 1;
3. text: a category, a date in a known form, or refused as an identifier or as free text;
4. whole numbers, refused as an identifier where none comes twice and they count the rows; other numbers.

A number becomes a coordinate by `transform_of`.
"""

from collections.abc import Collection, Mapping
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.data.tables.codes import arrow_types, dates
from pipeline.data.tables.codes.grids import grid_of, tidy, whole_step
from pipeline.data.tables.codes.marginals import transform_of
from pipeline.data.tables.codes.units import SECONDS, Real, cell, stored_as, unit_of, written
from pipeline.data.tables.passes.facts import MOST_DISTINCT, Facts
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
LEAST_IDENTIFIERS = 10
"""Rows in which different whole numbers can be identifiers."""
WORDS_OF_TEXT = 3
"""From so many words in a value on, on average, it is free text."""


class Unfit(ValueError):
    """A column cannot be learnt: the message says why, after its name."""


def infer(table: pa.Table, *, drop: Collection[str] = (), how: str = "leave out with --drop {}") -> Schema:
    """Find out what each column of a table is.

    >>> infer(pa.table({"x": [0.5, 2.0], "n": [1, 1]})).column("n").kind
    'constant'

    Args:
        drop: columns to leave out.
        how: what a person can do about columns that cannot be learnt, with {} for their names.

    Raises:
        Unusable: names the columns, the reasons and what to do.
    """
    for name in drop:
        if name not in table.column_names:
            raise Unusable(f"there is no column {shown(name)} to drop{meant(like(name, table.column_names))}")
    twice = next((name for name in table.column_names if table.column_names.count(name) > 1), None)
    if twice is not None:
        raise Unusable(f"two columns are called {shown(twice)}")
    gathered = {name: None if name in drop else Facts.of(table[name]) for name in table.column_names}
    return infer_of(gathered, table.schema, table.num_rows, how)


def infer_of(facts: Mapping[str, Facts | None], schema: pa.Schema, num_rows: int, how: str) -> Schema:
    """Find out what each column of a table is by what is known of it.

    Args:
        facts: by the name of a column; None where it is left out.
        how: what a person can do about columns that cannot be learnt, with {} for their names.

    Raises:
        Unusable: names the columns, the reasons and what to do.
    """
    if num_rows < 2:
        raise Unusable(f"a table must have at least two rows, not {num_rows}")
    columns, unfit = [], {}
    for name, known in facts.items():
        try:
            columns.append(column_of(name, known) if known else dropped(name, str(schema.field(name).type)))
        except Unfit as reason:
            unfit[shown(name)] = str(reason)
    if unfit:
        reasons = "; ".join(f"the column {name} {reason}" for name, reason in unfit.items())
        raise Unusable(f"{reasons}; {how.replace('{}', ' '.join(unfit))}")
    if not any(column.transform or column.nullable for column in columns):
        raise Unusable("no column has values that differ: there is nothing to learn")
    return Schema(tuple(columns))


def dropped(name: str, of: str) -> Column:
    """Describe a column that is left out."""
    return Column(name, "dropped", of, reason="asked for")


def column_of(name: str, facts: Facts) -> Column:
    """Find out what one column is."""
    of, text = facts.type, str(facts.type)
    base = Column(name, "constant", text, nullable=facts.missing > 0)
    plain = of.value_type if pa.types.is_dictionary(of) else of
    if pa.types.is_null(plain) or not facts.count:
        raise Unfit("has no value that is there")
    if not (arrow_types.is_choice(plain) or arrow_types.is_number(plain) or arrow_types.is_time(plain)):
        raise Unfit(f"has values of the type {text}, which are no numbers, categories or dates")
    if facts.is_single:
        return replace(base, value=cell(facts.only))
    if pa.types.is_dictionary(of):
        assert facts.entries is not None
        return category_of(base, facts, facts.entries)
    for suits, describe in RULES:
        if suits(of):
            return describe(base, facts)
    raise AssertionError(text)


def category_of(base: Column, facts: Facts, categories: pa.Array) -> Column:
    """Describe a column of categories.

    Raises:
        Unfit: there are too many.
    """
    if len(categories) > min(MOST_CATEGORIES, max(2, facts.count // 2)):
        rows = f"{facts.count} values" if base.nullable else f"{facts.count} rows"
        raise Unfit(f"has {len(categories)} categories in {rows}, more than half as many, or than {MOST_CATEGORIES}")
    if not arrow_types.is_choice(categories.type):
        raise Unfit(f"has categories of the type {categories.type}, which are no text, numbers or truth values")
    transform = "one_hot" if LEAST_HOT <= len(categories) <= MOST_HOT else "rank"
    return replace(base, kind="category", transform=transform, categories=tuple(categories.to_pylist()))


def truth_of(base: Column, facts: Facts) -> Column:
    """Describe a column of truth values."""
    return replace(base, kind="boolean", transform="rank", categories=(False, True))


def text_of(base: Column, facts: Facts) -> Column:
    """Describe a column of text: dates of one form, or categories.

    Raises:
        Unfit: it is an identifier or free text, or dates whose form is not certain.
    """
    forms = list(facts.form_ends)
    if len(forms) > 1:
        raise Unfit(f"has dates that can be read as {forms[0]} or as {forms[1]}: write them as 2024-12-31")
    if forms:
        return dates_of(replace(base, format=forms[0]), facts, forms[0])
    distinct, number = facts.some.unique(), f"more than {MOST_DISTINCT}"
    if facts.distinct is not None:
        distinct, number = facts.distinct, str(len(facts.distinct))
    if len(distinct) > FEW and pc.all(pc.match_substring_regex(distinct, dates.LOOKS_SO)).as_py():
        raise Unfit(f"has dates of no form that is known, or of several, such as {few_of(distinct)}: write them as 2024-12-31")
    require_no_numbers(distinct)
    if facts.distinct is not None and len(distinct) <= min(MOST_CATEGORIES, max(2, facts.count // 2)):
        return category_of(base, facts, distinct.sort())
    some = shown(distinct[0].as_py())
    if pc.mean(pc.add(pc.count_substring(distinct, " "), 1)).as_py() >= WORDS_OF_TEXT:
        raise Unfit(f"is free text, such as {some}")
    kind = "an identifier" if len(distinct) in (facts.count, len(facts.some)) else "text of too many kinds"
    raise Unfit(f"is {kind}: {number} different values in {facts.count} rows, such as {some}")


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


def dates_of(base: Column, facts: Facts, form: str) -> Column:
    """Describe a column of dates that are written as text in a form."""
    ends = facts.form_ends[form]
    described = counted_of(replace(base, kind="datetime"), dates.read(facts.some, form), ends, SECONDS)
    low, high = dates.write(pa.array(ends), form).to_pylist()
    return replace(described, low=low, high=high)


def whole_of(base: Column, facts: Facts) -> Column:
    """Describe a column of whole numbers.

    Raises:
        Unfit: it is an identifier.
    """
    assert facts.low is not None
    assert facts.high is not None
    (low, high), some = (facts.low.as_py(), facts.high.as_py()), facts.some
    if (low, high) == (0, 1):
        return replace(base, kind="boolean", transform="rank", categories=(0, 1))
    if (
        len(some) >= LEAST_IDENTIFIERS
        and len(some.unique()) == len(some)
        and counts_rows(np.asarray(some), facts.count, base.name)
    ):
        raise Unfit(f"is an identifier: no whole number comes twice, from {low} to {high}")
    return counted_of(replace(base, kind="integer"), some, (facts.low, facts.high), base.arrow_type)


def counts_rows(values: np.ndarray, rows: int, name: str) -> bool:
    """Say whether different whole numbers count the rows: they rise or fall, they leave little out, or are called so."""
    low, high = int(values.min()), int(values.max())
    rises = bool((values[1:] > values[:-1]).all() or (values[1:] < values[:-1]).all())
    words = name.casefold().replace("-", "_").split("_")
    return rises or high - low < 2 * rows or high - low > 2**53 or bool({"id", "uuid", "key", "nr", "index"} & set(words))


def counted_of(base: Column, some: pa.ChunkedArray, ends: tuple[pa.Scalar, pa.Scalar], of: pa.DataType) -> Column:
    """Describe a column that is counted in whole units of its type, by some values and the smallest and largest of all."""
    low, high = (written(end.cast(stored_as(of)).as_py(), of) for end in ends)
    numbers = unit_of(of, low, high).numbers(some)
    step = max(1.0, whole_step(numbers))
    return replace(base, transform=transform_of(numbers, step), grid=step, low=low, high=high)


def time_of(base: Column, facts: Facts) -> Column:
    """Describe a column of dates or times."""
    assert facts.low is not None
    assert facts.high is not None
    return counted_of(replace(base, kind="datetime"), facts.some, (facts.low, facts.high), base.arrow_type)


def number_of(base: Column, facts: Facts) -> Column:
    """Describe a column of numbers.

    Raises:
        Unfit: some are infinite, or beyond what can be measured.
    """
    assert facts.low is not None
    assert facts.high is not None
    low, high = float(facts.low.as_py()), float(facts.high.as_py())
    for end in (low, high):
        if not np.isfinite(end):
            raise Unfit("has infinite values: make them missing")
        if abs(end) > LARGEST:
            raise Unfit(f"has numbers beyond {LARGEST:g}, such as {end:g}: make them missing")
    of = base.arrow_type
    held = of.to_pandas_dtype() if pa.types.is_floating(of) else np.float64
    numbers = Real(of, (low, high)).numbers(facts.some)
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
