"""Flows of images: the shipped recipes on data of their true shape, the same numbers however a step is carried out."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import picture_sets as sets
import pytest
import torch
from builders import CPU
from flows import ROOT, STILL, Quiet, assert_identical, assert_same_gradients, command_environment, train, weights
from homes import new_store

from benchmarks.products import Flop
from components.jko import train_step
from pipeline.cluster import Cluster
from pipeline.command import cli
from pipeline.data import table
from pipeline.data.endpoints import load_endpoints
from pipeline.data.resolution import ResolvedRecipe, resolve
from pipeline.errors import IndivisibleBatch
from pipeline.evaluation.measure import evaluate, image_figures
from pipeline.evaluation.size import EvaluationSize
from pipeline.generator import load_generator
from pipeline.phase import phases_of
from pipeline.recipe import Recipe
from pipeline.recipes.reading import RECIPES
from pipeline.recipes.rules import validate
from pipeline.store.phases import Store
from pipeline.training.estimate import estimate
from pipeline.training.flow import run_flow
from pipeline.training.ranks import rows_of
from pipeline.training.solving.batches import batches_of
from pipeline.training.solving.problem import problem_of
from pipeline.training.solving.setting import Setting
from pipeline.training.solving.start import new_state

IMAGE_RECIPES = [
    "fashion_mnist",
    "mnist",
    "images",
    "emnist_to_mnist",
    "cifar10_small",
    "cifar10_large",
    "cifar10_large_jsd",
    "celeba_hq_256",
]
WIDTHS = {"large": 16, "large_256": 4}
"""Of the large pairs in these tests; a step at their own width takes minutes here."""


def shipped(name: str) -> Recipe:
    command = cli.PROGRAM.read(["run", name])
    assert isinstance(command, cli.Run)
    return command.resolved()


def shortened(name: str, **training: object) -> Recipe:
    """Two phases of three steps."""
    recipe = shipped(name)
    if recipe.network.kind.startswith("large"):
        recipe = replace(recipe, network=replace(recipe.network, width=WIDTHS[recipe.network.kind]))
    fields = {"num_steps": 3, "first_num_steps": None, "batch_size": 4, **training}
    if recipe.network.kind == "large_256":
        fields["bfloat16"] = False  # oneDNN of torch 2.14 dies of a division by zero: 16 bits, few channels of 256 x 256 pixels
    return replace(recipe, jko=replace(recipe.jko, num_phases=2), training=replace(recipe.training, **fields))


@pytest.fixture(scope="module")
def data_uri(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Prepared sets of noise in the shape of the real ones."""
    folder = tmp_path_factory.mktemp("sets")
    sets.prepared("mnist", sets.mnist(folder / "mnist"), folder)
    sets.prepared("emnist_letters", sets.emnist(folder / "letters"), folder)
    sets.prepared("cifar10", sets.cifar10(folder / "cifar"), folder)
    sets.prepared("celeba_hq", sets.photos(folder / "faces", n=24, side=256), folder, 256)
    sets.prepared("image_folder", sets.photos(folder / "own", n=24, side=32), folder, 32)
    return folder


def test_these_are_all_the_recipes_of_images_in_their_own_networks() -> None:
    names = sorted(path.stem for path in RECIPES.glob("*.yaml"))
    assert sorted(IMAGE_RECIPES) == [name for name in names if shipped(name).data.target in table.IMAGE_SETS and name != "digits"]


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if name == "fashion_mnist" else pytest.mark.thorough) for name in IMAGE_RECIPES]
)
def test_a_recipe_of_images_runs_on_data_of_its_true_shape(name: str, store: Store, data_uri: Path) -> None:
    cluster = Cluster(data=str(data_uri))
    recipe = resolve(shortened(name), cluster)
    validate(recipe)
    results = train(recipe, store, cluster)
    generator = load_generator(store, results[-1].ref, data_uri=str(data_uri))
    samples = generator.sample(3)
    assert samples.shape == (3, *generator.endpoints.shape)
    assert np.abs(samples).max() <= 1
    for result in results:
        history = dict(store.metric_history(result.ref.run_id, "potential_loss"))
        assert list(history) == [1, 2, 3]
        assert np.isfinite(list(history.values())).all()


@pytest.fixture(scope="module")
def still(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, torch.Tensor]]:
    """Phases of the light pair on Fashion-MNIST in float32, penalties on, of networks that stay where they are."""
    store = new_store(tmp_path_factory.mktemp("still"))
    return [weights(store, result.ref) for result in train(STILL_IMAGES, store, Cluster(tracking_uri=store.uri))]


STILL_IMAGES = shortened("fashion_mnist", num_steps=4, batch_size=16, penalty_every=2, bfloat16=False, **STILL)


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes", [{"num_microbatches": 4}, pytest.param({"channels_last": True}, marks=pytest.mark.thorough)], ids=str
)
def test_microbatches_and_layouts_see_the_gradients_of_a_plain_step(
    changes: dict[str, object], still: list[dict[str, torch.Tensor]], store: Store
) -> None:
    found = [weights(store, result.ref) for result in train(STILL_IMAGES, store, Cluster(**changes))]
    for a, b in zip(still, found, strict=True):
        assert_same_gradients(a, b)


@pytest.mark.thorough
@pytest.mark.usefixtures("one_ray")
def test_two_workers_see_the_gradients_of_one_process(still: list[dict[str, torch.Tensor]], store: Store) -> None:
    results = train(STILL_IMAGES, store, Cluster(num_workers=2, phases_per_job=2))
    for a, b in zip(still, (weights(store, result.ref) for result in results), strict=True):
        assert_same_gradients(a, b)


@pytest.mark.thorough
@pytest.mark.usefixtures("one_ray")
def test_workers_with_batch_norm_freeze_the_anchor_that_is_published(data_uri: Path, tmp_path: Path) -> None:
    """Each worker averages running moments over its own rows; the first one's are published, and a next job reads them."""
    found = []
    for phases_per_job in (1, 2):
        own = new_store(tmp_path / str(phases_per_job))
        cluster = Cluster(num_workers=2, phases_per_job=phases_per_job, data=str(data_uri), tracking_uri=own.uri)
        results = train(resolve(shortened("cifar10_small", batch_size=8), cluster), own, cluster)
        found.append([weights(own, result.ref) for result in results])
    for alone, together in zip(*found, strict=True):
        assert_identical(alone, together)


COMPILED = """
from test_image_flows import STILL_IMAGES, Cluster, Store, train
from torch._dynamo.utils import counters
from components import jko
jko.BACKEND = "aot_eager"  # Inductor's code is seen in test_phase_loop.py
train(STILL_IMAGES, Store("{uri}"), Cluster(tracking_uri="{uri}", compile=True))
assert counters["stats"]["unique_graphs"] == 4, counters  # with an anchor and without, with penalties and without
"""


@pytest.mark.thorough
def test_compiled_steps_see_the_gradients_of_steps_that_are_not(
    still: list[dict[str, torch.Tensor]], home: Path, tmp_path: Path
) -> None:
    """In a process of its own: torch cannot compile what checks shapes while it runs."""
    other = new_store(tmp_path / "compiled")
    environment = command_environment(home)
    environment["PYTHONPATH"] = os.pathsep.join(map(str, (ROOT, ROOT / "tests", Path(__file__).parent)))
    subprocess.run([sys.executable, "-c", COMPILED.format(uri=other.uri)], cwd=ROOT, env=environment, check=True)
    found = [weights(other, ref) for phase in phases_of(STILL_IMAGES) if (ref := other.find(phase)) is not None]
    for a, b in zip(still, found, strict=True):
        assert_same_gradients(a, b)


@pytest.mark.thorough
def test_images_are_judged_beside_the_floor_in_the_features_of_a_network_that_knows_them(store: Store) -> None:
    results = train(shortened("fashion_mnist"), store)
    generator = load_generator(store, results[-1].ref)
    metrics = evaluate(generator, EvaluationSize(num_pairs=1))
    assert metrics["lenet_n"] == 2000
    assert metrics["lenet_frechet"] > 10 * metrics["lenet_frechet_floor"] > 0
    assert metrics["lenet_recall"] < 0.2
    assert metrics["lenet_recall_floor"] > 0.85
    assert image_figures(generator, "effnet", 20)["effnet_frechet"] > 0


@pytest.mark.parametrize("r2", [10.0, 0.0])
def test_the_estimate_of_a_step_is_what_its_operations_add_up_to(r2: float) -> None:
    recipe = shortened("fashion_mnist", batch_size=16, penalty_every=2, bfloat16=False, r2=r2)
    phase, endpoints = phases_of(recipe)[1], load_endpoints(recipe.data)
    state = new_state(phase, Setting.of(phase, endpoints))
    draw, problem = batches_of(phase, endpoints, slice(None), CPU), problem_of(phase)
    with Flop() as counted:
        for step in range(2):
            state.step = step
            train_step(state, problem, draw(step), [state.averaged_map], lambda gradients: None)
    assert estimate(recipe, Cluster()).flop_per_step == pytest.approx(counted.total / 2, rel=0.15)


@pytest.mark.parametrize(
    ("name", "seconds_per_step"), [("cifar10_large", 0.6285), pytest.param("celeba_hq_256", 4.834, marks=pytest.mark.thorough)]
)
def test_hours_on_an_h100_are_those_of_the_step_that_was_timed_there(name: str, seconds_per_step: float) -> None:
    found = estimate(shipped(name), Cluster())
    assert found.hours("H100", bfloat16=True) == pytest.approx(found.num_steps * seconds_per_step / 3600, rel=0.03)


def test_a_dry_run_says_what_a_flow_takes_where_its_images_are_not_at_hand(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["run", "cifar10_large", "--dry-run", "--json", str(tmp_path / "dry.json")]) == 0
    printed = capsys.readouterr().out
    assert "transport map 44,820,611 parameters, potential 12,247,809" in printed
    assert "108,000 steps" in printed
    assert "GiB" in printed
    assert "H100" in printed
    assert "python -m pipeline prepare cifar10" in printed
    assert json.loads((tmp_path / "dry.json").read_text())["estimate"]["num_steps"] == 108_000


def run_as_it_is(recipe: Recipe, store: Store, cluster: Cluster) -> None:
    """Run a flow whose images are not here: what cannot be computed is refused before they are asked for."""
    list(run_flow(ResolvedRecipe(recipe), name="test", store=store, cluster=cluster, observer=Quiet()))


@pytest.mark.parametrize(
    ("name", "changes", "rule"),
    [
        ("fashion_mnist", {"num_workers": 21}, "a multiple of 1, and at least 21"),
        ("fashion_mnist", {"num_workers": 2, "num_microbatches": 3}, "a multiple of 3, and at least 6"),
        ("cifar10_large", {"num_workers": 6}, "a multiple of 4, and at least 24"),
    ],
)
def test_a_batch_that_cannot_be_shared_is_refused(name: str, changes: dict[str, int], rule: str, store: Store) -> None:
    with pytest.raises(IndivisibleBatch, match=f"training.batch_size must be {rule}, with"):
        run_as_it_is(shortened(name, batch_size=20), store, Cluster(**changes))


def test_batch_norm_is_given_no_microbatches(store: Store) -> None:
    with pytest.raises(IndivisibleBatch, match=r"cluster\.num_microbatches must be 1 with network\.kind small, .* not 2"):
        run_as_it_is(shortened("cifar10_small"), store, Cluster(num_microbatches=2))


@pytest.mark.parametrize(("n", "unit", "num_workers"), [(33, 1, 4), (256, 4, 3), (32, 8, 4), (5, 1, 5)])
def test_workers_share_a_batch_in_whole_units_nearly_equally(n: int, unit: int, num_workers: int) -> None:
    shares = [range(n)[rows_of(n, unit, rank=rank, num_workers=num_workers)] for rank in range(num_workers)]
    assert [row for share in shares for row in share] == list(range(n))
    assert {len(share) % unit for share in shares} == {0}
    assert max(map(len, shares)) - min(map(len, shares)) <= unit
