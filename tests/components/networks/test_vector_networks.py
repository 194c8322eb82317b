"""Maps and potentials: the identity at the start, shapes, seeds and features."""

import math

import numpy as np
import pytest
import torch
from builders import CPU

from components.networks.pair import NetworkSpec
from components.networks.pairs import Perceptron, Residual
from components.networks.perceptron import GATE_RATE, TRACKING_RATE, FourierFeatures, perceptron
from components.state import build_map, build_potential, new_state

SPECS = [
    NetworkSpec((1,), width=8, depth=1, pair=Perceptron()),
    NetworkSpec((5,), width=8, depth=3, pair=Perceptron(), z_dim=2, num_frequencies=6),
    NetworkSpec((3, 4, 4), width=8, depth=2, pair=Perceptron(), z_dim=2),
    NetworkSpec((1, 8, 8), width=4, depth=1, pair=Perceptron()),
    NetworkSpec((1, 28, 28), width=4, depth=1, pair=Perceptron(), z_dim=1, num_frequencies=2),
]
SECOND_ORDER = NetworkSpec((3,), width=8, depth=2, pair=Perceptron(), z_dim=2, num_frequencies=2, second_order=True)
RESIDUAL = NetworkSpec((2,), width=128, depth=3, z_dim=2, pair=Residual())


def name_of(spec):
    """Name of a parametrized case."""
    return f"{type(spec.pair).__name__}-{spec.sample_shape}-{spec.z_dim}"


EACH = pytest.mark.parametrize("spec", SPECS, ids=name_of)


def inputs(spec, n=5, seed=0):
    rng = np.random.default_rng(seed)
    x = torch.from_numpy(rng.standard_normal((n, *spec.sample_shape), dtype=np.float32))
    return x, torch.from_numpy(rng.standard_normal((n, spec.z_dim), dtype=np.float32)) if spec.z_dim else None


def vector(network):
    return torch.nn.utils.parameters_to_vector(network.parameters())


@pytest.mark.parametrize("spec", [*SPECS, SECOND_ORDER, RESIDUAL], ids=name_of)
def test_the_map_is_the_identity_before_training(spec):
    x, z = inputs(spec)
    assert torch.equal(build_map(spec, seed=3)(x, z), x)


@EACH
def test_the_map_leaves_the_identity_as_soon_as_its_last_layer_moves(spec):
    x, z = inputs(spec)
    transport_map = build_map(spec)
    (gradient,) = torch.autograd.grad(transport_map(x, z).square().sum(), list(transport_map.parameters())[-1])
    assert gradient.abs().max() > 0


@EACH
def test_the_gate_scales_each_coordinate_of_the_source(spec):
    x, z = inputs(spec)
    transport_map, closed = build_map(spec), torch.linspace(0, 1, math.prod(spec.sample_shape))
    with torch.no_grad():
        transport_map.closed.copy_(closed / GATE_RATE)
        torch.testing.assert_close(transport_map(x, z), x * (1 - closed).view(spec.sample_shape))


@EACH
def test_the_potential_gives_one_number_per_sample_whatever_the_others_are(spec):
    x, _ = inputs(spec)
    potential = build_potential(spec)
    outputs = potential(x)
    assert outputs.shape == (5,)
    torch.testing.assert_close(outputs, torch.cat([potential(one) for one in x.split(1)]), rtol=1e-5, atol=1e-6)
    assert len(set(outputs.tolist())) == 5


@EACH
def test_a_map_sends_each_sample_on_its_own_way(spec):
    x, z = inputs(spec)
    transport_map = build_map(spec)
    rng = np.random.default_rng(0)
    with torch.no_grad():
        for p in transport_map.parameters():
            p.add_(0.1 * torch.from_numpy(rng.standard_normal(p.shape)).float())
        together = transport_map(x, z)
        alone = [transport_map(one, None if z is None else z[i : i + 1]) for i, one in enumerate(x.split(1))]
    assert together.shape == x.shape
    torch.testing.assert_close(together, torch.cat(alone), rtol=1e-5, atol=1e-5)
    if z is not None:
        assert (transport_map(x, z + 1) - together).abs().flatten(1).amax(1).min() > 0  # z is in use


@EACH
def test_equal_seeds_give_equal_weights_whatever_the_global_generator_did(spec):
    first = build_map(spec, seed=1), build_potential(spec, seed=1)
    torch.rand(7)
    second = build_map(spec, seed=1), build_potential(spec, seed=1)
    other = build_map(spec, seed=2), build_potential(spec, seed=2)
    for a, b, c in zip(first, second, other, strict=True):
        assert torch.equal(vector(a), vector(b))
        assert not torch.equal(vector(a), vector(c))


@EACH
def test_building_networks_leaves_the_global_generators_alone(spec):
    before, numpy_before = torch.get_rng_state(), np.random.get_state()[1].copy()
    new_state(spec, seed=1, betas=(0.5, 0.9), device=CPU)
    assert torch.equal(torch.get_rng_state(), before)
    np.testing.assert_array_equal(np.random.get_state()[1], numpy_before)


@pytest.mark.parametrize("spec", [spec for spec in SPECS if spec.z_dim], ids=lambda spec: str(spec.sample_shape))
def test_a_map_that_has_a_latent_refuses_to_go_without(spec):
    x, _ = inputs(spec)
    with pytest.raises((RuntimeError, TypeError)):
        build_map(spec)(x, None)


def test_a_map_and_its_potential_have_different_weights():
    spec = NetworkSpec((4,), width=8, depth=2, pair=Perceptron())
    first_of_map, first_of_potential = (build(spec).net[0].weight for build in (build_map, build_potential))
    assert first_of_map.shape == first_of_potential.shape
    assert not torch.equal(first_of_map, first_of_potential)


@pytest.mark.parametrize(("in_dim", "width", "depth", "out_dim"), [(3, 8, 1, 2), (2, 16, 4, 1)])
def test_a_perceptron_has_the_layers_that_were_asked_for(in_dim, width, depth, out_dim):
    network = perceptron(in_dim, width, depth, out_dim)
    expected = (in_dim + 1) * width + (depth - 1) * (width + 1) * width + (width + 1) * out_dim
    assert sum(p.numel() for p in network.parameters()) == expected
    assert network(torch.zeros(7, in_dim)).shape == (7, out_dim)


def test_fourier_features_keep_the_input_and_add_sines_and_cosines_of_fixed_frequencies():
    first, second = FourierFeatures(3, 5), FourierFeatures(3, 5)
    x, _ = inputs(NetworkSpec((3,), 1, 1, pair=Perceptron()))
    features, phase = first(x), x @ first.frequencies
    assert torch.equal(features, torch.cat([x, torch.sin(phase), torch.cos(phase)], 1))
    assert torch.equal(first.frequencies, second.frequencies)
    assert not list(first.parameters())
    wide = FourierFeatures(64, 500).frequencies
    assert wide.mean().item() == pytest.approx(0, abs=4 / math.sqrt(wide.numel()))
    assert wide.std().item() == pytest.approx(1, abs=4 / math.sqrt(2 * wide.numel()))


def test_features_are_optional():
    x, _ = inputs(NetworkSpec((3,), 1, 1, pair=Perceptron()))
    assert torch.equal(FourierFeatures(3, 0)(x), x)


def test_the_residual_pair_has_the_reference_code_s_numbers_of_weights():
    assert len(vector(build_map(RESIDUAL))) == 182_658
    assert len(vector(build_potential(RESIDUAL))) == 165_633


def test_the_residual_map_depends_on_x_and_z_once_its_last_layer_has_moved():
    x, z = inputs(RESIDUAL)
    transport_map = build_map(RESIDUAL)
    with torch.no_grad():
        transport_map.head[-1].weight.fill_(0.1)
        moved = transport_map(x, z)
        assert not torch.allclose(moved - x, (transport_map(x + 1, z) - x - 1))
        assert not torch.allclose(moved, transport_map(x, z + 1))


def test_a_second_order_map_can_be_any_affine_one():
    x, z = inputs(SECOND_ORDER)
    transport_map = build_map(SECOND_ORDER)
    matrix, shift = torch.randn(3, 3, generator=torch.Generator().manual_seed(0)), torch.tensor([1.0, -2.0, 3.0])
    with torch.no_grad():
        transport_map.affine.weight.copy_(matrix - torch.eye(3))
        transport_map.affine.bias.copy_(shift)
        torch.testing.assert_close(transport_map(x, z), x @ matrix.T + shift)


def correlated(seed, n=4000, shift=5.0):
    rng = np.random.default_rng(seed)
    return torch.from_numpy(rng.standard_normal((n, 3)) @ rng.standard_normal((3, 3)).T + shift).float()


def log_density(x, samples):
    """log N(x; moments of the samples), by torch."""
    samples = samples.double()
    return torch.distributions.MultivariateNormal(samples.mean(0), torch.cov(samples.T)).log_prob(x.double()).float()


def test_a_second_order_potential_starts_as_the_log_ratio_of_the_gaussian_fits():
    source, target, potential = correlated(0), correlated(1, shift=3.0), build_potential(SECOND_ORDER)
    potential.start_from(source, target)
    x = correlated(2, n=50, shift=4.0)
    expected = log_density(x, target) - log_density(x, source)
    torch.testing.assert_close(potential(x), expected, rtol=0.02, atol=0.05)  # the ridge and n - 1 of the covariances


def test_a_second_order_potential_follows_what_is_transported():
    source, target, later = (correlated(seed, shift=seed) for seed in (0, 1, 2))
    tracking, fresh = build_potential(SECOND_ORDER), build_potential(SECOND_ORDER)
    tracking.start_from(source, target)
    fresh.start_from(later, target)
    for _ in range(300):
        tracking.track([source], [later], lambda tensors: None)
    torch.testing.assert_close(tracking(target), fresh(target), rtol=1e-3, atol=1e-2)


def test_moments_are_averaged_over_the_workers_before_they_are_used():
    target, half = correlated(0), correlated(1)[:100]
    potential = build_potential(SECOND_ORDER)
    potential.start_from(target, target)
    seen = []
    potential.track([half], [half], lambda tensors: seen.extend(tensors) or [tensor.zero_() for tensor in tensors])
    assert [tensor.shape for tensor in seen] == [(6,), (6, 6)]
    before = potential.moments(target, target)[0]
    torch.testing.assert_close(potential.running_mean, (1 - TRACKING_RATE) * before)


def test_batches_add_no_noise_to_the_moments_of_an_affine_map():
    """In 32 dimensions at batch 64 running moments alone are wrong by half a nat, as a standard deviation over samples.

    Both measures are N(0, I), and the map is affine: what is left is the error of the samples that the moments start from.
    """
    dim, n = 32, 64
    rng = torch.Generator().manual_seed(0)
    potential = build_potential(NetworkSpec((dim,), width=4, depth=1, pair=Perceptron(), second_order=True))
    potential.start_from(*(torch.randn(65_536, dim, generator=rng) for _ in range(2)))
    shift, factor = torch.randn(dim, generator=rng) / 4, torch.linspace(0.5, 1, dim)
    for _ in range(200):
        x = torch.randn(n, dim, generator=rng)
        potential.track([x[:20], x[20:]], [shift + factor * part for part in (x[:20], x[20:])], lambda tensors: None)
    y = shift + factor * torch.randn(4000, dim, generator=rng)
    exact = ((y - shift) / factor).square().sum(1) / 2 - y.square().sum(1) / 2 + factor.log().sum()

    def error(mean, covariance):
        potential.mean.copy_(mean)
        potential.covariance.copy_(covariance)
        return (potential(y) - exact).std().item()

    running = potential.running_moment - torch.outer(potential.running_mean, potential.running_mean)
    corrected = error(potential.mean.clone(), potential.covariance.clone())
    alone = error(potential.running_mean[:dim], running[:dim, :dim])
    assert corrected < 0.2
    assert alone > 0.4


def test_pixels_that_never_change_leave_the_potential_finite():
    potential = build_potential(SECOND_ORDER)
    target = torch.randn(100, 3, generator=torch.Generator().manual_seed(0)) * torch.tensor([1.0, 2.0, 0.0])
    potential.start_from(target, target)
    assert potential(target).isfinite().all()
