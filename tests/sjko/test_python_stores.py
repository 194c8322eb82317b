"""The flow of Python and a store: the one of the commands, found by them, registered, loaded, reported."""

import gc
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flows import X, tiny, train
from own_parts import written

import sjko.flow
import sjko.training
from components.divergences.kl import KL
from deploy import cli as deploy
from deploy.models import Draw, draw
from deploy.versions.registry import Registry
from pipeline.command import cli
from pipeline.data import rows
from pipeline.errors import Unusable, VersionNotFound
from pipeline.generator import endpoints_of
from pipeline.phase import phases_of
from pipeline.store.phases import Store
from sjko import CodeRefused, Flow, Network


def test_the_flow_of_this_process_is_that_of_the_command(store: Store) -> None:
    results = train(tiny(2), store)
    flow = Flow(tiny(2)).fit()
    assert [phase.fingerprint for phase in flow.phases] == [result.phase.fingerprint for result in results]
    stored = Flow(tiny(2)).fit(store=store)
    np.testing.assert_array_equal(flow.sample(9), stored.sample(9))
    assert [phase._origin.ref for phase in stored.phases] == [result.ref for result in results], "nothing is trained again"
    assert stored.phases[0].curves.keys() == flow.phases[0].curves.keys()


@pytest.mark.slow
def test_a_composed_flow_is_one_of_increments_here_as_well(monkeypatch: pytest.MonkeyPatch, store: Store) -> None:
    recipe = tiny(3, parametrization="composed")
    flow = Flow(recipe).fit()
    assert [len(phase.generator.maps) for phase in flow.phases] == [1, 2, 3]
    np.testing.assert_array_equal(flow.sample(5), Flow(recipe).fit(store=store).sample(5))


def test_a_part_of_a_notebook_is_trained_and_used_but_not_stored(store: Store) -> None:
    class Mine(KL):
        pass

    flow = Flow(tiny(1), divergence=Mine()).fit(X)
    np.testing.assert_array_equal(flow.sample(4), Flow(tiny(1, divergence="kl")).fit(X).sample(4))
    for store_it, what in (
        (lambda: flow.fit(store=store), r"fit\(store=...\)"),
        (lambda: flow.register("m", store=store), "register"),
    ):
        with pytest.raises(ValueError, match=rf"{what}: jko.divergence is the object Mine, which has no import name"):
            store_it()
    assert store.flows() == []


def test_a_part_that_can_be_imported_is_stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, store: Store, few: None) -> None:
    written(tmp_path, monkeypatch, "parts_of_flow")
    import parts_of_flow as mine

    recipe = tiny(1, num_frequencies=Network.num_frequencies)
    flow = Flow(recipe, divergence=mine.Alpha(3.0), network=mine.Plain, cost=mine.Huber(2.0))
    flow.fit(mine.windows, store=store)
    phase = flow.phases[0].generator.phase
    assert phase.jko.divergence.startswith("parts_of_flow:Alpha(alpha=3.0)@")
    assert phase.data.target.startswith("parts_of_flow:windows@")
    assert (phase.network.width, phase.network.num_frequencies) == (8, 0), "what is left at its default is the kind's own"
    samples, uri = flow.sample(2), flow.register("mine")
    with pytest.raises(CodeRefused, match=r"in Python: Flow.load\('models:/mine/1', allow_code=True\)"):
        Flow.load(uri)
    np.testing.assert_array_equal(Flow.load(uri, allow_code=True).sample(2), samples)


def lost(home: Path) -> None:
    """Forget all rows, as a process on a machine that does not have the place of data."""
    rows._held.clear()
    endpoints_of.cache_clear()
    rows._read.cache_clear()
    shutil.rmtree(home / "data" / "rows")


@pytest.mark.slow
def test_data_in_memory_are_stored_by_their_digest_and_another_process_says_where_they_are(
    store: Store, home: Path, capsys: pytest.CaptureFixture[str], few: None
) -> None:
    flow = Flow(tiny(2), name="mine").fit(X, store=store)
    again = Flow(tiny(2)).fit(X.tolist(), store=store)
    assert [phase._origin.ref for phase in again.phases] == [phase._origin.ref for phase in flow.phases]
    samples, reference = flow.sample(5), flow.phases[1].fingerprint
    uri = flow.register("mine", store=store)
    del flow, again
    lost(home)
    rows_gone = "the data of this flow, rows of 3 numbers, were in the memory of another process"
    assert cli.main(["list"]) == 0
    assert cli.main(["show", reference]) == 0
    assert "mine" in capsys.readouterr().out
    assert cli.main(["evaluate", reference]) == 2
    assert rows_gone in capsys.readouterr().err
    loaded = Flow.load(uri)
    np.testing.assert_array_equal(loaded.sample(5), samples)
    assert loaded.transport(np.zeros((1, 3))).shape == (1, 3)
    assert loaded.recipe.data.target.startswith(":rows-3-")
    assert loaded.metrics["w2"] > 0
    assert "were in the memory" not in loaded._repr_html_()
    with pytest.raises(Unusable, match=rows_gone):
        loaded.fit(store=store)


@pytest.mark.slow
def test_a_flow_of_this_process_is_registered_and_loaded(store: Store, few: None, capsys: pytest.CaptureFixture[str]) -> None:
    flow = Flow(tiny(2, first_h=1.0), name="moons").fit()
    in_process = flow.phases[0].curves
    uri = flow.register("moons")
    assert uri == "models:/moons/1" == flow.register("moons"), "the same map is not registered twice"
    assert flow.phases[0].curves == in_process
    assert [result.cached for result in train(tiny(2, first_h=1.0), store)] == [True, True], (
        "the command finds what was published"
    )
    version = Registry(store).require("moons", "candidate")
    loaded = Flow.load("models:/moons@candidate")
    assert [each.fingerprint for each in phases_of(loaded.recipe)] == [each.fingerprint for each in flow.phases]
    np.testing.assert_array_equal(loaded.sample(6, seed=2), flow.sample(6, seed=2))
    np.testing.assert_array_equal(loaded.sample(6, seed=2), draw(Registry(store).load(version), Draw(6, 2)))
    np.testing.assert_array_equal(loaded.phases[0].sample(6), flow.phases[0].sample(6))
    assert f"{loaded.metrics['w2']:g}" == version.tags["metric.w2"]
    assert loaded.fit().phases[1].fingerprint == flow.phases[1].fingerprint, "it is trained already"
    assert deploy.main(["promote", "moons", "--evaluation.num-samples=50", "--evaluation.num-pairs=1"]) == 0
    with pytest.raises(VersionNotFound, match="moons@7 is not in the registry"):
        Flow.load("models:/moons/7")


@pytest.mark.slow
def test_a_phase_before_the_last_is_registered_under_its_own_flow(store: Store, few: None) -> None:
    train(tiny(1), store)  # a shorter flow has the same first phase
    flow = Flow(tiny(2), name="moons").fit()
    assert [flow.register("moons"), flow.register("moons", phase=0), flow.register("moons", phase=np.int64(1))] == [
        "models:/moons/1",
        "models:/moons/2",
        "models:/moons/1",
    ]
    first, last = (Flow.load(f"models:/moons/{number}") for number in (2, 1))
    np.testing.assert_array_equal(first.sample(5), flow.phases[0].sample(5))
    assert (len(first.phases), len(last.phases)) == (1, 2)
    tags = [Registry(store).require("moons", number).tags for number in ("1", "2")]
    assert tags[0]["sjko.flow_run_id"] == tags[1]["sjko.flow_run_id"], "not that of the shorter flow"
    for phase, rule in ((2, "phase must be below 2"), (-1, "at least 0"), (0.5, "a whole number")):
        with pytest.raises(ValueError, match=rule):
            flow.register("moons", phase=phase)


def test_a_flow_from_rows_to_rows_is_not_registered(store: Store) -> None:
    flow = Flow(tiny(1), source=X + 1).fit(X)
    with pytest.raises(ValueError, match="register: the source is rows in memory, which a version does not have"):
        flow.register("two")
    assert store.flows() == []


def test_an_interrupted_flow_is_registered_as_far_as_it_is(store: Store, few: None, monkeypatch: pytest.MonkeyPatch) -> None:
    flow, real = Flow(tiny(3)), sjko.training.windows

    def stopping(underway: Any, share: Any) -> Any:
        if underway.phase.k == 2:
            raise KeyboardInterrupt
        return real(underway, share)

    monkeypatch.setattr(sjko.training, "windows", stopping)
    with pytest.raises(KeyboardInterrupt):
        flow.fit(X)
    loaded = Flow.load(flow.register("some"))
    assert len(loaded.phases) == loaded.recipe.jko.num_phases == 2
    np.testing.assert_array_equal(loaded.sample(3), flow.sample(3))


@pytest.mark.slow
@pytest.mark.parametrize("gone", [False, True])
def test_a_version_of_two_phases_has_a_report(gone: bool, store: Store, few: None, tmp_path: Path) -> None:
    flow = Flow(tiny(2)).fit(X if gone else None)
    uri = flow.register("two")
    del flow
    endpoints_of.cache_clear()
    gc.collect()
    loaded = Flow.load(uri)
    text = loaded.report(tmp_path / "report.html").read_text()
    table = text.partition("<h2>Phases</h2>")[2].partition("</table>")[0]
    assert ("<td>-</td>" in table) == gone
    if not gone:
        assert loaded.phases[0].metrics["w2"] > 0
