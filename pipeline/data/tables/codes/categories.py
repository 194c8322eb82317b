"""Categories by their places in the list that a schema has of them."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.errors import Unusable
from pipeline.recipes.values import shown


@dataclass(frozen=True)
class Categories:
    """The categories of a column, in their order.

    >>> Categories("size", ("S", "M"), pa.string()).places(pa.chunked_array([["M", "S"]]))
    array([1, 0])

    Attributes:
        name: of the column.
        type: that its values have, perhaps a dictionary.
    """

    name: str
    known: tuple[str | int | float | bool, ...]
    type: pa.DataType

    def entries(self, of: pa.DataType | None = None) -> pa.Array:
        """Give the categories as values of a type, without one as those of a dictionary or column."""
        plain = self.type.value_type if pa.types.is_dictionary(self.type) else self.type
        return pa.array(self.known).cast(of or plain)

    def places(self, values: pa.ChunkedArray) -> np.ndarray:
        """Give the place of each value, none of them missing.

        Raises:
            Unusable: a value is none of them.
        """
        places = [self._of_chunk(chunk) for chunk in values.chunks]
        return np.concatenate(places) if places else np.empty(0, np.int64)

    def _of_chunk(self, chunk: pa.Array) -> np.ndarray:
        """Look categories up, of a dictionary once for each of its entries."""
        if pa.types.is_dictionary(chunk.type):
            entries = np.asarray(pc.index_in(chunk.dictionary, self.entries(chunk.type.value_type)).fill_null(-1))
            places = entries[np.asarray(chunk.indices)]
        else:
            places = np.asarray(pc.index_in(chunk, self.entries(chunk.type)).fill_null(-1))
        if len(places) and places.min() < 0:
            unknown = shown(chunk[int(np.argmin(places))].as_py())
            raise Unusable(f"the column {shown(self.name)} has the value {unknown}, which is none of its categories")
        return np.asarray(places.astype(np.int64))

    def values(self, places: np.ndarray) -> pa.Array:
        """Give categories by their places, as values of the column's type."""
        if not pa.types.is_dictionary(self.type):
            return pa.array(self.known).take(pa.array(places)).cast(self.type)
        indices = pa.array(places).cast(self.type.index_type)
        return pa.DictionaryArray.from_arrays(indices, self.entries(), ordered=self.type.ordered)
