"""CPU-seconds of training until W2 is within 1.25 times its i.i.d. floor: every method of `toys` as shipped, and as published.

Looks at the averaged map come from one CPU-second on, 1.4 times apart, and after each phase, and do not count. What is within the
goal has to be so again on other samples. What is not there at its limit, or at the end of its recipe's steps, is given no time:
its seconds are the limit, and `reached` is 0. Published settings have more patience: five times ours.
"""

import math
from collections.abc import Iterator
from dataclasses import replace

from benchmarks import ot_cfm, toys
from benchmarks.flows import shipped, train_flow
from benchmarks.harness import main
from benchmarks.rows import Pivot, Row
from components.metrics import over_floor
from pipeline.data.endpoints import load_endpoints
from pipeline.evaluation.measure import evaluate
from pipeline.evaluation.size import FULL, EvaluationSize
from pipeline.generator import Generator
from pipeline.phase import phases_of
from pipeline.recipe import Data, Recipe

MEASURES = ("two_circles", "gauss25", "moons", "checkerboard")
GOAL, SPACING = 1.25, 1.4
LIMIT, PATIENCE = 40.0, 5
SIZE: EvaluationSize = FULL
"""Samples of a look."""
PUBLISHED = "published_sjko_kl"
METHODS = (PUBLISHED, *toys.METHODS, *(f"{toys.OT_CFM}_{steps}" for steps in ot_cfm.EULER_STEPS))


def cases(quick: bool) -> list[Row]:
    """List the cases, the longest first: measure, method, seed and limit of CPU-seconds."""
    methods = (PUBLISHED, "sjko_jsd", f"{toys.OT_CFM}_10") if quick else METHODS
    measures, seeds = (("moons",), (0,)) if quick else (MEASURES, toys.SEEDS)
    limit = 2.0 if quick else LIMIT
    return [
        {"measure": measure, "method": method, "seed": seed, "limit": limit * (PATIENCE if method == PUBLISHED else 1)}
        for method in methods
        for measure in measures
        for seed in seeds
    ]


def measure_case(case: Row) -> Iterator[Row]:
    """Train a case; judge it after growing times until it reaches the goal or the limit, and yield the row."""
    ratio = float("nan")
    for seconds, num_steps, generator in looks_at(case):
        ratio = ratio_to_floor(generator, 0)
        if ratio <= GOAL and (ratio := ratio_to_floor(generator, SIZE.num_pairs)) <= GOAL:
            yield {"cpu_seconds": seconds, "reached": 1, "w2_ratio": ratio, "num_steps": num_steps}
            return
        if seconds >= case["limit"]:
            break
    yield {"cpu_seconds": case["limit"], "reached": 0, "w2_ratio": ratio}


def ratio_to_floor(generator: Generator, first_draw: int) -> float:
    """Measure W2 over its floor, on samples numbered from `first_draw`; NaN where the floor is 0."""
    metrics = evaluate(generator, SIZE, first_draw)
    ratio = over_floor(metrics["w2"], metrics["w2_floor"])
    return math.nan if ratio is None else ratio


def looks_at(case: Row) -> Iterator[tuple[float, int, Generator]]:
    """Train a case; yield CPU-seconds, steps and the generator after growing times."""
    looks = [1.0]
    while looks[-1] < case["limit"]:
        looks.append(min(looks[-1] * SPACING, case["limit"]))
    data = Data(target=case["measure"])
    if not case["method"].startswith(toys.OT_CFM):
        recipe = replace(shipped(case["method"]), data=data, seed=case["seed"])
        for trained in train_flow(recipe, looks=looks):
            yield trained.cpu_seconds, trained.num_steps, trained.generator
        return
    recipe = Recipe(data=data, seed=case["seed"])
    endpoints, phase = load_endpoints(data), phases_of(recipe)[-1]
    evaluations = int(case["method"].rpartition("_")[2])
    network, lr = toys.VelocityNetwork, toys.CFM_LEARNING_RATE
    for flow in ot_cfm.train(network, endpoints, recipe.training, lr=lr, seed=case["seed"], looks=looks):
        transport_map = dict(ot_cfm.maps_of(flow))[evaluations]
        yield flow.cpu_seconds, flow.num_steps, Generator(phase, endpoints, [transport_map])


PIVOTS = [
    Pivot(
        ("measure",), "method", ("cpu_seconds",), f"CPU-seconds of training to W2 <= {GOAL} x floor; its limit where not reached"
    ),
    Pivot(("measure",), "method", ("reached",), "1: most seeds got there", ranges=False),
    Pivot(("measure",), "method", ("w2_ratio",), "W2 / floor at the last look"),
    Pivot(("measure",), "method", ("num_steps",), "steps", ranges=False),
]

if __name__ == "__main__":
    main("quality_time", __doc__, cases=cases, measure=measure_case, pivots=PIVOTS)
