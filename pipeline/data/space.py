"""The space that a flow lives in: the data's own units, shifted, scaled and, where they are whitened, mixed."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from components.streams import stream
from pipeline.data.source import Samples, Source
from pipeline.errors import Unusable

if TYPE_CHECKING:
    from pipeline.recipe import Scaling

MOST_ROWS, MOST_NUMBERS = 65_536, 2**24
"""Training samples that deviations of axes and their correlations are measured on, fewer where each has many coordinates."""
CONSTANT = 1e-6
"""A coordinate whose deviation is a smaller share of its size than this is constant: float32 tells no more values apart."""
LEAST_SHRINKAGE = 1e-4
"""Share of the identity in a matrix of correlations, at least: what has no variance at all becomes no larger than 100 times."""
BLOCK = 64
"""Rows that are mixed together, the last block filled up: BLAS adds up in another order for another number of rows."""


@dataclass(frozen=True)
class Space:
    """The affine way between samples in the data's own units and the space that a flow lives in.

    Example:
        >>> space = Space(np.array([1.0, 0.0], np.float32), 2.0)
        >>> space.to_units(space.to_space(np.array([[3.0, 4.0]], np.float32))).tolist()
        [[3.0, 4.0]]

    Attributes:
        shift: of the shape of one sample.
        scale: one number for all coordinates, or one of each.
        mixing: (d, d), of samples (n, d); None where coordinates stay apart. units = shift + scale * (mixing @ space).
    """

    shift: np.ndarray
    scale: float | np.ndarray
    mixing: np.ndarray | None = None

    @cached_property
    def unmixing(self) -> np.ndarray | None:
        """Invert the mixing, which is positive definite."""
        return None if self.mixing is None else np.linalg.inv(self.mixing)

    def to_space(self, samples: Samples) -> Samples:
        """Bring samples from the data's own units to the space that the flow lives in."""
        scaled = (samples - self.shift) / self.scale
        in_space: Samples = (scaled if self.unmixing is None else _mixed(scaled, self.unmixing)).astype(np.float32)
        return in_space

    def to_units(self, samples: Samples) -> Samples:
        """Bring samples from the space that the flow lives in to the data's own units."""
        mixed = samples if self.mixing is None else _mixed(samples, self.mixing)
        in_units: Samples = (self.shift + self.scale * mixed).astype(np.float32)
        return in_units

    def arrays(self) -> dict[str, np.ndarray]:
        """Give what is no single number of the space, by the names of its fields."""
        return {name: value for name, value in vars(self).items() if isinstance(value, np.ndarray) and name != "unmixing"}


def space_of(target: Source, scaling: "Scaling") -> Space:
    """Find the space for a target, as `data.standardise` says.

    Raises:
        Unusable: all samples are equal, so that nothing says how large they are.
    """
    return SPACES[scaling](target)


def _units(target: Source) -> Space:
    return Space(np.zeros(target.shape, dtype=np.float32), 1.0)


def _one_scale(target: Source) -> Space:
    moments = target.moments()
    _require_some(moments.std)
    return Space(moments.mean, moments.std)


def _axes(target: Source) -> Space:
    _, shift, deviations = _measured(target)
    return Space(shift.astype(np.float32), deviations.astype(np.float32))


def _whitened(target: Source) -> Space:
    """Take the symmetric root of the correlations: of all whitenings the one that leaves each coordinate nearest to its own
    column (Kessy et al. 2018, ZCA-cor), and the only one that hardly changes where eigenvalues are nearly equal.

    Correlations of few rows, or of columns that depend on each other, have no inverse; they are mixed with the identity, by the
    share that Ledoit and Wolf (2004) estimate.
    """
    from sklearn.covariance import ledoit_wolf_shrinkage  # takes half a second, and who draws needs none

    rows, shift, deviations = _measured(target)
    scaled = (rows - shift) / deviations
    correlations = scaled.T @ scaled / len(scaled)
    np.fill_diagonal(correlations, 1.0)  # a constant coordinate has 0 there, and is left as it is
    share = max(LEAST_SHRINKAGE, float(ledoit_wolf_shrinkage(scaled, assume_centered=True)))
    correlations = (1 - share) * correlations + share * np.eye(len(correlations))
    values, vectors = np.linalg.eigh(correlations)
    mixing = (vectors * np.sqrt(values)) @ vectors.T
    return Space(shift.astype(np.float32), deviations.astype(np.float32), mixing.astype(np.float32))


SPACES: dict["Scaling", Callable[[Source], Space]] = {False: _units, True: _one_scale, "axes": _axes, "whitened": _whitened}


def _measured(target: Source) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Give training samples (n, d), the mean of each coordinate and its deviation; a constant one gets that of others."""
    (dim,) = target.shape  # a rule of recipes
    rows = target.seen(max(2, min(MOST_ROWS, MOST_NUMBERS // dim)), stream(0, "standardisation")).astype(np.float64)
    shift, deviations = rows.mean(0), rows.std(0)
    varies = deviations > CONSTANT * np.abs(shift)
    _require_some(float(deviations[varies].sum()))
    return rows, shift, np.where(varies, deviations, np.median(deviations[varies]))


def _require_some(deviation: float) -> None:
    if deviation == 0:
        raise Unusable("data.standardise must be false where all samples of data.target are equal")


def _mixed(rows: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Multiply each row (n, d) by a matrix, in double precision and with the same digits whatever rows are beside it."""
    n, square = len(rows), matrix.astype(np.float64).T
    padded = np.concatenate([rows.astype(np.float64), np.zeros((-n % BLOCK, rows.shape[1]))])
    blocks = [padded[start : start + BLOCK] @ square for start in range(0, n, BLOCK)]
    return np.concatenate(blocks)[:n] if blocks else padded[:0]
