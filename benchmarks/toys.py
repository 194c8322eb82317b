"""Seven planar sets, every method trained for 27 CPU-seconds: W2 against its i.i.d. floor, modes, support.

The measure lives in standardised coordinates while training and is judged in its own units on samples that no training sees.
Methods are recipes of this project, named as such; `ot_cfm_N` is OT-CFM (Tong et al. 2024, package torchcfm) with N Euler
steps per sample. All have our batch size, schedule, averaging and kind of network; how rates were chosen is in
docs/experiments.md.
"""

import copy
import time
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch
from torch import nn

from benchmarks.flows import shipped, train_flow
from benchmarks.harness import Pivot, Row, main
from components.metrics import mmd2
from components.networks import FourierFeatures, perceptron
from components.streams import stream
from pipeline.data import load_endpoints
from pipeline.evaluate import Generator, evaluate, held_out
from pipeline.phase import phases_of
from pipeline.recipe import Data, Recipe

MEASURES = ("gauss8", "gauss25", "two_circles", "moons", "checkerboard", "spiral", "swiss_roll")
SEEDS, CPU_SECONDS, NUM_PAIRS = (0, 1, 2), 27.0, 16
METHODS = ("sjko_kl", "sjko_jsd", "uotm_source_fixed", "uotm", "otm", "f_gan", "composed")
OT_CFM, EULER_STEPS = "ot_cfm", (10, 100)
CFM_LEARNING_RATE = 5e-3


def cases(quick: bool) -> list[Row]:
    """What to measure."""
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
        yield from ot_cfm(case)
        return
    recipe = replace(shipped(case["method"]), data=Data(target=case["measure"]), seed=case["seed"])
    *_, last = train_flow(recipe, case["budget"])
    yield (
        judge(last.generator)
        | {"num_evaluations": len(last.generator.maps), "num_steps": last.num_steps}
        | {"cpu_seconds": last.cpu_seconds}
    )


def judge(generator: Generator) -> Row:
    """Metrics of a generator; `w2_ratio` is W2 over its floor."""
    metrics = evaluate(generator, NUM_PAIRS)
    n = 2000
    return {
        **metrics,
        "w2_ratio": metrics["w2"] / metrics["w2_floor"],
        "mmd2": mmd2(generator.sample(n), held_out(generator.endpoints, 0)),
    }


class EulerMap(nn.Module):
    """x at time 0 -> x at time 1 along a velocity field, in `num_steps` Euler steps."""

    def __init__(self, velocity: nn.Module, num_steps: int) -> None:
        super().__init__()
        self.velocity, self.num_steps = velocity, num_steps

    def forward(self, x: torch.Tensor, z: None) -> torch.Tensor:
        for step in range(self.num_steps):
            x = x + self.velocity(at_time(x, torch.full((len(x),), step / self.num_steps))) / self.num_steps
        return x


def at_time(x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
    """The velocity's input."""
    return torch.cat([x, t[:, None]], 1)


def ot_cfm(case: Row) -> Iterator[Row]:
    """OT-CFM at the same budget, batch size, schedule and averaging as ours; one training, judged at each number of steps."""
    from torchcfm.conditional_flow_matching import ExactOptimalTransportConditionalFlowMatcher

    recipe = Recipe(data=Data(target=case["measure"]), seed=case["seed"])
    endpoints, n, decay = load_endpoints(recipe.data), recipe.training.batch_size, recipe.training.lr_decay_steps
    torch.manual_seed(case["seed"])
    np.random.seed(case["seed"])
    matcher = ExactOptimalTransportConditionalFlowMatcher(sigma=0.0)
    velocity = velocity_network()
    averaged = copy.deepcopy(velocity).requires_grad_(False)
    optimizer = torch.optim.Adam(velocity.parameters(), fused=True)
    began, step = time.process_time(), 0
    while time.process_time() - began < case["budget"]:
        optimizer.param_groups[0]["lr"] = CFM_LEARNING_RATE / (1 + step / decay)
        x0, x1 = (
            torch.from_numpy(sample(n, stream(case["seed"], purpose, step=step)))
            for sample, purpose in ((endpoints.source, "source"), (endpoints.target, "target"))
        )
        t, x, u = matcher.sample_location_and_conditional_flow(x0, x1)
        loss = (velocity(at_time(x, t)) - u).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        with torch.no_grad():
            torch._foreach_lerp_(list(averaged.parameters()), list(velocity.parameters()), 1 - recipe.training.ema_decay)
        step += 1
    spent = time.process_time() - began
    for num_steps in EULER_STEPS:
        generator = Generator(phases_of(recipe)[-1], endpoints, [EulerMap(averaged, num_steps)])
        yield {
            "method": f"{OT_CFM}_{num_steps}",
            **judge(generator),
            "num_evaluations": num_steps,
            "num_steps": step,
            "cpu_seconds": spent,
        }


def velocity_network() -> nn.Module:
    """Our map's architecture on (x, t): on seed 9 better than the perceptron that torchcfm brings along."""
    network = Recipe().network
    features = FourierFeatures(3, network.num_frequencies)
    return nn.Sequential(features, perceptron(3 + 2 * network.num_frequencies, network.width, network.depth, 2))


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
