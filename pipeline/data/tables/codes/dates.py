"""Dates and times that are written as text: in which form."""

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

DAYS = ("%Y-%m-%d", "%d.%m.%Y", "%d/%m/%Y", "%m/%d/%Y", "%Y/%m/%d", "%d-%m-%Y", "%d %b %Y", "%b %d, %Y", "%d %B %Y", "%B %d, %Y")
CLOCKS = ("%H:%M", "%H:%M:%S")
FORMS = (
    *DAYS,
    *CLOCKS,
    *(f"{day}{gap}{clock}{end}" for day in DAYS for gap in (" ", "T") for clock in CLOCKS for end in ("", "Z")),
)


def forms_of(texts: pa.Array) -> Sequence[str]:
    """Find the forms that all of some texts have: none, or more than one where day and month can be told apart nowhere.

    >>> forms_of(pa.array(["31.12.2024", "01.02.2025"])), forms_of(pa.array(["01/02/2025"]))
    (['%d.%m.%Y'], ['%d/%m/%Y', '%m/%d/%Y'])
    """
    texts = texts.cast(pa.string())
    return [form for form in FORMS if _has(texts.slice(0, 1), form) and _has(texts, form)]


def _has(texts: pa.Array, form: str) -> bool:
    """Say whether texts are read in a form and written again as they were."""
    read = pc.strptime(texts, format=form, unit="s", error_is_null=True)
    return read.null_count == 0 and bool(pc.all(pc.equal(pc.strftime(read, format=form), texts)).as_py())
