"""What h, the divergence, K, z, R1 and the parametrization are worth at a fixed total number of steps.

On two planar sets and real digits, with quality (W2 over its floor, precision) and diversity (recall). And on a Gaussian the
order at which the flow of K trained steps of size t / K approaches the exact gradient flow at t.
"""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from benchmarks import gaussian
from benchmarks.flows import shipped, train_flow
from benchmarks.gaussian import NUM_MOMENTS, moments_of, solve
from benchmarks.harness import main
from benchmarks.rows import Pivot, Row
from components.metrics import over_floor, precision_recall
from pipeline.evaluation.draws import held_out, num_samples
from pipeline.evaluation.measure import evaluate
from pipeline.recipe import Data, FitName, Recipe
from tests.closed_forms import Gaussian, bures_wasserstein, gaussian_jko_step, ornstein_uhlenbeck

SEEDS = (0, 1, 2)
TOTAL_STEPS = {"spiral": 1500, "gauss25": 1500, "digits": 900}
DIVERGENCES, STEP_SIZES, NUMS_OF_PHASES = ("jsd", "kl"), (0.3, 3.0, float("inf")), (1, 4, 12)
BASE = {"h": 3.0, "num_phases": 4, "divergence": "jsd"}
VARIANTS = ("composed", "z_independent", "z_shared", "no_r1", "no_penalty", "semi_dual_fit")
FLOW_TIME, ORDER_PHASES = 0.5, (1, 2, 4, 8, 16)


def cases(quick: bool) -> list[Row]:
    """List the cases: the grid over divergence, h and K, the variants of its centre, and flows that show the order in h."""
    if quick:
        return [
            {"measure": "spiral", **BASE, "num_phases": 2, "variant": "base", "seed": 0, "total_steps": 200},
            {
                "measure": "gaussian",
                "divergence": "kl",
                "h": 0.25,
                "num_phases": 2,
                "variant": "order",
                "seed": 0,
                "total_steps": 400,
            },
        ]
    grid: list[Row] = [
        {"h": h, "num_phases": num_phases, "divergence": divergence, "variant": "base"}
        for divergence in DIVERGENCES
        for h in STEP_SIZES
        for num_phases in NUMS_OF_PHASES
        if h < float("inf") or num_phases == 4  # without a cost the steps are one long phase, whatever K is
    ]
    variants: list[Row] = [
        {**BASE, "divergence": "kl" if name == "semi_dual_fit" else "jsd", "variant": name} for name in VARIANTS
    ]
    order: list[Row] = [{"h": FLOW_TIME / k, "num_phases": k, "divergence": "kl", "variant": "order"} for k in ORDER_PHASES]
    per_phase = gaussian.recipe_of("ours", seed=0).training.num_steps
    ends = [(name, combination) for name in TOTAL_STEPS for combination in (*grid, *variants)]
    ends += [("gaussian", combination) for combination in order]
    return [
        {
            "measure": name,
            **combination,
            "seed": seed,
            "total_steps": TOTAL_STEPS.get(name, per_phase * combination["num_phases"]),
        }
        for name, combination in ends
        for seed in SEEDS
    ]


def recipe_of(case: Row) -> Recipe:
    """Alter the shipped recipe of a case's measure as the case says."""
    base = shipped("digits") if case["measure"] == "digits" else Recipe(Data(target=case["measure"]))
    variant = case["variant"]
    network, jko, training = base.network, base.jko, base.training
    fit: FitName = "logistic" if case["divergence"] == "kl" and variant != "semi_dual_fit" else "conjugate"
    jko = replace(jko, h=case["h"], num_phases=case["num_phases"], divergence=case["divergence"], fit=fit)
    training = replace(training, num_steps=case["total_steps"] // case["num_phases"])
    if variant == "composed":
        jko = replace(jko, parametrization="composed")
    elif variant in ("z_independent", "z_shared"):
        network, jko = replace(network, z_dim=2), replace(jko, z=variant.removeprefix("z_"))
    elif variant == "no_r1":
        training = replace(training, r1=0.0)
    elif variant == "no_penalty":
        training = replace(training, r1=0.0, r2=0.0)
    return Recipe(base.data, network, jko, training, seed=case["seed"])


def measure(case: Row) -> Iterator[Row]:
    """Train a case's flow; yield quality and diversity of its last map, or the error of a Gaussian flow."""
    if case["variant"] == "order":
        yield from order(case)
        return
    *_, last = train_flow(recipe_of(case))
    metrics = evaluate(last.generator)
    n = num_samples(last.generator.endpoints)
    x, y = (samples.reshape(n, -1) for samples in (last.generator.sample(n), held_out(last.generator.endpoints, 0)))
    yield {
        "w2": metrics["w2"],
        "w2_floor": metrics["w2_floor"],
        "w2_ratio": over_floor(metrics["w2"], metrics["w2_floor"]),
        **precision_recall(x, y),
        "cpu_seconds": last.cpu_seconds,
    }


START: Gaussian = np.zeros(2), np.array([[0.6, 0.2], [0.2, 0.5]])
TARGET: Gaussian = np.array([1.0, -0.5]), np.array([[1.2, -0.3], [-0.3, 0.8]])


def order(case: Row) -> Iterator[Row]:
    """Measure W2 between the Gaussian fit of mu_K and the exact flow at t = K h; the floor is that of exact JKO steps."""
    *_, last = solve(START, TARGET, case["h"], case["num_phases"], gaussian.recipe_of("ours", case["seed"]))
    flow, exact = ornstein_uhlenbeck(START, TARGET, FLOW_TIME), START
    for _ in range(case["num_phases"]):
        exact = gaussian_jko_step(exact, TARGET, case["h"])
    yield {
        "w2": bures_wasserstein(moments_of(last.generator.sample(NUM_MOMENTS)), flow),
        "w2_floor": bures_wasserstein(exact, flow),
        "cpu_seconds": last.cpu_seconds,
    }


def is_order(variant: str) -> bool:
    """Say whether a row is about the order in h."""
    return variant == "order"


def is_quality(variant: str) -> bool:
    """Say whether a row is about samples of a data set."""
    return variant != "order"


FIGURES = ("w2_ratio", "precision", "recall", "cpu_seconds")
PIVOTS = [
    Pivot(("measure", "divergence", "h", "variant"), "num_phases", ("w2_ratio",), "W2 / floor by K", variants=is_quality),
    Pivot(("measure", "divergence", "h", "num_phases", "variant"), None, FIGURES, "quality and diversity", variants=is_quality),
    Pivot(("h", "num_phases"), None, ("w2", "w2_floor"), "W2 to the exact flow: of ours, of exact JKO steps", variants=is_order),
]

if __name__ == "__main__":
    main("ablation", __doc__, cases=cases, measure=measure, pivots=PIVOTS)
