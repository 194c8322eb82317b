"""What leaves this machine: the context that an image is built from, the folder that Ray is sent, the source distribution."""

import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest
import setuptools.build_meta
from docker.utils.build import exclude_paths
from flows import ROOT
from ray._private.runtime_env.packaging import _dir_travel, _get_excludes

from pipeline.command.submission import entrypoint
from pipeline.errors import Unusable
from pipeline.shipped import excludes

SECRET = "planted-5f0c1d"
PLANTED = (
    ".env",
    ".git/config",
    ".sjko/mlflow.db",
    ".sjko/artifacts/weights.safetensors",
    ".ray/auth_token",
    ".venv/lib/site.py",
    "venv/pyvenv.cfg",
    "venv/lib/site.py",
    "auth_token",
    "cluster.env",
    "id_rsa",
    "server.pem",
    "weights.safetensors",
    "data/train.parquet",
    "data/picture.png",
    "a folder [1]/#key",
    "components/.env",
    "deploy/tls.pem",
    "deploy/token",
    "deploy/kubernetes/object-store.env",
    "pipeline/.secrets.yaml",
    "pipeline/recipes/.recipe.yaml.swp",
    "pipeline/recipes/key.pem",
    "pipeline/__pycache__/cli.cpython-311.pyc",
    "tune/optuna.db",
)
PACKAGES = ("components", "pipeline", "tune", "deploy", "sjko")


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what git has here, with a secret in every place where one is forgotten."""
    root = tmp_path_factory.mktemp("repository")
    tracked = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    for name in tracked.stdout.splitlines():
        if (ROOT / name).is_file():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, root / name)
    for name in PLANTED:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(SECRET)
    return root


def files(root: Path, *folders: str) -> set[str]:
    """What is there of our own: no planted secret."""
    found = (path for folder in folders for path in (root / folder).rglob("*") if path.is_file())
    return {str(path.relative_to(root)) for path in found} - set(PLANTED)


def context(root: Path) -> set[str]:
    """The files that a builder is sent, by the rules that docker's own client for Python has."""
    lines = [line.strip() for line in (root / ".dockerignore").read_text().splitlines()]
    paths = exclude_paths(str(root), [line for line in lines if line and not line.startswith("#")])
    return {path for path in paths if (root / path).is_file()} - {".dockerignore"}


def working_directory(root: Path) -> set[str]:
    """The files that Ray packs, by Ray's own walk."""
    found: list[Path] = []
    _dir_travel(root, [_get_excludes(root, excludes(root))], found.append, include_gitignore=True)
    return {str(path.relative_to(root)) for path in found if path.is_file()}


def test_the_image_is_built_from_code_recipes_and_weights_alone(repository: Path) -> None:
    code = {name for name in files(repository, *PACKAGES) if not name.startswith("deploy/kubernetes/")}
    assert context(repository) == code | {"pyproject.toml", "constraints.txt", "README.md", "LICENSE"}
    for needed in (
        "deploy/web/page.html",
        "pipeline/recipes/two_circles.yaml",
        "pipeline/evaluation/networks/assets/lenet_digits.safetensors",
    ):
        assert needed in code


def test_every_builder_reads_that_list(repository: Path) -> None:
    others = [repository / ".containerignore", *repository.rglob("Containerfile.*"), *repository.rglob("*.containerignore")]
    assert not [path for path in others if path.exists()], "podman or docker would read it in the place of .dockerignore"
    text = (repository / "deploy/kubernetes/Containerfile").read_text()
    assert "COPY --chown=ray . " in text
    assert " .\n" in text, "the context of the command in its head is the root, where .dockerignore is"
    assert "ADD " not in text


def test_a_cluster_is_sent_code_recipes_and_weights_alone(repository: Path) -> None:
    sent = working_directory(repository)
    assert not sent & set(PLANTED)
    assert not any(SECRET in (repository / name).read_text(errors="replace") for name in sent)
    code = {name for name in files(repository, *PACKAGES) if not name.startswith("deploy/kubernetes/")}
    assert code <= sent


def test_own_recipes_and_parts_travel_from_any_folder(repository: Path) -> None:
    own = {"own parts [v2]/part.py", "own parts [v2]/my #1.yaml"}
    for name in own:
        (repository / name).parent.mkdir(exist_ok=True)
        (repository / name).touch()
    assert own <= working_directory(repository)
    with pytest.raises(Unusable, match="travel"):
        entrypoint(["docs/my.yaml"])


@pytest.mark.filterwarnings("ignore")
def test_the_source_distribution_has_no_secret(repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(repository)
    archive = tmp_path / setuptools.build_meta.build_sdist(str(tmp_path))
    with tarfile.open(archive) as packed:
        names = {name.partition("/")[2] for name in packed.getnames()}
    assert {"pyproject.toml", "README.md", "LICENSE"} <= names
    assert not names & set(PLANTED)


def test_nodes_of_ray_up_are_sent_four_named_files() -> None:
    text = (ROOT / "ray_cluster.yaml").read_text()
    mounts = text.partition("file_mounts:\n")[2].partition("\n\n")[0]
    assert [line.partition(":")[0].strip() for line in mounts.splitlines()] == [
        "~/sjko/pyproject.toml",
        "~/sjko/constraints.txt",
        "~/.ray/auth_token",
        "~/.sjko/cluster.env",
    ]
