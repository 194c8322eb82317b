"""The rules of the house that a script can see."""

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from components.table import DIVERGENCES, NETWORK_PAIRS

ROOT = Path(__file__).resolve().parents[1]
MAY_IMPORT = {
    "components": {"components"},
    "pipeline": {"components", "pipeline"},
    "tune": {"components", "pipeline", "tune"},
    "deploy": {"components", "pipeline", "deploy"},
    "sjko": {"components", "pipeline", "tune", "deploy", "sjko"},
}
PLATFORM = {"ray", "mlflow", "optuna"}
MLFLOW = (
    "pipeline/store/experiment.py",
    "pipeline/store/runs.py",
    "pipeline/store/mlflow_errors.py",
    "deploy/versions/catalogue.py",
    "deploy/versions/registered.py",
    "deploy/versions/registry.py",
    "deploy/versions/folder.py",
    "deploy/flavour/sjko_sampler.py",
    "deploy/flavour/sjko_rows.py",
    "deploy/versions/table.py",
)
"""The files that import it."""
ON_TOP = {"benchmarks", "tests"}
MOST_IN_A_ROOM = 12
SOURCES = sorted(path for package in MAY_IMPORT for path in (ROOT / package).rglob("*.py"))


def imported(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module.split(".")[0])
    return names


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_layers_import_downwards_only(path: Path) -> None:
    package = path.relative_to(ROOT).parts[0]
    assert imported(path) & (MAY_IMPORT.keys() | ON_TOP) <= MAY_IMPORT[package]
    if package == "components":
        assert not imported(path) & PLATFORM
    if path not in [ROOT / name for name in MLFLOW]:
        assert "mlflow" not in imported(path)


def test_no_modules_import_each_other_in_a_circle() -> None:
    """Imports within functions count as well: they only hide one."""
    modules = {module_of(path): path for path in SOURCES if path.name != "__init__.py"}
    unread = {name: imported_names(path) & modules.keys() for name, path in modules.items()}
    while leaves := {name for name, others in unread.items() if not others & unread.keys()}:
        unread = {name: others for name, others in unread.items() if name not in leaves}
    assert not unread, f"circles among, or above, {sorted(unread)}"


def test_no_room_is_crowded() -> None:
    for folder in {path.parent for path in SOURCES}:
        modules = [path.name for path in folder.glob("*.py") if not path.name.startswith("__")]
        assert len(modules) <= MOST_IN_A_ROOM, folder


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_nothing_asks_which_divergence_or_pair_of_networks_it_has(path: Path) -> None:
    """What depends on a part is a property of it: its name is compared with nothing."""
    for node in ast.walk(ast.parse(path.read_text())):
        calls = (
            isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in ("startswith", "endswith")
        )
        within = ast.walk(node) if calls or isinstance(node, ast.Compare) else ()
        names = {each.value for each in within if isinstance(each, ast.Constant) and isinstance(each.value, str)}
        assert not names & (DIVERGENCES.keys() | NETWORK_PAIRS.keys()), names


def module_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts)


def imported_names(path: Path) -> set[str]:
    """Modules, and what is taken from them, which may be modules too."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names


@pytest.mark.parametrize(
    "module",
    [
        "pipeline.training.loop",
        "pipeline.data.images.images",
        "pipeline.evaluation.extractors",
    ],
)
def test_training_and_reading_need_neither_ray_nor_a_store_nor_flags(module: str) -> None:
    """A rented GPU is measured with little more than torch on it."""
    reached, todo = set[str](), {module}
    while todo:
        reached |= todo
        paths = [path for path in SOURCES if module_of(path) in todo]
        todo = set().union(*(imported_names(path) for path in paths)) - reached
    assert len(reached) > 10
    assert not {name for name in reached if name.split(".")[0] in {*PLATFORM, "tyro"} or name.startswith("pipeline.store")}


def test_nothing_is_ever_pickled_or_unpickled() -> None:
    for path in SOURCES:
        text = path.read_text().replace("allow_pickle=False", "")
        text = re.sub(r"torch\.load\([^\n]*, weights_only=True\)", "", text)  # reads tensors only: weights that others publish
        assert not re.search(r"pickle|torch\.(load|save)\(", text), path


def test_nobody_takes_a_phase_for_a_dictionary() -> None:
    for path in [*SOURCES, *(ROOT / "benchmarks").glob("*.py")]:
        assert not re.search(r"phase\w*\.problem\b|phase\.values\(\)\[|\.problem\[", path.read_text()), path


@pytest.mark.parametrize("package", ["pipeline", "deploy", "tune", "sjko"])
@pytest.mark.real
def test_help_answers_without_what_takes_seconds_to_import(package: str) -> None:
    command = [sys.executable, "-X", "importtime", "-m", package, "--help"]
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    imported_modules = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "tyro" in imported_modules
    assert not imported_modules & {"torch", "mlflow", "ray", "optuna", "pyarrow", "PIL", "scipy", "matplotlib"}


@pytest.mark.real
def test_steps_are_taken_without_torch_s_compiler() -> None:
    """Every worker would pay its import, 1 to 1.5 CPU-seconds, before its first step."""
    program = """
import sys
from builders import CPU, VECTOR, objective, problem, random_batches
from components.jko import train_phase
from components.state import new_state
state = new_state(VECTOR, seed=0, betas=(0.5, 0.9), device=CPU)
print(len(list(train_phase(state, problem(objective()), [], random_batches(VECTOR, 8)))), "torch._dynamo" in sys.modules)
"""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")])}
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True, capture_output=True, text=True, env=environment)
    assert done.stdout.split() == ["4", "False"]


def test_every_benchmark_that_is_named_exists() -> None:
    texts = [path.read_text() for path in (ROOT / "README.md", *(ROOT / "docs").rglob("*.md"))]
    named = {name for text in texts for name in re.findall(r"python -m benchmarks\.([a-z_]+)", text)}
    assert named
    assert named <= {path.stem for path in (ROOT / "benchmarks").glob("*.py")}


def test_the_readme_names_its_two_commands_by_line_20() -> None:
    head = "\n".join((ROOT / "README.md").read_text().splitlines()[:20])
    assert "make run" in head
    assert "make test" in head


def test_constraints_pin_every_dependency_that_pyproject_names() -> None:
    pinned = {line.split("==")[0].lower().replace("_", "-") for line in (ROOT / "constraints.txt").read_text().splitlines()}
    named = re.findall(r'^    "([A-Za-z0-9_-]+)', (ROOT / "pyproject.toml").read_text().split("[tool.")[0], re.MULTILINE)
    assert len(named) > 20
    assert {name.lower().replace("_", "-") for name in named} <= pinned
