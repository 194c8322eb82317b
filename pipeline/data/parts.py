"""Parquet files in which a long job keeps what it has done, so that the same command goes on after it was killed.

Each part is a pure function of what its footer says that it holds, and the footer carries a digest of the rows. A part that is
whole, and is what it should be, is kept; any other is written again.
"""

import io
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

FOOTER = b"sjko"
"""Key of what a part says about itself, in the metadata of its Parquet footer."""
PARQUET = b"PAR1"
"""What a Parquet file begins with."""


class Damaged(Exception):
    """A part that was cut short, or whose rows are not those that were written."""


class Foreign(Exception):
    """A file that is no part of any of our jobs."""


@dataclass(frozen=True)
class Part:
    """A part of a long job's results that is whole: its file, and the rows in it.

    Attributes:
        content: bytes of the file.
        facts: what it says that it holds, and the sha256 of its rows.
    """

    content: bytes
    facts: Mapping[str, Any]
    table: pa.Table

    def holds(self, facts: Mapping[str, Any]) -> bool:
        """Say whether the part's footer says that it holds these facts."""
        return all(self.facts.get(name) == value for name, value in facts.items())


def packed(
    table: pa.Table, facts: Mapping[str, Any], sha256: str, *, compression: str = "snappy", use_dictionary: bool = True
) -> bytes:
    """Make the Parquet file of a part, whose footer says what it holds and has the sha256 of its rows.

    Example:
        >>> table = pa.table({"x": [1, 2]})
        >>> unpacked(packed(table, {"part": 3}, "ab"), lambda table, facts: "ab").facts
        {'part': 3, 'sha256': 'ab'}

    Args:
        facts: what it holds, ready for JSON.
        sha256: of its rows.
    """
    footer = json.dumps({**facts, "sha256": sha256}).encode()
    content = io.BytesIO()
    pq.write_table(
        table.replace_schema_metadata({FOOTER: footer}),
        content,
        compression=compression,
        use_dictionary=use_dictionary,
        write_page_checksum=True,
    )
    return content.getvalue()


def unpacked(content: bytes, sha256_of: Callable[[pa.Table, Mapping[str, Any]], str]) -> Part:
    """Read the Parquet file of a part, and check that it is whole.

    Args:
        sha256_of: gives the sha256 of rows from them and from what the footer says.

    Raises:
        Damaged: it is cut short, or its rows have another sha256 than it says.
        Foreign: it is a file of something else.
    """
    if not content.startswith(PARQUET):
        raise Foreign("it is no Parquet file")
    try:
        table = pq.read_table(io.BytesIO(content), page_checksum_verification=True)
        facts = dict(json.loads((table.schema.metadata or {}).get(FOOTER, b"{}")))
        if not facts:
            raise Foreign("its footer does not say what it holds")
        whole = sha256_of(table, facts) == facts.get("sha256")
    except (pa.ArrowException, OSError, KeyError, ValueError) as error:
        raise Damaged("it cannot be read") from error
    if not whole:
        raise Damaged("its rows are not those that were written")
    return Part(content, facts, table)
