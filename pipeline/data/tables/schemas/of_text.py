"""What a column of text is: a category, a date in a known form, or refused as an identifier, as free text or as numbers."""

from dataclasses import replace

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.data.tables.codes import arrow_types, dates
from pipeline.data.tables.codes.units import SECONDS
from pipeline.data.tables.passes.facts import MOST_DISTINCT, Facts
from pipeline.data.tables.schema import Column
from pipeline.data.tables.schemas.of_numbers import Unfit, counted_of
from pipeline.recipes.values import shown

LEAST_HOT, MOST_HOT = 4, 32
"""Categories that have a coordinate each; fewer, and more, share one."""
MOST_CATEGORIES = 10_000
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
