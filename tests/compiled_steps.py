"""Two workers whose steps are compiled whole, against one whose steps are not: a program of `test_phase_loop.py`.

    python compiled_steps.py BACKEND RENDEZVOUS

Prints as JSON the largest difference of a loss or an averaged weight, the number of graphs, and what broke them. In a process of
its own, because torch cannot compile what checks shapes while it runs.
"""

import json
import sys
from dataclasses import replace

import torch
import torch.distributed as dist
from builders import SECOND_ORDER, double_state, objective, problem, random_batches
from torch._dynamo.utils import counters

from components import jko
from components.gradients import Batch
from components.jko import train_phase
from components.state import State
from pipeline.training.ranks import Share

N, NUM_FIRST = 12, 5
"""Samples of a batch, and how many of them the first worker takes."""
SOLVED = problem(objective("jsd", h=0.5, r1=0.3, r2=0.1))
DRAW = random_batches(SECOND_ORDER, N, torch.float64)


def new_state(seed: int) -> State:
    state = double_state(SECOND_ORDER, seed)
    state.pair.start_from(state.potential, DRAW(0)._asdict().__getitem__)
    return state


def difference(seed: int, rows: slice) -> float:
    """After a phase of new networks and an anchor of its own."""
    anchor, share = [double_state(SECOND_ORDER, seed + 2).averaged_map], Share(rows, N)

    def mine(step: int) -> Batch:
        return Batch(*(None if tensor is None else tensor[rows] for tensor in DRAW(step)))

    alone, shared = new_state(seed), new_state(seed)
    expected = list(train_phase(alone, SOLVED, anchor, DRAW))
    found = list(train_phase(shared, replace(SOLVED, compiled=True), anchor, mine, share.mean_in_place))
    losses = torch.stack([torch.stack(each) for each in found])
    share.mean_in_place([losses])
    pairs = [(losses, torch.stack([torch.stack(each) for each in expected]))]
    pairs += zip(shared.averaged_map.parameters(), alone.averaged_map.parameters(), strict=True)
    return max(float((a - b).detach().abs().max()) for a, b in pairs)


def main(rank: int, backend: str, rendezvous: str) -> None:
    torch.set_num_threads(1)
    jko.BACKEND = backend
    dist.init_process_group("gloo", init_method=f"file://{rendezvous}", rank=rank, world_size=2)
    rows = slice(0, NUM_FIRST) if rank == 0 else slice(NUM_FIRST, N)
    differences = [difference(seed, rows) for seed in (0, 1)]
    if rank == 0:
        found = {"difference": max(differences), "graphs": counters["stats"]["unique_graphs"], "breaks": counters["graph_break"]}
        sys.stdout.write(json.dumps(found))
    dist.destroy_process_group()


if __name__ == "__main__":
    torch.multiprocessing.start_processes(main, tuple(sys.argv[1:]), nprocs=2, start_method="spawn")
