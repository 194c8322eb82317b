"""Building blocks of the image networks against formulas written out in numpy."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from components.networks.image_layers import (
    STYLE_DIM,
    AdaptiveGroupNorm,
    Attention,
    Fir,
    PixelNorm,
    StyledBlock,
    SumHead,
    image_shape,
    minibatch_std,
    scaled,
)
from components.networks.pair import NetworkSpec
from components.networks.pairs import Large

FILTER = np.outer([1, 3, 3, 1], [1, 3, 3, 1]) / 64


def normal(*sizes, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).standard_normal(sizes))


def stir(module, seed=0):
    """Double precision, and weights of which none is special."""
    rng = np.random.default_rng(seed)
    module = module.double()
    with torch.no_grad():
        for p in module.parameters():
            p.copy_(torch.from_numpy(rng.standard_normal(p.shape)) / math.sqrt(p[0].numel()))
    return module


def filtered(image, before, after):
    """Zeros around the image, then the weighted sum of every window of 4 x 4."""
    padded = np.pad(image, (before, after))
    side = len(padded) - 3
    return np.array([[(padded[i : i + 4, j : j + 4] * FILTER).sum() for j in range(side)] for i in range(side)])


def by_hand(image, resampling):
    if resampling == "down":
        return filtered(image, 1, 1)[::2, ::2]
    if resampling == "blur":
        return filtered(image, 2, 2)
    spread = np.zeros((2 * len(image), 2 * len(image)))
    spread[::2, ::2] = 4 * image
    return filtered(spread, 2, 1)


@pytest.mark.parametrize("resampling", ["down", "up", "blur"])
@pytest.mark.parametrize("side", [2, 6])
def test_fir_resampling_is_the_filter_with_pixels_inserted_or_dropped(resampling, side):
    x = normal(2, 3, side, side)
    expected = [[by_hand(channel.numpy(), resampling) for channel in image] for image in x]
    torch.testing.assert_close(Fir(resampling).double()(x), torch.from_numpy(np.array(expected)))


@pytest.mark.parametrize("resampling", ["down", "up", "blur"])
@pytest.mark.parametrize("side", [6, 7])
@pytest.mark.parametrize("bfloat16", [False, True])
def test_derivatives_of_a_filter_are_those_of_the_convolution_at_one_convolution_each(resampling, side, bfloat16):
    """Torch's own second derivative of a depthwise convolution has a convolution per channel."""
    fir, channels = Fir(resampling), 12
    x = normal(2, channels, side, side).float().requires_grad_()
    kernel = fir.kernel.expand(channels, 1, 4, 4)

    def of_torch(x):
        if resampling == "up":
            return nn.functional.conv_transpose2d(x, kernel, stride=2, padding=1, groups=channels)
        stride, padding = (2, 1) if resampling == "down" else (1, 2)
        return nn.functional.conv2d(x, kernel, stride=stride, padding=padding, groups=channels)

    def second(layer):
        with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
            (first,) = torch.autograd.grad(layer(x).float().pow(3).sum(), x, create_graph=True)
        return torch.autograd.grad(first.square().sum(), x)[0]

    ours, theirs = second(fir), second(of_torch)
    assert (ours - theirs).norm() <= (2**-6 if bfloat16 else 1e-6) * theirs.norm()
    with torch.profiler.profile() as profile:
        second(fir)
    calls = sum(event.count for event in profile.key_averages() if event.key == "aten::convolution")
    assert calls == 4, "forward, the gradient, and back through both"


@pytest.mark.parametrize("resampling", ["down", "up", "blur"])
def test_fir_resampling_keeps_what_is_constant_but_for_the_border_and_adds_nothing_to_the_weights(resampling):
    fir = Fir(resampling)
    torch.testing.assert_close(fir(torch.ones(1, 1, 12, 12))[..., 2:-2, 2:-2].unique(), torch.ones(1))
    assert not fir.state_dict()
    assert not list(fir.parameters())


def test_pixel_norm_gives_every_latent_the_same_length():
    z = normal(4, 6)
    expected = z.numpy() / np.sqrt((z.numpy() ** 2).mean(1, keepdims=True) + 1e-8)
    torch.testing.assert_close(PixelNorm()(z), torch.from_numpy(expected))


def test_adaptive_group_norm_scales_and_shifts_what_is_normalised_in_groups():
    layer = stir(AdaptiveGroupNorm(8))
    x, style = normal(3, 8, 2, 2), normal(3, STYLE_DIM, seed=1)
    scale, shift = np.split(style.numpy() @ layer.style.weight.detach().numpy().T + layer.style.bias.detach().numpy(), 2, axis=1)
    groups = x.numpy().reshape(3, 2, 16)  # eight channels in groups of four
    normalised = (groups - groups.mean(2, keepdims=True)) / np.sqrt(groups.var(2, keepdims=True) + 1e-6)
    expected = normalised.reshape(3, 8, 2, 2) * (1 + scale[:, :, None, None]) + shift[:, :, None, None]
    torch.testing.assert_close(layer(x, style), torch.from_numpy(expected))


def test_attention_mixes_the_values_of_all_pixels():
    layer, x = stir(Attention(4)), normal(2, 4, 2, 3)
    normalised = nn.functional.group_norm(x, 1, layer.norm.weight, layer.norm.bias, eps=1e-6).detach().numpy()
    weight, bias = layer.query_key_value.weight.detach().numpy()[:, :, 0, 0], layer.query_key_value.bias.detach().numpy()
    out_weight, out_bias = layer.out.weight.detach().numpy()[:, :, 0, 0], layer.out.bias.detach().numpy()
    expected = x.numpy().copy()
    for image, pixels in zip(expected, normalised.reshape(2, 4, 6), strict=True):
        query, key, value = np.split(weight @ pixels + bias[:, None], 3)
        for i in range(6):
            similarity = np.exp([query[:, i] @ key[:, j] / 2 for j in range(6)])  # 2 = sqrt(channels)
            mixed = sum(similarity[j] * value[:, j] for j in range(6)) / similarity.sum()
            image[:, i // 3, i % 3] += out_weight @ mixed + out_bias
    torch.testing.assert_close(layer(x), torch.from_numpy(expected / math.sqrt(2)))


@pytest.mark.parametrize("resampling", [None, "down", "up"])
@pytest.mark.parametrize("out_channels", [4, 8])
def test_a_styled_block_starts_as_its_skip(resampling, out_channels):
    block, x, style = StyledBlock(4, out_channels, resampling), normal(2, 4, 4, 4).float(), normal(2, STYLE_DIM, seed=1).float()
    skip = Fir(resampling)(x) if resampling else x
    if resampling or out_channels != 4:
        skip = nn.functional.conv2d(skip, block.skip.weight)
    torch.testing.assert_close(block(x, style), skip / math.sqrt(2), rtol=0, atol=1e-3)


def test_a_styled_block_is_two_convolutions_of_what_is_normalised_and_activated():
    block, x, style = stir(StyledBlock(4, 8, "down")), normal(2, 4, 4, 4), normal(2, STYLE_DIM, seed=1)
    halve, silu = Fir("down").double(), nn.functional.silu
    hidden = nn.functional.conv2d(halve(silu(block.norm_in(x, style))), block.conv_in.weight, block.conv_in.bias, padding=1)
    hidden = nn.functional.conv2d(silu(block.norm_out(hidden, style)), block.conv_out.weight, block.conv_out.bias, padding=1)
    skip = nn.functional.conv2d(halve(x), block.skip.weight, block.skip.bias)
    torch.testing.assert_close(block(x, style), (hidden + skip) / math.sqrt(2))


@pytest.mark.parametrize(("n", "group_size"), [(8, 4), (4, 4), (6, 2), (2, 2), (5, 1), (1, 1)])
def test_the_minibatch_standard_deviation_is_one_number_per_group_of_consecutive_samples(n, group_size):
    x = normal(n, 3, 2, 2)
    expected = np.empty((n, 1, 2, 2))
    for start in range(0, n, group_size):
        group = x.numpy()[start : start + group_size]
        expected[start : start + group_size] = np.sqrt(group.var(0) + 1e-8).mean()
    torch.testing.assert_close(minibatch_std(x), torch.from_numpy(expected))


def test_two_batches_in_one_and_slices_of_a_batch_form_the_same_groups():
    target, transported = normal(8, 3, 2, 2), 5 * normal(8, 3, 2, 2, seed=1)
    apart = torch.cat([minibatch_std(part) for part in (target[:4], target[4:], transported)])
    assert torch.equal(minibatch_std(torch.cat([target, transported])), apart)


def test_weights_start_with_a_variance_that_their_fans_decide():
    layer = scaled(nn.Conv2d(64, 32, 3))
    assert layer.weight.std().item() == pytest.approx(math.sqrt(2 / (9 * (64 + 32))), rel=0.02)
    assert not layer.bias.any()
    assert scaled(nn.Linear(8, 8), 1e-5).weight.abs().max() < 1e-5
    for third in Attention(64).query_key_value.weight.chunk(3):
        assert third.std().item() == pytest.approx(math.sqrt(0.1 / 64), rel=0.05)


def test_the_head_of_a_potential_stays_in_single_precision_under_autocast():
    head, x = SumHead(8), normal(4, 8, 16, 16).float()
    with torch.autocast("cpu", torch.bfloat16):
        output = head(x)
    torch.testing.assert_close(output, x.sum((2, 3)) @ head.weight[0] + head.bias)


@pytest.mark.parametrize(
    ("layer", "inputs"),
    [
        (Fir("down"), [(1, 2, 4, 4)]),
        (Fir("up"), [(1, 2, 2, 2)]),
        (Fir("blur"), [(1, 2, 2, 2)]),
        (Attention(4), [(1, 4, 2, 2)]),
        (AdaptiveGroupNorm(4), [(2, 4, 1, 2), (2, STYLE_DIM)]),
    ],
    ids=["down", "up", "blur", "attention", "adaptive"],
)
def test_layers_can_be_differentiated_twice(layer, inputs):
    x, *rest = (normal(*sizes, seed=seed) for seed, sizes in enumerate(inputs))
    layer = stir(layer)
    assert torch.autograd.gradgradcheck(lambda x: layer(x, *rest), (x.requires_grad_(),))


def test_the_minibatch_standard_deviation_can_be_differentiated_twice():
    assert torch.autograd.gradgradcheck(minibatch_std, (normal(4, 2, 1, 2).requires_grad_(),))


@pytest.mark.parametrize("sample_shape", [(3, 28, 28), (3, 32, 16), (32,), (32, 32)])
def test_images_that_a_network_cannot_take_are_refused(sample_shape):
    with pytest.raises(ValueError, match="these networks need square images with a side that 8 divides, not"):
        image_shape(NetworkSpec(sample_shape, width=8, depth=1, pair=Large()), divisor=8)
