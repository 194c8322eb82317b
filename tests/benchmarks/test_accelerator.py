"""The benchmark of accelerators: alone with torch and numpy, within its time, and whatever it has found is kept."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from flows import ROOT

from benchmarks import accelerator
from benchmarks.accelerator_parity import PAIRS, gradient_errors
from benchmarks.accelerator_quality import reading
from benchmarks.accelerator_speed import Bench, Row
from components.table import NETWORK_PAIRS

BARE = """
import sys
from importlib.machinery import PathFinder
class Poorer(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name.split(".")[0] in MISSING else super().find_spec(name, path, target)
sys.meta_path = [Poorer if finder is PathFinder else finder for finder in sys.meta_path]
from benchmarks.accelerator import main
main(sys.argv[1:])
"""
NEVER = ("ray", "mlflow", "tyro", "optuna", "ot", "sklearn", "torchvision", "torch_fidelity", "matplotlib", "fastapi", "s3fs")
FOR_FLOWS = ("fsspec", "pyarrow", "PIL", "yaml", "rich", "psutil", "requests")


def measured(folder: Path, missing: tuple[str, ...], *arguments: str) -> list[Row]:
    """Rows of a quick run in a process of its own that lacks some packages."""
    command = [sys.executable, "-c", f"MISSING = {missing}\n{BARE}", "--quick", "--to", str(folder), *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr + done.stdout
    found = json.loads((folder / "accelerator.json").read_text())
    assert {"benchmark", "commit", "device", "machine", "torch", "threads"} < found.keys()
    assert (folder / "accelerator.txt").read_text() == done.stdout
    assert not [row for row in found["rows"] if row.get("failed")]
    rows: list[Row] = found["rows"]
    return rows


@pytest.mark.thorough
def test_networks_and_their_steps_are_measured_with_torch_and_numpy_alone(tmp_path: Path) -> None:
    rows = measured(tmp_path, NEVER + FOR_FLOWS, "--only", "parity", "--only", "step", "--only", "sampling")
    gradients = [row for row in rows if row.get("check") == "gradients"]
    assert {row["network"] for row in gradients} == {"perceptron", "light"}
    for row in gradients:
        bound = {"float32": 1e-4, "bfloat16": 0.1}[row["precision"]]
        assert 0 < max(row["loss_error"], row["potential_error"], row["map_error"]) < bound
    checks = [row for row in rows if "identical" in row]
    assert {row["check"] for row in checks} == {"seed", "resumed", "carried"}
    assert all(row["identical"] for row in checks), "one thread of a CPU gives the same numbers again"
    timed = {row["variant"]: row for row in rows if row.get("part") == "step" and row.get("network") == "light"}
    assert timed.keys() == {"float32", "bfloat16", "textbook_float32"}
    for row in timed.values():
        assert row["images_per_second"] == pytest.approx(row["batch_size"] / row["milliseconds"] * 1e3)
        assert row["share_of_product"] > 0
    assert {row["evaluations"] for row in rows if row.get("part") == "sampling" and "evaluations" in row} == {1, 10}


@pytest.mark.thorough
def test_whole_flows_are_measured_without_ray_and_mlflow(tmp_path: Path) -> None:
    rows = measured(tmp_path, NEVER, "--only", "quality", "--only", "input")
    (toy,) = (row for row in rows if row.get("data") == "two_circles")
    assert (toy["k"], toy["steps"]) == (0, 100)
    assert 0 < toy["w2_floor"] < toy["w2"] < 3
    assert toy["train_seconds"] > 0
    read = [row for row in rows if row["part"] == "input" and "network" in row]
    assert {row["batch_size"] for row in read} == {64, 256}
    assert all(row["images_per_second"] > 0 for row in read)


@pytest.mark.thorough
def test_a_part_that_takes_too_long_is_cut_and_keeps_its_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def endless(bench: Bench) -> Iterator[Row]:
        yield {"found": 1}
        while True:
            time.sleep(0.01)

    def broken(bench: Bench) -> Iterator[Row]:
        yield {"found": 2}
        raise ValueError("no such thing")

    monkeypatch.setattr(accelerator, "PARTS", {"endless": (0.2, endless), "broken": (9, broken)})
    with pytest.raises(SystemExit) as stopped:
        accelerator.main(["--to", str(tmp_path / "new" / "folder"), "--quick"])
    assert stopped.value.code == 1, "of what broke, not of what was cut"
    rows = json.loads((tmp_path / "new" / "folder" / "accelerator.json").read_text())["rows"]
    assert [row.get("found") for row in rows] == [1, None, 2, None]
    assert rows[1]["failed"] == "cut after 0.2 s"
    assert rows[3]["failed"] == "ValueError: no such thing"


def test_input_is_compared_with_the_fastest_step_of_those_that_did_not_fail() -> None:
    failed = {"part": "step", "network": "light", "batch_size": 256, "failed": "OutOfMemoryError: CUDA out of memory"}
    steps = [failed] + [{"part": "step", "network": "light", "images_per_second": rate} for rate in (100.0, 300.0, 200.0)]
    for found, fastest in ((steps, 300.0), ([failed], None)):
        rows = list(reading(Bench(torch.device("cpu"), quick=True, rows=[*found])))
        assert [row["fastest_step_images_per_second"] for row in rows] == [fastest, fastest]


def test_a_long_reason_is_cut_in_the_table_and_whole_in_the_json(tmp_path: Path) -> None:
    reason = f"OutOfMemoryError: {'CUDA out of memory ' * 9}"
    accelerator.write(tmp_path, {"benchmark": "accelerator"}, [{"part": "step", "network": "large", "failed": reason}])
    assert max(map(len, (tmp_path / "accelerator.txt").read_text().splitlines())) == len("network  ") + 60
    assert json.loads((tmp_path / "accelerator.json").read_text())["rows"][0]["failed"] == reason


@pytest.mark.parametrize("name", ["second_order", "residual", pytest.param("small", marks=pytest.mark.thorough)])
def test_other_pairs_agree_with_float64(name: str) -> None:
    row, *_ = gradient_errors(Bench(torch.device("cpu"), quick=True), name, "kl")
    assert 0 < max(row["loss_error"], row["potential_error"], row["map_error"]) < 1e-4


def test_all_networks_are_compared_and_all_parts_fit_into_eight_minutes() -> None:
    assert PAIRS.keys() - {"second_order"} == NETWORK_PAIRS.keys()
    assert sum(seconds for seconds, _ in accelerator.PARTS.values()) < 8 * 60
