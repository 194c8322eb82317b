"""What is installed: a wheel has every file of the packages and nothing else, and Python finds them from any folder."""

import subprocess
import sys
import zipfile
from functools import cache
from pathlib import Path

import pytest
from flows import ROOT, command_environment
from terminals import terminal

import sjko

PACKAGES = ("components", "pipeline", "tune", "deploy", "sjko")
FOR_THE_REPOSITORY = "deploy/kubernetes/"
"""Manifests, which are applied from here and not by what is installed."""


def pip(*arguments: str) -> None:
    common = ["--no-deps", "--no-build-isolation", "--disable-pip-version-check", "--quiet"]
    subprocess.run([sys.executable, "-m", "pip", *arguments[:1], *common, *arguments[1:]], check=True, capture_output=True)


@cache
def tracked() -> list[str]:
    """The files that git tracks, or would."""
    listing = ["git", "ls-files", "-co", "--exclude-standard"]
    names = subprocess.run(listing, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    return [name for name in names if (ROOT / name).is_file()]


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the files that git tracks: building in the working folder would leave files in it."""
    root = tmp_path_factory.mktemp("repository")
    for name in tracked():
        if name.startswith((*PACKAGES, "pyproject", "README", "LICENSE", "tests", "benchmarks")):
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_bytes((ROOT / name).read_bytes())
    return root


@pytest.mark.real
def test_a_wheel_has_every_file_of_the_packages_and_no_other(repository: Path, tmp_path: Path) -> None:
    pip("wheel", "--wheel-dir", str(tmp_path), str(repository))
    (wheel,) = tmp_path.glob("sjko_on_ray-*.whl")
    packed = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    ours = {name for name in tracked() if name.partition("/")[0] in PACKAGES and not name.startswith(FOR_THE_REPOSITORY)}
    assert packed == ours
    assert {"sjko/py.typed", "pipeline/recipes/two_circles.yaml", "deploy/web/page.html", "deploy/serve.yaml"} <= packed


@pytest.fixture(scope="module")
def installed(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder into which the repository is installed as `make` does it."""
    folder = tmp_path_factory.mktemp("installed")
    pip("install", "--target", str(folder), "--editable", str(repository))
    return folder


@pytest.mark.real
def test_an_editable_installation_is_imported_from_any_folder(installed: Path, tmp_path: Path) -> None:
    code = (
        f"import site; site.addsitedir({str(installed)!r}); import sjko; from sjko import Flow, load_recipe; "
        "print(sjko.__file__, Flow.from_yaml('moons', jko__h=0.5))"
    )
    environment = {**command_environment(tmp_path), "PYTHONPATH": str(installed)}  # before the installation that tests run in
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
    assert "repository" in done.stdout
    assert "<Flow moons: normal to moons, jsd, 0 of 6 phases finished>" in done.stdout


@pytest.mark.real
def test_the_console_script_teaches_and_runs_every_program(installed: Path, tmp_path: Path) -> None:
    script = next((installed / "bin").glob("sjko"))
    assert "sjko.__main__ import run" in script.read_text()
    environment = command_environment(tmp_path) | {"TERM": "xterm-256color"}
    for words, code, said in [
        ([], 0, "usage: sjko COMMAND ..."),
        (["--help"], 0, "sjko run two_circles "),
        (["runn"], 2, "error: COMMAND must be one of run, list, .*, tune, deploy, not runn; did you mean run?"),
        (["tune", "show", "nothing"], 2, "error: .*nothing"),
        (["deploy", "promote", "no_model"], 2, "error: there is no store at sqlite:"),
        (["run", "moons", "--jko.hh", "3"], 2, "error: --jko.hh is not a flag of python -m pipeline run; did you mean --jko.h?"),
    ]:
        with terminal([str(script), *words], environment, columns=200) as shown:
            assert shown.wait() == code, shown.text()
            text = shown.text()
        assert all(part in text for part in said.split(".*")), text
        assert "Traceback" not in text
        assert "\\x1b" not in text


@pytest.mark.real
def test_the_console_script_finds_parts_in_the_current_folder(installed: Path, tmp_path: Path) -> None:
    (tmp_path / "parts_in_folder.py").write_text("from components.divergences.kl import KL\n\n\nclass Mine(KL):\n    pass\n")
    (tmp_path / "my.yaml").write_text("jko: {divergence: 'parts_in_folder:Mine'}\n")
    script = next((installed / "bin").glob("sjko"))
    command = [sys.executable, str(script), "run", "my.yaml", "--dry-run"]
    done = subprocess.run(command, cwd=tmp_path, env=command_environment(tmp_path), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "divergence: parts_in_folder:Mine" in done.stdout


@pytest.mark.real
def test_importing_it_takes_nothing_with_it() -> None:
    code = "import sys; before = set(sys.modules); import sjko; print(*sorted(set(sys.modules) - before))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    new = {name.partition(".")[0] for name in done.stdout.split()} - sys.stdlib_module_names
    assert new <= {"sjko"}, "each name is imported when it is first asked for"


def test_every_public_name_is_there_and_listed() -> None:
    assert sjko.__all__ == list(sjko.PLACES)
    for name in sjko.__all__:
        assert getattr(sjko, name).__name__ == name
    assert set(sjko.__all__) <= set(dir(sjko))
    with pytest.raises(AttributeError, match="module 'sjko' has no attribute 'Flaw'"):
        sjko.Flaw  # noqa: B018
