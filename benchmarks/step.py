"""Seconds per step: ours against the plain textbook update, on the same batches, with the same losses.

The textbook update is that of the reference code: separate passes of the potential for real and for generated images, the latter
not detached, so that its backward pass goes through the map for nothing; the map is evaluated again for its own update; Adam as
torch has it by default. Both do the same arithmetic, with R1 at each step; `lazy_penalty` has it at every fourth, as recipes do.
The floors are the matrix products of our step alone, done again back to back on the same numbers.
"""

import time
from collections.abc import Iterator
from statistics import median

import torch

from benchmarks.harness import main
from benchmarks.products import Recorder
from benchmarks.rows import Pivot, Row
from benchmarks.variants import Step, Switches, batch, fresh, ours, textbook
from components import state as states
from components.networks.pair import NetworkSpec
from components.networks.pairs import Large, Light, Small
from pipeline.recipe import Network
from pipeline.training.solving.setting import network_spec

NETWORKS = {
    "toy": (network_spec(Network(), (2,)), 400, 20, 20),
    "light": (NetworkSpec((1, 28, 28), 32, 0, pair=Light()), 64, 10, 20),
    "small": (NetworkSpec((3, 32, 32), 64, 0, pair=Small()), 64, 10, 20),
    "large": (NetworkSpec((3, 32, 32), 128, 0, z_dim=100, pair=Large()), 8, 3, 4),
}
"""Specification by network, with its batch size, the number of timings, and of the steps whose losses are compared."""
PENALTY_EVERY, LAZY = 4, ("toy", "light")
"""Networks whose penalty is lazy in recipes: a timing of them is of as many steps, one of them with a penalty."""
REPETITIONS = {"toy": 10}
"""Times that a timing repeats its steps: toys' take milliseconds, and their first find caches full of other variants."""
COMPARED_BATCH = 4
VARIANTS = {
    "ours_eager": Switches(),
    "ours_channels_last": Switches(channels_last=True),
    "ours_compiled": Switches(compile=True),
    "ours_bfloat16": Switches(bfloat16=True),
    "ours_bfloat16_channels_last": Switches(bfloat16=True, channels_last=True),
    "ours_compiled_channels_last": Switches(compile=True, channels_last=True),
    "ours_default_adam": Switches(default_adam=True),
    "ours_lazy_penalty": Switches(penalty_every=PENALTY_EVERY),
    "ours_lazy_penalty_compiled": Switches(penalty_every=PENALTY_EVERY, compile=True),
}
FLOORS = {"floor": "ours_eager", "floor_lazy_penalty": "ours_lazy_penalty"}
"""Floors, and the variant whose matrix products each replays alone."""


def cases(quick: bool) -> list[Row]:
    """List the cases, one per network and number of threads, so that every ratio is of one run."""
    names, seeds = (["toy", "light"], (0,)) if quick else (list(NETWORKS), (0, 1, 2))
    return [
        {"network": name, "threads": threads, "seed": seed, "quick": quick}
        for name in names
        for threads in ((1, 2) if name in LAZY and not quick else (1,))
        for seed in seeds[: 3 if name != "large" else 1]
    ]


def measure(case: Row) -> Iterator[Row]:
    """Time all variants in turns, so that a slow spell of the machine meets all; yield a row per variant."""
    spec, n, num_timings, num_compared = NETWORKS[case["network"]]
    cycle = PENALTY_EVERY if case["network"] in LAZY else 1
    repetitions = REPETITIONS.get(case["network"], 1)
    torch.set_num_threads(case["threads"])
    clock = time.process_time if case["threads"] == 1 else time.perf_counter
    difference = loss_difference(spec, case["seed"], num_compared)
    anchor = states.build_map(spec, seed=case["seed"]).requires_grad_(False)
    steps: dict[str, Step] = {"textbook": textbook(fresh(spec, case["seed"]), anchor)}
    for name, switches in VARIANTS.items():
        asked_for = name in FLOORS.values() if case["quick"] else case["network"] != "toy" or not switches.channels_last
        if asked_for and (cycle > 1 or switches.penalty_every == 1):
            steps[name] = ours(fresh(spec, case["seed"]), anchor, switches)
    for step in steps.values():
        for i in range(cycle):  # what is compiled is compiled, what is allocated is there
            step(batch(spec, n, i))
    floors = {floor: products(steps[name], spec, n, cycle) for floor, name in FLOORS.items() if name in steps}
    seconds: dict[str, list[float]] = {name: [] for name in (*steps, *floors)}
    began = time.process_time()
    for i in range(3 if case["quick"] else num_timings):
        drawn = [batch(spec, n, cycle * i + j) for j in range(cycle)]
        for name, step in steps.items():
            start = clock()
            for one_batch in drawn * repetitions:
                step(one_batch)
            seconds[name].append((clock() - start) / (cycle * repetitions))
        for name, recorded in floors.items():
            start = clock()
            for _ in range(repetitions):
                recorded.replay()
            seconds[name].append((clock() - start) / (cycle * repetitions))
    for name, values in seconds.items():
        floor = "floor_lazy_penalty" if "lazy_penalty" in name else "floor"
        yield {
            "variant": name,
            "batch_size": n,
            "seconds_per_step": median(values),
            "speedup": median(seconds["textbook"]) / median(values),
            "over_floor": None if "bfloat16" in name else median(values) / median(seconds[floor]),
            "loss_difference": difference if name == "ours_eager" else None,
            "cpu_seconds": time.process_time() - began,
        }


def products(step: Step, spec: NetworkSpec, n: int, cycle: int) -> Recorder:
    """Record the matrix products of one cycle of steps."""
    recorder = Recorder()
    with recorder:
        for i in range(cycle):
            step(batch(spec, n, i))
    return recorder


def loss_difference(spec: NetworkSpec, seed: int, num_steps: int) -> float:
    """Compute the largest difference of a loss between our steps and the textbook's, in float64.

    In float32 the two sum in other orders, and Adam makes steps of full size of such roundings where a gradient is zero, as that
    of a bias before a batch norm.
    """
    anchor = states.build_map(spec, seed=seed).requires_grad_(False).double()
    mine, theirs = (
        ours(fresh(spec, seed, torch.float64), anchor, Switches()),
        textbook(fresh(spec, seed, torch.float64), anchor),
    )
    batches = (batch(spec, COMPARED_BATCH, i, torch.float64) for i in range(num_steps))
    return max(abs(float(a - b)) for drawn in batches for a, b in zip(mine(drawn), theirs(drawn), strict=True))


PIVOTS = [
    Pivot(
        ("network", "batch_size", "threads", "variant"),
        None,
        ("seconds_per_step", "speedup", "over_floor"),
        "seconds per step, textbook / variant, and variant / floor",
    ),
    Pivot(("network",), None, ("loss_difference",), "largest difference of a loss over 20 steps (large: 4), float64; goal 1e-5"),
]

if __name__ == "__main__":
    main("step", __doc__, cases=cases, measure=measure, pivots=PIVOTS, processes=1)
