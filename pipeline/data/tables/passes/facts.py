"""What is known of all values of a column: found at once, or batch by batch with bounded memory."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.data.tables.codes import arrow_types, dates
from pipeline.data.tables.codes.conform import COMPUTED, plain
from pipeline.data.tables.codes.fitting import Counted, Fitting, Floats
from pipeline.data.tables.codes.units import stored_as
from pipeline.data.tables.passes.sampling import Rows, Sampled

MOST_DISTINCT = 50_000
"""Different values of a column that are kept; of more it is known that they are many."""


@dataclass(frozen=True, eq=False)
class Facts:
    """What is known of all values of a column.

    Attributes:
        some: values that are there, of all rows or of a sample of them.
        count: how many values are there.
        missing: how many are not.
        low, high: the smallest and the largest, of times as whole numbers; None where the type has no order, or nothing is there.
        distinct: the different values of text and truth, in the order in which they come; None: too many, or another type.
        entries: of a dictionary, used or not.
        form_ends: by the form of dates that all texts have, the first and the last moment.
    """

    type: pa.DataType
    some: pa.ChunkedArray
    count: int
    missing: int
    low: pa.Scalar | None = None
    high: pa.Scalar | None = None
    distinct: pa.Array | None = None
    entries: pa.Array | None = None
    form_ends: Mapping[str, tuple[pa.Scalar, pa.Scalar]] = field(default_factory=dict)

    @classmethod
    def of(cls, values: pa.ChunkedArray) -> "Facts":
        """Find the facts of a column in memory.

        >>> facts = Facts.of(pa.chunked_array([["b", None, "a", "b"]]))
        >>> facts.count, facts.missing, facts.distinct.to_pylist()
        (3, 1, ['b', 'a'])
        """
        gathered = Gathered(values.type, counting=False)
        gathered.add(values, Rows.of(len(values)))
        return gathered.facts()

    @property
    def is_single(self) -> bool:
        """Say whether all values that are there are equal."""
        if self.distinct is not None:
            return len(self.distinct) == 1
        return self.low is not None and bool(pc.equal(self.low, self.high).as_py())

    @property
    def only(self) -> pa.Scalar:
        """Give the value that is there, where all are equal."""
        first = self.some[0]
        return first.value if pa.types.is_dictionary(self.type) else first


class Gathered:
    """What becomes known of a column, batch by batch.

    Args:
        of: its type.
        counting: different values of any type are counted, as long as they are few; else those of text and truth alone.
    """

    def __init__(self, of: pa.DataType, *, counting: bool = True) -> None:
        self.type, self.count, self.missing = of, 0, 0
        self.first_missing: int | None = None
        self.first_infinite: int | None = None
        inner = of.value_type if pa.types.is_dictionary(of) else of
        self._inner = COMPUTED.get(inner, inner)
        self._is_choice = arrow_types.is_text(inner) or pa.types.is_boolean(inner) or pa.types.is_dictionary(of)
        self._ends: list[pa.Scalar] = []
        self._forms: list[list[str]] | None = None
        self._form_ends: dict[str, list[pa.Scalar]] = {}
        self._entries: pa.Array | None = None
        is_counted = self._is_choice or (counting and _has_order(self._inner))
        self._distinct: pa.Array | None = pa.array([], self._inner) if is_counted else None
        self._some: Sampled | None = None
        self._masses, self._in_others = np.zeros(0), np.zeros(0, bool)
        self._of_missing, self._missing_in_others = np.zeros(2), False

    def add(self, values: pa.ChunkedArray, rows: Rows) -> None:
        """Take the values of further rows."""
        values = plain(values)
        missing, train = np.asarray(pc.is_null(values)), rows.train
        self.missing += int(missing.sum())
        if missing.any() and self.first_missing is None:
            self.first_missing = int(rows.numbers[missing][0])
        self.count += len(values) - int(missing.sum())
        of_train = None if rows.weights is None else rows.weights[train]
        self._of_missing = _added(self._of_missing, missing[train].astype(np.int64), of_train)
        self._missing_in_others |= bool(missing[~train].any())
        if pa.types.is_floating(values.type) and self.first_infinite is None and pc.any(pc.is_inf(values)).as_py():
            self.first_infinite = int(rows.numbers[pc.index(pc.is_inf(values), True).as_py()])
        present = values.drop_null()
        if not len(present):
            return
        rows = rows.only(~missing) if missing.any() else rows
        self._some = self._some or Sampled(present.type)
        self._some.add(present, rows)
        if pa.types.is_dictionary(present.type):
            self._add_entries(present)
            present = present.cast(self._inner)
        if _has_order(present.type):
            ends = pc.min_max(present.cast(stored_as(present.type)) if arrow_types.is_time(present.type) else present)
            self._ends += [ends["min"], ends["max"]]
        elif arrow_types.is_text(self.type):
            self._add_dates(present.unique())
        if self._distinct is not None:
            self._add_distinct(present, rows.train, rows.weights)

    def _add_dates(self, texts: pa.Array) -> None:
        self._forms = dates.still(self._forms, texts)
        form_ends: dict[str, list[pa.Scalar]] = {}
        for form in (form for group in self._forms for form in group):
            ends = pc.min_max(dates.read(texts, form))
            form_ends[form] = [*self._form_ends.get(form, []), ends["min"], ends["max"]]
        self._form_ends = form_ends

    def _add_entries(self, present: pa.ChunkedArray) -> None:
        entries = present.unify_dictionaries().chunk(0).dictionary.drop_null()
        self._entries = (entries if self._entries is None else pa.concat_arrays([self._entries, entries])).unique()

    def _add_distinct(self, present: pa.ChunkedArray, train: np.ndarray, weights: Floats | None) -> None:
        encoded = pa.concat_arrays(present.chunks).dictionary_encode()
        assert self._distinct is not None
        known = pa.concat_arrays([self._distinct, encoded.dictionary]).unique()
        if len(known) > MOST_DISTINCT:
            self._distinct = None
            return
        places = np.asarray(pc.index_in(encoded.dictionary, known))[np.asarray(encoded.indices)]
        grown = (0, len(known) - len(self._masses))
        self._masses = _added(np.pad(self._masses, grown), places[train], None if weights is None else weights[train])
        self._in_others = np.pad(self._in_others, grown) | (np.bincount(places[~train], minlength=len(known)) > 0)
        self._distinct = known

    def facts(self) -> Facts:
        """Give what is known of the column after all batches."""
        some = pa.chunked_array([], self._inner) if self._some is None else self._some.values
        low, high = _ends_of(self._ends) if self._ends else (None, None)
        distinct = self._distinct if self._is_choice and self.count else None
        forms = next((forms for forms in self._forms or () if forms), ())
        form_ends = {form: _ends_of(self._form_ends[form]) for form in forms}
        return Facts(self.type, some, self.count, self.missing, low, high, distinct, self._entries, form_ends)

    def fitting(self, conform: Callable[[pa.ChunkedArray], pa.ChunkedArray], row: float) -> Fitting:
        """Give what the code of the column is fitted to.

        Args:
            conform: brings values to the type that the schema of the table says.
            row: mean weight of a row that is trained on.
        """
        some = Sampled(self._inner) if self._some is None else self._some
        values, weights, others = some.split()
        few = None if self._distinct is None else conform(pa.chunked_array([self._distinct]))
        is_sample = some.limit < 2**64 - 1
        of_missing = self._of_missing, self._missing_in_others
        counted = Counted(few, self._masses, self._in_others, *of_missing, row, is_sample)
        return Fitting(conform(values), weights, conform(others), counted)


def _added(masses: Floats, places: np.ndarray, weights: Floats | None) -> Floats:
    """Add the weights of further rows to the masses of their places, row by row: batches do not show in the last digit."""
    if weights is None:
        return masses + np.bincount(places, minlength=len(masses))
    return np.bincount(np.append(np.arange(len(masses)), places), np.append(masses, weights)).astype(np.float64)


def _ends_of(scalars: Sequence[pa.Scalar]) -> tuple[pa.Scalar, pa.Scalar]:
    ends = pc.min_max(pa.array(scalars, scalars[0].type))
    return ends["min"], ends["max"]


def _has_order(of: pa.DataType) -> bool:
    return arrow_types.is_number(of) or arrow_types.is_time(of) or bool(pa.types.is_boolean(of))
