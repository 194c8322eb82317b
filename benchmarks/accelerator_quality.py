"""What an accelerator makes of whole flows, toys and Fashion-MNIST, and whether reading keeps up with its steps."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist
from torch import nn

from benchmarks.accelerator_speed import TIMED, Bench, Row
from components.gradients import push_through
from components.image_metrics import frechet_distance
from components.metrics import mode_statistics, precision_recall
from components.streams import stream
from pipeline.data.preparing.idx import read_idx
from pipeline.phase import Phase, phases_of
from pipeline.recipe import Recipe

if TYPE_CHECKING:
    from pipeline.data.endpoints import Endpoints

NUM_POINTS, NUM_PAIRS, NUM_IMAGES = 1000, 4, 5000
FASHION_SECONDS = 60.0
FILES = ("train-images-idx3-ubyte.gz", "t10k-images-idx3-ubyte.gz")


def recipe_named(name: str) -> Recipe:
    """Read a shipped recipe without the command line."""
    from pipeline.recipes import reading, resolution

    return resolution.resolve(reading.read(reading.find(name)), {}).recipe


def quality(bench: Bench) -> Iterator[Row]:
    """Train planar flows, and one on Fashion-MNIST where its files are there; yield a row per phase."""
    from pipeline.data.endpoints import load_endpoints

    for name in ("two_circles",) if bench.quick else ("two_circles", "gauss25"):
        recipe = recipe_named(name)
        if bench.quick:
            recipe = replace(recipe, jko=replace(recipe.jko, num_phases=1), training=replace(recipe.training, num_steps=100))
        yield from toy(bench, name, recipe, load_endpoints(recipe.data))
    if bench.data:
        yield from fashion(bench, recipe_named("fashion_mnist"), bench.data)


def flow(
    bench: Bench, recipe: Recipe, ends: "Endpoints", seconds: float | None = None
) -> Iterator[tuple[Phase, nn.Module, int, float]]:
    """Train a flow on the device; yield after each phase the averaged map, steps and seconds so far.

    Args:
        seconds: budget of the whole flow, of which each phase takes an equal share in place of its number of steps.
    """
    from pipeline.training.loop import train_flow
    from pipeline.training.ranks import Ranks
    from pipeline.training.solving.setting import Setting
    from pipeline.training.solving.start import frozen

    phases, spent, num_steps = phases_of(recipe), 0.0, 0
    setting = Setting.of(phases[0], ends, Ranks(device=bench.device))
    for underway in train_flow(phases if seconds is None else unlimited(phases), setting):
        state, began = underway.state, time.perf_counter()
        for _ in underway.losses:
            if seconds is not None and state.step % 10 == 0:
                bench.wait()
                if time.perf_counter() - began >= seconds / recipe.jko.num_phases:
                    break
        bench.wait()
        spent, num_steps = spent + time.perf_counter() - began, num_steps + state.step
        yield underway.phase, frozen(state.averaged_map), num_steps, spent


def unlimited(phases: Sequence[Phase]) -> Iterator[Phase]:
    """Take the bound off phases' steps, so that each ends when nobody asks for another; each is the parent of the next."""
    parent: str | None = None
    for phase in phases:
        without_end = replace(phase, parent=parent, training=replace(phase.training, num_steps=10**9))
        parent = without_end.fingerprint
        yield without_end


def drawn(network: nn.Module, ends: "Endpoints", n: int, draw: int) -> np.ndarray:
    """Draw n samples of a deterministic map in the data's own units, from the numbers that evaluation takes."""
    x = torch.from_numpy(ends.source.sample(n, stream(0, "evaluation_source", step=draw)))
    return ends.to_units(push_through([network], x.to(next(network.parameters()).device), None).cpu().numpy())


def exact_w2(x: np.ndarray, y: np.ndarray) -> float:
    """Compute W2 between two samples of equal size exactly, by assignment.

    >>> exact_w2(np.zeros((2, 1)), np.ones((2, 1)))
    1.0
    """
    cost = cdist(x, y, "sqeuclidean")
    return float(np.sqrt(cost[linear_sum_assignment(cost)].mean()))


def toy(bench: Bench, name: str, recipe: Recipe, ends: "Endpoints") -> Iterator[Row]:
    """Train a planar flow; yield a row per phase with W2 beside its floor, the distance of the data to themselves."""
    pairs = range(NUM_PAIRS)
    held_out = [ends.data.held_out(NUM_POINTS, stream(0, "evaluation_target", step=draw)) for draw in pairs]
    fresh = [ends.data.seen(NUM_POINTS, stream(0, "evaluation_floor", step=draw)) for draw in pairs]
    floor = float(np.mean([exact_w2(x, y) for x, y in zip(fresh, held_out, strict=True)]))
    for phase, network, num_steps, spent in flow(bench, recipe, ends):
        samples = [drawn(network, ends, NUM_POINTS, draw) for draw in pairs]
        distance = float(np.mean([exact_w2(x, y) for x, y in zip(samples, held_out, strict=True)]))
        row = {"data": name, "k": phase.k, "steps": num_steps, "train_seconds": spent, "w2": distance, "w2_floor": floor}
        row |= {"over_floor": distance / floor}
        if ends.data.modes is not None:
            statistics = mode_statistics(ends.data.modes.mode_of(np.concatenate(samples)), ends.data.modes.mode_weights)
            row |= {"modes": len(ends.data.modes.mode_weights), "modes_covered": statistics["modes_covered"]}
        yield row


def fashion(bench: Bench, recipe: Recipe, folder: Path) -> Iterator[Row]:
    """Train on Fashion-MNIST; yield a row per phase with steps and seconds, and for the last one figures in LeNet's features."""
    from pipeline.data.analytic import noise
    from pipeline.data.endpoints import between
    from pipeline.data.images.images import Images, Mapped
    from pipeline.evaluation.extractors import extractor

    train, test = (read_idx(folder / name)[:, None] for name in FILES)
    images, looks = Images(Mapped(train, test), recipe.data.flip), extractor("lenet")
    ends = between(noise(images.shape), images, standardise=recipe.data.standardise)
    seconds = 5.0 if bench.quick else FASHION_SECONDS
    for phase, network, num_steps, spent in flow(bench, recipe, ends, seconds):
        row = {"data": "fashion_mnist", "k": phase.k, "steps": num_steps, "train_seconds": spent}
        if phase.k == recipe.jko.num_phases - 1:
            n = 500 if bench.quick else NUM_IMAGES
            samples = np.concatenate([drawn(network, ends, 250, draw) for draw in range(n // 250)])
            reals = ends.data.seen(n, stream(0, "evaluation_floor")), ends.data.held_out(n, stream(0, "evaluation_target"))
            of_samples, of_train, of_test = (looks.features(images_of) for images_of in (samples, *reals))
            row |= {
                "lenet_frechet": frechet_distance(of_samples, of_test),
                "lenet_frechet_floor": frechet_distance(of_train, of_test),
            }
            row |= {"recall": precision_recall(of_samples, of_test, k=3)["recall"]}
            row |= {"recall_floor": precision_recall(of_train, of_test, k=3)["recall"]}
        yield row


def reading(bench: Bench) -> Iterator[Row]:
    """Time a step's whole input: noise drawn, images taken from memory and scaled, all moved to the device."""
    from pipeline.data.analytic import noise
    from pipeline.data.endpoints import between
    from pipeline.data.images.images import Images, Mapped
    from pipeline.training.solving.batches import batches_of

    names = {"light": "fashion_mnist", "large": "cifar10_large", "large_256": "celeba_hq_256"}
    for network in bench.networks:
        recipe, (spec, sizes) = recipe_named(names[network]), TIMED[network]
        pixels = np.random.default_rng(0).integers(256, size=(2000, *spec.sample_shape), dtype=np.uint8)
        images = Images(Mapped(pixels, pixels[:100]), recipe.data.flip)
        ends = between(noise(images.shape), images, standardise=recipe.data.standardise)
        for n in sizes:
            phase = phases_of(replace(recipe, training=replace(recipe.training, batch_size=n)))[0]
            batches = map(batches_of(phase, ends, slice(None), bench.device), count())
            read = n / bench.seconds(partial(next, batches), 0.2 if bench.quick else 1.0)
            steps = [
                row["images_per_second"]
                for row in bench.rows
                if row["part"] == "step"
                and row.get("network") == network
                and "images_per_second" in row  # not in one that failed
            ]
            row = {"network": network, "batch_size": n, "images_per_second": read}
            yield row | {"fastest_step_images_per_second": max(steps, default=None)}
