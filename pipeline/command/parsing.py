"""The words after `python -m PROGRAM`: every flag is read by the reader of recipe files, and each mistake is one line.

tyro describes the commands (their dataclasses, `--help`) and does not read them. Its numbers are Python's (1_0 is 10), the last
of two equal flags counts, and its messages are about its own rules.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, fields, is_dataclass
from functools import reduce
from operator import or_
from typing import Annotated, Any, NoReturn, get_args, get_origin, get_type_hints

import tyro

from pipeline.provenance import redacted
from pipeline.recipes import values
from pipeline.recipes.values import Refused, shown

POSITIONAL = get_args(tyro.conf.Positional[str])[1]
SUPPRESSED = get_args(tyro.conf.Suppress[str])[1]
HELP = {"-h", "--help"}
RENAMED = {
    "--cluster.tracking-uri": ["--store.tracking-uri"],
    "--cluster.data": ["--store.data"],
    "--cluster.storage": ["--store.checkpoints"],
    "--where.tracking-uri": ["--store.tracking-uri"],
    "--where.storage": ["--store.optuna"],
    "--storage": ["--store.optuna"],
    "--store.json": ["--json"],
    "--workers": ["--cluster.num-workers"],
    "--address": ["--dashboard", "--cluster.address"],
}
"""New names of flags of earlier versions; of several names, the one that the command has."""


@dataclass(frozen=True)
class Parsed:
    """A command as it was read, with the values and words that were given for it.

    Attributes:
        command: an instance of the chosen command.
        given: value of each field that was given, by dotted name.
        spelled: the flag and the words of its value, as they were written, of each field that a flag gave.
    """

    command: Any
    given: dict[str, Any]
    spelled: dict[str, list[str]]


@dataclass(frozen=True)
class Field:
    """A field of a command's dataclass that takes a value of its own, however deep in groups it stands.

    Attributes:
        name: dotted, such as jko.h or num_trials.
        kind: of its value.
        flag: how it is given; for a positional field, how help and messages call it.
        spoken: how messages call it: fields of a group and the seed as recipes have them, others as flags.
    """

    name: str
    kind: Any
    flag: str
    spoken: str
    positional: bool
    required: bool

    @property
    def num_words(self) -> int:
        """Count the words that a value of the field takes, the least where it takes any number."""
        return len(get_args(self.kind)) if get_origin(self.kind) is tuple and not self.takes_any else 1

    @property
    def is_truth(self) -> bool:
        """Say whether a value is true or false, or one of some words beside these: a flag alone is true."""
        return bool in values.kinds_of(self.kind)

    @property
    def takes_any(self) -> bool:
        """Say whether a value is one word or several, up to the next flag."""
        return get_origin(self.kind) is tuple and Ellipsis in get_args(self.kind)


def command_of(commands: Mapping[str, type], prog: str, arguments: Sequence[str]) -> str:
    """Find the name of the command that an argument vector begins with, or print help where it asks for that.

    Args:
        commands: dataclass of the flags of each command, by the command's name.

    Raises:
        ValueError: there is no such command.
        SystemExit: help was asked for.
    """
    name = arguments[0]
    if name not in (*commands, *HELP):
        hint = values.meant(values.like(name, commands))
        raise ValueError(f"COMMAND must be one of {', '.join(commands)}, not {shown(redacted(name))}{hint}")
    if HELP & set(arguments):
        described = [Annotated[flags, tyro.conf.subcommand(each)] for each, flags in commands.items()]
        words = ["--help"] if name in HELP else [name, "--help"]
        any_of_them: Any = reduce(or_, described)
        tyro.cli(any_of_them, prog=prog, args=words, config=(tyro.conf.OmitSubcommandPrefixes,))
    return name


def parse(command: type, prog: str, words: Sequence[str]) -> Parsed:
    """Read the words of one command.

    >>> from pipeline.command.flags import Status
    >>> parse(Status, "python -m pipeline status", ["demo-1", "--follow"]).given
    {'submission': 'demo-1', 'follow': True}

    Args:
        command: dataclass of its flags.

    Raises:
        ValueError: what is wrong, in one line.
    """
    return Words(prog, fields_of(command), list(words)).parsed(command)


def fields_of(command: Any, prefix: str = "") -> list[Field]:
    """List the fields of a command's dataclass that take values, those of groups by dotted name."""
    leaves: list[Field] = []
    hints = get_type_hints(command, include_extras=True)
    for attribute in fields(command):
        annotated = get_origin(hints[attribute.name]) is Annotated
        kind, *marks = get_args(hints[attribute.name]) if annotated else [hints[attribute.name]]
        name = f"{prefix}{attribute.name}"
        if SUPPRESSED in marks:
            continue
        if is_dataclass(kind):
            leaves += fields_of(kind, f"{name}.")
            continue
        called = next((mark.name for mark in marks if getattr(mark, "name", None)), name)
        required = attribute.default is MISSING and attribute.default_factory is MISSING
        positional = POSITIONAL in marks
        flag = called.upper() if positional else f"--{called.replace('_', '-')}"
        spoken = called.replace("-", "_") if "." in called or called == "seed" else flag
        leaves.append(Field(name, kind, flag, spoken, positional, required))
    return leaves


def built(command: Any, given: dict[str, Any], prefix: str = "") -> Any:
    """Make an instance of a command's dataclass from values by dotted name; the rest are its defaults."""
    chosen = {}
    for attribute in fields(command):
        name = f"{prefix}{attribute.name}"
        if name in given:
            chosen[attribute.name] = given[name]
        elif any(other.startswith(f"{name}.") for other in given):
            chosen[attribute.name] = built(get_type_hints(command)[attribute.name], given, f"{name}.")
    return command(**chosen)


class Words:
    """A reader of one command's words, from left to right."""

    def __init__(self, prog: str, leaves: Sequence[Field], words: list[str]) -> None:
        self.prog, self.words = prog, words
        self.positional = [field for field in leaves if field.positional]
        self.flags = {field.flag: field for field in leaves if not field.positional}
        self.required = [field for field in leaves if field.required]
        self.given: dict[str, Any] = {}
        self.spelled: dict[str, list[str]] = {}

    def parsed(self, command: Any) -> Parsed:
        """Read all words, and make an instance of the command's dataclass."""
        while self.words:
            word = self.words.pop(0)
            if word.startswith("-"):
                self.flag(word)
            elif self.positional:
                field = self.positional.pop(0)
                self.given[field.name] = values.read(field.spoken, word, field.kind)
            else:
                raise ValueError(f"{shown(redacted(word))} is one word too many; see {self.prog} --help")
        for field in self.required:
            if field.name not in self.given:
                raise ValueError(f"{field.flag} must be given; see {self.prog} --help")
        return Parsed(built(command, self.given), self.given, self.spelled)

    def flag(self, word: str) -> None:
        """Read a flag and the words of its value."""
        written, equals, attached = word.partition("=")
        flag = written.replace("_", "-")
        negated = flag not in self.flags and (positive := re.sub(r"^(--(\w+\.)?)no-([^.]+)$", r"\1\3", flag)) != flag
        field = self.flags.get(positive if negated else flag)
        if field is None or (negated and not field.is_truth):
            self.unknown(flag)
        if field.name in self.spelled:
            first = shown(redacted(" ".join(self.spelled[field.name])))
            raise ValueError(f"{field.spoken} is given twice: {first} and {shown(redacted(word))}")
        following = list(self.words)
        if field.is_truth and not equals and (negated or not self.value_follows(field)):
            texts = ["false" if negated else "true"]
        elif negated:
            raise ValueError(f"{written} takes no value; write {field.flag} true or {field.flag} false")
        else:
            texts = [attached] if equals else self.take(field)
        self.spelled[field.name] = [word, *following[: len(following) - len(self.words)]]
        self.given[field.name] = value(field, texts)

    def value_follows(self, field: Field) -> bool:
        """Say whether the word after a flag for true or false is its value, and not the command's next word."""
        word = self.words[0] if self.words else "-"
        known = word.casefold() in ("true", "false") or word in values.choices_of(field.kind)
        return known or not (word.startswith("-") or self.positional)

    def take(self, field: Field) -> list[str]:
        """Take the words of a flag's value from those that are left."""
        following = next((i for i, word in enumerate(self.words) if word.startswith("--")), len(self.words))
        number = max(1, following) if field.takes_any else field.num_words
        texts, self.words = self.words[:number], self.words[number:]
        if len(texts) < field.num_words or any(text.startswith("--") for text in texts):
            raise ValueError(f"{field.spoken} must be {rule_of(field)}, and nothing follows {field.flag}")
        return texts

    def unknown(self, flag: str) -> NoReturn:
        """Refuse a flag that the command has not, and say what it is called now or what may be meant."""
        if flag in RENAMED:
            new = next((name for name in RENAMED[flag] if name in self.flags), None)
            raise ValueError(f"{flag} is called {new} now" if new else f"{self.prog} does not use {flag} any more; leave it out")
        hint = values.meant(values.like_dotted(flag, self.flags))
        raise ValueError(f"{shown(redacted(flag))} is not a flag of {self.prog}{hint}")


def rule_of(field: Field) -> str:
    """Say what a value of a field must be, in words."""
    if field.takes_any:
        return f"{values.rule_of(get_args(field.kind)[0])}, one or several"
    if field.num_words == 1:
        return values.rule_of(field.kind)
    return " and ".join(values.rule_of(kind) for kind in get_args(field.kind))


def value(field: Field, texts: list[str]) -> Any:
    """Read the value of a field from its words."""
    if get_origin(field.kind) is not tuple:
        return values.read(field.spoken, texts[0], field.kind)
    kinds = (get_args(field.kind)[0],) * len(texts) if field.takes_any else get_args(field.kind)
    if len(texts) != len(kinds):
        raise Refused(field.spoken, rule_of(field), " ".join(texts))
    return tuple(values.read(field.spoken, text, kind) for text, kind in zip(texts, kinds, strict=True))
