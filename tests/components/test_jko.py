"""One step, against a textbook step that is written out here from the method's two losses."""

import copy

import pytest
import torch
from builders import (
    CPU,
    EACH_LOSS,
    EACH_SPEC,
    LOSSES,
    VECTOR,
    double_state,
    nothing,
    objective,
    objective_of,
    problem,
    random_batches,
)
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from benchmarks.products import Flop
from components.adam import Moments, adam_of, update
from components.gradients import push_through
from components.jko import train_phase, train_step
from components.state import new_state


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
    fused = Moments([ours], (0.5, 0.9))
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
