"""A seeded generator of problems that nobody can tune to one by one: targets of many shapes, in d = 2, 4, 8 and 16.

Problem `seed` is a function of that number alone. Development is on seeds 0 to 99; what is quoted is of seeds from 1000 on.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from scipy.spatial.distance import cdist

from components.measures import Measure, Modes, Points
from components.streams import stream
from pipeline.data.analytic import Analytic, noise
from pipeline.data.endpoints import Endpoints, between
from pipeline.data.points import Points as PointSet
from pipeline.data.source import Source

DIMENSIONS = (2, 4, 8, 16)
SIZES = (500, 2000, 10_000, None)
"""Points to train on; None: as many as are drawn."""
NUM_HELD_OUT = 20_000
"""Points to judge by of a set of a given size: floors are those of independent samples, as of sets without end."""
NUM_FOR_MASSES = 100_000
Draw = Callable[[int, np.random.Generator], Points]


@dataclass(frozen=True)
class Problem:
    """A source and a target nobody has tuned for, with what is known of the target.

    Example:
        >>> problem(3).ends.shape == (problem(3).dim,)
        True

    Attributes:
        kind: the family that the target is drawn from.
        size: points to train on; None: without end.
        source: the kind of the source.
        ends: of a flow, standardised by one scalar.
    """

    seed: int
    kind: str
    dim: int
    size: int | None
    source: str
    target: Measure
    ends: Endpoints


def problem(seed: int) -> Problem:
    """Make the problem of a number."""
    rng = stream(seed, "problem", phase=1)
    dim = int(rng.choice(DIMENSIONS))
    kind = str(rng.choice([*KINDS, "mixture", "mixture"]))  # where masses can be wrong
    size = SIZES[int(rng.integers(len(SIZES)))]
    target = KINDS[kind](rng, dim)
    source_kind = str(rng.choice(["normal", "normal", "another", "shifted"]))
    source = _source(source_kind, rng, target)
    ends = between(source, _source_of(target, size, rng), standardise=True)
    return Problem(seed, kind, dim, size, source_kind, target, ends)


def _float32(x: np.ndarray) -> Points:
    points: Points = x.astype(np.float32)
    return points


def _source(kind: str, rng: np.random.Generator, target: Measure) -> Source:
    if kind == "normal":
        return noise((target.dim,))
    if kind == "another":
        other = KINDS[str(rng.choice([*KINDS]))](rng, target.dim)
        return Analytic.of(_brought_to(target, other))
    shift = rng.standard_normal(target.dim) * target.sample(1000, rng).std(0)
    return Analytic.of(replace(target, sample=partial(_shifted, draw=target.sample, shift=shift), modes=None))


def _source_of(target: Measure, size: int | None, rng: np.random.Generator) -> Source:
    if size is None:
        return Analytic.of(target)
    points = target.sample(size + NUM_HELD_OUT, rng)
    return PointSet(points[:size], points[size:], target.modes)


def _brought_to(target: Measure, other: Measure) -> Measure:
    """Give another measure about the place and the size of the target."""
    rng = np.random.default_rng(0)
    there, here = target.sample(2000, rng), other.sample(2000, rng)
    scale = there.std() / here.std()
    return replace(other, sample=partial(_shifted, draw=other.sample, shift=there.mean(0) - scale * here.mean(0), scale=scale))


def _shifted(n: int, rng: np.random.Generator, *, draw: Draw, shift: np.ndarray, scale: float = 1.0) -> Points:
    return _float32(scale * draw(n, rng) + shift)


def _mixture(rng: np.random.Generator, dim: int) -> Measure:
    """Draw 2 to 30 round modes: masses of a Dirichlet law of .3 to 5, widths over two decades, touching to 20 widths apart."""
    count = int(rng.integers(2, 31))
    masses = rng.dirichlet(np.full(count, np.exp(rng.uniform(np.log(0.3), np.log(5.0)))))
    masses = np.maximum(masses, 1e-6) / np.maximum(masses, 1e-6).sum()
    widths = 10 ** rng.uniform(-1, 1, count) if rng.random() < 0.5 else np.full(count, 1.0)
    apart = np.exp(rng.uniform(np.log(4.0), np.log(20.0)))
    centres = rng.standard_normal((count, dim)) * apart * np.median(widths) * count ** (1 / dim) / np.sqrt(2 * dim) * 2
    sample = partial(_of_modes, masses=masses, centres=centres, widths=widths)
    mode_of = partial(_likeliest_mode, masses=masses, centres=centres, widths=widths)
    labels = mode_of(sample(NUM_FOR_MASSES, rng))  # modes overlap: what counts is how many samples are likeliest of each
    found = np.bincount(labels[labels >= 0], minlength=count) + 1e-3
    return Measure(dim, sample, Modes(mode_of, tuple(found / found.sum())))


def _of_modes(n: int, rng: np.random.Generator, *, masses: np.ndarray, centres: np.ndarray, widths: np.ndarray) -> Points:
    modes = rng.choice(len(masses), size=n, p=masses)
    return _float32(centres[modes] + widths[modes, None] * rng.standard_normal((n, centres.shape[1])))


def _likeliest_mode(x: Points, *, masses: np.ndarray, centres: np.ndarray, widths: np.ndarray) -> np.ndarray:
    """Find the mode that each sample is likeliest of; -1 beyond where all but a few in a thousand of any mode's samples lie."""
    dim = centres.shape[1]
    distance = cdist(x, centres) / widths
    likelihood = np.log(masses) - dim * np.log(widths) - distance**2 / 2
    return np.where(distance.min(1) <= np.sqrt(dim) + 2, likelihood.argmax(1), -1)


def _curve(rng: np.random.Generator, dim: int) -> Measure:
    """Draw a closed curve of three random harmonics, with a width of up to a twentieth of its size."""
    waves = rng.standard_normal((3, 2, dim)) / np.arange(1, 4)[:, None, None]
    return Measure(dim, partial(_along, waves=waves, width=float(rng.uniform(0.002, 0.05))))


def _along(n: int, rng: np.random.Generator, *, waves: np.ndarray, width: float) -> Points:
    angle = rng.uniform(0, 2 * np.pi, (n, 1)) * np.arange(1, len(waves) + 1)
    x = np.cos(angle) @ waves[:, 0] + np.sin(angle) @ waves[:, 1]
    return _float32(x + width * rng.standard_normal(x.shape))


def _sheet(rng: np.random.Generator, dim: int) -> Measure:
    """Draw a curved sheet, the image of a square; in the plane it has ends and folds."""
    linear, curved = rng.standard_normal((2, dim)), rng.standard_normal((2, dim))
    return Measure(dim, partial(_over, linear=linear, curved=curved, width=float(rng.uniform(0.0, 0.05))))


def _over(n: int, rng: np.random.Generator, *, linear: np.ndarray, curved: np.ndarray, width: float) -> Points:
    square = rng.uniform(-1, 1, (n, 2))
    x = square @ linear + np.sin(2.5 * square) @ curved
    return _float32(x + width * rng.standard_normal(x.shape))


def _rings(rng: np.random.Generator, dim: int) -> Measure:
    """Draw one to four rings in random planes, each of its own mass."""
    count = int(rng.integers(1, 5))
    planes = np.stack([np.linalg.qr(rng.standard_normal((dim, 2)))[0].T for _ in range(count)])
    centres, radii = rng.standard_normal((count, dim)) * 2, rng.uniform(0.5, 2.0, count)
    sample = partial(_on_rings, planes=planes, centres=centres, radii=radii, masses=rng.dirichlet(np.full(count, 3.0)))
    return Measure(dim, sample)


def _on_rings(
    n: int, rng: np.random.Generator, *, planes: np.ndarray, centres: np.ndarray, radii: np.ndarray, masses: np.ndarray
) -> Points:
    ring, angle = rng.choice(len(masses), size=n, p=masses), rng.uniform(0, 2 * np.pi, n)
    flat = np.stack([np.cos(angle), np.sin(angle)], 1) * radii[ring, None]
    x = centres[ring] + np.einsum("ni,nid->nd", flat, planes[ring])
    return _float32(x + 0.03 * rng.standard_normal(x.shape))


def _product(rng: np.random.Generator, dim: int) -> Measure:
    """Draw a product of one-dimensional laws: uniform, two-sided, exponential, two points blurred; then turned at random."""
    laws = rng.integers(len(LAWS), size=dim)
    turn = np.linalg.qr(rng.standard_normal((dim, dim)))[0] if rng.random() < 0.5 else np.eye(dim)
    return Measure(dim, partial(_of_laws, laws=laws, turn=turn))


LAWS: tuple[Callable[[int, np.random.Generator], np.ndarray], ...] = (
    lambda n, rng: rng.uniform(-1.7, 1.7, n),
    lambda n, rng: rng.laplace(0, 0.7, n),
    lambda n, rng: rng.exponential(1.0, n),
    lambda n, rng: rng.choice([-1.0, 1.0], n, p=[0.3, 0.7]) + 0.1 * rng.standard_normal(n),
)


def _of_laws(n: int, rng: np.random.Generator, *, laws: np.ndarray, turn: np.ndarray) -> Points:
    return _float32(np.stack([LAWS[law](n, rng) for law in laws], 1) @ turn)


def _heavy(rng: np.random.Generator, dim: int) -> Measure:
    """Draw a correlated Student law of 3 to 8 degrees of freedom."""
    root = rng.standard_normal((dim, dim)) / np.sqrt(dim) + 0.5 * np.eye(dim)
    return Measure(dim, partial(_student, root=root, freedom=float(rng.uniform(3, 8))))


def _student(n: int, rng: np.random.Generator, *, root: np.ndarray, freedom: float) -> Points:
    x = rng.standard_normal((n, len(root))) @ root.T
    return _float32(x / np.sqrt(rng.chisquare(freedom, (n, 1)) / freedom))


def _thin(rng: np.random.Generator, dim: int) -> Measure:
    """Draw a mixture that lies on a plane of half the dimension, bent a little: no density in R^d."""
    inner = _mixture(rng, max(1, dim // 2))
    place = np.linalg.qr(rng.standard_normal((dim, inner.dim)))[0]
    return Measure(dim, partial(_bent, draw=inner.sample, place=place, scale=float(inner.sample(1000, rng).std())))


def _bent(n: int, rng: np.random.Generator, *, draw: Draw, place: np.ndarray, scale: float) -> Points:
    x = draw(n, rng) / scale @ place.T
    return _float32(x + 0.2 * np.sin(2 * x[:, ::-1]))


KINDS: dict[str, Callable[[np.random.Generator, int], Measure]] = {
    "mixture": _mixture,
    "curve": _curve,
    "sheet": _sheet,
    "rings": _rings,
    "product": _product,
    "heavy": _heavy,
    "thin": _thin,
}
"""Families of targets, by name: (generator, dimension d) -> measure on R^d."""
