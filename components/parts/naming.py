"""The name of a part: one of a table or `package.module:name`, with options, and the digest of the code that it means.

    jsd        my_parts:alpha        my_parts:alpha(alpha=0.5)        my_parts:alpha(alpha=0.5)@1f2e3d4c5b6a

A name is one string with one canonical form, so that recipes, flags, search axes and fingerprints hold it as they hold any other.
"""

import ast
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NewType

Option = str | int | float | bool | None
PartName = NewType("PartName", str)
"""The kind of a field that may name an own part, beside the names of a table."""
USE = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*(:[^\W\d]\w*(\.[^\W\d]\w*)*)?|:[\w.-]+")
WHOLE = re.compile(r"(?P<use>[\w.:-]+)(?P<options>\(.*\))?(@(?P<digest>[\w.+!=-]+))?", re.DOTALL)


class PartError(ValueError):
    """A part cannot be used: the message is one sentence that begins with its name."""


@dataclass(frozen=True)
class Part:
    """A part as it is named.

    Example:
        >>> part = Part.read("my_parts:alpha( alpha = .5 )")
        >>> part.use, part.options, str(part)
        ('my_parts:alpha', {'alpha': 0.5}, 'my_parts:alpha(alpha=0.5)')

    Attributes:
        use: a name of a table, or `module:name` of what makes the part; `:name` is an object in this process's memory.
        options: keyword arguments of what makes it.
        digest: of the code that is meant (`components.parts.code`); None: the code that is found.
    """

    use: str
    options: Mapping[str, Option] = field(default_factory=dict)
    digest: str | None = None

    @classmethod
    def read(cls, text: str) -> "Part":
        """Read a name in whatever way its options are spaced and ordered.

        Raises:
            PartError: the text is no name of a part.
        """
        match = WHOLE.fullmatch(text.strip())
        if match is None or not USE.fullmatch(match["use"]):
            raise PartError(
                f"{text} is no name of a part: write a name, or package.module:name, then (option=value) where it has any"
            )
        return cls(match["use"], _options(text, match["options"] or "()"), match["digest"])

    @property
    def is_own(self) -> bool:
        """Say whether this is a part from outside the tables."""
        return ":" in self.use

    @property
    def is_in_memory(self) -> bool:
        """Say whether this names an object that only this process has."""
        return self.use.startswith(":")

    @property
    def module(self) -> str:
        """Give the module's name."""
        return self.use.partition(":")[0]

    def __str__(self) -> str:
        options = ", ".join(f"{name}={value!r}" for name, value in sorted(self.options.items()))
        return f"{self.use}{f'({options})' if options else ''}{f'@{self.digest}' if self.digest else ''}"


def is_own(name: str) -> bool:
    """Say whether a name is one of an own part, and not one of a table.

    Example:
        >>> is_own("my_parts:alpha"), is_own("jsd"), is_own("s3://bucket/cells.csv")
        (True, False, False)
    """
    head = name.partition("(")[0]
    return ":" in head and "/" not in head


def shown(name: str) -> str:
    """Write the name of a part for a person: without the digest of its code, and an object in memory by its own name.

    Example:
        >>> shown("my_parts:alpha(alpha=0.5)@1f2e3d4c5b6a"), shown(":Mine.1f2e3d4c5b6a")
        ('my_parts:alpha(alpha=0.5)', 'Mine')
    """
    part = Part.read(name)
    return part.use[1:].partition(".")[0] if part.is_in_memory else str(Part(part.use, part.options))


def _options(text: str, written: str) -> dict[str, Option]:
    """Read `(name=value, ...)`, whose values are plain numbers, words in quotes, True, False and None."""
    wrong = f"the options of {text} must be written as (name=value, ...), with numbers, quoted words, True, False or None"
    try:
        call = ast.parse(f"part{written}", mode="eval").body
        assert isinstance(call, ast.Call)
        assert isinstance(call.func, ast.Name)
        assert not call.args
        options = {str(word.arg): ast.literal_eval(word.value) for word in call.keywords if word.arg}
    except (SyntaxError, ValueError, AssertionError, RecursionError, MemoryError):
        raise PartError(wrong) from None
    plain = all(value is None or isinstance(value, str | int | float) for value in options.values())
    if len(options) < len(call.keywords) or not plain:
        raise PartError(wrong)
    if any(isinstance(value, float) and not math.isfinite(value) for value in options.values()):
        raise PartError(f"the options of {text} must be finite numbers")
    return {name: value + 0.0 if isinstance(value, float) else value for name, value in options.items()}  # -0.0 is 0.0
