"""Problems that nobody has tuned for, every method with the same CPU-seconds: W2 against its floor, masses of modes, support.

Problems are those of `benchmarks.problems`. Settings are chosen with `--only part=development`; what is quoted is `--only
part=quoted`, run once: seeds 1000 to 1029. `w2_debiased` takes off what independent samples of either side
have between themselves, since plain W2 rewards blur in many dimensions.
"""

from collections.abc import Iterator
from dataclasses import replace
from functools import partial

import numpy as np
import torch
from torch import nn

from benchmarks import ot_cfm
from benchmarks.flows import shipped, train_flow
from benchmarks.harness import main
from benchmarks.problems import Problem, problem
from benchmarks.rows import Pivot, Row
from components.metrics import mode_statistics, over_floor, sliced_w2, w2
from components.networks.perceptron import FourierFeatures, perceptron
from components.streams import stream
from pipeline.evaluation.size import EvaluationSize
from pipeline.generator import Generator
from pipeline.phase import phases_of
from pipeline.recipe import Data, Recipe

PARTS = {"development": range(30), "quoted": range(1000, 1030)}
METHODS = ("points", "otm", "sjko_jsd", "sjko_kl", "uotm", "uotm_source_fixed", "f_gan", "ot_cfm")
CPU_SECONDS = 30.0
SIZE = EvaluationSize(num_samples=1000, num_pairs=8)
"""On curves and rings W2 is mostly a matter of how many samples fall where: many pairs say more than large ones."""
CFM_LEARNING_RATE = 5e-3
LEAST_MASS, LEAST_SHARE = 0.02, 0.1
"""A mode of so much mass is found where it gets at least so much of it."""


def cases(quick: bool) -> list[Row]:
    """List the cases: each problem with each method."""
    seconds = 1.0 if quick else CPU_SECONDS
    parts = {"development": [6]} if quick else PARTS
    return [
        {"part": part, "seed": seed, "method": method, "budget": seconds}
        for part, seeds in parts.items()
        for seed in seeds
        for method in METHODS
    ]


def measure_case(case: Row) -> Iterator[Row]:
    """Train and judge one method on one problem; OT-CFM gives a row per number of evaluations."""
    given = problem(case["seed"])
    about = {"kind": given.kind, "d": given.dim, "size": given.size or 0, "source": given.source}
    data = Data(target="gaussian", dim=given.dim)  # whose place the problem's ends take
    if case["method"] == "ot_cfm":
        yield from (about | row for row in _ot_cfm(given, data, case["budget"]))
        return
    *_, last = train_flow(replace(shipped(case["method"]), data=data), case["budget"], given.ends)
    cost = {"num_steps": last.num_steps, "cpu_seconds": last.cpu_seconds}
    yield about | judge(last.generator, given) | cost


def judge(generator: Generator, given: Problem) -> Row:
    """Compare samples with ones that no training sees; every figure beside that of training samples in their place."""
    data = given.ends.data
    n = min(SIZE.num_samples, data.num_distinct or SIZE.num_samples)
    rows = []
    for pair in range(SIZE.num_pairs):
        held_out = data.held_out(2 * n, stream(0, "evaluation_target", step=pair))
        y, other_y = held_out[: len(held_out) // 2][:n], held_out[len(held_out) // 2 :][:n]
        x, other_x = generator.sample(len(y), 2 * pair), generator.sample(len(y), 2 * pair + 1)
        seen = data.seen(len(y), stream(0, "evaluation_floor", step=pair))
        projections = stream(0, "projections")
        rows.append(
            {
                "w2": w2(x, y),
                "floor": w2(seen, y),
                "debiased": w2(x, y) ** 2 - (w2(x, other_x) ** 2 + w2(y, other_y) ** 2) / 2,
                "sliced": sliced_w2(x, y, projections),
            }
        )
    figures = {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}
    return {
        "w2_ratio": over_floor(figures["w2"], figures["floor"]),
        "w2_debiased": figures["debiased"],
        "sliced_w2": figures["sliced"],
        **_of_modes(generator, given),
    }


def _of_modes(generator: Generator, given: Problem) -> Row:
    """Count how samples spread over the modes of a target that has some, and how many of its larger ones were missed."""
    modes = given.target.modes
    if modes is None:
        return {}
    labels = modes.mode_of(np.concatenate([generator.sample(SIZE.num_samples, 100 + draw) for draw in range(4)]))
    own = modes.mode_of(given.target.sample(4 * SIZE.num_samples, stream(0, "evaluation_floor")))
    share = np.bincount(labels[labels >= 0], minlength=len(modes.mode_weights)) / max(1, (labels >= 0).sum())
    missed = sum(found < LEAST_SHARE * mass for found, mass in zip(share, modes.mode_weights, strict=True) if mass > LEAST_MASS)
    found = mode_statistics(labels, modes.mode_weights)
    return {
        "mode_kl": found["mode_kl"],
        "on_support": found["on_support"] / float((own >= 0).mean()),
        "missed": float(missed),
    }


class VelocityNetwork(nn.Module):
    """The velocity network of OT-CFM in d dimensions: our map's architecture on (x, t)."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        network = Recipe().network
        self.features = FourierFeatures(dim + 1, network.num_frequencies)
        self.net = perceptron(dim + 1 + 2 * network.num_frequencies, network.width, network.depth, dim)

    def forward(self, x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        """Compute the velocity of points x (n, d) at times t (n,) in [0, 1]."""
        velocity: torch.Tensor = self.net(self.features(torch.cat([x, t[:, None]], 1)))
        return velocity


def _ot_cfm(given: Problem, data: Data, seconds: float) -> Iterator[Row]:
    """Train OT-CFM once; yield a row per number of Euler steps."""
    recipe = Recipe(data=data)
    phase = phases_of(recipe)[-1]
    (flow,) = ot_cfm.train(
        partial(VelocityNetwork, given.dim), given.ends, recipe.training, lr=CFM_LEARNING_RATE, seed=0, looks=[seconds]
    )
    for num_steps, transport_map in ot_cfm.maps_of(flow):
        generator = Generator(phase, given.ends, [transport_map])
        cost = {"num_steps": flow.num_steps, "cpu_seconds": flow.cpu_seconds}
        yield {"method": f"ot_cfm_{num_steps}"} | judge(generator, given) | cost


PIVOTS = [
    Pivot(("method",), None, ("w2_ratio", "mode_kl", "on_support", "missed"), "over all problems: median [least, most]"),
    Pivot(("seed", "kind", "d"), "method", ("w2_ratio",), "W2 / floor", ranges=False),
    Pivot(("seed", "d"), "method", ("mode_kl",), "KL of the mode weights, nats", ranges=False),
    Pivot(("seed", "d"), "method", ("on_support",), "share on the support, of the target's own", ranges=False),
    Pivot(("method",), None, ("num_steps", "cpu_seconds"), "cost"),
]

if __name__ == "__main__":
    main("unseen", __doc__, cases=cases, measure=measure_case, pivots=PIVOTS)
