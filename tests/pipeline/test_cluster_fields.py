"""Fields of the cluster that claim an effect have it, and none on what is computed but for rounding."""

import copy
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from flows import tiny, train

from components.jko import Problem, train_phase
from components.state import State
from pipeline.cluster import Cluster
from pipeline.recipe import Recipe
from pipeline.store.phases import Store
from pipeline.training.solving import steps

IMAGES: dict[str, Any] = {"target": "digits", "standardise": False, "kind": "light", "num_frequencies": 0, "batch_size": 8}


class Seen:
    """What steps of a flow were like."""

    def __init__(self, recipe: Recipe, cluster: Cluster, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
        self.problems: list[Problem] = []
        self.states: list[State] = []
        self.threads: list[int] = []
        self.rows: list[int] = []

        def watched(state: State, problem: Problem, *arguments: Any) -> Iterator[Any]:
            state.potential.register_forward_pre_hook(lambda module, inputs: self.rows.append(len(inputs[0])))
            for losses in train_phase(state, problem, *arguments):
                self.threads.append(torch.get_num_threads())
                yield losses
            self.problems.append(problem)
            self.states.append(copy.copy(state))

        with monkeypatch.context() as patch:
            patch.setattr(steps, "train_phase", watched)
            train(recipe, store, cluster)


@pytest.mark.slow
def test_channels_last_keeps_weights_averages_and_moments_of_images_in_that_layout_in_every_phase(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    for channels_last, phases_per_job in ((False, 1), (True, 1), (True, 2)):
        recipe = tiny(num_steps=2, seed=phases_per_job + 10 * channels_last, **IMAGES)
        seen = Seen(recipe, Cluster(channels_last=channels_last, phases_per_job=phases_per_job), store, monkeypatch)
        for state in seen.states:
            weights = [p for module in state.modules().values() for p in module.parameters() if p.ndim == 4 and p.shape[2] > 1]
            moments = [m for o in (state.map_optimizer, state.potential_optimizer) for e in o.of.values() for m in e.values()]
            images = [*weights, *(m for m in moments if m.ndim == 4 and m.shape[2] > 1)]
            assert len(images) > 6
            assert {each.is_contiguous(memory_format=torch.channels_last) for each in images} == {channels_last}


@pytest.mark.parametrize(
    ("num_microbatches", "most"),
    [pytest.param(1, 16, marks=pytest.mark.thorough), pytest.param(2, 8, marks=pytest.mark.thorough), (4, 4)],
)
def test_microbatches_are_what_networks_see(
    num_microbatches: int, most: int, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Target and transported samples of a part in one pass."""
    seen = Seen(tiny(num_phases=1, batch_size=8), Cluster(num_microbatches=num_microbatches), store, monkeypatch)
    assert max(seen.rows) == most


@pytest.mark.parametrize("cpus_per_worker", [2, *(pytest.param(n, marks=pytest.mark.thorough) for n in (1, 3))])
def test_a_worker_has_as_many_threads_as_processors_and_gives_them_back(
    cpus_per_worker: int, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = torch.get_num_threads()
    seen = Seen(tiny(num_phases=1), Cluster(cpus_per_worker=cpus_per_worker), store, monkeypatch)
    assert set(seen.threads) == {cpus_per_worker}
    assert torch.get_num_threads() == before
    assert threading.active_count() < 50


@pytest.mark.parametrize("compile", [False, True])
def test_compile_reaches_the_steps(compile: bool, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is compiled then is seen in test_image_flows.py, in a process of its own."""
    with monkeypatch.context() as patch:
        patch.setattr("components.jko.compiled", lambda function: function)
        seen = Seen(tiny(num_phases=1), Cluster(compile=compile), store, monkeypatch)
    assert [problem.compiled for problem in seen.problems] == [compile]
