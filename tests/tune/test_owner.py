"""A search has one driver, also where drivers run on several hosts."""

import threading

import pytest

from pipeline.errors import SearchAtWork
from pipeline.recipe import Recipe
from pipeline.store import claims
from pipeline.store.phases import Store
from tune import records
from tune.definition import Search
from tune.driver import require_idle
from tune.records import Stored


@pytest.fixture
def elsewhere(store: Store, monkeypatch: pytest.MonkeyPatch) -> Stored:
    """A search whose driver runs, or ran, on another host."""
    monkeypatch.setattr(claims, "SECONDS_WITHOUT_BEAT", 3.0)
    records.create(store, Search("s", Recipe(), (), 1), "elsewhere:7:1.00")
    found = records.find(store, "s")
    assert found is not None
    return found


def test_a_driver_on_another_host_is_known_by_its_heartbeat(
    store: Store, elsewhere: Stored, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(claims, "SECONDS_BETWEEN_BEATS", 0.5)
    listening = threading.Event()

    def other_driver() -> None:
        with claims.held(store, [elsewhere.run_id]):
            listening.wait(20)

    driver = threading.Thread(target=other_driver)
    driver.start()
    try:
        with pytest.raises(SearchAtWork, match="search s is at work in process 7 of elsewhere"):
            require_idle(store, elsewhere, "s")
    finally:
        listening.set()
        driver.join()
    assert "listening 3 s for its driver on elsewhere" in capsys.readouterr().out


def test_a_driver_without_heartbeat_is_dead(store: Store, elsewhere: Stored) -> None:
    require_idle(store, elsewhere, "s")


def test_this_process_is_at_work(store: Store) -> None:
    records.create(store, Search("mine", Recipe(), (), 1), claims.this_process())
    found = records.find(store, "mine")
    assert found is not None
    with pytest.raises(SearchAtWork, match="at work"):
        require_idle(store, found, "mine")
