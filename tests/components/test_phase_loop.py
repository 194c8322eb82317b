"""The loop of a phase: penalties, rates, the averaged map, where it begins and ends, one worker and several."""

import copy
import json
import os
import subprocess
import sys
import threading
from fractions import Fraction
from pathlib import Path

import pytest
import torch
from builders import (
    EACH_LOSS,
    EACH_SPEC,
    IMAGE,
    SECOND_ORDER,
    VECTOR,
    constant,
    double_state,
    name_of,
    objective,
    objective_of,
    problem,
    random_batches,
    state_of,
)
from torch import nn

from components.gradients import Batch
from components.jko import average, averaging_weight, train_phase


@EACH_SPEC
def test_direct_and_composed_agree_in_the_first_phase(spec):
    draw, weights = random_batches(spec, 12, torch.float64), []
    for composed in (False, True):
        state = double_state(spec)
        list(train_phase(state, problem(objective("jsd", h=0.5), composed=composed), [], draw))
        weights.append(nn.utils.parameters_to_vector(state.transport_map.parameters()))
    assert torch.equal(*weights)


def test_penalties_are_reported_on_the_steps_that_have_one():
    solved = problem(objective("jsd", r1=0.3), num_steps=7, penalty_every=3)
    losses = list(train_phase(double_state(VECTOR), solved, [], random_batches(VECTOR, 12, torch.float64)))
    assert [loss.gradient_penalty.item() > 0 for loss in losses] == [True, False, False, True, False, False, True]


@EACH_SPEC
@pytest.mark.parametrize(("map_lr", "potential_lr"), [(1e-3, 0.0), (0.0, 1e-3)])
def test_each_update_moves_its_own_network_alone(spec, map_lr, potential_lr):
    state = double_state(spec)
    before = copy.deepcopy(state)
    solved = problem(objective("jsd", h=0.5), num_steps=2, learning_rates=constant(map_lr, potential_lr))
    list(train_phase(state, solved, [], random_batches(spec, 12, torch.float64)))
    for network, lr in (("transport_map", map_lr), ("potential", potential_lr)):
        vectors = [nn.utils.parameters_to_vector(getattr(s, network).parameters()) for s in (before, state)]
        assert torch.equal(*vectors) == (lr == 0)


class Watched(nn.Module):
    """A map that counts its evaluations and the gradients that arrive at its output."""

    def __init__(self, inner):
        super().__init__()
        self.inner, self.num_forward, self.num_backward = inner, 0, 0

    def forward(self, x, z):
        self.num_forward += 1
        y = self.inner(x, z)
        y.register_hook(self.count)
        return y

    def count(self, gradient):
        self.num_backward += 1


@EACH_LOSS
def test_the_map_is_evaluated_and_differentiated_once_per_step(losses):
    state = double_state(VECTOR)
    state.transport_map = watched = Watched(state.transport_map)
    solved = problem(objective_of(losses, h=0.5, r1=0.1, r2=0.1), num_steps=3)
    list(train_phase(state, solved, [], random_batches(VECTOR, 12, torch.float64)))
    assert (watched.num_forward, watched.num_backward) == (3, 3)


@EACH_SPEC
def test_the_averaged_map_follows_its_formula_and_its_count_goes_on_into_the_next_phase(spec):
    """Decays 0, 1/10, 2/11, 3/12, then the recipe's 0.3, for 3/12 is the last that is less."""
    state, draw = double_state(spec), random_batches(spec, 12, torch.float64)
    solved = problem(objective("jsd", h=0.5), ema_decay=0.3, num_steps=3)
    for p in state.averaged_map.parameters():
        p.fill_(1e9)  # what the average began with has no share in it
    expected = [torch.zeros_like(p) for p in state.averaged_map.parameters()]
    decays = iter([0, 1 / 10, 2 / 11, 3 / 12, 0.3, 0.3])
    for _ in range(2):
        state.step = 0
        for _ in train_phase(state, solved, [], draw):
            d, live = next(decays), [p.detach() for p in state.transport_map.parameters()]
            expected = [d * old + (1 - d) * new for old, new in zip(expected, live, strict=True)]
            for ours, exact in zip(state.averaged_map.parameters(), expected, strict=True):
                torch.testing.assert_close(ours, exact, rtol=1e-12, atol=1e-14)
                assert not ours.requires_grad


@pytest.mark.parametrize("decay", [0.3, 0.995, 0.9999])
def test_the_weight_of_the_average_in_float32_is_the_nearest_to_the_exact_one(decay):
    counts = range(1, 200_000, 7)
    exact = [float(max(1 - Fraction(decay), Fraction(9, n + 8))) for n in counts]
    found = averaging_weight(torch.tensor(counts, dtype=torch.float32), decay)
    assert torch.equal(found, torch.tensor(exact, dtype=torch.float32))


@pytest.mark.parametrize("decay", [0.995, 0.9999])
def test_averaging_the_numbers_of_the_steps_gives_a_recent_one_from_the_start(decay):
    """A map of one weight that is n after its n-th update: the average of a long first phase is of its last tenth."""
    (state, weight), num_steps = (state_of(nn.Linear(1, 1), nn.Linear(1, 1), (0.0, 0.9)), torch.tensor(0.0)), 1500
    for _ in range(num_steps):
        weight += 1
        with torch.no_grad():
            for p in state.transport_map.parameters():
                p.fill_(weight.item())
        average(state, decay, weight)
        (found, *_) = (p.item() for p in state.averaged_map.parameters())
        assert 0.85 * weight <= found <= weight


def test_the_learning_rates_are_those_of_the_step():
    """Rates that vanish but at step 2: the weights move there and nowhere else."""
    state, moved = double_state(VECTOR), []
    solved = problem(objective("jsd"), num_steps=5, learning_rates=lambda step: (1e-3, 1e-3) if step == 2 else (0.0, 0.0))
    before = [p.clone() for network in (state.transport_map, state.potential) for p in network.parameters()]
    for _ in train_phase(state, solved, [], random_batches(VECTOR, 12, torch.float64)):
        after = [p.detach().clone() for network in (state.transport_map, state.potential) for p in network.parameters()]
        moved.append([not torch.equal(a, b) for a, b in zip(before, after, strict=True)])
        before = after
    assert [all(at_step) for at_step in moved] == [any(at_step) for at_step in moved] == [False, False, True, False, False]


@pytest.mark.parametrize("start", [0, 2, 4, 9])
def test_a_phase_goes_on_from_its_step_and_stops_at_its_end(start):
    state, asked, draw = double_state(VECTOR), [], random_batches(VECTOR, 12, torch.float64)
    state.step = start

    def asking(step):
        asked.append(step)
        return draw(step)

    assert len(list(train_phase(state, problem(objective("jsd")), [], asking))) == max(0, 4 - start)
    assert asked == list(range(start, 4))
    assert state.step == max(start, 4)


@EACH_LOSS
@pytest.mark.parametrize("spec", [VECTOR, IMAGE, SECOND_ORDER], ids=name_of)
def test_two_workers_with_half_a_batch_each_equal_one_with_the_whole(spec, losses):
    """`reduce` averages in place what two threads hand in."""
    draw, solved = random_batches(spec, 12, torch.float64), problem(objective_of(losses, h=0.5), num_steps=3)
    alone = double_state(spec)
    list(train_phase(alone, solved, [], draw))

    states, barrier, handed_in = [double_state(spec), double_state(spec)], threading.Barrier(2, timeout=60), [[], []]

    def work(rank):
        def reduce(gradients):
            handed_in[rank] = gradients
            barrier.wait()
            means = [(a + b) / 2 for a, b in zip(*handed_in, strict=True)]
            barrier.wait()
            for gradient, mean in zip(gradients, means, strict=True):
                gradient.copy_(mean)

        def half(step):
            return Batch(*(None if part is None else part[6 * rank : 6 * (rank + 1)] for part in draw(step)))

        list(train_phase(states[rank], solved, [], half, reduce))

    threads = [threading.Thread(target=work, args=(rank,)) for rank in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for name, module in alone.modules().items():
        for ours in states:
            for a, b in zip(module.parameters(), ours.modules()[name].parameters(), strict=True):
                torch.testing.assert_close(a, b, rtol=1e-7, atol=1e-8)


@pytest.mark.thorough
@pytest.mark.parametrize("backend", ["aot_eager", "inductor"])
def test_a_compiled_step_of_two_workers_is_one_graph_and_does_what_one_worker_does(backend, tmp_path):
    """Collectives, Adam, penalties and running moments included; new networks do not compile it again."""
    tests = Path(__file__).parents[1]
    done = subprocess.run(
        [sys.executable, tests / "compiled_steps.py", backend, tmp_path / "rendezvous"],
        cwd=tests.parent,
        env={**os.environ, "PYTHONPATH": str(tests.parent)},
        stdout=subprocess.PIPE,
        check=True,
    )
    found = json.loads(done.stdout)
    assert found["graphs"] == 1
    assert found["breaks"] == {}
    assert 0 < found["difference"] < 1e-7
