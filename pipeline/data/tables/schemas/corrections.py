"""A schema that a person has corrected, read from YAML: each mistake is a sentence with its line."""

from collections.abc import Iterator, Mapping
from dataclasses import fields
from datetime import date, datetime
from typing import Any, NoReturn

import pyarrow as pa
import yaml
from yaml.nodes import MappingNode, Node, SequenceNode

from pipeline.data.tables.codes.arrow_types import is_text, type_of
from pipeline.data.tables.codes.categories import Categories
from pipeline.data.tables.codes.units import SECONDS, scalar, unit_of
from pipeline.errors import Unusable
from pipeline.recipes.values import like, meant, shown

LEAST_CATEGORIES = 2


def read_columns(text: str, column: type, kinds: Mapping[str, Any]) -> Iterator[Any]:
    """Read the columns of a schema.

    Args:
        column: the dataclass `schema.Column`.
        kinds: `schema.KINDS`.

    Raises:
        Unusable: names the line, the field and the rule.
    """
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise Unusable(f"line {mark.line + 1 if mark else 1} cannot be read as YAML: {error.problem or error.context}") from error
    except yaml.YAMLError as error:
        raise Unusable(f"it cannot be read as YAML: {str(error).splitlines()[0]}") from error
    if root is None:
        raise Unusable("it is empty: a schema has `columns`, a list")
    top = _mapping(root, ["columns"], "a schema")
    if "columns" not in top or not isinstance(top["columns"], SequenceNode) or not top["columns"].value:
        _refuse(top.get("columns", root), "a schema has `columns`, a list of at least one column")
    lines: dict[str, int] = {}
    for node in top["columns"].value:
        made = _column(node, column, kinds)
        if made.name in lines:
            _refuse(node, f"a second column is called {shown(made.name)}, as the one of line {lines[made.name]}")
        lines[made.name] = node.start_mark.line + 1
        yield made


def _column(node: Node, column: type, kinds: Mapping[str, Any]) -> Any:
    """Read one column, and check that its fields go together."""
    given = _mapping(node, [field.name for field in fields(column)], "a column")
    for name in ("name", "kind", "type"):
        if name not in given:
            _refuse(node, f"a column needs the field {name}")
    values = {name: _value(each) for name, each in given.items()}
    for name, value in values.items():
        if not SUITS[name](value):
            _refuse(given[name], f"{name} must be {RULES[name]}, not {shown(value)}")
    if values["kind"] not in kinds:
        hint = meant(like(str(values["kind"]), kinds))
        _refuse(given["kind"], f"kind must be one of {', '.join(kinds)}, not {shown(values['kind'])}{hint}")
    made = column(**{**values, "categories": tuple(values.get("categories", ()))})
    _together(made, kinds[made.kind], given, node)
    return made


def _together(column: Any, kind: Any, given: Mapping[str, Node], node: Node) -> None:
    """Check that the fields of a column go together."""
    try:
        of = type_of(column.type)
    except ValueError as error:
        _refuse(given["type"], str(error))
    counted = SECONDS if column.format is not None and is_text(of) else of
    if not kind.suits(counted):
        hint = ": give its format, such as %d.%m.%Y" if column.kind == "datetime" and is_text(of) else ""
        _refuse(given["kind"], f"a column of the type {column.type} cannot be of the kind {column.kind}{hint}")
    if (kind.transforms or column.transform) and column.transform not in kind.transforms:
        choice = f"one of {', '.join(kind.transforms)}" if kind.transforms else "left out"
        _refuse(
            given.get("transform", node),
            f"transform of a column of the kind {column.kind} must be {choice}, not {shown(column.transform)}",
        )
    for name in kind.needs:
        if name not in given:
            _refuse(node, f"a column of the kind {column.kind} needs the field {name}")
    name = ""
    try:
        if "low" in kind.needs:
            for name in ("low", "high"):
                end = getattr(column, name)
                unit_of(of, end, end, column.format)
            low, high = unit_of(of, column.low, column.high, column.format).ends
            if low > high:
                _refuse(given["high"], f"high must not be below low, which is {shown(column.low)}")
        elif "categories" in kind.needs:
            name = "categories"
            Categories(column.name, column.categories, of).entries()
        elif "value" in kind.needs:
            name = "value"
            scalar(column.value, of.value_type if pa.types.is_dictionary(of) else of)
    except (ValueError, TypeError, pa.ArrowException) as error:
        _refuse(given[name], f"{name} does not suit the type {column.type}: {str(error).splitlines()[0]}")


def _mapping(node: Node, known_names: list[str], what: str) -> dict[str, Node]:
    """Read the fields of a mapping, each once."""
    if not isinstance(node, MappingNode):
        _refuse(node, f"{what} is a mapping of the fields {', '.join(known_names)}")
    by_name: dict[str, Node] = {}
    for key, value in node.value:
        name = str(key.value) if isinstance(key.value, str) else ""
        if name not in known_names:
            _refuse(key, f"{shown(name)} is no field of {what}{meant(like(name, known_names))}")
        if name in by_name:
            _refuse(key, f"{name} is given twice")
        by_name[name] = value
    return by_name


def _value(node: Node) -> Any:
    """Read a value as YAML means it, dates as the text that they are written as."""
    if isinstance(node, SequenceNode):
        return [_value(each) for each in node.value]
    try:
        value = yaml.SafeLoader("").construct_object(node)
    except (yaml.YAMLError, ValueError) as error:
        _refuse(node, str(error).splitlines()[0])
    return node.value if isinstance(value, date | datetime) else value


def _refuse(node: Node, reason: str) -> NoReturn:
    raise Unusable(f"line {node.start_mark.line + 1}: {reason}")


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and value != ""


def _is_cell(value: Any) -> bool:
    return isinstance(value, str | int | float | bool)


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= 15


def _is_step(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < float("inf")


def _are_categories(value: Any) -> bool:
    return isinstance(value, list) and all(map(_is_cell, value)) and LEAST_CATEGORIES <= len(value) == len(set(map(repr, value)))


TEXTS = ("kind", "type", "transform", "format", "reason")
CELLS = ("low", "high", "value")
SUITS = {
    "name": lambda value: isinstance(value, str),
    **dict.fromkeys(TEXTS, _is_text),
    **dict.fromkeys(CELLS, _is_cell),
    "nullable": lambda value: isinstance(value, bool),
    "grid": _is_step,
    "digits": _is_count,
    "categories": _are_categories,
}
RULES = {
    **dict.fromkeys(("name", *TEXTS), "text, in quotes where it looks like a number or is a word such as yes"),
    **dict.fromkeys(CELLS, "one value"),
    "nullable": "true or false",
    "grid": "a number above 0",
    "digits": "a whole number from 1 to 15",
    "categories": "a list of at least two different values",
}
