"""One step and the loop of a phase, against a textbook step that is written out here from the method's two losses."""

import copy
import json
import os
import subprocess
import sys
import threading
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from builders import (
    BOTH_SPECS,
    CPU,
    IMAGE,
    SECOND_ORDER,
    VECTOR,
    constant,
    double_state,
    name_of,
    objective,
    problem,
    random_batches,
    state_of,
)
from torch import nn
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from benchmarks.products import Flop
from components.adam import adam_of, update
from components.gradients import Batch, push_through
from components.jko import average, averaging_weight, train_phase, train_step
from components.state import new_state

EACH_SPEC = pytest.mark.parametrize("spec", BOTH_SPECS, ids=name_of)
LOSSES = {  # L_v and L_T from v's outputs on target and transported samples and the cost, without the cost of L_T
    "kl": (lambda y, t, c: (-y).exp().mean() - 1 + t.mean(), lambda y, t: -t.mean()),
    "kl against kl": (lambda y, t, c: (-y).exp().mean() - 1 + (t - c).exp().mean() - 1, lambda y, t: -t.mean()),
    "jsd": (
        lambda y, t, c: functional.softplus(-y).mean() + functional.softplus(t).mean() - 2 * np.log(2),
        lambda y, t: functional.softplus(-t).mean() - np.log(2),
    ),
    "relativistic": (
        lambda y, t, c: functional.softplus(t - y).mean() - np.log(2),
        lambda y, t: functional.softplus(y - t).mean(),
    ),
}
EACH_LOSS = pytest.mark.parametrize("losses", LOSSES)


def objective_of(losses, **changes):
    """The objective that a row of LOSSES writes out; with two names the second is the divergence on the source side."""
    divergence, _, source = losses.partition(" against ")
    return objective(divergence, source_divergence=source or "linear", **changes)


def nothing(gradients):
    """What one worker alone does to its gradients."""


def rates(step):
    return 1e-3 / (1 + step), 2e-3 / (1 + step)


def textbook_penalty(potential, x, weight):
    """weight / 2 times the mean squared gradient norm of the potential at x."""
    x = x.detach().clone().requires_grad_()
    (gradient,) = torch.autograd.grad(potential(x).sum(), x, create_graph=True)
    return weight / 2 * gradient.square().flatten(1).sum(1).mean()


def textbook_step(networks, optimizers, solved, losses, *, batch, anchor, step):
    """One step, written for reading: separate forward passes, `backward`, Adam as a plain loop. Returns both gradients."""
    (transport_map, potential), of = networks, solved.objective
    loss_of_v, loss_of_t = LOSSES[losses]
    for optimizer, lr in zip(optimizers, solved.learning_rates(step), strict=True):
        optimizer.param_groups[0]["lr"] = lr
    with torch.no_grad():
        frozen = batch.source
        for earlier in anchor:
            frozen = earlier(frozen, batch.anchor_z)
    source = frozen if solved.composed else batch.source

    def cost_of(moved):
        return (frozen - moved).square().flatten(1).sum(1) / (2 * of.h)

    fixed = transport_map(source, batch.z).detach()
    loss = loss_of_v(potential(batch.target), potential(fixed), cost_of(fixed))
    if step % solved.penalty_every == 0:
        penalty = textbook_penalty(potential, batch.target, of.r1) + textbook_penalty(potential, fixed, of.r2)
        loss = loss + solved.penalty_every * penalty
    potential.zero_grad()
    loss.backward()
    optimizers[1].step()
    gradients = [p.grad.clone() for p in potential.parameters()]

    transported = transport_map(source, batch.z)
    transport_map.zero_grad()
    (cost_of(transported).mean() + loss_of_t(potential(batch.target), potential(transported))).backward()
    optimizers[0].step()
    return gradients, [p.grad.clone() for p in transport_map.parameters()]


def assert_equal_to_the_textbook(spec, solved, losses, anchor=(), num_steps=4):
    state, draw = double_state(spec), random_batches(spec, 12, torch.float64)
    transport_map, potential = copy.deepcopy(state.transport_map), copy.deepcopy(state.potential)
    optimizers = [
        torch.optim.Adam(network.parameters(), betas=(0.5, 0.9), fused=False, foreach=False)
        for network in (transport_map, potential)
    ]
    for step in range(num_steps):
        state.step = step
        found: list[list[torch.Tensor]] = []
        train_step(state, solved, draw(step), anchor, lambda gradients, found=found: found.append([g.clone() for g in gradients]))
        gradients = textbook_step(
            (transport_map, potential), optimizers, solved, losses, batch=draw(step), anchor=anchor, step=step
        )
        networks = ((state.potential, potential), (state.transport_map, transport_map))
        for (ours, textbook), of_ours, expected in zip(networks, found, gradients, strict=True):
            for (name, ours_p), p, ours_g, g in zip(
                ours.named_parameters(), textbook.parameters(), of_ours, expected, strict=True
            ):
                torch.testing.assert_close(ours_g, g, rtol=1e-7, atol=1e-10, msg=lambda m, n=name: f"gradient of {n}: {m}")
                torch.testing.assert_close(ours_p, p, rtol=1e-7, atol=1e-8, msg=lambda m, n=name: f"{n} after the step: {m}")


@EACH_SPEC
@EACH_LOSS
def test_a_step_equals_the_textbook_step_without_penalties(spec, losses):
    assert_equal_to_the_textbook(spec, problem(objective_of(losses, h=0.5), learning_rates=rates), losses)


@EACH_SPEC
@pytest.mark.parametrize(("penalty_every", "r2"), [(1, 0.2), (3, 0.2), (1, 0.0)])
@EACH_LOSS
def test_a_step_equals_the_textbook_step_with_penalties(spec, losses, penalty_every, r2):
    solved = problem(objective_of(losses, h=0.5, r1=0.3, r2=r2), learning_rates=rates, penalty_every=penalty_every)
    assert_equal_to_the_textbook(spec, solved, losses)


@pytest.mark.parametrize(
    "loss_of",
    [
        lambda p, power: (p * torch.arange(6.0).view(2, 3) ** power).sum(),
        lambda p, power: (p.t() * torch.arange(6.0).view(3, 2) ** power).sum(),  # a gradient stored column by column
        lambda p, power: p.sum() * power,  # a gradient of stride zero
    ],
    ids=["rows", "columns", "expanded"],
)
def test_an_update_reads_a_gradient_by_its_indices_whatever_its_layout(loss_of):
    ours, textbook = (nn.Parameter(torch.ones(2, 3)) for _ in range(2))
    fused = torch.optim.Adam([ours], betas=(0.5, 0.9), fused=True)
    plain = torch.optim.Adam([textbook], lr=1e-2, betas=(0.5, 0.9), fused=False, foreach=False)
    for power in (1, 2, 3):
        loss = loss_of(ours, power)
        update(adam_of(fused, 1e-2), [(torch.autograd.grad(loss, [ours]), loss[None].detach())], nothing)
        textbook.grad = None
        loss_of(textbook, power).backward()
        plain.step()
    torch.testing.assert_close(ours, textbook)


@EACH_SPEC
@pytest.mark.parametrize("composed", [False, True])
def test_a_step_behind_an_anchor_equals_the_textbook_step(spec, composed):
    anchor = [double_state(spec, seed).transport_map for seed in ((1, 2) if composed else (1,))]
    solved = problem(objective("jsd", h=0.5), composed=composed, learning_rates=rates)
    assert_equal_to_the_textbook(spec, solved, "jsd", anchor, num_steps=2)


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
def test_the_reported_losses_are_those_of_the_batch(spec):
    state, draw = double_state(spec), random_batches(spec, 12, torch.float64)
    batch, before = draw(0), copy.deepcopy(state)
    losses = train_step(state, problem(objective("kl", h=0.5)), batch, [], nothing)
    with torch.no_grad():
        transported = before.transport_map(batch.source, batch.z)
        cost = (batch.source - transported).square().flatten(1).sum(1).mean() / (2 * 0.5)
        torch.testing.assert_close(losses.transport_cost, cost)
        loss_v = LOSSES["kl"][0](before.potential(batch.target), before.potential(transported), None)
        torch.testing.assert_close(losses.potential_loss, loss_v)
        torch.testing.assert_close(losses.map_loss, cost - state.potential(transported).mean())  # at the new potential
    assert not any(loss.requires_grad for loss in losses)


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


class Float64(TorchDispatchMode):
    """Collects the operations that give float64 numbers, which MPS lacks."""

    def __init__(self):
        super().__init__()
        self.operations = []

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        result = operation(*args, **(kwargs or {}))
        self.operations += [
            str(operation) for each in tree_leaves(result) if torch.is_tensor(each) and each.dtype == torch.float64
        ]
        return result


@EACH_SPEC
def test_a_step_in_float32_asks_for_no_float64(spec):
    state, batch = new_state(spec, seed=0, betas=(0.5, 0.9), device=CPU), random_batches(spec, 12)(0)
    with Float64() as seen:
        list(train_phase(state, problem(objective("jsd", h=0.5, r1=0.1), num_steps=1), [], lambda step: batch))
    assert seen.operations == []


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


def test_a_direct_step_costs_the_same_in_every_phase_and_a_composed_one_more_in_each():
    """The claim of O(K) against O(K^2), counted operation by operation."""

    def operations(*, composed, num_maps):
        anchor = [double_state(VECTOR, seed).transport_map for seed in range(num_maps)]
        solved = problem(objective("jsd", h=0.5), composed=composed)
        with Flop() as counted:
            train_step(double_state(VECTOR), solved, random_batches(VECTOR, 12, torch.float64)(0), anchor, nothing)
        return counted.total

    first, second, third = (operations(composed=True, num_maps=num) for num in (1, 2, 3))
    assert operations(composed=False, num_maps=1) == first, "of the direct parametrization T_{k-1} alone is asked, whatever k is"
    assert third - second == second - first > 0


def test_pushing_through_no_map_is_the_identity_and_through_several_is_their_composition():
    first, second = (double_state(VECTOR, seed).transport_map for seed in (1, 2))
    batch = random_batches(VECTOR, 12, torch.float64)(0)
    assert torch.equal(push_through([], batch.source, batch.z), batch.source)
    through = push_through([first, second], batch.source, batch.z)
    assert torch.equal(through, second(first(batch.source, batch.z), batch.z))
    assert not through.requires_grad


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


@pytest.mark.parametrize(
    "backend", [pytest.param("aot_eager", marks=pytest.mark.real), pytest.param("inductor", marks=pytest.mark.thorough)]
)
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
