"""Recipe files: YAML of groups and fields, read straight into typed values, each with its line.

Only what every reader of YAML understands alike is read: no field twice, no anchors, aliases, merge keys, tags, second documents.
The parser's events are read one after the other and nothing is ever expanded.
"""

import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, NoReturn, get_type_hints

import yaml
from yaml.events import (
    AliasEvent,
    DocumentEndEvent,
    Event,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceStartEvent,
    StreamEndEvent,
)

from components.parts.naming import Part, PartError, PartName
from pipeline import places
from pipeline.data.tables.naming import is_location
from pipeline.recipe import GROUPS, Recipe
from pipeline.recipes import values
from pipeline.recipes.values import Refused, Value, shown

RECIPES = Path(__file__).parent
MOST_BYTES = 1 << 16
KINDS = {
    "seed": int,
    **{f"{group}.{field.name}": get_type_hints(kind)[field.name] for group, kind in GROUPS.items() for field in fields(kind)},
}
"""Every field of a recipe by its dotted name, and its kind."""


@dataclass(frozen=True)
class RecipeFile:
    """The fields that a recipe's file gives, and nothing that it leaves out.

    Attributes:
        path: of the file.
        values: by dotted field, such as jko.h.
        lines: where each field stands, counted from 1.
    """

    path: Path
    values: dict[str, Value]
    lines: dict[str, int]


def find(name: str) -> Path:
    """Find the file of a recipe by the name of a shipped one, or by its path.

    Raises:
        ValueError: there is no such recipe.
    """
    if re.fullmatch(r"[a-z0-9_]+", name):
        path = RECIPES / f"{name}.yaml"
    elif name.endswith((".yaml", ".yml")):
        path = places.path("RECIPE", name)
    else:
        hint = f"; a table is a target: --data.target {name}" if is_location(name) else ""
        raise ValueError(f"RECIPE must be a name of pipeline/recipes or a path ending in .yaml, not {shown(name)}{hint}")
    if not path.is_file():
        known = sorted(path.stem for path in RECIPES.glob("*.yaml"))
        hint = values.meant(values.like(name, known))
        raise ValueError(f"RECIPE must be an existing file or one of {', '.join(known)}, not {shown(name)}{hint}")
    return path


def read(path: Path) -> RecipeFile:
    """Read the fields that a recipe's file gives.

    Raises:
        ValueError: names the file, the line, the field, the rule and the value.
    """
    return _Reader(path).read()


def as_yaml(recipe: Recipe) -> str:
    """Write a recipe as YAML that `read` gives back exactly."""
    return str(yaml.safe_dump(asdict(recipe), sort_keys=False))


def unknown(name: str) -> str:
    """Say that a dotted name is no field of a recipe, and which one may be meant."""
    name = shown(name)
    group, _, field = name.rpartition(".")
    if name in KINDS:
        return f"{name} is the field {field} of the group {group}: write {group}: {{{field}: ...}}"
    elsewhere = [known for known in KINDS if known.rpartition(".")[2] == field]
    if field.startswith("no_") and f"{group}.{field[3:]}" in KINDS:
        return f"{name} is not a field of a recipe; write {field[3:]}: false"
    if group in GROUPS and re.fullmatch("[0-9]+", field):
        return f"{name} is not a field of a recipe; a comma separates fields, so that a number is written as 0.{field}"
    if not group and not elsewhere:
        hint = values.meant(values.like(name, [*GROUPS, "seed"]))
        return f"{name} is not part of a recipe, which has {', '.join(GROUPS)} and seed{hint}"
    return f"{name} is not a field of a recipe{values.meant(values.like_dotted(name, KINDS))}"


def line_of(event: Event) -> int:
    """Count the line where an event of the parser begins, from 1."""
    return event.start_mark.line + 1 if event.start_mark else 1


class _Reader:
    """A reader of one recipe file, event by event of YAML's parser."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.file = RecipeFile(path, {}, {})
        self.groups: dict[str, int] = {}

    def read(self) -> RecipeFile:
        try:
            with self.path.open("rb") as file:
                content = file.read(MOST_BYTES + 1)
            if len(content) > MOST_BYTES:
                raise ValueError(f"{self.path} is larger than {MOST_BYTES >> 10} KiB, which no recipe is")
            # One event after the other: at 64 KiB of opening brackets the whole file takes the parser minutes.
            self.events: Iterator[Event] = yaml.parse(content.decode("utf-8-sig"), Loader=yaml.SafeLoader)
            next(self.events)  # the stream begins
            if isinstance(next(self.events), StreamEndEvent):
                raise ValueError(f"{self.path} is empty: a recipe has the groups {', '.join(GROUPS)}, and seed")
            self.document()
        except OSError as error:
            raise ValueError(f"{self.path} cannot be read: {error.strerror}") from error
        except UnicodeDecodeError as error:
            line = content[: error.start].count(b"\n") + 1
            raise ValueError(f"{self.path}, line {line}, cannot be read: it is not UTF-8") from error
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            line = mark.line + 1 if mark else 1
            raise ValueError(f"{self.path}, line {line}, cannot be read as YAML: {error.problem or error.context}") from error
        except yaml.reader.ReaderError as error:
            line = content.decode("utf-8-sig").count("\n", 0, error.position) + 1
            reason = f"character {error.character:#x} is not allowed"
            raise ValueError(f"{self.path}, line {line}, cannot be read as YAML: {reason}") from error
        return self.file

    def document(self) -> None:
        """Read the groups and the seed, and the end of the file after them."""
        root = self.plain(next(self.events))
        if not isinstance(root, MappingStartEvent):
            self.refuse(root, f"a recipe is a mapping of the groups {', '.join(GROUPS)}, and of seed")
        while (key := self.key("")) is not None:
            name, event = key
            if name in GROUPS:
                self.group(name, event)
            elif name == "seed":
                self.field(name, event)
            else:
                self.refuse(event, unknown(name))
        assert isinstance(next(self.events), DocumentEndEvent)
        after = next(self.events)
        if not isinstance(after, StreamEndEvent):
            self.refuse(after, "a recipe is one document, and here begins a second one")

    def group(self, name: str, event: Event) -> None:
        """Read the fields of a group."""
        self.once(name, event, self.groups)
        value = self.plain(next(self.events))
        if not isinstance(value, MappingStartEvent):
            written = shown(value.value) if isinstance(value, ScalarEvent) else "a list"
            self.refuse(value, f"{name} must be a group of fields, not {written}")
        while (key := self.key(f"{name}.")) is not None:
            self.field(*key)

    def key(self, prefix: str) -> tuple[str, Event] | None:
        """Read the next name of a mapping; None at its end."""
        event = self.plain(next(self.events))
        if isinstance(event, MappingEndEvent):
            return None
        if not isinstance(event, ScalarEvent):
            self.refuse(event, f"{prefix or 'a recipe: '}a field's name must be one word")
        if event.value == "<<":
            self.refuse(event, "merge keys (<<) are not read in a recipe; write the fields out")
        return prefix + event.value, event

    def field(self, name: str, event: Event) -> None:
        """Read a field's name and value."""
        if name not in KINDS:
            self.refuse(event, unknown(name))
        self.once(name, event, self.file.lines)
        value = self.plain(next(self.events))
        if isinstance(value, MappingStartEvent) and PartName in values.kinds_of(KINDS[name]):
            self.file.values[name] = self.part(name)
            return
        if not isinstance(value, ScalarEvent):
            written = "a list" if isinstance(value, SequenceStartEvent) else "a group of fields"
            self.refuse(value, f"{name} must be {values.rule_of(KINDS[name])}, not {written}")
        try:
            self.file.values[name] = values.read(
                name, value.value, KINDS[name], quoted=value.style is not None, nulls=values.NULLS
            )
        except Refused as error:
            self.refuse(value, str(error))

    def part(self, name: str) -> str:
        """Read a part that is written as a mapping: `use`, and its options."""
        lines: dict[str, int] = {}
        given: dict[str, Any] = {}
        while (key := self.key(f"{name}.")) is not None:
            option, event = key
            self.once(option, event, lines)
            value = self.plain(next(self.events))
            if not isinstance(value, ScalarEvent):
                self.refuse(value, f"{option} must be a number, text, true, false or null")
            try:
                given[option.removeprefix(f"{name}.")] = values.option(option, value.value, quoted=value.style is not None)
            except Refused as error:
                self.refuse(value, str(error))
        if not isinstance(use := given.pop("use", None), str):
            raise ValueError(f"{self.path}, line {self.file.lines[name]}: {name} must have `use`, the name of the part")
        try:
            return str(replace(Part.read(use), options=given))
        except PartError as error:
            raise ValueError(f"{self.path}, line {self.file.lines[name]}: {name}: {error}") from None

    def once(self, name: str, event: Event, lines: dict[str, int]) -> None:
        """Remember the line of a name, which must not have been given before."""
        line = line_of(event)
        if name in lines:
            where = f"line {line}" if lines[name] == line else f"lines {lines[name]} and {line}"
            raise ValueError(f"{self.path}, {where}: {name} is given twice")
        lines[name] = line

    def plain(self, event: Event) -> Event:
        """Give an event back, and refuse what readers of YAML take for more than is written."""
        if isinstance(event, AliasEvent) or getattr(event, "anchor", None) is not None:
            self.refuse(event, "anchors (&) and aliases (*) are not read in a recipe; write the fields out")
        if (tag := getattr(event, "tag", None)) is not None:
            self.refuse(event, f"tags ({shown(tag)}) are not read in a recipe")
        return event

    def refuse(self, event: Event, reason: str) -> NoReturn:
        raise ValueError(f"{self.path}, line {line_of(event)}: {reason}")
