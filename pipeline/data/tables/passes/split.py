"""Which rows are held out where no column says so: one in five, by a hash of each and of how many equal rows come before it."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

HELD_OUT = 5
"""One row in so many is held out."""
ODD = np.uint64(0x9E3779B97F4A7C15)
MOST_COUNTED = 1 << 20
"""Different rows whose repeats are counted; others, which are rare in so large a table, are held out with their repeats."""


class ByHash:
    """Tell rows to train on from those that are held out, batch by batch.

    Of equal rows, such as those of a table of a few categories, one in five is held out: were all on one side, what is held out
    would be other than what is trained on. Rows that are added, and another order of rows, move none.

    >>> trained = ByHash().trained(pa.table({"colour": ["red", "blue"] * 5_000}))
    >>> round(float(trained.mean()), 1)
    0.8
    """

    def __init__(self) -> None:
        self._known, self._counts = np.empty(0, np.uint64), np.empty(0, np.uint64)

    def trained(self, table: pa.Table) -> np.ndarray:
        """Say of each further row whether it is trained on."""
        keys = hashes(table)
        before = self._before(keys)
        with np.errstate(over="ignore"):
            mixed = keys + before * ODD
            mixed = (mixed ^ (mixed >> np.uint64(32))) * ODD
        again = (mixed ^ (mixed >> np.uint64(29))) % np.uint64(HELD_OUT)
        return np.asarray(np.where(before == 0, keys % np.uint64(HELD_OUT), again) != 0)

    def _before(self, keys: np.ndarray) -> np.ndarray:
        """Count the equal rows before each."""
        found, inverse, counts = np.unique(keys, return_inverse=True, return_counts=True)
        starts = np.cumsum(counts) - counts
        within = np.empty(len(keys), np.uint64)
        within[np.argsort(inverse, kind="stable")] = np.arange(len(keys)) - np.repeat(starts, counts)
        places = np.searchsorted(self._known, found)
        is_known = np.zeros(len(found), bool)
        inside = places < len(self._known)
        is_known[inside] = self._known[places[inside]] == found[inside]
        earlier = np.zeros(len(found), np.uint64)
        earlier[is_known] = self._counts[places[is_known]]
        self._counts[places[is_known]] += counts[is_known].astype(np.uint64)
        new = np.flatnonzero(~is_known)[: MOST_COUNTED - len(self._known)]
        self._known = np.insert(self._known, places[new], found[new])
        self._counts = np.insert(self._counts, places[new], counts[new].astype(np.uint64))
        uncounted = ~is_known
        uncounted[new] = False
        result: np.ndarray = earlier[inverse] + np.where(uncounted[inverse], np.uint64(0), within)
        return result


def hashes(table: pa.Table) -> np.ndarray:
    """Hash each row, whatever stands before or after it, in whatever order the columns stand.

    Example:
        >>> one, other = pa.table({"x": [1, 2], "y": ["a", "b"]}), pa.table({"y": ["b"], "x": [2.0]})
        >>> bool(hashes(one)[1] == hashes(other)[0])
        True
    """
    total = np.zeros(table.num_rows, np.uint64)
    with np.errstate(over="ignore"):
        for column in sorted(table.column_names):
            total = (total ^ _hashed(table[column])) * ODD
            total ^= total >> np.uint64(29)
    return total


def _hashed(column: pa.ChunkedArray) -> np.ndarray:
    """Hash cells: numbers by their value, whatever type they have, others as text."""
    kind = column.type
    if pa.types.is_dictionary(kind):
        column, kind = column.cast(kind.value_type), kind.value_type
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind) or pa.types.is_decimal(kind):
        numbers = pc.cast(column, pa.float64(), safe=False).to_numpy(zero_copy_only=False) + 0.0
        return np.asarray(pd.util.hash_array(np.where(np.isnan(numbers), np.nan, numbers)))
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):  # the same moment in whatever unit
        column = pc.cast(column, pa.timestamp("us", getattr(kind, "tz", None)), safe=False)
    if pa.types.is_nested(kind):  # it is refused later, or left out by a schema
        column = pa.chunked_array([pa.array([repr(cell) for cell in column.to_pylist()], pa.string())])
    texts = pc.cast(column, pa.string()).dictionary_encode().combine_chunks()
    categories = pd.util.hash_array(texts.dictionary.to_numpy(zero_copy_only=False), categorize=False)
    places = texts.indices.fill_null(-1).to_numpy(zero_copy_only=False)
    cells: np.ndarray = np.append(categories, np.uint64(0))[places]
    return cells
