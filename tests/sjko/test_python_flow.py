"""The flow of Python in one process: fitted, sampled, applied to points, stopped, copied, reported."""

import pickle
import re
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow
import pytest
import torch
from flows import X, tiny

import sjko.flow
import sjko.training
from components.conditions import Condition
from components.divergences.kl import KL
from components.parts.loading import IN_MEMORY
from pipeline.data import rows
from pipeline.data.joint import Conditioned
from pipeline.errors import Unusable
from pipeline.phase import phases_of
from pipeline.recipe import Data, Recipe
from sjko import Flow


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


@pytest.mark.slow
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
