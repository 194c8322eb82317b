"""On how many samples maps are judged: a setting that changes figures, is kept beside them, and changes no phase."""

import json
from pathlib import Path

import pytest

from pipeline.command import cli
from pipeline.evaluation.size import Evaluation, EvaluationSize

FLOW = ["run", "moons", "--jko.num-phases=2", "--training.num-steps=3", "--training.batch-size=16"]
SIZE = ["--evaluation.num-samples=200", "--evaluation.num-samples-between=50", "--evaluation.num-pairs=2"]


def run(path: Path, *flags: str) -> list[dict]:
    assert cli.main([*FLOW, *flags, "--json", str(path)]) == 0
    return json.loads(path.read_text())["phases"]


def test_the_last_map_is_judged_in_full_and_those_before_in_small_pairs_of_as_many_samples() -> None:
    size = Evaluation(num_samples=2000, num_pairs=4, num_samples_between=500)
    assert [size.of_phase(k, 3) for k in range(3)] == [EvaluationSize(500, 16), EvaluationSize(500, 16), EvaluationSize(2000, 4)]
    assert Evaluation(num_samples=100).of_phase(0, 3) == EvaluationSize(100, 4), "never more than the last one"


@pytest.mark.slow
@pytest.mark.usefixtures("undrawn")
def test_another_size_gives_other_figures_of_the_same_phases_and_says_so(home: Path, tmp_path: Path) -> None:
    small = run(tmp_path / "a.json", *SIZE)
    sizes = [(row["metrics"]["num_samples"], row["metrics"]["num_pairs"]) for row in small]
    assert sizes == [(50, 8), (200, 2)]
    larger = run(tmp_path / "b.json", *SIZE[1:], "--evaluation.num-samples=300")
    assert [row["cached"] for row in larger] == [True, True], "a size is no part of a phase's identity"
    assert [row["fingerprint"] for row in larger] == [row["fingerprint"] for row in small]
    assert larger[1]["metrics"]["num_samples"] == 300
    assert larger[1]["metrics"]["w2"] != small[1]["metrics"]["w2"]
    assert larger[1]["metrics"]["w2_floor"] < small[1]["metrics"]["w2_floor"], "a floor has the size of what it is the floor of"


@pytest.mark.parametrize(
    ("flag", "rule"),
    [
        ("--evaluation.num-samples=9", "evaluation.num_samples must be from 10 to 20000, not 9"),
        ("--evaluation.num-samples=1000000", "evaluation.num_samples must be from 10 to 20000, not 1000000"),
        ("--evaluation.num-samples-between=0", "evaluation.num_samples_between must be from 10 to 20000, not 0"),
        ("--evaluation.num-pairs=0", "evaluation.num_pairs must be from 1 to 1000, not 0"),
        ("--evaluation.num-pairs=2.5", "evaluation.num_pairs must be a whole number such as 12, not 2.5"),
    ],
)
def test_a_size_at_which_nothing_can_be_measured_is_refused(flag: str, rule: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([*FLOW, flag]) == 2
    assert rule in capsys.readouterr().err
