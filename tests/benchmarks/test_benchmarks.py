"""Every benchmark from its command line, shortened, with generous bounds on what it must find."""

import json
import math
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import harness

ROOT = Path(__file__).resolve().parents[2]


def rows_of(name: str, folder: Path, *arguments: str) -> list[harness.Row]:
    """Rows of `python -m benchmarks.NAME --quick`."""
    path = folder / "rows.json"
    command = [sys.executable, "-m", f"benchmarks.{name}", "--quick", "--json", str(path), *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "┃" in done.stdout
    result = json.loads(path.read_text())
    assert {"benchmark", "commit", "machine", "threads", "rows"} == result.keys()
    assert (result["benchmark"], result["threads"]) == (name, 1)
    for row in result["rows"]:
        assert "seed" in row
        assert row["cpu_seconds"] > 0
    return result["rows"]


def test_gaussian_flows_follow_the_exact_jko_steps(tmp_path: Path) -> None:
    rows = rows_of("gaussian", tmp_path)
    assert [(row["d"], row["k"]) for row in rows] == [(d, k) for d in (2, 8) for k in (1, 2, 3)]
    for row in rows:
        assert row["uvp_percent"] < 0.2
        assert row["uvp_percent"] < row["uvp_of_staying"] / 10
        assert row["potential_r2"] > 0.95
        assert 0 < row["uvp_floor"] < 0.01


def test_an_ornstein_uhlenbeck_flow_is_nearer_than_both_published_ones(tmp_path: Path) -> None:
    rows = rows_of("ou", tmp_path)
    assert [row["t"] for row in rows] == [0.5, 0.9]
    for row in rows:
        assert row["log10_symkl"] < min(row["published_sjko"], row["published_icnn"])
        assert row["log10_symkl_floor"] < row["log10_symkl"] + 1


def test_a_direct_step_costs_the_same_in_every_phase(tmp_path: Path) -> None:
    """Generous: the machine may be busy. Composed must show its growth, or the test could not fail."""
    rows = rows_of("complexity", tmp_path)
    cost = {(row["parametrization"], row["k"]): row["seconds_per_step"] for row in rows}
    assert cost["direct", 20] < 1.25 * cost["direct", 2]
    assert cost["composed", 20] > 1.4 * cost["composed", 2]


def test_images_give_a_row_per_method_with_floors(tmp_path: Path) -> None:
    rows = rows_of("images", tmp_path, "--only", "method=sjko_jsd", "--only", "method=ot_cfm")
    assert [(row["method"], row["num_evaluations"]) for row in rows] == [("sjko_jsd", 1), ("ot_cfm_10", 10), ("ot_cfm_100", 100)]
    for row in rows:
        assert row["lenet_frechet"] > row["lenet_frechet_floor"] > 0
        assert row["effnet_frechet"] > row["effnet_frechet_floor"] > 0
        assert {"kid", "precision", "recall", "class_kl"} <= row.keys()


def test_toys_give_a_row_per_method(tmp_path: Path) -> None:
    rows = rows_of(
        "toys", tmp_path, *(flag for name in ("sjko_kl", "composed", "ot_cfm") for flag in ("--only", f"method={name}"))
    )
    assert {row["method"] for row in rows} == {"sjko_kl", "composed", "ot_cfm_10", "ot_cfm_100"}
    for row in rows:
        assert row["w2_floor"] > 0
        assert math.isfinite(row["w2"])
        assert row["num_evaluations"] == {"composed": 6, "ot_cfm_10": 10, "ot_cfm_100": 100}.get(row["method"], 1)


def test_the_ablation_measures_quality_diversity_and_order(tmp_path: Path) -> None:
    toy, gaussian = rows_of("ablation", tmp_path)
    assert 0 < toy["precision"] <= 1
    assert 0 < toy["recall"] <= 1
    assert 0.5 * gaussian["w2_floor"] < gaussian["w2"] < 2 * gaussian["w2_floor"]


def test_steps_are_timed_beside_their_matrix_products_alone(tmp_path: Path) -> None:
    rows = {row["variant"]: row for row in rows_of("step", tmp_path, "--only", "network=toy")}
    assert {"textbook", "ours_eager", "ours_lazy_penalty", "floor", "floor_lazy_penalty"} == rows.keys()
    assert rows["ours_eager"]["loss_difference"] < 1e-5
    assert rows["textbook"]["seconds_per_step"] > rows["ours_eager"]["seconds_per_step"] > rows["floor"]["seconds_per_step"] > 0


@pytest.mark.parametrize("name", ["memory", "overhead", "quality_time", "sampling", "scaling", "start"])
def test_what_the_platform_costs_is_measured(name: str, tmp_path: Path) -> None:
    assert rows_of(name, tmp_path)


def test_each_image_metric_notices_what_it_is_for(tmp_path: Path) -> None:
    rows = {(row["extractor"], row["harm"]): row for row in rows_of("sensitivity", tmp_path)}
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


def test_rows_are_filtered_and_a_filter_that_leaves_nothing_is_a_mistake(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert harness.matches({"d": 2, "h": 0.3}, [("d", "2"), ("d", "8"), ("k", "1")])
    assert not harness.matches({"d": 2}, [("d", "8")])
    monkeypatch.setattr(sys, "argv", ["benchmarks.x", "--only", "d=3"])
    with pytest.raises(SystemExit) as stopped:
        harness.main("x", "nothing", cases=lambda quick: [{"d": 2}], measure=lambda case: [], pivots=[])
    assert stopped.value.code == 2
    assert "no case has d=3" in capsys.readouterr().err


@pytest.mark.parametrize("written", ["s3://bucket/x.json", "nowhere/x.json", ".", ""])
def test_a_result_file_that_cannot_be_is_refused_before_any_work(
    written: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["benchmarks.x", "--json", written])
    with pytest.raises(SystemExit) as stopped:
        harness.main("x", "nothing", cases=lambda quick: [{"d": 2}], measure=lambda case: [], pivots=[])
    assert stopped.value.code == 2
    assert "argument --json" in capsys.readouterr().err


def failing(case: harness.Row) -> list[harness.Row]:
    if case["d"] == 2:
        raise ValueError("two is too few")
    return [{"w2": 1.0}]


def test_a_case_that_fails_costs_no_other_its_rows() -> None:
    kept: list[list[harness.Row]] = []
    rows, failures = harness.run([{"d": 1}, {"d": 2}, {"d": 3}], failing, processes=1, keep=kept.append)
    assert kept == [[{"d": 1, "w2": 1.0}], [{"d": 1, "w2": 1.0}], [{"d": 1, "w2": 1.0}, {"d": 3, "w2": 1.0}]]
    assert rows == [{"d": 1, "w2": 1.0}, {"d": 3, "w2": 1.0}]
    assert failures == ["{'d': 2}: ValueError: two is too few"]


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["--only", "typo=2"], "--only must name one of d, not typo"),
        (["--only", "d"], "must be FIELD=VALUE, not d"),
        (["--json", "/no/such/folder/x.json"], "--json must be a file in an existing folder"),
    ],
)
def test_a_mistake_is_told_before_anything_runs(
    arguments: list[str], part: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["benchmarks.x", *arguments])
    with pytest.raises(SystemExit) as stopped:
        harness.main("x", "nothing", cases=lambda quick: [{"d": 2}], measure=failing, pivots=[])
    assert stopped.value.code == 2
    assert part in capsys.readouterr().err


def test_a_case_stands_for_rows_whose_value_begins_with_its_own() -> None:
    assert harness.matches({"method": "ot_cfm"}, [("method", "ot_cfm_10")])
    assert harness.matches({"method": "ot_cfm_10"}, [("method", "ot_cfm")])
    assert not harness.matches({"method": "ot_cfm_10"}, [("method", "ot_cfm_100")])


def test_a_table_shows_median_and_range_over_seeds() -> None:
    assert harness.summary([1.0, 3.0, 2.0]) == "2 [1, 3]"
    assert harness.summary([0.25]) == "0.25"
    assert harness.summary([]) == ""
