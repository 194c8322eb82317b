"""Columns of categories as coordinates and back: one for each category, or one for all."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from pipeline.data.tables.codes.categories import Categories
from pipeline.data.tables.codes.cells import Cells
from pipeline.data.tables.codes.fitting import Fitting
from pipeline.data.tables.schema import Column
from pipeline.errors import Unusable
from pipeline.recipes.values import shown

Arrays = Mapping[str, np.ndarray]
NOISE = 0.1
"""Standard deviation of the noise about 0 and 1 of categories that have a coordinate each."""


@dataclass(frozen=True, eq=False)
class OneHot:
    """The code of a few categories: a coordinate for each, of noise about 0 and 1, brought to mean 0 and variance 1."""

    column: Column
    shares: np.ndarray

    @property
    def suffixes(self) -> tuple[str, ...]:
        """Name the coordinates by the categories."""
        return tuple(f"={category}" for category in self.column.categories)

    @classmethod
    def fit(cls, column: Column, given: Fitting) -> "OneHot":
        """Fit to values, none of them missing."""
        return cls(column, shares_of(column, given))

    @classmethod
    def restored(cls, column: Column, arrays: Arrays) -> "OneHot":
        """Make a code of what `arrays` gave."""
        return cls(column, **arrays)

    @property
    def _deviations(self) -> np.ndarray:
        return np.asarray(np.sqrt(self.shares * (1 - self.shares) + NOISE**2))

    def encode(self, values: pa.ChunkedArray, rng: np.random.Generator) -> np.ndarray:
        """Give n values as coordinates (n, categories)."""
        coordinates = NOISE * rng.standard_normal((len(values), len(self.shares))) - self.shares
        coordinates[np.arange(len(values)), places_of(self.column, values, self.shares)] += 1
        return np.asarray(coordinates / self._deviations)

    def decode(self, coordinates: np.ndarray) -> pa.Array:
        """Give coordinates (n, categories) as the category of the largest, before they were brought to variance 1."""
        return chosen(self.column).values(np.argmax(coordinates * self._deviations + self.shares, axis=1))

    def arrays(self) -> dict[str, np.ndarray]:
        """Give the arrays that the code is made of again, by name."""
        return {"shares": self.shares}


@dataclass(frozen=True, eq=False)
class Ranked:
    """The code of categories as intervals of one coordinate: text by falling frequency, whatever has an order in that order."""

    column: Column
    order: np.ndarray
    cells: Cells
    suffixes: tuple[str, ...] = ("",)

    @classmethod
    def fit(cls, column: Column, given: Fitting) -> "Ranked":
        """Fit to values, none of them missing."""
        shares = shares_of(column, given)
        of = column.arrow_type
        has_order = of.ordered if pa.types.is_dictionary(of) else isinstance(column.categories[0], int | float)
        order = np.arange(len(shares)) if has_order else np.argsort(-shares, kind="stable")
        return cls(column, order, Cells.of(shares[order]))

    @classmethod
    def restored(cls, column: Column, arrays: Arrays) -> "Ranked":
        """Make a code of what `arrays` gave."""
        return cls(column, arrays["order"], Cells(arrays["edges"]))

    def encode(self, values: pa.ChunkedArray, rng: np.random.Generator) -> np.ndarray:
        """Give n values as coordinates (n, 1)."""
        ranks = np.argsort(self.order)
        places = places_of(self.column, values, np.diff(self.cells.edges)[ranks])
        return self.cells.to_normal(ranks[places], rng)[:, None]

    def decode(self, coordinates: np.ndarray) -> pa.Array:
        """Give coordinates (n, 1) as the categories whose intervals they lie in."""
        return chosen(self.column).values(self.order[self.cells.from_normal(coordinates[:, 0].astype(np.float64))])

    def arrays(self) -> dict[str, np.ndarray]:
        """Give the arrays that the code is made of again, by name."""
        return {"order": self.order, "edges": self.cells.edges}


def chosen(column: Column) -> Categories:
    """Give the categories of a column."""
    return Categories(column.name, column.categories, column.arrow_type)


def shares_of(column: Column, given: Fitting) -> np.ndarray:
    """Give the share of each category of a column."""
    masses = given.masses(chosen(column).places, len(column.categories))
    return np.asarray(masses / masses.sum())


def places_of(column: Column, values: pa.ChunkedArray, shares: np.ndarray) -> np.ndarray:
    """Give the place of each value among the categories.

    Raises:
        Unusable: a value is none of them, or one without a share, which would come back as another one.
    """
    places = chosen(column).places(values)
    if len(places) and not shares[places].all():
        unknown = shown(column.categories[places[int(np.argmin(shares[places]))]])
        raise Unusable(f"the column {shown(column.name)} has the value {unknown}, which no row has that its code was fitted to")
    return places
