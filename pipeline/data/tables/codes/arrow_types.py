"""Types of Arrow written as text, and read again: what a schema in YAML says about a column."""

import re
from collections.abc import Callable

import pyarrow as pa

PATTERNS: dict[str, Callable[..., pa.DataType]] = {
    r"timestamp\[(s|ms|us|ns)\]": pa.timestamp,
    r"timestamp\[(s|ms|us|ns), tz=(.+)\]": pa.timestamp,
    r"(?:time32|time64)\[(s|ms|us|ns)\]": lambda unit: pa.time32(unit) if unit in ("s", "ms") else pa.time64(unit),
    r"date32\[day\]": pa.date32,
    r"date64\[ms\]": pa.date64,
    r"duration\[(s|ms|us|ns)\]": pa.duration,
    r"decimal(32|64|128|256)\((\d+), (-?\d+)\)": lambda bits, precision, scale: getattr(pa, f"decimal{bits}")(
        int(precision), int(scale)
    ),
    r"dictionary<values=(.+), indices=(u?int\d+), ordered=([01])>": lambda values, indices, ordered: pa.dictionary(
        type_of(indices), type_of(values), ordered == "1"
    ),
}


def type_of(text: str) -> pa.DataType:
    """Read the type that `str` of a type of Arrow has written.

    >>> str(type_of("timestamp[us, tz=Europe/Berlin]"))
    'timestamp[us, tz=Europe/Berlin]'
    >>> type_of("dictionary<values=string, indices=int8, ordered=0>").index_type
    DataType(int8)

    Raises:
        ValueError: it is no such text.
    """
    for pattern, make in PATTERNS.items():
        if (match := re.fullmatch(pattern, text)) is not None:
            try:
                return make(*match.groups())
            except pa.ArrowException as error:
                raise ValueError(f"{text} is no type of Arrow: {error}") from error
    try:
        return pa.type_for_alias(text)
    except (ValueError, TypeError):
        raise ValueError(f"{text} is no type of Arrow such as double, int64 or string") from None


def cast(values: "pa.Array | pa.ChunkedArray", of: pa.DataType) -> "pa.Array | pa.ChunkedArray":
    """Give values as a type, also as a dictionary of numbers or truth values, to which Arrow casts nothing.

    >>> cast(pa.array([2, 1, 2]), pa.dictionary(pa.int8(), pa.int64())).to_pylist()
    [2, 1, 2]

    Raises:
        pa.ArrowException: they cannot be that.
    """
    if not pa.types.is_dictionary(of) or values.type == of:
        return values.cast(of)
    plain = values.cast(values.type.value_type) if pa.types.is_dictionary(values.type) else values
    encoded = plain.cast(of.value_type).dictionary_encode()
    chunks = [
        pa.DictionaryArray.from_arrays(each.indices.cast(of.index_type), each.dictionary, ordered=of.ordered)
        for each in (encoded.chunks if isinstance(encoded, pa.ChunkedArray) else [encoded])
    ]
    return pa.chunked_array(chunks, of) if isinstance(encoded, pa.ChunkedArray) else chunks[0]


def is_text(of: pa.DataType) -> bool:
    """Say whether a type is text."""
    return bool(pa.types.is_string(of) or pa.types.is_large_string(of) or pa.types.is_string_view(of))


def is_choice(of: pa.DataType) -> bool:
    """Say whether values of a type can be categories that YAML writes down."""
    return is_text(of) or bool(pa.types.is_boolean(of) or pa.types.is_integer(of) or pa.types.is_floating(of))


def is_category(of: pa.DataType) -> bool:
    """Say whether a column of a type can be a category."""
    return is_choice(of.value_type if pa.types.is_dictionary(of) else of)


def is_number(of: pa.DataType) -> bool:
    """Say whether values of a type are numbers."""
    return bool(pa.types.is_floating(of) or pa.types.is_decimal(of) or pa.types.is_integer(of))


def is_truth(of: pa.DataType) -> bool:
    """Say whether values of a type can be truth values: those themselves, or 0 and 1."""
    return bool(pa.types.is_boolean(of) or pa.types.is_integer(of))


def is_time(of: pa.DataType) -> bool:
    """Say whether values of a type are dates, times or durations."""
    return bool(pa.types.is_temporal(of) and not pa.types.is_interval(of))


def is_any(of: pa.DataType) -> bool:
    """Say that a type is one."""
    return of is not None
