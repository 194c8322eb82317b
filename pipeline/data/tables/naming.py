"""What a recipe may write for a table: a file, a folder or a pattern of files, at any URL.

This file imports nothing heavy: recipes are checked with it before anything is read.
"""

from typing import NewType

Location = NewType("Location", str)
"""The kind of a field that may name a table, beside the names of what is built in."""
COMPRESSED = (".gz", ".zst")
TEXTS = (".csv", ".tsv", ".txt")
ENDINGS = (
    ".parquet",
    *TEXTS,
    *(text + packed for text in TEXTS for packed in COMPRESSED),
    ".arrow",
    ".feather",
    ".npy",
    ".npz",
    ".h5ad",
)
"""Endings of files that hold tables."""


def ending_of(name: str) -> str:
    """Find the ending of a file's name, `.csv.gz` whole; empty where it is none of a table's.

    Example:
        >>> ending_of("s3://bucket/Cells.CSV.gz"), ending_of("cells.xlsx")
        ('.csv.gz', '')
    """
    small = name.lower()
    return max((ending for ending in ENDINGS if small.endswith(ending)), key=len, default="")


def is_location(name: str) -> bool:
    """Say whether a name in a recipe is that of a table: it has a slash, or the ending of a table's file.

    Example:
        >>> is_location("cells (2).csv"), is_location("s3://bucket/shards"), is_location("my_parts:windows"), is_location("moons")
        (True, True, False, False)
    """
    head = name.partition("(")[0]  # options of an own part may name files; a file may be "cells (2).csv"
    return "/" in head or (":" not in head and (ending_of(head) or ending_of(name)) != "")
