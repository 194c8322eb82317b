"""One of each real server per test process, started when it is first asked for; what a test has in it is its own by name."""

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from uuid import uuid4

import pytest
import services


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[str]:
    """The URL of the database that is there from the start; tests have databases of their own."""
    with services.postgresql() as url:
        yield url


@pytest.fixture(scope="session")
def new_database(postgresql_server: str) -> Callable[[], str]:
    """Make an empty database, and give its URL."""
    import psycopg

    def make() -> str:
        name = f"test_{uuid4().hex[:8]}"
        with psycopg.connect(postgresql_server, autocommit=True) as connected:
            connected.execute(f'CREATE DATABASE "{name}"')
        return f"{postgresql_server.rpartition('/')[0]}/{name}"

    return make


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The environment of an S3 client."""
    with services.s3(tmp_path_factory.mktemp("s3") / "server") as environment:
        yield environment


@pytest.fixture(scope="session")
def new_bucket(s3_server: dict[str, str]) -> Callable[[], str]:
    """Make an empty bucket, and give its name."""
    import boto3

    keys = {"aws_access_key_id": "test", "aws_secret_access_key": "test", "region_name": "us-east-1"}

    def make() -> str:
        name = f"test-{uuid4().hex[:8]}"
        boto3.client("s3", endpoint_url=s3_server["AWS_ENDPOINT_URL"], **keys).create_bucket(Bucket=name)
        return name

    return make


@pytest.fixture
def s3_here(s3_server: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """This process is a client of the S3 server."""
    from s3fs import S3FileSystem

    S3FileSystem.clear_instance_cache()  # an earlier test's clients had other keys
    for name, value in s3_server.items():
        monkeypatch.setenv(name, value)


@pytest.fixture(scope="session")
def mlflow_server(
    new_database: Callable[[], str],
    new_bucket: Callable[[], str],
    s3_server: dict[str, str],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[str]:
    """The address of an MLflow server on PostgreSQL and S3. Flows of different tests differ by their seed."""
    port, folder = services.free_port(), tmp_path_factory.mktemp("mlflow")
    command = services.mlflow_command(new_database(), f"s3://{new_bucket()}/artifacts", port)
    url = f"http://127.0.0.1:{port}"
    with services.process(command, f"{url}/health", {**os.environ, **s3_server}, folder / "log"):
        yield url


class LocalRay:
    """The Ray of this test process: two CPUs, started at its first use, away while a test has a cluster of its own."""

    def __init__(self) -> None:
        self._running = ExitStack()
        self._is_up = False

    def up(self) -> None:
        from pipeline import ray_session
        from pipeline.cluster import Cluster
        from tune.search import DRIVER, MANY_DRIVERS

        if not self._is_up:
            print("starting Ray")
            self._running.enter_context(ray_session.started(Cluster(num_workers=2), {DRIVER: MANY_DRIVERS}))
            self._is_up = True

    def down(self) -> None:
        self._running.close()
        self._is_up = False


@pytest.fixture(scope="session")
def local_ray() -> Iterator[LocalRay]:
    ray = LocalRay()
    yield ray
    ray.down()


@pytest.fixture
def one_ray(local_ray: LocalRay) -> None:
    """Ray is there."""
    local_ray.up()


@pytest.fixture
def ray_of_this_environment(local_ray: LocalRay) -> Iterator[None]:
    """A Ray of this test alone, whose workers have the variables that the fixtures named before it have set."""
    local_ray.down()
    local_ray.up()
    yield
    local_ray.down()


@pytest.fixture
def no_ray(local_ray: LocalRay) -> None:
    """No Ray is there: the test starts its own."""
    local_ray.down()
