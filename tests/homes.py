"""A home of its own for every test, with a database that is already migrated."""

import shutil
from pathlib import Path

import pytest

from pipeline import cluster as clusters
from pipeline.cluster import Cluster
from pipeline.store import Store


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with MLflow's tables and nothing in them."""
    from mlflow.tracking import MlflowClient

    path = tmp_path_factory.mktemp("template") / "mlflow.db"
    MlflowClient(f"sqlite:///{path}").search_experiments()
    return path


@pytest.fixture
def home(tmp_path: Path, migrated: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "home"
    folder.mkdir()
    shutil.copy(migrated, folder / "mlflow.db")
    monkeypatch.setenv("SJKO_HOME", str(folder))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    return folder


@pytest.fixture
def store(home: Path) -> Store:
    return Store(clusters.tracking_uri(Cluster()))
