"""A home of its own for every test, with a database that is already migrated."""

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from importlib.metadata import version
from pathlib import Path

import pytest
from filelock import FileLock
from flows import train, weights
from mlflow.store.db import utils as db_utils
from torch import Tensor

from pipeline import cluster as clusters
from pipeline.cluster import Cluster
from pipeline.evaluation import judging
from pipeline.recipe import Recipe
from pipeline.store.phases import Store

CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "sjko-tests"
"""What one run of the tests makes for the next."""
db_utils._get_latest_schema_revision = cache(db_utils._get_latest_schema_revision)
"""MLflow loads its 67 files of migrations for every store that is opened, a third of what that takes; they stay the same."""
Sound = Callable[[Recipe], list[dict[str, Tensor]]]


@cache
def migrated_database() -> Path:
    """A database with MLflow's tables and nothing in them, made once for all runs with this MLflow: it takes seconds."""
    path = CACHE / f"mlflow-{version('mlflow')}.db"
    CACHE.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{path}.lock"):
        if not path.is_file():
            from mlflow.tracking import MlflowClient

            unfinished = path.with_suffix(f".{os.getpid()}")
            MlflowClient(f"sqlite:///{unfinished}").search_experiments()
            unfinished.replace(path)
    return path


def new_store(folder: Path) -> Store:
    """An empty store in a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(migrated_database(), folder / "mlflow.db")
    return Store(f"sqlite:///{folder / 'mlflow.db'}")


@pytest.fixture(scope="session")
def migrated() -> Path:
    return migrated_database()


@contextmanager
def home_of_file(folder: Path) -> Iterator[Store]:
    """A home that the tests of a file share, for the time of the context, and its store."""
    store = new_store(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SJKO_HOME", str(folder))
        patch.setenv("OMP_NUM_THREADS", "1")
        yield store


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


@pytest.fixture(scope="module")
def _home_of_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shared")
    new_store(folder)
    return folder


@pytest.fixture
def shared_store(_home_of_file: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    """A store that tests of one file share, each under names of its own: a flow that two of them need is trained once."""
    monkeypatch.setenv("SJKO_HOME", str(_home_of_file))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    return Store(clusters.tracking_uri(Cluster()))


@pytest.fixture(scope="session")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Sound:
    """(recipe) -> what each phase of a flow publishes that nothing disturbs: one phase per job, no checkpoint.

    A recipe is trained once per process, whichever test asks first.
    """
    store = new_store(tmp_path_factory.mktemp("sound"))
    cluster = Cluster(tracking_uri=store.uri, checkpoint_every=0)
    return lambda recipe: [weights(store, result.ref) for result in train(recipe, store, cluster)]


@contextmanager
def nothing_drawn() -> Iterator[None]:
    """Flows whose pictures a test does not look at: matplotlib takes a second for them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(judging, "draw_flow", lambda *arguments: None)
        yield


@pytest.fixture
def undrawn() -> Iterator[None]:
    with nothing_drawn():
        yield
