"""Which settings the methods of `benchmarks.tables` have: as many are tried for each, on a seed that no figure is of."""

from collections.abc import Iterator, Mapping

from benchmarks.harness import main
from benchmarks.rows import Pivot, Row
from benchmarks.table_methods import CHOSEN, METHODS, Problem, Settings
from benchmarks.tables import CPU_SECONDS, figures

SEED = 10
TABLES = ("wine", "breast_cancer", "penguins", "quakes")
PENALTIES = {f"penalties {r}": {"training__r1": r, "training__r2": r} for r in (0.3, 1.0, 3.0)}
OF_A_FLOW: Mapping[str, Settings] = {
    "as chosen": {},
    **PENALTIES,
    "second order": {"network__second_order": True},
    "kl": {"jko__divergence": "kl", "jko__fit": "logistic"},
    "z": {"network__z_dim": 8},
    "average 0.999": {"training__ema_decay": 0.999},
}
SETTINGS: Mapping[str, Mapping[str, Settings]] = {
    "sjko": OF_A_FLOW,
    "f_gan": OF_A_FLOW,
    "ot_cfm": {
        "as chosen": {},
        "rate 5e-4": {"training__map_lr": 5e-4},
        "rate 5e-3": {"training__map_lr": 5e-3},
        "constant rate": {"training__map_lr": 1e-3, "training__lr_decay_steps": float("inf")},
        "width 192": {"network__width": 192},
        "depth 2": {"network__depth": 2},
        "batch 64": {"training__batch_size": 64},
        "average 0.999": {"training__ema_decay": 0.999},
    },
    "copula": {
        "as chosen": {},
        **{f"{repeats} encodings": {"repeats": repeats} for repeats in (4, 16, 64)},
        "power": {"transform": "power"},
        "standard": {"transform": "standard"},
        "one_hot": {"categories": "one_hot"},
        "power, one_hot": {"transform": "power", "categories": "one_hot"},
    },
    "forest_flow": {
        "as chosen": {},
        "10 times": {"n_t": 10},
        "30 times": {"n_t": 30},
        "50 trees": {"n_estimators": 50},
        "100 trees": {"n_estimators": 100},
        "4,000 rows": {"rows": 4000},
        "8,000 rows": {"rows": 8000},
        "depth 4": {"max_depth": 4},
    },
}


def cases(quick: bool) -> list[Row]:
    """List the cases: each setting of each method on each table."""
    tables, seconds = (("quakes",), 1.0) if quick else (TABLES, CPU_SECONDS)
    return [
        {"table": table, "method": method, "setting": setting, "seed": SEED, "budget": seconds}
        for table in tables
        for method, settings in SETTINGS.items()
        for setting in [*settings][: 1 if quick else None]
    ]


def measure(case: Row) -> Iterator[Row]:
    """Train and judge one setting of a method."""
    method, problem = case["method"], Problem.of(case)
    settings = {**CHOSEN[method], **SETTINGS[method][case["setting"]]}
    *_, fitted = METHODS[method](problem, settings)
    found = figures(fitted, problem.halves, problem.encoding.schema)
    yield {**found, **fitted.about}


LINES = ("method", "setting")
PIVOTS = [
    Pivot(LINES, "table", (name,), f"{name}, seed {SEED}", ranges=False)
    for name in ("w2_ratio", "c2st_auc", "c2st_logistic_auc", "correlation_error", "dcr_share")
]

if __name__ == "__main__":
    main("table_settings", __doc__, cases=cases, measure=measure, pivots=PIVOTS)
