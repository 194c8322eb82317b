"""CPU-seconds per step of phase k, direct and composed: the direct parametrization must not grow with k.

Phases count from 0: phase 0 has no anchor, phase k >= 1 evaluates T_{k-1}, or pushes the source through k maps where the flow is
composed. Every k is visited once per round, in shuffled order, so that a slow spell of the machine hits all alike; a figure
is the median over rounds.
"""

import statistics
import time
from collections import defaultdict
from collections.abc import Iterator

from benchmarks.flows import CPU
from benchmarks.harness import main
from benchmarks.rows import Pivot, Row
from components.jko import train_step
from components.streams import stream
from pipeline.data.endpoints import load_endpoints
from pipeline.phase import phases_of
from pipeline.recipe import Jko, Recipe
from pipeline.training.solving.batches import batches_of
from pipeline.training.solving.problem import problem_of
from pipeline.training.solving.setting import Setting
from pipeline.training.solving.start import frozen, new_state

NUM_PHASES, NUM_ROUNDS, STEPS_PER_VISIT = 51, 30, 8


def cases(quick: bool) -> list[Row]:
    """List the cases: each parametrization, over all phases."""
    phases, rounds = (9, 2) if quick else (NUM_PHASES, NUM_ROUNDS)
    return [{"parametrization": name, "num_phases": phases, "num_rounds": rounds} for name in ("direct", "composed")]


def measure(case: Row) -> Iterator[Row]:
    """Time steps of every phase in turns; yield a row per phase."""
    recipe = Recipe(jko=Jko(num_phases=case["num_phases"], parametrization=case["parametrization"]))
    phases, endpoints = phases_of(recipe), load_endpoints(recipe.data)
    state = new_state(phases[0], Setting.of(phases[0], endpoints))
    maps = [frozen(state.transport_map) for _ in phases]
    seconds: dict[int, list[float]] = defaultdict(list)
    for round_number in range(case["num_rounds"] + 1):
        for k in stream(0, "problem", step=round_number).permutation(len(phases)).tolist():
            phase = phases[k]
            anchor = maps[:k] if phase.composed else maps[:1] if k else []
            problem, draw = problem_of(phase), batches_of(phase, endpoints, slice(None), CPU)
            state.step = 0
            batches = [draw(step) for step in range(STEPS_PER_VISIT)]
            began = time.process_time()
            for batch in batches:
                train_step(state, problem, batch, anchor, lambda gradients: None)
                state.step += 1
            if round_number:  # the first round warms up
                seconds[k].append((time.process_time() - began) / STEPS_PER_VISIT)
    medians = [statistics.median(seconds[k]) for k in range(len(phases))]
    for k, per_step in enumerate(medians):
        yield {
            "k": k,
            "seed": 0,
            "seconds_per_step": per_step,
            "milliseconds_per_step": 1000 * per_step,
            "relative_to_phase_1": per_step / medians[1],
            "seconds_of_flow": sum(medians[: k + 1]) * recipe.training.num_steps,
            "cpu_seconds": time.process_time(),
        }


PIVOTS = [
    Pivot(("k",), "parametrization", ("milliseconds_per_step",), "milliseconds per step of phase k"),
    Pivot(("k",), "parametrization", ("relative_to_phase_1",), "relative to phase 1; goal: direct at k = 50 <= 1.05"),
    Pivot(("k",), "parametrization", ("seconds_of_flow",), "seconds of training of phases 0 ... k"),
]

if __name__ == "__main__":
    main("complexity", __doc__, cases=cases, measure=measure, pivots=PIVOTS, processes=1)
