"""Text of users on its way to a terminal: names of files can hold whatever the terminal, or a shell, takes for a command."""

import shlex


def literal(text: str) -> str:
    r"""Show every character that is none to look at, such as a line break or an escape code, as its number.

    >>> literal("a\nb [/red]")
    'a\\x0ab [/red]'
    """
    return "".join(each if each.isprintable() else _number(each) for each in text)


def counted(number: int, noun: str) -> str:
    """Write a number before what it counts.

    >>> counted(1, "phase"), counted(1200, "row")
    ('1 phase', '1,200 rows')
    """
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def command_line(*words: object) -> str:
    r"""Write a command as it can be pasted into a shell.

    >>> command_line("python", "-m", "pipeline", "run", "my [v2].yaml")
    "python -m pipeline run 'my [v2].yaml'"
    """
    return " ".join(_quoted(str(word)) for word in words)


def _quoted(word: str) -> str:
    if word.isprintable():
        return shlex.quote(word)
    return "$'" + "".join(_number(each) if not each.isprintable() or each in "'\\" else each for each in word) + "'"


def _number(character: str) -> str:
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # a byte that is not UTF-8, as Python has it in names of files
        return f"\\x{code - 0xDC00:02x}"
    return f"\\x{code:02x}" if code < 0x80 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
