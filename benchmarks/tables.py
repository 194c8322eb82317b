"""Six tables, every method trained on one half of the rows for 30 CPU-seconds, and judged by the other half as reports judge.

Methods: `sjko` is the shipped recipe `table`; `f_gan` the same without a transport cost; `ot_cfm_N` is OT-CFM (Tong et al. 2024,
package torchcfm) with our map's network and N Euler steps per row; `copula` is a Gaussian copula; `forest_flow` is ForestFlow
(Jolicoeur-Martineau et al. 2024, package ForestDiffusion, `pip install -e .[forest]`). The last two take what they take.
Figures are those of `python -m pipeline report --real --generated --train`, means over draws of generated rows: W2 over that of
training rows, AUC of two classifiers that tell generated from held-out rows, error of correlations, share of rows nearer to
training rows than to held-out ones. How settings were chosen is in docs/experiments.md.
"""

import time
from collections.abc import Iterator

import numpy as np
import pyarrow as pa

from benchmarks.harness import main
from benchmarks.rows import Pivot, Row
from benchmarks.table_methods import CHOSEN, METHODS, Fitted, Problem
from benchmarks.table_sets import TABLES, Halves
from components.metrics import over_floor
from pipeline.data.tables.schema import Schema
from pipeline.report.judgement import judge
from pipeline.report.samples import draw

SEEDS, CPU_SECONDS = (0, 1, 2), 30.0
NUM_JUDGED, MOST_DRAWS = 600, 2
"""Generated rows that are judged, in draws of as many as were held out: chance is in the few rows of a small table."""
NUM_TIMED = 10_000
FIGURES = ("encoded_w2", "c2st_auc", "c2st_logistic_auc", "correlation_error", "dcr_share", "near_share", "copied_share")


def cases(quick: bool) -> list[Row]:
    """List the cases: each table with each method and seed."""
    tables, seeds = (("quakes",), (0,)) if quick else (tuple(TABLES), SEEDS)
    seconds = 2.0 if quick else CPU_SECONDS
    return [
        {"table": table, "method": method, "seed": seed, "budget": seconds}
        for seed in seeds  # whoever ends a run early has whole comparisons
        for table in tables
        for method in METHODS
    ]


def measure(case: Row) -> Iterator[Row]:
    """Train and judge one method; OT-CFM gives a row per number of evaluations."""
    method, problem = case["method"], Problem.of(case)
    for fitted in METHODS[method](problem, CHOSEN[method]):
        judged = figures(fitted, problem.halves, problem.encoding.schema)
        yield {"method": fitted.method, **judged, **timed(fitted), **fitted.about}


def figures(fitted: Fitted, halves: Halves, schema: Schema) -> Row:
    """Judge as many draws as together have the rows that are to be judged; `w2_ratio` is W2 over its floor."""
    n = halves.held_out.num_rows
    tables = [fitted.decode(fitted.draw(n, number)) for number in range(min(MOST_DRAWS, max(1, NUM_JUDGED // n)))]
    every = [metrics(table, halves, schema) for table in tables]
    means: Row = {name: float(np.mean([each[name] for each in every])) for name in every[0]}
    return {**means, "w2_ratio": over_floor(means["encoded_w2"], means["encoded_w2_floor"])}


def metrics(table: pa.Table, halves: Halves, schema: Schema) -> Row:
    """Take the figures of a report on generated rows, with their floors."""
    found = judge(draw(halves.held_out, table, halves.train, schema=schema)).metrics
    names = [name for figure in FIGURES for name in (figure, f"{figure}_floor")]
    return {name: found[name] for name in names}


def timed(fitted: Fitted) -> Row:
    """Time 10,000 rows, as coordinates and as a table."""
    fitted.draw(NUM_TIMED // 100, 0)  # warms up
    began = time.process_time()
    drawn = fitted.draw(NUM_TIMED, 1)
    made = time.process_time() - began
    fitted.decode(drawn)
    return {"rows_per_second": NUM_TIMED / made, "sample_seconds": time.process_time() - began}


LINES = ("table",)
PIVOTS = [
    Pivot(LINES, "method", ("w2_ratio",), "W2 / floor; 1 is good"),
    Pivot(LINES, "method", ("c2st_auc",), "AUC of gradient boosting, generated against held-out rows; 0.5 is good"),
    Pivot(LINES, "method", ("c2st_logistic_auc",), "AUC of a logistic regression; 0.5 is good"),
    Pivot(LINES, "method", ("correlation_error",), "error of correlations, mean over pairs of columns; 0 is good"),
    Pivot(LINES, "method", ("dcr_share",), "share of rows nearer to training rows than to held-out ones; 0.5 is good"),
    Pivot(LINES, None, tuple(f"{name}_floor" for name in FIGURES[1:5]), "the same of training rows"),
    Pivot(LINES, "method", ("sample_seconds",), "CPU-seconds of 10,000 rows of a table", ranges=False),
    Pivot(LINES, "method", ("rows_per_second",), "rows per CPU-second, as coordinates", ranges=False),
    Pivot(("method",), None, ("num_evaluations", "num_steps", "cpu_seconds"), "cost"),
]

if __name__ == "__main__":
    main("tables", __doc__, cases=cases, measure=measure, pivots=PIVOTS)
