"""A table with three groups, numbers of several kinds, categories, missing values; and ways in which generated rows go wrong."""

from collections.abc import Callable

import numpy as np
import pyarrow as pa
from sklearn.neighbors import NearestNeighbors

NUMBERS = ("length", "width", "depth", "price", "age")
SPECIES = np.array(["Adelie", "Gentoo", "Chinstrap"])


def real(n: int, seed: int, without: int | None = None) -> pa.Table:
    """Draw n rows; of a group that is left out the rows come from the first."""
    rng = np.random.default_rng(seed)
    group = rng.choice(3, n, p=[0.5, 0.3, 0.2])
    group = np.where(group == without, 0, group)
    z = rng.normal(size=(n, 3))
    z[:, 1] = 0.8 * z[:, 0] + 0.6 * z[:, 1]
    x = z + np.array([[0, 0, 0], [4, 1, -3], [-3, 3, 2]])[group]
    missing = rng.random(n) < 0.1
    return pa.table(
        {
            "length": x[:, 0].round(3),
            "width": x[:, 1].round(3),
            "depth": pa.array(x[:, 2].round(3), mask=missing),
            "price": np.round(np.exp(rng.normal(size=n) + 0.3 * x[:, 0]), 2),
            "age": np.clip(np.round(40 + 10 * x[:, 1] + 5 * rng.normal(size=n)), 18, 90).astype(int),
            "species": SPECIES[group],
            "smoker": rng.random(n) < 1 / (1 + np.exp(-x[:, 2])),
        }
    )


def changed(table: pa.Table, name: str, values: object) -> pa.Table:
    return table.set_column(
        table.column_names.index(name), name, values if isinstance(values, pa.ChunkedArray) else pa.array(values)
    )


def shuffled(table: pa.Table, name: str) -> pa.Table:
    return changed(table, name, table.column(name).take(np.random.default_rng(0).permutation(table.num_rows)))


def blurred(table: pa.Table) -> pa.Table:
    """Replace the numbers of each row by the mean over its eight nearest neighbours."""
    numbers = np.column_stack([np.nan_to_num(table.column(name).to_numpy().astype(float)) for name in NUMBERS])
    scaled = (numbers - numbers.mean(0)) / numbers.std(0)
    nearest = NearestNeighbors(n_neighbors=9).fit(scaled).kneighbors(scaled, return_distance=False)
    for name, values in zip(NUMBERS, numbers[nearest].mean(1).T, strict=True):
        table = changed(table, name, values)
    return table


def noisy(table: pa.Table, size: float) -> pa.Table:
    rng = np.random.default_rng(0)
    for name in ("length", "width", "depth", "price"):
        values = table.column(name).to_numpy()
        table = changed(table, name, values + size * np.nanstd(values) * rng.normal(size=len(values)))
    return table


TRAIN, HELD_OUT, OTHERS = real(600, 1), real(600, 2), real(600, 3)
MADE: dict[str, Callable[[], pa.Table]] = {
    "the same distribution": lambda: OTHERS,
    "blurred": lambda: blurred(OTHERS),
    "copied": lambda: TRAIN,
    "nearly copied": lambda: noisy(TRAIN, 0.01),
    "a group missing": lambda: real(600, 3, without=1),
    "a column shuffled": lambda: shuffled(OTHERS, "width"),
    "noisy": lambda: noisy(OTHERS, 0.5),
}
"""Generated tables, by what is wrong with them."""
