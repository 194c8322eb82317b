"""The documentation of the Python API is what is generated, and the examples run."""

import json
import os
import re
import subprocess
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import numpy as np
import pytest
from flows import ROOT, command_environment
from notebooks import executed


def test_the_page_is_what_the_docstrings_say() -> None:
    spec = spec_from_file_location("python_page", ROOT / "docs" / "python_page.py")
    assert spec is not None
    assert spec.loader is not None
    generator = module_from_spec(spec)
    spec.loader.exec_module(generator)
    assert generator.PAGE.read_text() == generator.page(), "write it again: python docs/python_page.py"


def test_the_lines_of_the_readme_run(home: Path, few: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (lines,) = re.findall(r"## From Python\n\n```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    names: dict[str, object] = {}
    exec(lines.replace("num_steps=200", "num_steps=5"), names)
    samples = names["samples"]
    assert isinstance(samples, np.ndarray)
    assert samples.shape == (1000, 2)
    assert (tmp_path / "report.html").is_file()


@pytest.mark.thorough
def test_a_flow_is_trained_in_a_ray_cluster_of_the_users_own(home: Path, no_ray: None) -> None:
    command = [sys.executable, "examples/own_ray_cluster/flow_in_my_cluster.py", "20"]
    environment = command_environment(home)
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "normal to :rows-2-" in done.stdout
    assert "2 of 2 phases finished" in done.stdout
    reference = done.stdout.split()[-1]
    show = [sys.executable, "-m", "pipeline", "show", reference]
    shown = subprocess.run(show, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    assert shown.stdout.count("runs:/") == 2
    assert any((Path(os.environ["SJKO_HOME"]) / "data" / "rows").glob("rows-2-*/rows.json"))


@pytest.mark.real
def test_the_notebook_runs_and_shows_what_is_in_the_file(home: Path) -> None:
    path = ROOT / "examples" / "python_api" / "flow.ipynb"
    kept, shown = json.loads(path.read_text()), executed(path, {"SJKO_HOME": str(home)})
    for before, after in zip(kept["cells"], shown["cells"], strict=True):
        assert [sorted(each["data"]) for each in before.get("outputs", [])] == [
            sorted(each["data"]) for each in after.get("outputs", [])
        ]
    pictures = [each for cell in shown["cells"] for each in cell.get("outputs", []) if "data:image/png" in str(each)]
    assert len(pictures) == 1
    assert "900 of 900 steps" in str(shown), "what is left of the bar"
