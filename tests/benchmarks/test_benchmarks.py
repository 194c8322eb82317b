"""Every benchmark, shortened, in this process, with generous bounds on what it must find."""

import importlib
import math
import os

import pytest

from benchmarks.harness import rows_of_case
from benchmarks.rows import Row, matches
from pipeline.evaluation.size import EvaluationSize

pytestmark = pytest.mark.thorough


def rows_of(name: str, *only: tuple[str, str]) -> list[Row]:
    """Rows of a benchmark's quick cases."""
    module = importlib.import_module(f"benchmarks.{name}")
    measure = getattr(module, "measure_case", None) or module.measure
    before, size = dict(os.environ), getattr(module, "SIZE", None)
    if size is not None:  # W2 of two thousand points takes seconds, and says nothing here
        module.SIZE = EvaluationSize(num_samples=300, num_pairs=1)
    try:
        rows = [row for case in module.cases(True) if matches(case, only) for row in rows_of_case(measure, case)]
    finally:  # a case has its process to itself, as a rule, and its own $SJKO_HOME
        os.environ.clear()
        os.environ.update(before)
        if size is not None:
            module.SIZE = size
    assert rows
    for row in rows:
        assert "seed" in row
        assert row["cpu_seconds"] >= 0
    for pivot in module.PIVOTS:
        shown = [row for row in rows if all(field in row for field in pivot.index)]
        assert pivot.table(shown).row_count > 0 or not shown
    return rows


def test_gaussian_flows_follow_the_exact_jko_steps() -> None:
    rows = rows_of("gaussian")
    assert [(row["d"], row["k"]) for row in rows] == [(d, k) for d in (2, 8) for k in (1, 2, 3)]
    for row in rows:
        assert row["uvp_percent"] < 0.2
        assert row["uvp_percent"] < row["uvp_of_staying"] / 10
        assert row["potential_r2"] > 0.95
        assert 0 < row["uvp_floor"] < 0.01


def test_an_ornstein_uhlenbeck_flow_is_nearer_than_both_published_ones() -> None:
    rows = rows_of("ou")
    assert [row["t"] for row in rows] == [0.5, 0.9]
    for row in rows:
        assert row["log10_symkl"] < min(row["published_sjko"], row["published_icnn"])
        assert row["log10_symkl_floor"] < row["log10_symkl"] + 1


def test_every_phase_of_both_parametrizations_is_timed() -> None:
    """Seconds are for people to judge; a test counts operations (`test_jko.py`)."""
    rows = rows_of("complexity")
    assert {(row["parametrization"], row["k"]) for row in rows} == {
        (name, k) for name in ("direct", "composed") for k in range(9)
    }
    assert all(row["seconds_per_step"] >= 0 for row in rows)


def test_images_give_a_row_per_method_with_floors() -> None:
    rows = rows_of("images", ("method", "sjko_jsd"), ("method", "ot_cfm"))
    assert [(row["method"], row["num_evaluations"]) for row in rows] == [("sjko_jsd", 1), ("ot_cfm_10", 10), ("ot_cfm_100", 100)]
    for row in rows:
        assert row["lenet_frechet"] > row["lenet_frechet_floor"] > 0
        assert row["effnet_frechet"] > row["effnet_frechet_floor"] > 0
        assert {"kid", "precision", "recall", "class_kl"} <= row.keys()


def test_a_conditional_flow_makes_the_class_that_is_asked_for() -> None:
    conditional, plain = rows_of("conditions")
    assert conditional["class_accuracy"] > 0.8
    assert conditional["class_accuracy_floor"] > 0.9
    assert plain["class_accuracy"] is None
    for row in (conditional, plain):
        assert 0 < row["class_w2"] < 2 * conditional["class_w2_floor"]
        assert row["class_frechet"] > 0


def test_unseen_problems_give_a_row_per_method() -> None:
    rows = rows_of("unseen", *(("method", name) for name in ("points", "otm", "ot_cfm")))
    assert [row["method"] for row in rows] == ["points", "otm", "ot_cfm_10", "ot_cfm_100"]
    for row in rows:
        assert {"w2_ratio", "w2_debiased", "sliced_w2", "mode_kl", "on_support", "missed"} <= row.keys()
        assert math.isfinite(row["w2_ratio"])
        assert row["kind"] == "mixture"


def test_a_known_map_is_found_better_than_by_an_affine_one() -> None:
    (row,) = rows_of("maps")
    assert 0 < row["uvp_percent"] < row["uvp_of_affine"] / 2


def test_toys_give_a_row_per_method() -> None:
    rows = rows_of("toys", *(("method", name) for name in ("sjko_kl", "composed", "ot_cfm")))
    assert {row["method"] for row in rows} == {"sjko_kl", "composed", "ot_cfm_10", "ot_cfm_100"}
    for row in rows:
        assert row["w2_floor"] > 0
        assert math.isfinite(row["w2"])
        assert row["num_evaluations"] == {"composed": 6, "ot_cfm_10": 10, "ot_cfm_100": 100}.get(row["method"], 1)


def test_the_ablation_measures_quality_diversity_and_order() -> None:
    toy, gaussian = rows_of("ablation")
    assert 0 < toy["precision"] <= 1
    assert 0 < toy["recall"] <= 1
    assert 0.5 * gaussian["w2_floor"] < gaussian["w2"] < 2 * gaussian["w2_floor"]


def test_steps_are_timed_beside_their_matrix_products_alone() -> None:
    rows = {row["variant"]: row for row in rows_of("step", ("network", "toy"))}
    assert {"textbook", "ours_eager", "ours_lazy_penalty", "floor", "floor_lazy_penalty"} == rows.keys()
    assert rows["ours_eager"]["loss_difference"] < 1e-5
    assert all(row["seconds_per_step"] > 0 for row in rows.values())


@pytest.mark.usefixtures("no_ray")
@pytest.mark.parametrize("name", ["memory", "overhead", "quality_time", "sampling", "scaling", "start"])
def test_what_the_platform_costs_is_measured(name: str) -> None:
    assert rows_of(name)


def test_tables_are_prepared_and_read_in_processes_of_their_own() -> None:
    (row,) = rows_of("table_size")
    assert row["num_rows"] == 20_000
    assert min(row[name] for name in ("rows_per_second", "batch_rows_per_second", "peak_mib")) > 0


def test_encodings_of_columns_are_told_apart() -> None:
    rows = rows_of("encodings")
    assert {row["table"] for row in rows} == {"wine"}
    assert all(0 <= row[name] <= 1 for row in rows for name in ("noise", "copula", "kernel", "cfm"))


METHODS = ("sjko", "f_gan", "ot_cfm", "copula")


def test_methods_on_tables_are_judged_as_reports_judge() -> None:
    rows = {row["method"]: row for row in rows_of("tables", *(("method", name) for name in METHODS))}
    assert rows.keys() == {"sjko", "f_gan", "ot_cfm_10", "ot_cfm_100", "copula"}
    for row in rows.values():
        assert 0.3 < row["w2_ratio"] < 2
        assert 0 <= row["dcr_share"] <= 1
        assert row["c2st_auc"] > row["c2st_auc_floor"] - 0.1
        assert row["copied_share"] == 0
    assert rows["sjko"]["num_evaluations"] == 1


def test_forest_flow_takes_columns_its_own_way() -> None:
    pytest.importorskip("ForestDiffusion", reason="pip install -e .[forest]")
    (row,) = rows_of("tables", ("method", "forest_flow"))
    assert row["method"] == "forest_flow"
    assert 0.5 < row["w2_ratio"] < 2


def test_settings_of_every_method_are_tried() -> None:
    rows = rows_of("table_settings", *(("method", name) for name in METHODS))
    assert {row["method"] for row in rows} == {*METHODS}


def test_each_image_metric_notices_what_it_is_for() -> None:
    rows = {(row["extractor"], row["harm"]): row for row in rows_of("sensitivity")}
    assert {harm for _, harm in rows} == {"none", "noise", "blur", "classes_dropped", "distinct_images"}
    clean = rows["lenet", "none"]
    assert 0.5 < clean["frechet_ratio"] < 2
    for (_, harm), row in rows.items():
        assert row["frechet_ratio"] > 2 or harm == "none"
        assert row["kid"] > 3 * abs(row["kid_floor"]) or harm == "none"
        assert len(row["sha256"]) == 64
    assert rows["effnet", "noise"]["precision_ratio"] < 0.5
    for harm in ("classes_dropped", "distinct_images"):
        assert rows["lenet", harm]["recall_ratio"] < 0.7
        assert rows["lenet", harm]["classes_covered"] < 10 == clean["classes_covered"]
