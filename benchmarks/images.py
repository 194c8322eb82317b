"""Fashion-MNIST at equal CPU-seconds: ours against K = 1, UOTM, plain f-GAN and OT-CFM with a network of the same size.

Figures are of 5,000 samples (EfficientNet: 2,000) against as many test images, beside what training images get.
Every method has the light pair, batch size, rates, schedule and averaging of the recipe `fashion_mnist`; OT-CFM's velocity field
is the light map with the time as its z, and predicts the image that the straight line ends in.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from benchmarks import ot_cfm
from benchmarks.flows import shipped, train_flow
from benchmarks.harness import main
from benchmarks.rows import Pivot, Row
from components.networks.light import LightMap
from components.networks.pair import NetworkSpec
from components.networks.pairs import Light
from pipeline.data.endpoints import load_endpoints
from pipeline.evaluation.measure import image_figures
from pipeline.generator import Generator
from pipeline.phase import phases_of
from pipeline.recipe import Recipe

DATASET, SEEDS, BUDGETS = "fashion_mnist", (0, 1, 2), (240.0, 900.0)
METHODS: dict[str, dict[str, Any]] = {
    "sjko_kl": {"divergence": "kl", "fit": "logistic"},
    "sjko_jsd": {"divergence": "jsd", "fit": "conjugate"},
    "uotm_source_fixed": {"num_phases": 1, "divergence": "kl", "fit": "logistic"},
    "uotm": {"num_phases": 1, "divergence": "kl", "fit": "conjugate", "source_divergence": "kl"},
    "f_gan": {"h": float("inf"), "divergence": "jsd", "fit": "conjugate"},
}
OT_CFM, CFM_LEARNING_RATE, TIME_FEATURES = "ot_cfm", 5e-3, 16
EXTRACTORS = {"lenet": 5000, "effnet": 2000}
"""Extractors, and on how many samples: a pass through EfficientNet takes a minute per thousand on one core."""


def cases(quick: bool) -> list[Row]:
    """List the cases: each method with each budget and seed."""
    seeds, budgets = ((0,), (4.0,)) if quick else (SEEDS, BUDGETS)
    return [
        {"dataset": DATASET, "method": method, "seed": seed, "budget": budget, "quick": quick}
        for budget in budgets
        for seed in seeds
        for method in (*METHODS, OT_CFM)
    ]


def measure(case: Row) -> Iterator[Row]:
    """Train and judge one method; OT-CFM gives a row per number of evaluations."""
    recipe = recipe_of(case)
    if case["method"] == OT_CFM:
        yield from ot_cfm_rows(case, recipe)
        return
    *_, last = train_flow(recipe, case["budget"])
    cost = {"num_evaluations": 1, "num_steps": last.num_steps, "cpu_seconds": last.cpu_seconds}
    yield judge(last.generator, quick=case["quick"]) | cost


def recipe_of(case: Row) -> Recipe:
    """Change the shipped recipe as a case's method says."""
    recipe = replace(shipped(case["dataset"]), seed=case["seed"])
    return replace(recipe, jko=replace(recipe.jko, **METHODS.get(case["method"], {})))


class Velocity(nn.Module):
    """The velocity (y(x, t) - x) / (1 - t) with the light map for the image y: what passes through it need not carry noise."""

    frequencies: torch.Tensor

    def __init__(self, shape: tuple[int, ...], width: int) -> None:
        super().__init__()
        self.net = LightMap(NetworkSpec(shape, width, 0, z_dim=TIME_FEATURES, pair=Light()))
        self.register_buffer("frequencies", torch.arange(1, TIME_FEATURES // 2 + 1) * torch.pi)

    def forward(self, x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        """Compute the velocity of images x (n, c, s, s) at times t (n,) in [0, 1]."""
        phase = t[:, None] * self.frequencies
        image = self.net(x, torch.cat([phase.sin(), phase.cos()], 1))
        velocity: torch.Tensor = (image - x) / (1 - t).clamp_min(0.05).view(-1, 1, 1, 1)
        return velocity


def ot_cfm_rows(case: Row, recipe: Recipe) -> Iterator[Row]:
    """Train OT-CFM once; yield a row per number of Euler steps."""
    endpoints, phase = load_endpoints(recipe.data), phases_of(recipe)[-1]
    (flow,) = ot_cfm.train(
        lambda: Velocity(endpoints.shape, recipe.network.width),
        endpoints,
        recipe.training,
        lr=CFM_LEARNING_RATE,
        seed=case["seed"],
        looks=[case["budget"]],
    )
    for num_steps, transport_map in ot_cfm.maps_of(flow):
        cost = {"num_evaluations": num_steps, "num_steps": flow.num_steps, "cpu_seconds": flow.cpu_seconds}
        generator = Generator(phase, endpoints, [transport_map])
        yield {"method": f"{OT_CFM}_{num_steps}", **judge(generator, quick=case["quick"]), **cost}


def judge(generator: Generator, *, quick: bool) -> Row:
    """Measure the image metrics of a generator's samples, with their floors, in the features of each extractor."""
    figures: Row = {}
    for name, n in EXTRACTORS.items():
        figures |= image_figures(generator, name, 100 if quick else n)
    return {**figures, "kid": figures["lenet_kid"], "precision": figures["lenet_precision"], "recall": figures["lenet_recall"]}


GROUP = ("budget", "method")
PIVOTS = [
    Pivot(("budget",), "method", ("lenet_frechet",), "Frechet distance in LeNet's features"),
    Pivot(("budget",), "method", ("effnet_frechet",), "Frechet distance in EfficientNet-Lite0's features"),
    Pivot(("budget",), "method", ("recall",), "recall, LeNet's features; higher is better"),
    Pivot(GROUP, None, ("kid", "precision", "effnet_precision", "effnet_recall", "class_kl"), "the other metrics", ranges=False),
    Pivot(("budget",), None, ("lenet_frechet_floor", "effnet_frechet_floor", "lenet_recall_floor"), "floors: training images"),
    Pivot(GROUP, None, ("num_evaluations", "num_steps", "cpu_seconds"), "cost", ranges=False),
]

if __name__ == "__main__":
    main("images", __doc__, cases=cases, measure=measure, pivots=PIVOTS)
