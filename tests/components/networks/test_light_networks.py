"""The light pair: shapes, cost, and the same update through a smaller memory, in 16 bits, and compiled."""

import copy
from dataclasses import replace

import pytest
import torch
from builders import CPU, constant, double_state, objective, problem, random_batches
from torch import nn

from benchmarks.products import Flop
from components.adam import Moments
from components.jko import train_step
from components.networks.light import LightMap, LightPotential, smooth
from components.networks.pair import NetworkSpec
from components.networks.pairs import Light, LightFiltered
from components.semidual import map_loss
from components.state import State, new_state

LIGHT = NetworkSpec((1, 28, 28), width=32, depth=0, pair=Light())
TINY = NetworkSpec((2, 8, 8), width=8, depth=0, z_dim=3, pair=Light())


def nothing(gradients) -> None:
    """One worker."""


def state_of(spec: NetworkSpec) -> State:
    return new_state(spec, seed=0, betas=(0.5, 0.9), device=CPU)


def solved(**changes):
    return problem(objective("jsd", h=1.0, r1=0.3, r2=0.2), learning_rates=constant(1e-3, 2e-3), **changes)


def weights(network: nn.Module) -> torch.Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in network.parameters()])


@pytest.mark.parametrize("spec", [LIGHT, TINY, NetworkSpec((3, 32, 32), 16, 0, pair=Light())])
def test_images_come_out_in_range_and_every_weight_learns(spec):
    transport_map, potential = LightMap(spec), LightPotential(spec)
    x, z = torch.randn(3, *spec.sample_shape), torch.randn(3, spec.z_dim) if spec.z_dim else None
    images = transport_map(x, z)
    assert images.shape == x.shape
    assert images.abs().max() < 1
    potential(images).sum().backward()
    for network in (transport_map, potential):
        assert all(parameter.grad.abs().sum() > 0 for parameter in network.parameters())


def test_a_filtered_map_has_the_same_weights_and_no_pattern_of_two_pixels():
    """Of noise in every weight: the share of the highest frequency of an axis, which a filter of [1, 2, 1] / 4 has none of."""
    spec, x = replace(LIGHT, pair=LightFiltered()), torch.randn(8, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    torch.manual_seed(0)
    filtered = spec.pair.build_map(spec)
    torch.manual_seed(0)
    plain = LightMap(LIGHT)
    assert torch.equal(weights(filtered), weights(plain))

    def alternating(images: torch.Tensor) -> float:
        inner = images.atanh()[:, :, 1:-1, 1:-1]  # the edge is repeated outside
        signs = (-1.0) ** torch.arange(26)
        return (inner * signs).mean(3).square().mean().sqrt().item() / inner.std().item()

    assert alternating(plain(x, None)) > 5 * alternating(filtered(x, None))
    ramp = torch.arange(5.0).expand(1, 1, 5, 5)
    torch.testing.assert_close(smooth(ramp)[0, 0, 2], torch.tensor([0.25, 1.0, 2.0, 3.0, 3.75]))


def test_every_pixel_of_the_noise_and_the_latent_reach_the_image():
    torch.manual_seed(0)
    transport_map = LightMap(TINY).double()
    x, z = (torch.randn(1, *sizes, dtype=torch.double, requires_grad=True) for sizes in ((2, 8, 8), (3,)))
    transport_map(x, z).sum().backward()
    assert (x.grad != 0).all()
    assert (z.grad != 0).all()


def test_a_side_that_four_does_not_divide_is_refused():
    for network in (LightMap, LightPotential):
        with pytest.raises(ValueError, match="a side that 4 divides"):
            network(NetworkSpec((1, 30, 30), 8, 0, pair=Light()))


def test_an_update_of_28_x_28_images_at_batch_64_costs_a_gflop_at_most():
    state, draw = state_of(LIGHT), random_batches(LIGHT, 64)
    anchor = [copy.deepcopy(state.transport_map).requires_grad_(False)]
    with Flop() as counted:
        for step in range(4):
            state.step = step
            train_step(state, solved(penalty_every=4), draw(step), anchor, nothing)
    assert 0.7e9 < counted.total / 4 <= 1e9


@pytest.mark.parametrize("divergence", ["jsd", "relativistic"])
def test_microbatches_give_the_same_update(divergence):
    """In double precision: after several steps of Adam, float32 agrees to nothing."""
    whole, parts = double_state(TINY), double_state(TINY)
    draw, of = random_batches(TINY, 12, torch.float64), objective(divergence, h=1.0, r1=0.3, r2=0.2)
    anchor = [copy.deepcopy(whole.transport_map).requires_grad_(False)]
    for step in range(3):
        one, three = (
            train_step(state, problem(of, num_microbatches=count), draw(step), anchor, nothing)
            for state, count in ((whole, 1), (parts, 3))
        )
        torch.testing.assert_close(torch.stack(one), torch.stack(three), rtol=1e-9, atol=1e-10)
    torch.testing.assert_close(weights(whole.transport_map), weights(parts.transport_map), rtol=1e-7, atol=1e-8)


def test_sixteen_bits_follow_the_loss_and_leave_weights_and_losses_in_float32():
    """Step by step from equal weights: 16 bits keep a hundredth of what networks of this depth give."""
    full, draw = state_of(TINY), random_batches(TINY, 64)
    for step in range(5):
        half = copy.deepcopy(full)
        expected = train_step(full, solved(), draw(step), [], nothing)
        found = train_step(half, solved(bfloat16=True), draw(step), [], nothing)
        assert {loss.dtype for loss in found} == {torch.float32}
        torch.testing.assert_close(torch.stack(found), torch.stack(expected), rtol=0.05, atol=0.02)
    assert {parameter.dtype for parameter in half.transport_map.parameters()} == {torch.float32}
    assert not torch.equal(weights(full.transport_map), weights(half.transport_map))


def test_in_sixteen_bits_too_the_map_learns_from_the_potential_that_was_just_updated():
    """Autocast keeps copies of weights: within one context the map would see the potential of before."""
    state, batch = state_of(TINY), random_batches(TINY, 16)(0)
    before = copy.deepcopy(state)
    of = objective("jsd")
    losses = train_step(state, problem(of, learning_rates=constant(0.0, 5e-2), bfloat16=True), batch, [], nothing)

    def loss_of_map(potential: nn.Module) -> float:
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
            samples = before.transport_map(batch.source, batch.z).float()
            return map_loss(of, potential(samples).float(), None, torch.zeros(16)).item()

    old, new = loss_of_map(before.potential), loss_of_map(state.potential)
    assert abs(new - old) > 0.05
    assert abs(losses.map_loss.item() - new) < 0.005


def test_running_moments_of_the_map_are_carried_into_its_average():
    class Normed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm = nn.BatchNorm2d(2)

        def forward(self, x, z):
            return self.norm(x)

    state = state_of(TINY)
    live = Normed()
    state = replace(
        state,
        transport_map=live,
        averaged_map=copy.deepcopy(live).requires_grad_(False),
        map_optimizer=Moments(list(live.parameters()), (0.9, 0.999)),
    )
    train_step(state, solved(), random_batches(TINY, 8)(0), [], nothing)
    assert live.norm.num_batches_tracked == 1
    torch.testing.assert_close(state.averaged_map.norm.running_mean, live.norm.running_mean)
    assert (live.norm.running_mean != 0).all()
