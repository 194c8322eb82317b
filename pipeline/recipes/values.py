"""Text that a person wrote, read as the value of a field: one reader for recipe files, flags and the axes of a search.

Numbers are those of YAML 1.2 in decimal ASCII digits. What programs read in different ways (010, 1_0, 0x10, 1:30) is refused, and
so are NaN and words for truth other than true and false.
"""

import difflib
import math
import re
import types
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from components.parts.naming import Part, PartError, PartName, is_own
from pipeline.data.tables.naming import Location, is_location
from pipeline.words import literal

Value = str | int | float | bool | None
WHOLE = re.compile(r"[-+]?(0|[1-9][0-9]*)")
NUMBER = re.compile(r"[-+]?((0|[1-9][0-9]*)(\.[0-9]*)?|\.[0-9]+)([eE][-+]?[0-9]+)?")
AMBIGUOUS = re.compile(r"[-+]?[0-9][0-9a-fA-F_:]*(\.[0-9_]*)?|[-+]?0[xobXOB][0-9a-fA-F_]*")
"""What some programs read as a number, and not all as the same."""
INFINITE = re.compile(r"([-+]?)\.?(inf|Inf|INF)")
TRUTH = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
NULLS = ("null", "Null", "NULL", "~", "")
"""Nothing, as YAML writes it."""
NONE = ("None", "null")
"""Nothing, as a flag says it."""
MOST_SHOWN = 80
RULES: dict[Any, str] = {
    int: "a whole number such as 12",
    float: "a number such as 0.5, 2e-4 or .inf",
    bool: "true or false",
    str: "text",
    Path: "a path",
    types.NoneType: "null",
    PartName: "package.module:name of your own",
    Location: "a table such as cells.csv or s3://bucket/cells.parquet",
}


class Refused(ValueError):
    """A field cannot have a value: the message has the field's dotted name, the rule and the value.

    Example:
        >>> raise Refused("jko.h", "above 0", -1)
        Traceback (most recent call last):
            ...
        pipeline.recipes.values.Refused: jko.h must be above 0, not -1
    """

    def __init__(self, field: str, rule: str, value: object, hint: str = "") -> None:
        super().__init__(f"{field} must be {rule}, not {shown(value)}{hint}")
        self.field = field
        self.arguments: tuple[Any, ...] = (field, rule, value, hint)

    def __reduce__(self) -> tuple[type, tuple[Any, ...]]:
        return type(self), self.arguments


class UnfitPart(Refused):
    """A field names a part that cannot be used: the message has the field's dotted name and the reason."""

    def __init__(self, field: str, reason: str) -> None:
        ValueError.__init__(self, f"{field}: {reason}")
        self.field, self.arguments = field, (field, reason)


def read(field: str, text: str, kind: Any, *, quoted: bool = False, nulls: Iterable[str] = NONE) -> Any:
    """Read text as the value of a field of a kind, such as int, float | None or Literal["kl", "jsd"].

    Args:
        quoted: the text stood in quotes, so that it is no number, no truth value and not null.
        nulls: what means None, where the kind has it.

    Raises:
        Refused: names the field, the rule and the text.
    """
    kinds = kinds_of(kind)
    if types.NoneType in kinds and not quoted and text in nulls:
        return None
    for each in kinds:
        if get_origin(each) is Literal:
            if text in get_args(each):
                return text
        elif each is Location:
            if is_location(text):
                return text
        elif each is PartName:
            is_file = Location in kinds and is_location(text)
            if not is_file and (is_own(text) or "(" in text):
                return part_name(field, text)
        elif each in (str, Path):
            return each(text)
        elif not quoted and (value := _number_or_truth(field, text, each)) is not None:
            return value
    choices = choices_of(kind)
    hint = meant(like(text, choices))
    if {int, float} & set(kinds) and not quoted and AMBIGUOUS.fullmatch(text) and not NUMBER.fullmatch(text):
        hint = ", which programs read in different ways"
    is_text = quoted and (not choices or text in TRUTH)  # what it would not have been without the quotes
    raise Refused(field, rule_of(kind), f"{shown(text)} in quotes" if is_text else text, hint)


def option(field: str, text: str, *, quoted: bool) -> Value:
    """Read the value of a part's option, whose kind only the part knows: a number or a truth value where it looks like one.

    Raises:
        Refused: programs read it in different ways.
    """
    if quoted:
        return text
    if text in NULLS:
        return None
    for kind in (bool, int, float):
        if (value := _number_or_truth(field, text, kind)) is not None:
            return value
    if AMBIGUOUS.fullmatch(text):
        raise Refused(field, "a number such as 0.5, or text in quotes", text, ", which programs read in different ways")
    return text


def part_name(field: str, text: str) -> str:
    """Bring the name of a part to its canonical form.

    Raises:
        UnfitPart: it is no name of a part.
    """
    try:
        part = Part.read(text)
    except PartError as error:
        raise UnfitPart(field, str(error)) from error
    return str(part)


def _number_or_truth(field: str, text: str, kind: Any) -> bool | int | float | None:
    """Read text as the bool, int or float that it is; None where it is none."""
    if kind is bool:
        return TRUTH.get(text)
    if kind is int and WHOLE.fullmatch(text):
        if len(text) > 1000:  # Python refuses to read thousands of digits
            raise Refused(field, RULES[int], text)
        return int(text)
    if kind is float and (infinite := INFINITE.fullmatch(text)):
        return -math.inf if infinite[1] == "-" else math.inf
    if kind is float and NUMBER.fullmatch(text):
        number = float(text)
        if math.isinf(number) or (number == 0 and re.search("[1-9]", re.split("[eE]", text)[0])):
            raise Refused(field, "a number that 64 bits can hold", text)
        return number + 0.0  # -0.0 is 0.0: equal recipes have equal fingerprints
    return None


def kinds_of(kind: Any) -> tuple[Any, ...]:
    """List the kinds of a union, of any other kind that kind alone, without their annotations."""
    if get_origin(kind) is Annotated:
        return kinds_of(get_args(kind)[0])
    if isinstance(kind, types.UnionType) or get_origin(kind) is Union:
        return tuple(each for member in get_args(kind) for each in kinds_of(member))
    return (kind,)


def choices_of(kind: Any) -> list[str]:
    """List the words that a kind has for values of its own."""
    return [word for each in kinds_of(kind) if get_origin(each) is Literal for word in get_args(each)]


def rule_of(kind: Any) -> str:
    """Say in words what a field of a kind must be."""
    rules = [f"one of {', '.join(get_args(each))}" if get_origin(each) is Literal else RULES[each] for each in kinds_of(kind)]
    return " or ".join(rules)


def like(word: str, known: Iterable[str]) -> str | None:
    """Find the known word that a wrong one most likely means."""
    names = {each.casefold(): each for each in known}
    close = difflib.get_close_matches(word.casefold(), names, n=1, cutoff=0.6)
    return names[close[0]] if close else None


def like_dotted(name: str, known: Iterable[str]) -> str | None:
    """Find the known dotted name most likely meant by a wrong one: the same field of another group, or a like one of its
    group.
    """
    names = list(known)
    group, dot, field = name.rpartition(".")
    same = [each for each in names if each.rpartition(".")[2].lstrip("-") == field.lstrip("-")]
    if same:
        return same[0]
    siblings = [each for each in names if each.rpartition(".")[0] == group]
    close = like(field, [each.rpartition(".")[2] for each in siblings])
    if close:
        return f"{group}{dot}{close}"
    fields = {each.rpartition(".")[2]: each for each in names}
    return fields.get(like(field.lstrip("-"), fields) or "")


def meant(word: str | None) -> str:
    """Ask whether a known word is meant by a wrong one, at the end of a message."""
    return f"; did you mean {word}?" if word else ""


def shown(value: object) -> str:
    """Write a value for a message of one line: no control characters, not too long, and something where it is empty."""
    text = {True: "true", False: "false", None: "null"}[value] if value is None or isinstance(value, bool) else str(value)
    text = literal(text)
    return "empty" if not text else text if len(text) <= MOST_SHOWN else f"{text[: MOST_SHOWN - 3]}..."
