"""Dates and times that are written as text: in which form, as moments, and as text again."""

import re
from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

DAYS = ("%Y-%m-%d", "%d.%m.%Y", "%d/%m/%Y", "%m/%d/%Y", "%Y/%m/%d", "%d-%m-%Y", "%d %b %Y", "%b %d, %Y", "%d %B %Y", "%B %d, %Y")
SHORT_YEARS = ("%d.%m.%y", "%d/%m/%y", "%m/%d/%y", "%d-%m-%y", "%y-%m-%d")
CLOCKS = ("%H:%M", "%H:%M:%S", "%I:%M %p", "%I:%M:%S %p")
LOOKS_SO = r"^\d{1,4}([./-])\d{1,2}[./-]\d{1,4}([ T]\d{1,2}:\d{2}.*)?$"
"""How a date looks, in whatever form."""


def _forms(days: Sequence[str], clocks: Sequence[str]) -> tuple[str, ...]:
    """List the forms of dates, of times, and of both side by side."""
    both = (f"{day}{gap}{clock}{end}" for day in days for gap in (" ", "T") for clock in clocks for end in ("", "Z"))
    return (*days, *clocks, *both)


def _short(forms: Sequence[str]) -> tuple[str, ...]:
    """Write days, months and hours without a zero in front."""
    return tuple(re.sub("%([dmHI])", r"%-\1", form) for form in forms)


FORMS = tuple(form for days in (DAYS, SHORT_YEARS) for write in (tuple, _short) for form in [_forms(write(days), write(CLOCKS))])
"""Groups of forms; all of a text is in forms of the first group that it suits."""


def forms_of(texts: pa.Array) -> Sequence[str]:
    """Find the forms that all of some texts have: none, or more than one where day and month can be told apart nowhere.

    >>> forms_of(pa.array(["31.12.2024", "01.02.2025"])), forms_of(pa.array(["1/2/2025"]))
    (['%d.%m.%Y'], ['%-d/%-m/%Y', '%-m/%-d/%Y'])
    """
    return next((forms for forms in still(None, texts) if forms), [])


def still(groups: Sequence[Sequence[str]] | None, texts: pa.Array) -> list[list[str]]:
    """Take away the forms that some of further texts do not have, from groups of them; None: from all that are known."""
    texts = texts.cast(pa.string())
    known = FORMS if groups is None else groups
    return [[form for form in group if _has(texts.slice(0, 1), form) and _has(texts, form)] for group in known]


def read(texts: Any, form: str, *, or_missing: bool = False) -> Any:
    """Read texts of a form as moments, in seconds.

    >>> read(pa.array(["1.2.1970"]), "%-d.%-m.%Y").cast(pa.int64()).to_pylist()
    [2678400]

    Args:
        form: as of strftime; %-d, %-m and %-H have no zero in front.
        or_missing: texts of other forms become missing values.
    """
    return pc.strptime(texts.cast(pa.string()), format=form.replace("%-", "%"), unit="s", error_is_null=or_missing)


def write(moments: Any, form: str) -> Any:
    """Write moments as texts of a form.

    >>> write(pa.array([2678400], pa.timestamp("s")), "%-d.%-m.%Y").to_pylist()
    ['1.2.1970']
    """
    if "%-" not in form:
        return pc.strftime(moments, format=form)
    marked = pc.strftime(moments, format=form.replace("%-", f"{MARK}%"))
    if isinstance(marked, pa.Scalar):
        return pa.scalar(re.sub(f"{MARK}0?(?=[0-9])", "", marked.as_py()))
    return pc.replace_substring(pc.replace_substring_regex(marked, f"{MARK}0([0-9])", r"\1"), MARK, "")


MARK = "\x01"
"""Stands before numbers whose zero in front goes."""


def _has(texts: pa.Array, form: str) -> bool:
    """Say whether texts are read in a form and written again as they were."""
    moments = read(texts, form, or_missing=True)
    return moments.null_count == 0 and bool(pc.all(pc.equal(write(moments, form), texts)).as_py())
