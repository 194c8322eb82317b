"""Mid-phase checkpoints of the default mode, which has no workers: whatever interrupts a phase, it ends as if nothing had."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from flows import ROOT, assert_identical, command_environment, tiny, train, weights
from homes import Sound

from components.gradients import Batch
from pipeline.cluster import Cluster
from pipeline.data.endpoints import load_endpoints
from pipeline.errors import Corrupt, Diverged
from pipeline.phase import phases_of
from pipeline.recipe import Recipe
from pipeline.store.phases import Store
from pipeline.training import checkpoints, loop
from pipeline.training.solving.batches import batches_of
from pipeline.training.solving.setting import Setting
from pipeline.training.solving.start import new_state

EVERY = 10
CLUSTER = Cluster(checkpoint_every=EVERY)
LONG = {"num_steps": 600, "batch_size": 64, "width": 32}
DRIVER = """
import json, sys
sys.path.insert(0, "tests")
from flows import tiny, train
from pipeline import cluster as clusters
from pipeline.cluster import Cluster
from pipeline.store.phases import Store
train(tiny(num_phases=1, **json.loads(sys.argv[1])), Store(clusters.tracking_uri(Cluster())), Cluster(checkpoint_every=20))
"""


class Interrupted(KeyboardInterrupt):
    """As Ctrl-C."""


def train_until(
    step: int, recipe: Recipe, store: Store, cluster: Cluster, *, monkeypatch: pytest.MonkeyPatch, k: int = 0
) -> None:
    """Train, and be interrupted before a step of phase k."""

    def interrupted(phase: Any, *arguments: Any) -> Callable[[int], Batch]:
        draw = batches_of(phase, *arguments)

        def draw_or_stop(at: int) -> Batch:
            if (phase.k, at) == (k, step):
                raise Interrupted
            return draw(at)

        return draw_or_stop

    with monkeypatch.context() as patch:
        patch.setattr(loop, "batches_of", interrupted)
        with pytest.raises(Interrupted):
            train(recipe, store, cluster)


def first_step(store: Store, run_id: str) -> int:
    return min(step for step, _ in store.metric_history(run_id, "step"))


def kept(home: Path) -> list[Path]:
    return [path for path in (home / "checkpoints").rglob("*") if path.is_file()]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT], ids=["kill", "ctrl-c"])
@pytest.mark.real
def test_a_process_that_is_killed_in_mid_phase_leaves_what_the_next_goes_on_from(
    number: signal.Signals, store: Store, home: Path, sound: Sound
) -> None:
    driver = subprocess.Popen(
        ["env", "--default-signal=INT", sys.executable, "-c", DRIVER, json.dumps(LONG)],
        cwd=ROOT,
        env=command_environment(home),
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 240
    while not any(path.suffix == ".checkpoint" for path in kept(home)):  # which is written beside and renamed
        assert driver.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)
    os.kill(driver.pid, number)
    driver.wait()
    recipe = tiny(num_phases=1, **LONG)
    assert store.find(phases_of(recipe)[0]) is None
    (result,) = train(recipe, store, Cluster(checkpoint_every=20))
    (uninterrupted,) = sound(recipe)
    assert_identical(weights(store, result.ref), uninterrupted)
    assert first_step(store, result.ref.run_id) > 20, "the first steps were not trained again"
    assert kept(home) == [], "what was kept goes when the phase is published"


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes",
    [
        {"z_dim": 2, "target_noise": 0.3, "ema_decay": 0.9},
        {"divergence": "linear", "point_phases": 2, "num_points": 50, "lr_schedule": "cosine"},
        pytest.param({"parametrization": "composed"}, marks=pytest.mark.thorough),
        pytest.param({"second_order": True, "divergence": "kl", "fit": "logistic"}, marks=pytest.mark.thorough),
        pytest.param(
            {"target": "digits", "standardise": False, "kind": "light", "num_frequencies": 0, "bfloat16": True},
            marks=pytest.mark.thorough,
        ),
        {"target": "digits", "standardise": False, "kind": "small", "num_frequencies": 0},
    ],
    ids=["z and noise", "points", "composed", "second order", "images in 16 bits", "batch norm"],
)
@pytest.mark.parametrize("storage", ["path", pytest.param("url", marks=pytest.mark.thorough)])
def test_a_phase_that_is_cut_and_goes_on_equals_one_that_is_not(
    changes: dict[str, Any],
    storage: str,
    store: Store,
    *,
    sound: Sound,
    home: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    place = tmp_path / "elsewhere"
    recipe = tiny(num_phases=2, num_steps=25, **changes)
    cluster = Cluster(checkpoint_every=EVERY, checkpoints=str(place) if storage == "path" else place.as_uri())
    train_until(23, recipe, store, cluster, monkeypatch=monkeypatch, k=1)
    (file,) = place.rglob("*.checkpoint")
    assert file.stem == phases_of(recipe)[1].fingerprint
    cut = train(recipe, store, cluster)
    assert [result.cached for result in cut] == [True, False]
    assert first_step(store, cut[1].ref.run_id) == 21
    assert not list(place.rglob("*.checkpoint"))
    for result, whole in zip(cut, sound(recipe), strict=True):
        assert_identical(weights(store, result.ref), whole)
    assert kept(home) == []


@pytest.mark.parametrize(
    "damage", ["flipped", *(pytest.param(name, marks=pytest.mark.thorough) for name in ("cut short", "empty"))]
)
def test_a_damaged_checkpoint_is_named_and_the_phase_begins_again(
    damage: str, store: Store, home: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    recipe = tiny(num_phases=1, num_steps=25)
    train_until(15, recipe, store, CLUSTER, monkeypatch=monkeypatch)
    (path,) = kept(home)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes({"flipped": bytes(content), "cut short": bytes(content[:-1]), "empty": b""}[damage])
    (result,) = train(recipe, store, CLUSTER)
    assert f"phase 0 begins again from its first step: {path} is corrupt" in caplog.text
    assert first_step(store, result.ref.run_id) == 1
    assert kept(home) == []


@pytest.mark.slow
def test_several_phases_of_one_job_keep_no_checkpoint_that_stands_for_an_unpublished_one(
    store: Store, home: Path, sound: Sound, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe, cluster = tiny(num_phases=3, num_steps=25), Cluster(checkpoint_every=EVERY, phases_per_job=3)
    train_until(12, recipe, store, cluster, monkeypatch=monkeypatch, k=1)
    assert [path.stem for path in kept(home)] == [phases_of(recipe)[1].fingerprint]
    results = train(recipe, store, cluster)
    assert [result.cached for result in results] == [True, False, False]
    for result, whole in zip(results, sound(recipe), strict=True):
        assert_identical(weights(store, result.ref), whole)


def test_a_place_that_cannot_be_written_is_a_warning_and_no_end(
    store: Store, home: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "local").write_text("a file where a folder should go")
    cluster = Cluster(checkpoint_every=EVERY, checkpoints=str(tmp_path))
    (result,) = train(tiny(num_phases=1, num_steps=25), store, cluster)
    assert caplog.text.count("no mid-phase checkpoint can be kept at") == 1
    assert store.find(result.phase) is not None


def test_checkpoints_are_as_often_as_asked_or_not_at_all(store: Store, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = tiny(num_phases=1, num_steps=25)
    train_until(24, recipe, store, Cluster(checkpoint_every=0), monkeypatch=monkeypatch)
    assert kept(home) == []
    train_until(7, recipe, store, Cluster(checkpoint_every=8), monkeypatch=monkeypatch)
    assert kept(home) == []
    train_until(8, recipe, store, Cluster(checkpoint_every=8), monkeypatch=monkeypatch)
    assert len(kept(home)) == 1


def test_a_phase_that_diverges_leaves_no_checkpoint(store: Store, home: Path) -> None:
    recipe = tiny(num_phases=1, num_steps=500, map_lr=1e3, potential_lr=1e18)
    with pytest.raises(Diverged):
        train(recipe, store, Cluster(checkpoint_every=1))
    assert kept(home) == []


def test_workers_that_would_go_on_from_different_steps_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    (phase,) = phases_of(tiny(num_phases=1))
    state = new_state(phase, Setting.of(phase, load_endpoints(phase.data)))
    monkeypatch.setattr("ray.train.get_checkpoint", lambda: None)
    monkeypatch.setattr(checkpoints, "broadcast_from_rank_zero", lambda step: step + 40)  # as the first worker has read
    with pytest.raises(
        Corrupt, match="a checkpoint of phase 0 is corrupt: one worker would go on from step 0 and another from step 40"
    ):
        checkpoints.OfRay(None).resume(state, phase)
