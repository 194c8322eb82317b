"""What tests of the service's HTTP side share."""

from collections.abc import Iterator

import pytest
from asgi import Client, Service, answers_of
from flows import QUICK, tiny, train
from homes import home_of_file

from deploy.answers import Settings
from deploy.cli import main
from deploy.models import Models


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with home_of_file(tmp_path_factory.mktemp("web")) as store:
        assert main(["register", train(tiny(num_steps=12), store)[-1].ref.run_id, "--name", "moons", *QUICK]) == 0
        yield Service(answers_of(Models(store.uri, "moons", "1"), Settings(store.uri, "moons", "1")))


@pytest.fixture(scope="module")
def client(app: Service) -> Client:
    return app.client()
