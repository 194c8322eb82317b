"""A reader's limits on the language of the guide: `python docs/made/prose.py [FILE ...]`; exit code 1 where one is passed.

A sentence has at most 30 words. At most two of its verbs are passive, since a chain of them hides who does what. proselint adds
its rules about cliches, redundancy and the like. Read are the guide's pages, and what `--help` says of each command and flag.
"""

import inspect
import re
import sys
from collections.abc import Iterator
from dataclasses import is_dataclass
from pathlib import Path
from typing import cast, get_type_hints

from proselint.checks import __register__
from proselint.registry import CheckRegistry
from proselint.tools import LintFile

ROOT = Path(__file__).resolve().parents[2]
CheckRegistry().register_many(__register__)
sys.path[:0] = [str(ROOT), str(Path(__file__).parent)]
MOST_WORDS, MOST_PASSIVES = 30, 2
PAGES = ("README.md", "CONTRIBUTING.md", "docs/*.md", "docs/concepts/*.md", "docs/how_to/*.md")
DATED = {"decisions.md", "experiments.md", "python.md"}
"""Not read: notes of a day, which are not rewritten, and a page that is made from docstrings."""
UNREAD = ("typography.", "lexical_illusions", "archaism")
"""Rules of proselint that code offends (straight quotes, a flag beside its field), or that a word of the field does."""
PARTICIPLES = r"\w+ed|\w+en|read|kept|made|found|held|drawn|shown|known|cut|sent|set|left|put|said"
PASSIVE = re.compile(rf"\b(?:is|are|was|were|be|been|being)\s+(?:\w+ly\s+|not\s+|then\s+|never\s+)?(?:{PARTICIPLES})\b")


def prose(text: str) -> Iterator[tuple[int, str]]:
    """List the paragraphs of Markdown with their line numbers: cells of tables and items of lists are such, code is not."""
    text = re.sub(r"^```.*?^```", lambda found: "\n" * found[0].count("\n"), text, flags=re.DOTALL | re.MULTILINE)
    paragraph, begin = "", 0
    for number, line in enumerate([*text.splitlines(), ""], 1):
        starts = re.match(r"\s*([-*]|\d+\.|#+|>|\|)\s|\s*$|!\[", line)
        if starts and paragraph:
            yield begin, paragraph
            paragraph = ""
        if line.startswith("|"):
            yield from ((number, cell) for cell in re.split(r"(?<!\\)\|", line))
        elif line.strip() and not line.startswith(("#", "![")):
            begin = begin if paragraph else number
            paragraph += " " + re.sub(r"^\s*([-*>]|\d+\.)\s", "", line)


def sentences(paragraph: str) -> Iterator[str]:
    """Split a paragraph into sentences; code is one word, and so is a link."""
    text = re.sub(r"`[^`]*`", "CODE", paragraph)
    text = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", text).replace("**", "").replace("*", "")
    yield from re.split(r"(?<=[.!?:;])\s+(?=[A-Z0-9(\"'])", text)


def complaints(text: str) -> Iterator[tuple[int, str]]:
    """List what is too long or too passive, with line numbers.

    >>> list(complaints("It is kept where it was found and is read when it is given."))
    [(1, '4 passive verbs: It is kept where it was found and is read when it is given.')]
    """
    for line, paragraph in prose(text):
        for sentence in sentences(paragraph):
            words = [word for word in sentence.split() if re.search(r"\w", word)]
            passives = len(PASSIVE.findall(sentence))
            if len(words) > MOST_WORDS:
                yield line, f"{len(words)} words: {sentence.strip()}"
            if passives > MOST_PASSIVES:
                yield line, f"{passives} passive verbs: {sentence.strip()}"
            yield from ((line, complaint) for complaint in of_proselint(sentence))


def of_proselint(sentence: str) -> Iterator[str]:
    """List what proselint says of a sentence."""
    for result in LintFile("sentence", sentence or " ").lint():
        found = result.check_result
        if not found.check_path.startswith(UNREAD):
            yield f"{found.check_path}: {found.message}: {sentence.strip()}"


def help_texts() -> Iterator[tuple[str, str]]:
    """List the texts of `--help`: of each command and of each of its flags, by where they stand."""
    from recipe_page import texts

    from deploy import cli as deploy
    from pipeline.command import cli
    from tune import cli as tune

    seen: dict[type, None] = {}
    for program in (cli.PROGRAM, tune.PROGRAM, deploy.PROGRAM):
        for action in program.actions.values():
            seen |= dict.fromkeys(groups(action.flags))
    for kind in seen:
        yield kind.__qualname__, inspect.getdoc(kind) or ""
        for name, text in texts(kind).items():
            yield f"{kind.__qualname__}.{name}", text


def groups(kind: type) -> Iterator[type]:
    """List a dataclass of flags with the groups in it."""
    yield kind
    for each in get_type_hints(kind).values():
        if is_dataclass(each):
            yield from groups(cast(type, each))


def main(names: list[str]) -> int:
    """Read the pages, print what passes a limit, and return the exit code."""
    paths = [Path(name) for name in names]
    paths = paths or [path for each in PAGES for path in sorted(ROOT.glob(each)) if path.name not in DATED]
    found = [
        (f"{path.resolve().relative_to(ROOT)}:{line}", said) for path in paths for line, said in complaints(path.read_text())
    ]
    found += [] if names else [(place, said) for place, text in help_texts() for _, said in complaints(text)]
    for place, said in found:
        print(f"{place}: {said}")  # noqa: T201
    return bool(found)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
