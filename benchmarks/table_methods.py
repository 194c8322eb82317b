"""What `benchmarks.tables` compares: each method takes the training rows of a table, and makes rows of it.

Flows, OT-CFM and the f-GAN see the rows in the coordinates of the pipeline, and their rows go back to a table by the same way.
ForestFlow and the copula take the columns their own way: ForestFlow as numbers, whole numbers and numbers of categories, within
the bounds of the schema; the copula as ranks of every column.
"""

import math
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from pyarrow import parquet
from torch import Tensor, nn

from benchmarks import ot_cfm
from benchmarks.encodings import of_categories, of_numbers
from benchmarks.flows import train_flow
from benchmarks.rows import Row
from benchmarks.table_sets import Halves
from components.networks.perceptron import FourierFeatures, perceptron
from components.streams import stream
from pipeline.cluster import Cluster
from pipeline.data.endpoints import Endpoints, load_endpoints
from pipeline.data.resolution import resolve
from pipeline.data.tables.encoding import Encoding
from pipeline.data.tables.schema import Schema
from pipeline.generator import Generator
from pipeline.phase import phases_of
from pipeline.recipe import Recipe, Training
from pipeline.recipes.loading import load_recipe

SPLIT = "split of the benchmark"
NUM_HARMONICS = 4
Settings = Mapping[str, Any]
CHOSEN: Mapping[str, Settings] = {
    "sjko": {},
    "f_gan": {},
    "ot_cfm": {},
    "copula": {},
    "forest_flow": {"n_t": 20, "n_estimators": 20, "max_depth": 7, "rows": 2000},
}
"""The settings that each method is compared with, of those that `benchmarks.table_settings` tries: fields of a recipe for the
first three; arguments for ForestFlow, which repeats the training rows until they are so many. Its own settings, 50 times,
100 trees and 100 repetitions, take hours of one core."""


@dataclass(frozen=True)
class Problem:
    """The training rows of a table, as each method needs them.

    Attributes:
        recipe: ours, of these rows.
        endpoints: noise and these rows in coordinates.
        encoding: from the table to coordinates and back.
        budget: CPU-seconds of training.
    """

    halves: Halves
    recipe: Recipe
    endpoints: Endpoints
    encoding: Encoding
    seed: int
    budget: float

    @classmethod
    def of(cls, case: Row) -> "Problem":
        """Make the problem of a case: the table is read as `run --data.target FILE --data.split COLUMN` does."""
        halves = Halves.of(case["table"], case["seed"])
        with tempfile.TemporaryDirectory(prefix="sjko-tables-") as folder:
            path = Path(folder) / f"{case['table']}.parquet"
            words = pa.array(np.where(halves.is_train, "train", "test"))
            parquet.write_table(halves.table.append_column(SPLIT, words), path)
            recipe = load_recipe("table", data__target=str(path), data__split=SPLIT, seed=case["seed"])
            recipe = resolve(recipe, Cluster())
        endpoints = load_endpoints(recipe.data)
        assert endpoints.coding is not None
        return cls(halves, recipe, endpoints, endpoints.coding.encoding, case["seed"], case["budget"])


@dataclass(frozen=True)
class Fitted:
    """A trained method.

    Attributes:
        method: its name, with the number of evaluations where that may vary.
        draw: (n, draw) -> coordinates of n rows; equal draws give equal rows.
        decode: coordinates -> table.
        about: what training cost.
    """

    method: str
    draw: Callable[[int, int], np.ndarray]
    decode: Callable[[np.ndarray], pa.Table]
    about: Row

    @classmethod
    def of_map(cls, method: str, generator: Generator, **about: object) -> "Fitted":
        """Take a map from noise to coordinates."""
        return cls(method, generator.sample, generator.table, dict(about))


Method = Callable[[Problem, Settings], Iterator[Fitted]]


def changed(recipe: Recipe, settings: Settings) -> Recipe:
    """Change fields of a recipe, named as in `jko__h`."""
    for name, value in settings.items():
        group, _, field = name.partition("__")
        recipe = replace(recipe, **{group: replace(getattr(recipe, group), **{field: value})})
    return recipe


def ours(problem: Problem, settings: Settings, method: str = "sjko") -> Iterator[Fitted]:
    """Train the shipped recipe of tables, every phase for an equal share of the budget."""
    *_, last = train_flow(changed(problem.recipe, settings), problem.budget, problem.endpoints)
    yield Fitted.of_map(method, last.generator, num_evaluations=1, num_steps=last.num_steps, cpu_seconds=last.cpu_seconds)


def f_gan(problem: Problem, settings: Settings) -> Iterator[Fitted]:
    """Train the same without a transport cost."""
    return ours(problem, {**settings, "jko__h": math.inf, "jko__first_h": None}, "f_gan")


class VelocityNetwork(nn.Module):
    """The velocity network of OT-CFM: our map's perceptron on x and sines and cosines of the time."""

    def __init__(self, recipe: Recipe, dim: int) -> None:
        super().__init__()
        network = recipe.network
        self.features = FourierFeatures(dim, network.num_frequencies)
        in_dim = dim + 2 * network.num_frequencies + 2 * NUM_HARMONICS
        self.net = perceptron(in_dim, network.width, network.depth, dim)

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        """Compute the velocity of points x (n, d) at times t (n,) in [0, 1]."""
        angles = torch.pi * torch.arange(1, NUM_HARMONICS + 1) * t[:, None]
        velocity: Tensor = self.net(torch.cat([self.features(x), angles.sin(), angles.cos()], 1))
        return velocity


def of_ot_cfm(problem: Problem, settings: Settings) -> Iterator[Fitted]:
    """Train OT-CFM once, with the map's rate of a recipe; give a map for each number of Euler steps."""
    recipe, ends = changed(replace(problem.recipe, training=Training()), settings), problem.endpoints
    network, training = partial(VelocityNetwork, recipe, ends.shape[0]), recipe.training
    (flow,) = ot_cfm.train(network, ends, training, lr=training.map_lr, seed=problem.seed, looks=[problem.budget])
    phase = phases_of(problem.recipe)[-1]
    for num, transport_map in ot_cfm.maps_of(flow):
        generator = Generator(phase, ends, [transport_map])
        about = {"num_evaluations": num, "num_steps": flow.num_steps, "cpu_seconds": flow.cpu_seconds}
        yield Fitted.of_map(f"ot_cfm_{num}", generator, **about)


def copula(problem: Problem, settings: Settings) -> Iterator[Fitted]:
    """Fit a Gaussian copula: every column by `transform`, `repeats` times with other random numbers, and their correlations."""
    began = time.process_time()
    to_ranks = of_numbers(transform=settings.get("transform", "quantile"))
    to_intervals = of_categories(settings.get("categories", "rank"))
    schema = Schema(tuple(to_intervals(to_ranks(column)) for column in problem.encoding.schema.columns))
    encoding = Encoding.fit(schema, problem.halves.train)
    rng = np.random.default_rng(problem.seed)
    x = [encoding.encode(problem.halves.train, rng).astype(np.float64) for _ in range(settings.get("repeats", 1))]
    correlations = np.atleast_2d(np.corrcoef(np.concatenate(x).T))
    seconds = time.process_time() - began

    def draw(n: int, number: int) -> np.ndarray:
        rng = stream(problem.seed, "evaluation_source", step=number)
        return rng.multivariate_normal(np.zeros(len(correlations)), correlations, n, method="eigh")

    yield Fitted("copula", draw, encoding.decode, {"num_evaluations": 1, "cpu_seconds": seconds})


def forest_flow(problem: Problem, settings: Settings) -> Iterator[Fitted]:
    """Train ForestFlow (Jolicoeur-Martineau et al. 2024): gradient-boosted trees as the velocity of flow matching.

    Raises:
        ModuleNotFoundError: it is not installed: `pip install -c constraints.txt -e .[forest]`.
    """
    from ForestDiffusion import ForestDiffusionModel

    from benchmarks.table_forest import Columns

    began = time.process_time()
    columns = Columns(problem.encoding.schema)
    numbers = columns.numbers(problem.halves.train)

    class Model(ForestDiffusionModel):  # type: ignore[misc]  # it has no types
        def clip_extremes(self, x: np.ndarray) -> np.ndarray:  # of pandas 3, whose arrays it could not write to
            return np.asarray(super().clip_extremes(x.copy()))

    model = Model(
        numbers,
        n_t=settings["n_t"],
        n_estimators=settings["n_estimators"],
        max_depth=settings["max_depth"],
        duplicate_K=max(2, settings["rows"] // len(numbers)),
        diffusion_type="flow",
        cat_indexes=columns.of("category"),
        int_indexes=columns.of("integer", "boolean"),
        true_min_max_values=columns.bounds(),
        n_batch=0,
        n_jobs=1,
        seed=problem.seed,
        nthread=1,
    )
    seconds = time.process_time() - began

    def draw(n: int, number: int) -> np.ndarray:
        np.random.seed(1000 * problem.seed + number)  # its own generator
        return np.asarray(model.generate(batch_size=n))

    yield Fitted("forest_flow", draw, columns.table, {"num_evaluations": settings["n_t"], "cpu_seconds": seconds})


METHODS: dict[str, Method] = {
    "sjko": ours,
    "f_gan": f_gan,
    "ot_cfm": of_ot_cfm,
    "copula": copula,
    "forest_flow": forest_flow,
}
