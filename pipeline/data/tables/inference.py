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

import pyarrow as pa

from pipeline.data.tables.codes import arrow_types
from pipeline.data.tables.codes.units import cell
from pipeline.data.tables.passes.facts import Facts
from pipeline.data.tables.schema import Column, Schema
from pipeline.data.tables.schemas.of_numbers import Unfit, number_of, time_of, whole_of
from pipeline.data.tables.schemas.of_text import category_of, text_of, truth_of
from pipeline.errors import Unusable
from pipeline.recipes.values import like, meant, shown


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


RULES = (
    (arrow_types.is_time, time_of),
    (pa.types.is_boolean, truth_of),
    (arrow_types.is_text, text_of),
    (pa.types.is_integer, whole_of),
    (arrow_types.is_number, number_of),
)
"""What a column of a type is described by."""
