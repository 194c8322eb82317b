"""The paper's image networks: sizes, what they read, what they start as, and that they can be differentiated twice."""

import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from components.networks.pair import NetworkSpec
from components.networks.pairs import Large, Large256, Small
from components.networks.small import SmallLift, SmallMap, SmallPotential, UpBlock, coarse
from components.table import network_pair

SMALL = NetworkSpec((3, 16, 16), width=4, depth=1, pair=Small())
LARGE = NetworkSpec((3, 16, 16), width=8, depth=1, z_dim=5, pair=Large())
LARGE_256 = NetworkSpec((1, 64, 64), width=4, depth=1, z_dim=2, pair=Large256())


def name_of(spec):
    """Name of a parametrized case."""
    return type(spec.pair).__name__


def large_map(spec):
    return spec.pair.build_map(spec)


def large_potential(spec):
    return spec.pair.build_potential(spec)


BUILDS = [
    (SmallMap, SMALL),
    (SmallPotential, SMALL),
    (large_map, LARGE),
    (large_potential, LARGE),
    (large_map, LARGE_256),
    (large_potential, LARGE_256),
]
EACH = pytest.mark.parametrize(("build", "spec"), BUILDS, ids=[f"{build.__name__}-{name_of(spec)}" for build, spec in BUILDS])
IS_LARGE = pytest.mark.parametrize(("build", "spec"), BUILDS[2:], ids=[f"{b.__name__}-{name_of(spec)}" for b, spec in BUILDS[2:]])


def normal(*sizes, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).standard_normal(sizes, dtype=np.float32))


def inputs(build, spec, n=4):
    """(x, z) for a map, (x,) for a potential."""
    x = normal(n, *spec.sample_shape)
    if build in (SmallPotential, large_potential):
        return (x,)
    return x, normal(n, spec.z_dim, seed=1) if spec.z_dim else None


def built(build, spec):
    """A network without special weights: none near zero."""
    torch.manual_seed(0)
    network, rng = build(spec), np.random.default_rng(0)
    with torch.no_grad():
        for p in network.parameters():
            p.add_(torch.from_numpy(rng.standard_normal(p.shape, dtype=np.float32)) / math.sqrt(max(p[0].numel(), 4)))
    return network


@pytest.mark.parametrize(
    ("build", "spec", "count"),
    [
        (SmallMap, NetworkSpec((3, 32, 32), width=64, depth=1, pair=Small()), 421_827),
        (SmallPotential, NetworkSpec((3, 32, 32), width=64, depth=1, pair=Small()), 264_899 - 130),
        (large_map, NetworkSpec((3, 32, 32), width=128, depth=1, z_dim=100, pair=Large()), 44_820_611),
        (large_potential, NetworkSpec((3, 32, 32), width=128, depth=1, z_dim=100, pair=Large()), 12_247_809),
        (large_map, NetworkSpec((3, 256, 256), width=64, depth=1, z_dim=100, pair=Large256()), 38_049_091),
        (large_potential, NetworkSpec((3, 256, 256), width=64, depth=1, z_dim=100, pair=Large256()), 26_881_537),
    ],
    ids=lambda value: getattr(value, "__name__", None) or getattr(value, "kind", None),
)
def test_networks_have_the_reference_code_s_numbers_of_weights_but_for_those_that_nothing_reads(build, spec, count):
    with torch.device("meta"):
        assert sum(p.numel() for p in build(spec).parameters()) == count


@EACH
def test_every_weight_is_in_use(build, spec):
    network = built(build, spec).eval()  # while training, batch norm cancels the biases before it
    weights = normal(*network(*inputs(build, spec)).shape, seed=2)
    (network(*inputs(build, spec)) * weights).sum().backward()
    assert [name for name, p in network.named_parameters() if p.grad is None or not p.grad.any()] == []


@EACH
def test_memory_formats_give_the_same_numbers(build, spec):
    network = built(build, spec)
    first = network(*inputs(build, spec))
    x, *z = inputs(build, spec)
    second = network.to(memory_format=torch.channels_last)(x.contiguous(memory_format=torch.channels_last), *z)
    torch.testing.assert_close(second, first, rtol=1e-4, atol=1e-4)
    assert second.ndim == 1 or second.is_contiguous(memory_format=torch.channels_last)


@EACH
def test_networks_run_under_autocast(build, spec):
    network = built(build, spec)
    exact = network(*inputs(build, spec))
    with torch.autocast("cpu", torch.bfloat16):
        rough = network(*inputs(build, spec))
    assert rough.dtype == (torch.float32 if rough.ndim == 1 else torch.bfloat16)
    assert (rough.float() - exact).square().mean() < 0.01 * exact.square().mean()
    rough.float().square().sum().backward()
    assert all(p.grad.isfinite().all() for p in network.parameters())


@pytest.mark.parametrize(("build", "spec"), BUILDS[:4], ids=[build.__name__ for build, _ in BUILDS[:4]])
def test_gradient_penalties_can_be_differentiated_in_the_weights(build, spec):
    """Along a random direction of all weights, against a central difference of the penalty |grad_x|^2."""
    network = built(build, spec).double()
    x, *z = (each if each is None else each.double() for each in inputs(build, spec))
    parameters = list(network.parameters())
    directions = [normal(*p.shape, seed=index) / 10 for index, p in enumerate(parameters)]

    def penalty():
        (gradient,) = torch.autograd.grad(network(x.requires_grad_(), *z).sum(), x, create_graph=True)
        return gradient.square().sum()

    def shifted(step):
        with torch.no_grad():
            for p, direction in zip(parameters, directions, strict=True):
                p.add_(direction, alpha=step)
        return penalty().item()

    gradients = torch.autograd.grad(penalty(), parameters, allow_unused=True)  # an additive bias has no part in it
    derivative = sum((g * d).sum().item() for g, d in zip(gradients, directions, strict=True) if g is not None)
    step = 1e-6
    difference = (shifted(step) - shifted(-2 * step)) / (2 * step)
    assert derivative == pytest.approx(difference, rel=1e-4)
    assert derivative != 0


@IS_LARGE
def test_large_networks_start_near_zero(build, spec):
    torch.manual_seed(0)
    assert build(spec)(*inputs(build, spec)).abs().max() < 0.01


@pytest.mark.parametrize(("build", "spec"), BUILDS[::2], ids=[name_of(spec) for _, spec in BUILDS[::2]])
def test_a_map_gives_images_between_minus_one_and_one_each_on_its_own(build, spec):
    network = built(build, spec).eval()
    x, z = inputs(build, spec)
    with torch.no_grad():
        together = network(x, z)
        alone = [network(x[i : i + 1], None if z is None else z[i : i + 1]) for i in range(4)]
        assert together.shape == (4, *spec.sample_shape)
        assert 0.01 < together.abs().max() < 1
        torch.testing.assert_close(together, torch.cat(alone), rtol=1e-4, atol=1e-5)
        assert not torch.allclose(network(x + 1, z), together)
        assert z is None or not torch.allclose(network(x, z.flip(0)), together)


@pytest.mark.parametrize("spec", [LARGE, LARGE_256], ids=name_of)
def test_a_large_potential_compares_samples_within_their_four_only(spec):
    network = built(large_potential, spec)
    (target,), transported = inputs(large_potential, spec, n=8), normal(8, *spec.sample_shape, seed=3)
    with torch.no_grad():
        outputs = network(torch.cat([target, transported]))
        apart = torch.cat([network(part) for part in (target[:4], target[4:], transported)])
        torch.testing.assert_close(outputs, apart, rtol=1e-4, atol=1e-4)
        changed = network(torch.cat([target[:7], target[7:] + 1])) - apart[:8]
    assert changed[:4].abs().max() < 1e-4
    assert changed[4:].abs().min() > 1e-4


def test_a_small_potential_gives_one_number_per_sample_whatever_the_others_are():
    network, (x,) = built(SmallPotential, SMALL), inputs(SmallPotential, SMALL)
    outputs = network(x)
    assert outputs.shape == (4,)
    assert len(set(outputs.tolist())) == 4
    torch.testing.assert_close(outputs, torch.cat([network(one) for one in x.split(1)]), rtol=1e-4, atol=1e-4)


def test_the_skip_of_the_small_map_is_nearest_upsampling():
    block, x = UpBlock(4), normal(2, 4, 3, 3)
    nn.init.zeros_(block.main[-1].weight)
    nn.init.zeros_(block.main[-1].bias)
    assert torch.equal(block(x), x.repeat_interleave(2, 2).repeat_interleave(2, 3))


@pytest.mark.parametrize("side", [8, 16, 32, 64])
def test_the_small_map_turns_192_numbers_into_images_of_many_sides(side):
    network, x = SmallMap(NetworkSpec((3, side, side), width=4, depth=1, pair=Small())), normal(2, 3, side, side)
    assert network(x, None).shape == x.shape


def test_coarse_noise_is_standard_normal_and_all_that_the_small_map_sees():
    x = normal(4000, 1, 32, 32)
    expected = x.reshape(4000, 8, 4, 8, 4).sum((2, 4)) / 4
    torch.testing.assert_close(coarse(x)[:, 0], expected)
    torch.testing.assert_close(torch.cov(expected.flatten(1).T), torch.eye(64), atol=0.1, rtol=0)


def bicubic(side):
    """Weights of 8 pixels in each of `side`: the cubic convolution of Keys (1981) with a = -0.75, the border repeated."""
    weights = np.zeros((side, 8))
    for i in range(side):
        at = (i + 0.5) * 8 / side - 0.5
        for j in range(math.floor(at) - 1, math.floor(at) + 3):
            t, a = abs(at - j), -0.75
            near, far = (a + 2) * t**3 - (a + 3) * t**2 + 1, a * (t**3 - 5 * t**2 + 8 * t - 4)
            weights[i, min(max(j, 0), 7)] += near if t <= 1 else far
    return weights


@pytest.mark.parametrize("side", [8, 16, 32])
def test_the_small_map_s_first_anchor_is_bicubic_upsampling(side):
    lift, x = SmallLift(NetworkSpec((3, side, side), width=4, depth=1, pair=Small())), normal(2, 3, side, side)
    expected = np.einsum("ij,ncjk,lk->ncil", bicubic(side), coarse(x).numpy(), bicubic(side))
    torch.testing.assert_close(lift(x, None), torch.from_numpy(expected).float(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("side", [4, 12, 24, 28, 48])
def test_sides_that_doubling_four_does_not_reach_are_refused(side):
    with pytest.raises(ValueError, match=rf"images with a side of 8, 16, 32, 64, \.\.\. pixels, not {side}"):
        SmallMap(NetworkSpec((3, side, side), width=4, depth=1, pair=Small()))


@pytest.mark.parametrize(
    ("build", "kind", "side", "divisor"),
    [
        (large_map, "large", 28, 8),
        (large_potential, "large", 28, 8),
        (large_map, "large_256", 48, 32),
        (large_potential, "large_256", 96, 64),
        (SmallPotential, "small", 30, 4),
    ],
)
def test_sides_that_cannot_be_halved_are_refused(build, kind, side, divisor):
    with pytest.raises(ValueError, match=f"these networks need square images with a side that {divisor} divides"):
        build(NetworkSpec((3, side, side), width=8, depth=1, z_dim=2, pair=network_pair(kind)))


def test_a_large_map_without_a_latent_is_refused():
    with pytest.raises(ValueError, match="these networks need a z_dim of at least 1, not 0"):
        large_map(NetworkSpec((3, 16, 16), width=8, depth=1, pair=Large()))


COMPILE = """
import torch
from components.table import network_pair
from components.networks.pair import NetworkSpec
for kind, side in (("small", 8), ("large", 16)):
    spec = NetworkSpec((1, 16, 16), width=8, depth=1, z_dim=2, pair=network_pair(kind))
    networks = (build(spec) for build in (network_pair(kind).build_map, network_pair(kind).build_potential))
    transport_map, potential = (torch.compile(network, fullgraph=True, backend="eager") for network in networks)
    transported = transport_map(torch.randn(8, 1, side, side), torch.randn(8, 2))
    for n in (8, 4, 6):  # from the second size on, the number of samples is a symbol
        potential(transported[:n])
"""


@pytest.mark.thorough
def test_networks_are_traced_as_one_graph_and_potentials_for_any_number_of_samples():
    """In a process of its own, without run-time type checks, which cannot be traced; no code is generated."""
    root = Path(__file__).resolve().parents[3]
    subprocess.run([sys.executable, "-c", COMPILE], cwd=root, check=True, capture_output=True, text=True, timeout=120)
