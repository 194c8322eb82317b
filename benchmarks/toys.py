"""Seven planar sets, every method trained for 27 CPU-seconds: W2 against its i.i.d. floor, modes, support.

The measure lives in standardised coordinates while training and is judged in its own units on samples that no training sees.
Methods are recipes of this project, named as such; `ot_cfm_N` is OT-CFM (Tong et al. 2024, package torchcfm) with N Euler
steps per sample. All have our batch size, schedule, averaging and kind of network; how rates were chosen is in
docs/experiments.md.
"""

from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import nn

from benchmarks import ot_cfm
from benchmarks.flows import shipped, train_flow
from benchmarks.harness import main
from benchmarks.rows import Pivot, Row
from components.metrics import mmd2, over_floor
from components.networks.perceptron import FourierFeatures, perceptron
from pipeline.data.endpoints import load_endpoints
from pipeline.evaluation.draws import held_out
from pipeline.evaluation.measure import evaluate
from pipeline.evaluation.size import EvaluationSize
from pipeline.generator import Generator
from pipeline.phase import phases_of
from pipeline.recipe import Data, Recipe

MEASURES = ("gauss8", "gauss25", "two_circles", "moons", "checkerboard", "spiral", "swiss_roll")
SEEDS, CPU_SECONDS = (0, 1, 2), 27.0
SIZE = EvaluationSize(num_pairs=16)
METHODS = ("sjko_kl", "sjko_jsd", "uotm_source_fixed", "uotm", "otm", "f_gan", "composed")
OT_CFM = "ot_cfm"
CFM_LEARNING_RATE = 5e-3


def cases(quick: bool) -> list[Row]:
    """List the cases: each measure with each method and seed."""
    measures, seeds = (("moons",), (0,)) if quick else (MEASURES, SEEDS)
    seconds = 2.0 if quick else CPU_SECONDS
    return [
        {"measure": measure, "method": method, "seed": seed, "budget": seconds}
        for measure in measures
        for method in (*METHODS, OT_CFM)
        for seed in seeds
    ]


def measure_case(case: Row) -> Iterator[Row]:
    """Train and judge one method; OT-CFM gives a row per number of evaluations."""
    if case["method"] == OT_CFM:
        yield from ot_cfm_rows(case)
        return
    recipe = replace(shipped(case["method"]), data=Data(target=case["measure"]), seed=case["seed"])
    *_, last = train_flow(recipe, case["budget"])
    yield (
        judge(last.generator)
        | {"num_evaluations": len(last.generator.maps), "num_steps": last.num_steps}
        | {"cpu_seconds": last.cpu_seconds}
    )


def judge(generator: Generator) -> Row:
    """Measure a generator on samples that no training sees; `w2_ratio` is W2 over its floor."""
    metrics = evaluate(generator, SIZE)
    n = 2000
    return {
        **metrics,
        "w2_ratio": over_floor(metrics["w2"], metrics["w2_floor"]),
        "mmd2": mmd2(generator.sample(n), held_out(generator.endpoints, 0)),
    }


class VelocityNetwork(nn.Module):
    """The velocity network of OT-CFM: our map's architecture on (x, t), on seed 9 better than torchcfm's own perceptron."""

    def __init__(self) -> None:
        super().__init__()
        network = Recipe().network
        self.features = FourierFeatures(3, network.num_frequencies)
        self.net = perceptron(3 + 2 * network.num_frequencies, network.width, network.depth, 2)

    def forward(self, x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        """Compute the velocity of points x (n, 2) at times t (n,) in [0, 1]."""
        velocity: torch.Tensor = self.net(self.features(torch.cat([x, t[:, None]], 1)))
        return velocity


def ot_cfm_rows(case: Row) -> Iterator[Row]:
    """Train OT-CFM once; yield a row per number of Euler steps."""
    recipe = Recipe(data=Data(target=case["measure"]), seed=case["seed"])
    endpoints, phase = load_endpoints(recipe.data), phases_of(recipe)[-1]
    (flow,) = ot_cfm.train(
        VelocityNetwork, endpoints, recipe.training, lr=CFM_LEARNING_RATE, seed=case["seed"], looks=[case["budget"]]
    )
    for num_steps, transport_map in ot_cfm.maps_of(flow):
        yield {
            "method": f"{OT_CFM}_{num_steps}",
            **judge(Generator(phase, endpoints, [transport_map])),
            "num_evaluations": num_steps,
            "num_steps": flow.num_steps,
            "cpu_seconds": flow.cpu_seconds,
        }


PIVOTS = [
    Pivot(("measure",), "method", ("w2_ratio",), "W2 / floor, n = 2000, mean of 16 pairs; 1 is perfect"),
    Pivot(("measure",), "method", ("on_support",), "share of samples within 3 sigma of the support", ranges=False),
    Pivot(("measure",), "method", ("modes_covered",), "modes covered", ranges=False),
    Pivot(("measure",), "method", ("mode_kl",), "KL of the mode weights, nats", ranges=False),
    Pivot(("measure",), "method", ("mmd2",), "MMD^2", ranges=False),
    Pivot(("method",), None, ("num_evaluations", "num_steps", "cpu_seconds"), "cost"),
]

if __name__ == "__main__":
    main("toys", __doc__, cases=cases, measure=measure_case, pivots=PIVOTS)
