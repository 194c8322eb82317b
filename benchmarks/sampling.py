"""Samples per second of a generator against its bare network, and against OT-CFM with 100 evaluations of a network of its size.

One thread; untrained networks, whose time is that of trained ones. Batches of 2,000 samples, noise drawn anew each time, except
for the bare network, which is given the same noise.
"""

import time
from collections.abc import Callable, Iterator
from statistics import median

import numpy as np
import torch

from benchmarks.flows import shipped
from benchmarks.harness import main
from benchmarks.images import Velocity
from benchmarks.ot_cfm import EulerMap
from benchmarks.rows import Pivot, Row
from benchmarks.toys import VelocityNetwork
from components.gradients import push_through
from pipeline.data.endpoints import load_endpoints
from pipeline.generator import Generator
from pipeline.phase import phases_of
from pipeline.training.solving.setting import Setting
from pipeline.training.solving.start import frozen, new_state

N, EULER_STEPS = 2000, 100


def cases(quick: bool) -> list[Row]:
    """List the cases: each recipe, and how often its ways of sampling are timed."""
    return [
        {"recipe": name, "rounds": 3 if quick else 15, "seed": 0}
        for name in ("two_circles", "fashion_mnist")[: 1 if quick else 2]
    ]


def measure(case: Row) -> Iterator[Row]:
    """Time every way of sampling in turns, so that a slow spell of the machine meets all; yield a row per way."""
    began = time.process_time()
    recipe = shipped(case["recipe"])
    phase, endpoints = phases_of(recipe)[0], load_endpoints(recipe.data)
    network = frozen(new_state(phase, Setting.of(phase, endpoints)).transport_map)
    velocity = VelocityNetwork() if len(endpoints.shape) == 1 else Velocity(endpoints.shape, recipe.network.width)
    generator = Generator(phase, endpoints, [network])
    many = Generator(phase, endpoints, [EulerMap(velocity.requires_grad_(False).eval(), EULER_STEPS)])
    x = torch.from_numpy(endpoints.source.sample(N, np.random.default_rng(0)))
    z = torch.zeros(N, recipe.network.z_dim) if recipe.network.z_dim else None
    ways: dict[str, Callable[[int], object]] = {
        "generator": lambda i: generator.sample(N, i),
        "bare_network": lambda i: push_through([network], x, z),
        "ot_cfm_100": lambda i: many.sample(N, i),
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for i in range(case["rounds"] + 1):
        for name, sample in ways.items():
            start = time.process_time()
            sample(i)
            if i:  # the first round warms up
                seconds[name].append(time.process_time() - start)
    rates = {name: N / median(values) for name, values in seconds.items()}
    for name, rate in rates.items():
        yield {
            "method": name,
            "samples_per_second": rate,
            "generator_over_this": rates["generator"] / rate,
            "cpu_seconds": time.process_time() - began,
        }


PIVOTS = [
    Pivot(
        ("recipe", "method"),
        None,
        ("samples_per_second", "generator_over_this"),
        "goals: over OT-CFM 80, over the bare network 0.95",
        ranges=False,
    )
]

if __name__ == "__main__":
    main("sampling", __doc__, cases=cases, measure=measure, pivots=PIVOTS, processes=1)
