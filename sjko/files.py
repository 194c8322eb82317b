"""Files of numbers that a person names: npy, npz, Parquet, CSV."""

import io
from pathlib import Path

import numpy as np
import pyarrow as pa

from components.parts.loading import described
from pipeline import files, places
from pipeline.errors import Unusable

ENDINGS = (".npy", ".npz", ".parquet", ".csv")
MISSING = ("", "na", "n/a", "null", "none")
"""Words for a missing value, in small letters."""


def read(location: str, name: str) -> "np.ndarray | pa.Table":
    """Read a file of numbers by its path or URL: an array, or a table with its columns.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     np.save(f"{folder}/x.npy", np.eye(3))
        ...     read(f"{folder}/x.npy", "x").shape
        (3, 3)

    Args:
        name: how messages call what is read.

    Raises:
        Unusable: there is no such file, or it cannot be read as numbers.
    """
    ending = Path(location).suffix.lower()
    if ending not in ENDINGS:
        raise Unusable(f"{name} must end in one of {', '.join(ENDINGS)}, not {location}")
    system, path = files.at(places.source(name, location))
    try:
        content = io.BytesIO(system.cat_file(path))
        if ending == ".parquet":
            import pyarrow.parquet as pq

            return pq.read_table(content)
        if ending == ".csv":
            return _csv(content, location)
        loaded = np.load(content, allow_pickle=False)
    except FileNotFoundError:
        raise Unusable(f"{name}: there is no file {location}") from None
    except Unusable:
        raise
    except (OSError, ValueError, pa.ArrowException) as error:
        raise Unusable(f"{name}: {location} cannot be read: {described(error)}") from error
    if isinstance(loaded, np.lib.npyio.NpzFile):  # whatever its name ends in
        if len(loaded.files) != 1:
            raise Unusable(f"{name}: {location} holds {', '.join(loaded.files) or 'no array'}; give one array")
        loaded = loaded[loaded.files[0]]
    return loaded


def _csv(content: io.BytesIO, name: str) -> pa.Table:
    """Read a CSV of numbers, with a line of names or without one.

    Raises:
        Unusable: its first line may be either, or names an index.
    """
    from pyarrow import csv

    table = csv.read_csv(content, csv.ReadOptions(use_threads=False))  # in one thread it numbers the rows of its errors
    names = table.column_names
    counted, numbers = [str(number) for number in range(len(names))], [_is_number(each) for each in names]
    missing = [each.strip().lower() in MISSING for each in names]
    if names == counted:  # as a frame without names of its own is written
        return table
    if all(numbers):
        content.seek(0)
        return csv.read_csv(content, csv.ReadOptions(use_threads=False, autogenerate_column_names=True))
    of_index = not names[0] and names[1:] == counted[:-1]
    if any(numbers) and not of_index and all(is_number or gap for is_number, gap in zip(numbers, missing, strict=True)):
        raise Unusable(
            f"{name}: column {missing.index(True)} of the first line is missing among numbers: fill it, or leave the row out; "
            "and if that is a line of names, give each column one"
        )
    if "" in names:
        raise Unusable(f"{name}: column {names.index('')} has no name, as an index has none: write the file with index=False")
    return table


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
