"""What all benchmarks share: filters, tables, a case that fails, the command line."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from flows import ROOT

from benchmarks import harness
from benchmarks.rows import Row, matches, summary


@pytest.mark.thorough
def test_a_benchmark_s_command_writes_its_rows_and_prints_its_table(tmp_path: Path) -> None:
    path = tmp_path / "rows.json"
    command = [sys.executable, "-m", "benchmarks.ou", "--quick", "--only", "d=2", "--json", str(path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "┃" in done.stdout
    result = json.loads(path.read_text())
    assert {"benchmark", "commit", "machine", "threads", "rows"} == result.keys()
    assert (result["benchmark"], result["threads"]) == ("ou", 1)
    assert [row["t"] for row in result["rows"]] == [0.5, 0.9]


def test_rows_are_filtered_and_a_filter_that_leaves_nothing_is_a_mistake(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert matches({"d": 2, "h": 0.3}, [("d", "2"), ("d", "8"), ("k", "1")])
    assert not matches({"d": 2}, [("d", "8")])
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


def failing(case: Row) -> list[Row]:
    if case["d"] == 2:
        raise ValueError("two is too few")
    return [{"w2": 1.0}]


@pytest.mark.thorough
def test_a_case_that_fails_costs_no_other_its_rows() -> None:
    kept: list[list[Row]] = []
    rows, failures = harness.run([{"d": 1}, {"d": 2}, {"d": 3}], failing, processes=1, keep=kept.append)
    assert kept == [[{"d": 1, "w2": 1.0}], [{"d": 1, "w2": 1.0}], [{"d": 1, "w2": 1.0}, {"d": 3, "w2": 1.0}]]
    assert rows == [{"d": 1, "w2": 1.0}, {"d": 3, "w2": 1.0}]
    assert failures == ["{'d': 2}: ValueError: two is too few"]


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["--only", "typo=2"], "--only must name one of d, not typo"),
        (["--only", "d"], "must be FIELD=VALUE, not d"),
        (["--json", "/no/such/folder/x.json"], "argument --json: must be a file in an existing folder"),
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
    assert matches({"method": "ot_cfm"}, [("method", "ot_cfm_10")])
    assert matches({"method": "ot_cfm_10"}, [("method", "ot_cfm")])
    assert not matches({"method": "ot_cfm_10"}, [("method", "ot_cfm_100")])


def test_a_table_shows_median_and_range_over_seeds() -> None:
    assert summary([1.0, 3.0, 2.0]) == "2 [1, 3]"
    assert summary([0.25]) == "0.25"
    assert summary([]) == ""
