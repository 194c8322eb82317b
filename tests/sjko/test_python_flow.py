"""The flow of Python: fitted in this process or in a store, sampled, applied to points, registered, stopped, copied."""

import gc
import pickle
import re
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow
import pytest
import torch
from flows import tiny, train
from own_parts import written

import sjko.flow
import sjko.training
from components.conditions import Condition
from components.divergences.kl import KL
from components.parts.loading import IN_MEMORY
from deploy import cli as deploy
from deploy.models import Draw, draw
from deploy.versions.registry import Registry
from pipeline.command import cli
from pipeline.data import rows
from pipeline.data.joint import Conditioned
from pipeline.errors import Diverged, FlowError, Unusable, VersionNotFound
from pipeline.evaluation.size import EvaluationSize
from pipeline.generator import endpoints_of
from pipeline.phase import phases_of
from pipeline.recipe import Data, Recipe
from pipeline.store.phases import Store
from sjko import Cluster, CodeRefused, Flow, Network

X = np.random.default_rng(0).normal(size=(300, 3)) * [1, 2, 3] + 5
FEW = EvaluationSize(50, 1)
PIXELS = np.random.default_rng(0).uniform(size=(40, 1, 28, 28))


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures on few samples: the full ones take seconds."""
    monkeypatch.setattr(Flow, "_size", lambda self, k: FEW)


def test_a_fitted_flow_draws_samples_that_depend_on_the_seed_alone() -> None:
    flow = Flow(tiny(2))
    assert flow.fit(X) is flow
    samples = flow.sample(20, seed=3)
    assert (samples.shape, samples.dtype) == ((20, 3), np.float32)
    np.testing.assert_array_equal(flow.sample(5, seed=3), samples[:5])
    assert not (flow.sample(20, seed=4) == samples).any()
    np.random.seed(7)  # whatever a notebook has done before
    torch.manual_seed(7)
    with torch.no_grad():
        np.testing.assert_array_equal(Flow(tiny(2)).fit(X.tolist()).sample(20, seed=3), samples)
    np.testing.assert_array_equal(flow.phases[1].sample(20, seed=np.int64(3)), samples)
    assert [phase.k for phase in flow.phases] == [0, 1]
    assert not (flow.phases[0].sample(20, seed=3) == samples).any()


def test_the_flow_of_this_process_is_that_of_the_command(store: Store) -> None:
    results = train(tiny(2), store)
    flow = Flow(tiny(2)).fit()
    assert [phase.fingerprint for phase in flow.phases] == [result.phase.fingerprint for result in results]
    stored = Flow(tiny(2)).fit(store=store)
    np.testing.assert_array_equal(flow.sample(9), stored.sample(9))
    assert [phase._origin.ref for phase in stored.phases] == [result.ref for result in results], "nothing is trained again"
    assert stored.phases[0].curves.keys() == flow.phases[0].curves.keys()


def test_points_are_mapped_row_by_row_in_the_units_of_the_source() -> None:
    flow = Flow(tiny(1, num_frequencies=0, z_dim=2), source=X + 1).fit(X)
    moved = flow.transport(X[:7], seed=2)
    np.testing.assert_array_equal(flow.transport(X[:3], seed=2), moved[:3])
    ends = flow.phases[0].generator.endpoints
    x = (X[:7].astype(np.float32) - ends.space.shift) / ends.space.scale
    assert np.abs(ends.from_source(X[:7].astype(np.float32)) - x).max() < 1e-6
    noise = Flow(tiny(1)).fit(X).transport(np.zeros((2, 3)))
    np.testing.assert_array_equal(noise[0], noise[1])
    for points, message in [
        (np.zeros((2, 2)), r"points: each must have the shape \(3,\) of the flow's samples, not \(2,\)"),
        ([[np.nan] * 3], "points: row 0, column 0 is missing"),
        (np.zeros(3), "points must have rows and columns"),
    ]:
        with pytest.raises(Unusable, match=message):
            flow.transport(points)


def test_a_frame_comes_back_as_a_frame() -> None:
    frame = pd.DataFrame(X, columns=["a", "b", "c"])
    flow = Flow(tiny(1)).fit(frame)
    assert list(flow.sample(4).columns) == ["a", "b", "c"]
    moved = flow.transport(frame.iloc[10:12])
    assert list(moved.index) == [10, 11]
    pd.testing.assert_frame_equal(flow.transport(frame[["b", "a", "c"]].iloc[10:12]), moved)


def test_ctrl_c_keeps_finished_phases_and_the_same_call_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = Flow(tiny(3)).fit(X)
    flow, steps, real = Flow(tiny(3)), [], sjko.training.windows

    def stopping(underway: Any, share: Any) -> Any:
        for losses in real(underway, share):
            steps.append(underway.phase.k)
            if steps.count(1) == 5:
                raise KeyboardInterrupt
            yield losses

    monkeypatch.setattr(sjko.training, "windows", stopping)
    with pytest.raises(KeyboardInterrupt):
        flow.fit(X)
    assert [phase.k for phase in flow.phases] == [0]
    np.testing.assert_array_equal(flow.sample(5), whole.phases[0].sample(5))
    flow.fit()
    assert steps.count(0) == 12, "phase 0 is not trained again"
    np.testing.assert_array_equal(flow.sample(5), whole.sample(5))
    before = len(steps)
    flow.fit(X)
    assert len(steps) == before, "nothing is left to do"


def test_a_composed_flow_is_one_of_increments_here_as_well(monkeypatch: pytest.MonkeyPatch, store: Store) -> None:
    recipe = tiny(3, parametrization="composed")
    flow = Flow(recipe).fit()
    assert [len(phase.generator.maps) for phase in flow.phases] == [1, 2, 3]
    np.testing.assert_array_equal(flow.sample(5), Flow(recipe).fit(store=store).sample(5))


def test_other_data_make_another_flow() -> None:
    flow = Flow(tiny(1)).fit(X)
    before = flow.sample(5)
    assert flow.fit(X[:200]).phases[0].fingerprint != Flow(tiny(1)).fit(X).phases[0].fingerprint
    assert not (flow.sample(5) == before).any()
    flow.fit(X[:, :2])
    assert flow.sample(5).shape == (5, 2)
    with pytest.raises(Unusable, match="x: row 0"):
        flow.fit([[np.nan, 1.0]])
    assert flow.sample(5).shape == (5, 2), "a mistake changes nothing"


def test_rows_are_forgotten_with_their_flow() -> None:
    flow = Flow(tiny(1)).fit(X + 17)
    name = flow.recipe.data.target
    assert name in rows._held
    phase = flow.phases[0]
    del flow
    assert phase.sample(2).shape == (2, 3)
    assert name in rows._held
    del phase
    assert name not in rows._held


WRONG: dict[str, tuple[Callable[[], Any], str]] = {
    "sample before fit": (lambda: Flow().sample(3), "the flow has no finished phase yet: call fit first"),
    "report before fit": (lambda: Flow().report("x.html"), "the flow has no finished phase yet"),
    "a recipe by name": (
        lambda: Flow("two_circles"),
        "recipe must be a Recipe, not a str; Flow.from_yaml takes a name or a path",
    ),  # type: ignore[arg-type]
    "data for a recipe": (lambda: Flow(X), "recipe must be a Recipe, not a ndarray; .* and fit takes data"),  # type: ignore[arg-type]
    "labels by place": (lambda: Flow().fit(X, X[:, 0]), r"^labels are given by name: fit\(x, condition=y\)$"),  # type: ignore[arg-type]
    "labels in a pair": (
        lambda: Flow().fit((X, X[:, 0])),
        r"^x must be rows alone, not a pair: write fit\(x, condition=y\) where ",
    ),
    "lists in a pair": (lambda: Flow().fit((X.tolist(), [1] * 300)), r"^x must be rows alone, not a pair: write fit\("),
    "frames in a pair": (lambda: Flow(source=(pd.DataFrame(X), 0)), "^source must be rows alone, not a pair$"),
    "held-out labels in a pair": (
        lambda: Flow().fit(X, held_out=(X, X[:, 0])),
        r"^held_out must be rows alone, not a pair, and x has no condition: write fit\(x, condition=y, held_out=\(rows",
    ),
    "points in a pair": (
        lambda: Flow(tiny(1, 1)).fit(X, None).transport((X, X[:, 0])),
        r"^points must be rows alone, not a pair: write transport\(points, condition=y\)$",
    ),
    "no divergence": (lambda: Flow(divergence="hellinger"), "jko.divergence must be one of"),
    "another part": (
        lambda: Flow(divergence=Network()).fit(),
        "jko.divergence: .* must make a .*Divergence, and makes a Network",
    ),
    "ten rows, two of them different": (lambda: Flow().fit([[0, 1]] * 9 + [[0, 1]]), "x: all 10 rows are equal"),
    "few rows": (lambda: Flow().fit([[0, 1], [1, 2]]), "x: 2 samples are too few to hold some of them out"),
    "held out without x": (lambda: Flow().fit(held_out=X), "held_out is of x, which is not given"),
    "a source of another shape": (lambda: Flow(source=X).fit(X[:, :2]), "data.source must be .*, not :rows-3"),
    "workers without a store": (lambda: Flow().fit(X, cluster=Cluster(num_workers=2)), "2 workers needs a store"),
    "a cluster that cannot be": (
        lambda: Flow().fit(X, cluster=Cluster(num_workers=-1)),
        "cluster.num_workers must be at least 0",
    ),
    "a store that is none": (lambda: Flow().fit(X, store=3), "store must be a tracking URI, a Store or True, not a int"),
    "an address that is none": (lambda: Flow().fit(X, store="mlflow:5000"), "store.tracking_uri must start with one of http://"),
    "images for vectors": (
        lambda: Flow.from_yaml("fashion_mnist").fit(X),
        "data.target must be one of digits, .* when network.kind is light, not :rows-3",
    ),
    "pixels of bytes": (
        lambda: Flow.from_yaml("fashion_mnist").fit(np.arange(20 * 784).reshape(20, 1, 28, 28) % 255),
        r"x: images for network.kind light are in \[-1, 1\], and these go from 0 to 254: write x / 127.5 - 1",
    ),
    "held-out pixels of bytes": (
        lambda: Flow.from_yaml("fashion_mnist").fit(PIXELS, held_out=255 * PIXELS),
        r"held_out: images for network.kind light are in \[-1, 1\]",
    ),
    "a source of bytes": (
        lambda: Flow.from_yaml("fashion_mnist", source=255 * PIXELS).fit(PIXELS),
        r"source: images for network.kind light are in \[-1, 1\]",
    ),
    "a module for a pair of networks": (
        lambda: Flow(network=torch.nn.Linear(2, 2)).fit(X),
        "network.kind",
    ),
    "no such field": (lambda: Flow.from_yaml("moons", jko__hh=3), "jko.hh is not a field of a recipe"),
    "no such version": (lambda: Flow.load("two_circles"), "a version is written models:/NAME@ALIAS or models:/NAME/NUMBER"),
    "no folder": (lambda: Flow(tiny(1, 1)).fit(X).report("/nowhere/x.html"), "a report is a file in an existing folder"),
    "half a sample": (lambda: Flow(tiny(1, 1)).fit(X).sample(2.5), "n must be a whole number, not 2.5"),  # type: ignore[arg-type]
    "no sample": (lambda: Flow(tiny(1, 1)).fit(X).sample(0), "n must be a whole number of at least 1"),
    "more than there is room for": (
        lambda: Flow(tiny(1, 1)).fit(X).sample(10**13),
        r"n: 10,000,000,000,000 samples take 3.6e\+05 GB of memory, and .* are free: draw fewer at a time",
    ),
    "no data of a name": (lambda: Flow(tiny(1)).fit("moon"), "x: there are no data 'moon' and no file; did you mean moons?"),
    "a cluster by name": (lambda: Flow(tiny(1)).fit(X, cluster="x"), "cluster must be a Cluster, not a str"),  # type: ignore[arg-type]
    "a negative seed": (lambda: Flow(tiny(1, 1)).fit(X).sample(1, seed=-1), "seed must be a whole number of at least 0"),
}


@pytest.mark.parametrize("case", WRONG)
@pytest.mark.usefixtures("home")
def test_a_mistake_is_one_sentence_and_a_value_error(case: str) -> None:
    act, message = WRONG[case]
    with pytest.raises(ValueError, match=message) as caught:
        act()
    assert "\n" not in str(caught.value)


def test_what_diverges_says_so_and_keeps_what_came_before(monkeypatch: pytest.MonkeyPatch) -> None:
    class Wild(KL):
        def conjugate(self, s: torch.Tensor) -> torch.Tensor:
            return s / 0

    monkeypatch.setattr(sjko.flow, "require_working", lambda *given: None)  # which would refuse it
    flow = Flow(tiny(2), divergence=Wild())
    with pytest.raises(Diverged, match="phase 0 diverged at step 0: potential_loss is not finite"):
        flow.fit(X)
    assert flow.phases == []


def test_a_part_that_gives_no_numbers_is_refused_before_anything_is_trained() -> None:
    class Wrong(KL):
        def conjugate(self, s: torch.Tensor) -> torch.Tensor:
            return super().conjugate(s) * float("nan")

    with pytest.raises(ValueError, match=r"^jko\.divergence: Wrong: conjugate must be 0 at 0: .*: it is nan$"):
        Flow(tiny(1), divergence=Wrong()).fit(X)
    with pytest.raises(
        ValueError, match=r"^data\.target: int must make an array \(n, \.\.\.\) of samples, .*; a int has no shape"
    ):
        Flow(tiny(1)).fit(lambda: 3)


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


def test_a_report_is_one_file_with_all_of_it(tmp_path: Path, few: None) -> None:
    flow = Flow(tiny(2)).fit(X)
    text = flow.report(tmp_path / "report.html").read_text()
    for part in ("sliced_w2", "num_phases: 2", "data:image/png;base64,", flow.phases[-1].fingerprint):
        assert part in text
    assert "http" not in re.sub('base64,[^"]*', "", text)  # a picture's letters may spell it
    assert text.count("<img") == flow._repr_html_().count("<img") == 2
    assert "0 of 2 phases finished" in Flow(tiny(2))._repr_html_()


def test_a_copy_draws_the_same(few: None) -> None:
    class Mine(KL):
        pass

    flow = Flow(tiny(1)).fit(X)
    copy = pickle.loads(pickle.dumps(flow))
    np.testing.assert_array_equal(copy.sample(4), flow.sample(4))
    assert copy.fit(X).phases[0].fingerprint == flow.phases[0].fingerprint
    with pytest.raises((AttributeError, pickle.PicklingError), match="Mine"):
        pickle.dumps(Flow(tiny(1), divergence=Mine()))


def test_two_flows_are_fitted_at_once_as_one_after_the_other() -> None:
    threads_before = torch.get_num_threads()
    alone = [Flow(tiny(2, seed=seed)).fit(X).sample(5) for seed in range(4)]
    together = [Flow(tiny(2, seed=seed)) for seed in range(4)]
    threads = [threading.Thread(target=flow.fit, args=(X,)) for flow in together]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for flow, samples in zip(together, alone, strict=True):
        np.testing.assert_array_equal(flow.sample(5), samples)
    assert torch.get_num_threads() == threads_before


def test_a_recipe_of_a_file_is_that_of_the_command(tmp_path: Path) -> None:
    path = tmp_path / "my.yaml"
    path.write_text("data: {target: moons}\njko: {num_phases: 2}\n")
    flow = Flow.from_yaml(path, jko__h=0.5, divergence=KL(), seed=3)
    assert (flow.name, flow.recipe.jko.h, flow.recipe.jko.divergence, flow.recipe.seed) == ("my", 0.5, "kl", 3)
    assert Flow(Recipe(data=Data(target="moons"))).recipe == Recipe(data=Data(target="moons"))
    assert len(phases_of(flow.recipe)) == 2


class Weighted(KL):
    """A divergence whose weight no parameter of a constructor tells, so that it is an object in memory."""

    def __init__(self) -> None:
        self.weight = 1.0


def test_parts_in_memory_of_two_processes_are_two() -> None:
    part = Weighted()
    part.weight = 2.0  # made anew it would be another
    first, second = Flow(tiny(1), divergence=part), Flow(tiny(1), divergence=part)
    names = [flow.recipe.jko.divergence for flow in (first, second)]
    assert names[0] != names[1]
    state = pickle.dumps(first)
    before = IN_MEMORY[names[0]]
    assert pickle.loads(state).recipe.jko.divergence == names[0]
    assert IN_MEMORY[names[0]] is before, "what this process has is not replaced"


def test_an_object_that_flows_go_to_keeps_its_name_in_a_flow() -> None:
    rows_of_angles = X[:, :2].astype(np.float32)
    angles = {"angle": (Condition("angle", num_values=1), rows_of_angles[60:, :1], rows_of_angles[:60, :1])}
    target = Conditioned(rows_of_angles[60:], rows_of_angles[:60], given=angles)
    flow = Flow(tiny(1)).fit(target)
    name = flow.recipe.data.target
    assert flow.sample(2).shape == (2, 2)
    assert flow.fit(target).recipe.data.target == name != Flow(tiny(1)).fit(target).recipe.data.target


def test_equal_values_in_another_form_come_back_in_that_form() -> None:
    frame = pd.DataFrame(X, columns=["a", 1, "c"])
    flow = Flow(tiny(1)).fit(frame)
    phase, samples = flow.phases[0], flow.sample(3)
    assert list(samples.columns) == ["a", 1, "c"]
    table = flow.fit(pyarrow.table({str(name): frame[name] for name in frame})).sample(3)
    assert table.column_names == ["a", "1", "c"]
    np.testing.assert_array_equal(np.stack(table.columns, axis=1), samples)
    assert flow.phases[0].generator is phase.generator, "nothing is trained again"


def test_one_flow_is_fitted_in_two_threads_one_after_the_other() -> None:
    flow = Flow(tiny(2))
    threads = [threading.Thread(target=flow.fit, args=(X,)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [phase.k for phase in flow.phases] == [0, 1]
    np.testing.assert_array_equal(flow.sample(5), Flow(tiny(2)).fit(X).sample(5))


def test_a_fit_that_is_refused_leaves_the_recipe_as_it_was() -> None:
    flow = Flow(tiny(1)).fit(X)
    recipe = flow.recipe
    for wrong in (
        lambda: flow.fit(X[:100], cluster=Cluster(num_workers=2)),
        lambda: flow.fit(X[:100], cluster=Cluster(num_microbatches=7)),
        lambda: flow.fit(X[:100], store=3),
    ):
        with pytest.raises((ValueError, FlowError)):
            wrong()
        assert flow.recipe == recipe
    assert flow.fit().recipe == recipe


def test_the_default_type_of_torch_changes_nothing() -> None:
    samples = Flow(tiny(1)).fit(X).sample(5)
    torch.set_default_dtype(torch.float64)
    try:
        flow = Flow(tiny(1)).fit(X)
        np.testing.assert_array_equal(flow.sample(5), samples)
        assert flow.transport(X[:2]).dtype == np.float32
        assert torch.get_default_dtype() == torch.float64
    finally:
        torch.set_default_dtype(torch.float32)


def test_fit_warns_once_of_scales(caplog: pytest.LogCaptureFixture) -> None:
    flow = Flow(tiny(1)).fit(X * [1, 1, 100])
    flow.fit(X * [1, 1, 100])
    assert [record.message.partition(",")[0] for record in caplog.records if record.name.startswith("sjko")] == [
        "x: the standard deviation of column 0"
    ]
    caplog.clear()
    Flow(tiny(1, standardise="axes")).fit(X * [1, 1, 100])
    assert not [record for record in caplog.records if record.name.startswith("sjko")], "there each column has its own"


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
