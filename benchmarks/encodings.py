"""Tables as coordinates: which encoding lets a classifier tell generated rows from real ones?

Half of a table's rows are encoded, each generator makes as many rows as the other half has, in coordinates; they are decoded, and
gradient boosting tells them from the other half: AUC, five folds, 0.5 where it cannot. Generators: `noise`, the training rows
themselves with Gaussian noise of standard deviation 0.1 on every coordinate, as a network's error would be; `copula`, a Gaussian
of the coordinates' mean and covariance; `kernel`, training rows shrunk and spread again by a quarter of that Gaussian; `cfm`,
flow matching with a small perceptron, 1,500 steps, 40 steps to sample.
"""

import copy
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor, nn

from benchmarks.harness import main
from benchmarks.rows import Pivot, Row
from benchmarks.table_sets import Halves
from pipeline.data.tables.encoding import Encoding
from pipeline.data.tables.inference import infer
from pipeline.data.tables.schema import NUMERIC, Column, Schema

TABLES = ("wine", "diabetes", "breast_cancer", "digits")
NOISE, SHRINK = 0.1, 0.25
STEPS, BATCH, WIDTH, EULER_STEPS, RATE = 1500, 128, 128, 40, 2e-3
Change = Callable[[Column], Column]


def of_numbers(**fields: object) -> Change:
    """Make a change of the columns of numbers.

    >>> of_numbers(transform="power")(Column("x", "number", "double", transform="quantile", low=0.0, high=1.0)).transform
    'power'
    """
    return lambda column: replace(column, **fields) if column.transform in NUMERIC else column  # type: ignore[arg-type]  # fields by name


def of_categories(transform: str) -> Change:
    """Make a change of the columns of more than two categories."""
    return lambda column: replace(column, transform=transform) if len(column.categories) > 2 else column


VARIANTS: dict[str, Change] = {
    "standard, no grid": of_numbers(transform="standard", grid=None, digits=None),
    "standard": of_numbers(transform="standard"),
    "power": of_numbers(transform="power"),
    "quantile": of_numbers(transform="quantile"),
    "chosen": lambda column: column,
    "chosen, no grid": of_numbers(grid=None, digits=None),
    "chosen, one_hot": of_categories("one_hot"),
    "chosen, rank": of_categories("rank"),
}


def cases(quick: bool) -> list[Row]:
    """List the cases: a table and a seed."""
    tables, seeds = (("wine",), range(1)) if quick else (TABLES, range(3))
    return [{"table": table, "seed": seed} for seed in seeds for table in tables]


def measure(case: Row) -> Iterator[Row]:
    """Measure every encoding with every generator."""
    halves = Halves.of(case["table"], case["seed"])
    train, held_out = halves.train, halves.held_out
    schema = infer(train)
    for variant, change in VARIANTS.items():
        began = time.process_time()
        encoding = Encoding.fit(Schema(tuple(map(change, schema.columns))), train)
        coordinates = encoding.encode(train, np.random.default_rng(case["seed"])).astype(np.float64)
        figures: Row = {"variant": variant, "width": encoding.width}
        for name, generate in GENERATORS.items():
            made = encoding.decode(generate(coordinates, held_out.num_rows, np.random.default_rng(case["seed"] + 1)))
            figures[name] = auc(held_out, made)
        figures["cpu_seconds"] = time.process_time() - began
        yield figures


def auc(real: pa.Table, made: pa.Table) -> float:
    """Train gradient boosting to tell rows apart; the area under its curve, cross-validated."""
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.metrics import roc_auc_score
    from sklearn.model_selection import StratifiedKFold, cross_val_predict

    both = pa.concat_tables([real, made]).to_pandas()
    for name in both.select_dtypes(exclude="number"):
        both[name] = both[name].astype("category").cat.codes
    labels = np.repeat([0, 1], [real.num_rows, made.num_rows])
    model = HistGradientBoostingClassifier(max_iter=60, early_stopping=False, random_state=0)
    folds = StratifiedKFold(5, shuffle=True, random_state=0)
    found = cross_val_predict(model, both.to_numpy(np.float32), labels, cv=folds, method="predict_proba")
    return float(roc_auc_score(labels, found[:, 1]))


def noise(x: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
    """Add noise to training rows."""
    return x[rng.permutation(n) % len(x)] + NOISE * rng.standard_normal((n, x.shape[1]))


def copula(x: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
    """Draw from a Gaussian with the moments of the training rows."""
    return rng.multivariate_normal(x.mean(0), np.cov(x.T), n, method="eigh")


def kernel(x: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
    """Draw training rows, shrunk towards their mean and spread by a smaller Gaussian, so that their moments stay."""
    some = x[rng.integers(0, len(x), n)]
    spread = copula(x, n, rng) - x.mean(0)
    return np.asarray(x.mean(0) + np.sqrt(1 - SHRINK**2) * (some - x.mean(0)) + SHRINK * spread)


def cfm(x: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
    """Train a velocity field by flow matching, and draw along it."""
    torch.manual_seed(int(rng.integers(2**31)))
    rows, d = torch.from_numpy(x).float(), x.shape[1]
    widths = [d + 8, WIDTH, WIDTH, WIDTH]
    hidden = [layer for a, b in pairwise(widths) for layer in (nn.Linear(a, b), nn.SiLU())]
    net = nn.Sequential(*hidden, nn.Linear(WIDTH, d))
    averaged = copy.deepcopy(net)
    optimizer = torch.optim.Adam(net.parameters(), lr=RATE)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min(1.0, 2 * (1 - step / STEPS)))
    for _ in range(STEPS):
        end = rows[torch.randint(len(rows), (BATCH,))]
        start, t = torch.randn_like(end), torch.rand(BATCH, 1)
        loss = (net(with_time(start + t * (end - start), t)) - (end - start)).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        for kept, new in zip(averaged.parameters(), net.parameters(), strict=True):
            kept.data.lerp_(new.data, 0.005)
    return along(averaged, torch.randn(n, d)).double().numpy()


def with_time(x: Tensor, t: Tensor) -> Tensor:
    """Set the time as sines and cosines beside the coordinates."""
    angles = torch.pi * torch.arange(1, 5) * t
    return torch.cat([x, angles.sin(), angles.cos()], 1)


@torch.no_grad()
def along(velocity: nn.Module, x: Tensor) -> Tensor:
    """Move points along a velocity field by midpoint steps."""
    for step in range(EULER_STEPS):
        t = torch.full((len(x), 1), step / EULER_STEPS)
        half = x + velocity(with_time(x, t)) / (2 * EULER_STEPS)
        x = x + velocity(with_time(half, t + 0.5 / EULER_STEPS)) / EULER_STEPS
    return x


GENERATORS = {"noise": noise, "copula": copula, "kernel": kernel, "cfm": cfm}
PIVOTS = [
    Pivot(
        ("table", "variant"),
        None,
        ("width", *GENERATORS),
        "AUC of gradient boosting, generated against held-out rows; 0.5 is good",
    ),
]

if __name__ == "__main__":
    main("encodings", __doc__, cases=cases, measure=measure, pivots=PIVOTS)
