"""The search against random search and a plain grid over h, divergence and K, at equal numbers of phases trained.

Ours is `python -m tune run`: Optuna proposes, every phase is judged, trials are stopped between phases. Random search draws h
(log), divergence and K and judges T_K alone; the grid has its points in random order; both go on until they have trained as many
phases as ours did. What each method chose is measured again on fresh samples.
"""

import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.flows import shipped, train_flow
from benchmarks.harness import ROOT, main, use_one_thread
from benchmarks.rows import Pivot, Row
from components.metrics import over_floor
from pipeline.evaluation.measure import evaluate
from pipeline.evaluation.size import EvaluationSize
from pipeline.generator import Generator
from pipeline.recipe import Data, Recipe

RECIPE, MEASURES, SEEDS = "two_circles", ("spiral",), (0, 1, 2)
NUM_TRIALS, NUM_STEPS, MAX_PHASES = 24, 150, 6
"""Flows this short are far from the floor; on two_circles with 300 steps every h from 2 to 9 is at it and no method can win."""
H_RANGE, H_GRID, K_GRID = (0.03, 30.0), (0.17, 5.3), (3, 6)
"""The grid has the middle of each half of the range, on the scale of logarithms."""
DIVERGENCES = ("kl", "jsd", "softplus")
FRESH_DRAWS, FRESH = 1 << 16, EvaluationSize(num_pairs=16)
Point = dict[str, Any]


def cases(quick: bool) -> list[Row]:
    """List the cases: each measure with each seed."""
    seeds, trials, steps = ((0,), 3, 20) if quick else (SEEDS, NUM_TRIALS, NUM_STEPS)
    return [
        {"measure": name, "seed": seed, "trials": trials, "steps": steps, "phases": 2 if quick else MAX_PHASES}
        for name in MEASURES
        for seed in seeds
    ]


def measure(case: Row) -> Iterator[Row]:
    """Search with `tune`, then at random and on a grid with as many trained phases; yield a row per method."""
    began = time.monotonic()
    result = ours(case)
    best = {"h": result["best"]["point"]["jko.h"], "divergence": result["best"]["point"]["jko.divergence"]}
    best["K"] = result["best"]["num_phases"]
    counts = result["phases"]
    yield judged(case, "tune", best, int(counts["trained"])) | {
        "phases_asked": counts["asked"],
        "seconds": time.monotonic() - began,
    }
    for method, points in (("random", random_points(case)), ("grid", grid_points(case))):
        began, chosen, trained = time.monotonic(), list[Point](), 0
        for point in points:
            if trained + point["K"] > counts["trained"]:
                break
            chosen.append(point)
            trained += point["K"]
        with ProcessPoolExecutor(os.cpu_count(), mp_context=get_context("spawn"), initializer=use_one_thread) as pool:
            values = list(pool.map(judge, [case] * len(chosen), chosen))
        winner = chosen[int(np.argmin(values))]
        yield judged(case, method, winner, trained) | {"phases_asked": trained, "seconds": time.monotonic() - began}


def ours(case: Row) -> dict[str, Any]:
    """Run `python -m tune run` on a case, and return what it writes as JSON."""
    with tempfile.TemporaryDirectory(prefix="sjko-search-") as home:
        result = Path(home) / "result.json"
        flags = [f"--num-trials={case['trials']}", f"--search-seed={case['seed']}", f"--seed={case['seed']}", "--num-confirmed=0"]
        flags += [f"--training.num-steps={case['steps']}", f"--jko.num-phases={case['phases']}"]
        flags += ["--space.h", *map(str, H_RANGE), "--space.divergence", *DIVERGENCES, f"--json={result}"]
        command = [sys.executable, "-m", "tune", "run", RECIPE, f"--data.target={case['measure']}", *flags]
        environment = {**os.environ, "SJKO_HOME": home, "OMP_NUM_THREADS": "1"}
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(done.stderr[-2000:])
        return dict(json.loads(result.read_text()))


def random_points(case: Row) -> Iterator[Point]:
    """Draw points of the space at random, without end."""
    rng = np.random.default_rng([case["seed"], 0])
    while True:
        h = float(np.exp(rng.uniform(*np.log(H_RANGE))))
        yield {"h": h, "divergence": str(rng.choice(DIVERGENCES)), "K": int(rng.integers(1, case["phases"] + 1))}


def grid_points(case: Row) -> Sequence[Point]:
    """List all points of the grid, in random order."""
    points = [
        {"h": h, "divergence": divergence, "K": min(k, case["phases"])}
        for h, divergence, k in itertools.product(H_GRID, DIVERGENCES, K_GRID)
    ]
    return [points[i] for i in np.random.default_rng([case["seed"], 1]).permutation(len(points))]


def trained(case: Row, point: Point) -> Generator:
    """Train the flow of a point, and return its generator."""
    recipe: Recipe = shipped(RECIPE)
    jko = replace(recipe.jko, h=point["h"], divergence=point["divergence"], num_phases=point["K"])
    training = replace(recipe.training, num_steps=case["steps"])
    recipe = replace(recipe, data=Data(target=case["measure"]), jko=jko, training=training, seed=case["seed"])
    *_, last = train_flow(recipe)
    return last.generator


def judge(case: Row, point: Point) -> float:
    """Measure W2 of a point's flow, as a method sees it when it chooses."""
    return evaluate(trained(case, point))["w2"]


def judged(case: Row, method: str, point: Point, num_trained: int) -> Row:
    """Measure the point that a method chose on fresh samples, and make the method's row."""
    metrics = evaluate(trained(case, point), FRESH, FRESH_DRAWS)
    return {
        "method": method,
        "best_w2": metrics["w2"],
        "w2_ratio": over_floor(metrics["w2"], metrics["w2_floor"]),
        "h": point["h"],
        "divergence": point["divergence"],
        "K": point["K"],
        "phases_trained": num_trained,
    }


PIVOTS = [
    Pivot(("measure", "seed"), "method", ("w2_ratio",), "W2 of the chosen recipe / floor, fresh samples; goal: tune lowest"),
    Pivot(("measure", "seed"), "method", ("phases_trained",), "phases trained"),
    Pivot(("method",), None, ("h", "K", "phases_asked", "seconds"), "what was chosen, and the time"),
]

if __name__ == "__main__":
    main("search", __doc__, cases=cases, measure=measure, pivots=PIVOTS, processes=1)
