"""Within a job, T_k is uploaded behind phase k + 1, and is not called published before it is."""

import time
from pathlib import Path

import pytest
from flows import assert_identical, tiny, train, weights
from homes import Sound

from pipeline.cluster import Cluster
from pipeline.errors import StoreUnavailable
from pipeline.phase import phases_of
from pipeline.store.phases import Store
from pipeline.training.solving import problem
from pipeline.training.solving.problem import problem_of

RECIPE = tiny(num_phases=3, z_dim=2)


@pytest.mark.slow
def test_the_next_phase_begins_while_the_last_is_uploaded(store: Store, sound: Sound, monkeypatch: pytest.MonkeyPatch) -> None:
    events: list[str] = []
    publish = Store.publish

    def slow(self: Store, run_id: str, folder: Path) -> None:
        time.sleep(1)
        publish(self, run_id, folder)
        events.append("uploaded")

    def begins(phase, **options):
        events.append(f"phase {phase.k} begins")
        assert phase.k == 0 or store.find(phases_of(RECIPE)[phase.k - 1]) is None, "not published before it is"
        return problem_of(phase, **options)

    with monkeypatch.context() as patch:
        patch.setattr(Store, "publish", slow)
        patch.setattr(problem, "problem_of", begins)
        results = train(RECIPE, store, Cluster(phases_per_job=3))
    assert events == ["phase 0 begins", "phase 1 begins", "uploaded", "phase 2 begins", "uploaded", "uploaded"]
    for result, one_by_one in zip(results, sound(RECIPE), strict=True):
        assert_identical(weights(store, result.ref), one_by_one)


@pytest.mark.slow
def test_an_upload_that_fails_ends_the_job_and_leaves_what_was_published(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    publish, done = Store.publish, []

    def fails_the_second_time(self: Store, run_id: str, folder: Path) -> None:
        done.append(run_id)
        if len(done) == 2:
            raise StoreUnavailable("the bucket is away")
        publish(self, run_id, folder)

    with monkeypatch.context() as patch:
        patch.setattr(Store, "publish", fails_the_second_time)
        with pytest.raises(StoreUnavailable, match="the bucket is away"):
            train(RECIPE, store, Cluster(phases_per_job=3))
    assert [store.find(phase) is not None for phase in phases_of(RECIPE)] == [True, False, False]
    assert [result.cached for result in train(RECIPE, store, Cluster(phases_per_job=3))] == [True, False, False]
