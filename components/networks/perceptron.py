"""Perceptrons for vectors; images are taken as vectors of their pixels."""

import math
from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn

from components.networks.embedding import Given, embedding_of
from components.networks.pair import NetworkSpec
from components.streams import stream

LEAK = 0.2
"""LeakyReLU: its second derivative is zero, which makes the double backward of the gradient penalties cheap. KL flows that drain
away with SiLU stand with it."""

GATE_RATE = 10.0
"""Learning rate of the gate relative to the other weights: under Adam it would need a step per 1 / rate to close."""

RIDGE = 1e-4
"""Share of the mean variance that is added to every direction of a covariance: images have pixels that never change."""

TRACKING_RATE = 0.05
"""Weight of a batch in the running moments of the transported samples: they are a phase's own after some 20 steps."""

BATCHES_AT_START = 64
"""Weight, in batches, of the samples that the source's moments start from, among all batches of the source that follow."""

EMBEDDING_DIM = 32
"""Size of the embedding of a condition, which stands beside the samples."""


def perceptron(in_dim: int, width: int, depth: int, out_dim: int) -> nn.Sequential:
    """Make a perceptron with `depth` hidden layers of `width` units, LeakyReLU between, in place: no mask of signs is kept."""
    dims = [in_dim, *([width] * depth)]
    hidden = [layer for a, b in pairwise(dims) for layer in (nn.Linear(a, b), nn.LeakyReLU(LEAK, inplace=True))]
    return nn.Sequential(*hidden, nn.Linear(width, out_dim))


def start_at_zero(layer: nn.Module) -> None:
    """Set a linear layer's weights and bias to zero, so that what ends in it starts at zero."""
    assert isinstance(layer, nn.Linear)
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)


def with_ridge(covariance: Float[Tensor, "d d"]) -> Float[Tensor, "d d"]:
    """Add a share of its mean variance to every direction of a covariance."""
    return covariance + torch.diag(RIDGE * covariance.diagonal().mean().expand(len(covariance)))


def beside(x: Float[Tensor, "n d"], embedding: nn.Module | None, condition: Given | None) -> Float[Tensor, "n e"]:
    """Put the embedding of each sample's condition beside it, where there is one."""
    return x if embedding is None else torch.cat([x, embedding(condition)], 1)


class FourierFeatures(nn.Module):
    """The features x -> (x, sin(x W), cos(x W)) with fixed W ~ N(0, 1) (Tancik et al. 2020): a perceptron alone bends too
    slowly.
    """

    frequencies: Tensor

    def __init__(self, dim: int, num_frequencies: int) -> None:
        super().__init__()
        frequencies = stream(0, "frequencies").standard_normal((dim, num_frequencies))
        self.register_buffer("frequencies", torch.from_numpy(frequencies).float())

    def forward(self, x: Float[Tensor, "n d"]) -> Float[Tensor, "n e"]:
        phase = x @ self.frequencies
        return torch.cat([x, phase.sin(), phase.cos()], 1)


class PerceptronMap(nn.Module):
    """The map T(x, z) = gate * x + net(x, z), where net starts at zero and the gate at one: exactly the identity before
    training.

    The gate, one number per coordinate, closes where the data are thinner than the source. With a fixed skip the network would
    have to cancel x itself, which it cannot do where it is narrower than d. With `second_order` a learned affine map takes its
    place: T(x, z) = x + A x + b + net(x, z), the optimal map between Gaussians when net = 0.
    """

    def __init__(self, spec: NetworkSpec) -> None:
        super().__init__()
        dim = math.prod(spec.sample_shape)
        in_dim = dim + spec.z_dim
        self.features = FourierFeatures(in_dim, spec.num_frequencies)
        given = EMBEDDING_DIM if spec.condition else 0
        self.net = perceptron(in_dim + 2 * spec.num_frequencies + given, spec.width, spec.depth, dim)
        start_at_zero(self.net[-1])
        self.second_order = spec.second_order
        if spec.second_order:
            self.affine = nn.Linear(dim, dim)
            start_at_zero(self.affine)
        else:
            self.closed = nn.Parameter(torch.zeros(dim))
        self.embedding = embedding_of(spec.condition, EMBEDDING_DIM)

    def forward(
        self, x: Float[Tensor, "n *shape"], z: Float[Tensor, "n z"] | None, condition: Given | None = None
    ) -> Float[Tensor, "n *shape"]:
        flat = x.flatten(1)
        skip = flat + self.affine(flat) if self.second_order else (1 - GATE_RATE * self.closed) * flat
        both = flat if z is None else torch.cat([flat, z], 1)
        return (skip + self.net(beside(self.features(both), self.embedding, condition))).view_as(x)


class PerceptronPotential(nn.Module):
    """The potential's network D(x) for vectors; the divergence turns D into v.

    With `second_order`, D = log N(x; target) - log N(x; transported) + net, the two Gaussians with the measures' moments: KL's
    potential between Gaussians, exact where the samples do not overlap and no classifier learns anything. The target's moments
    are taken once, those of the transported samples are running averages, less the noise of the batches that they are of
    (`track`). All are in coordinates w in which the target is N(0, I).
    """

    shift: Tensor
    whitening: Tensor
    mean: Tensor
    covariance: Tensor
    source_mean: Tensor
    source_moment: Tensor
    running_mean: Tensor
    running_moment: Tensor
    num_batches: Tensor

    def __init__(self, spec: NetworkSpec) -> None:
        super().__init__()
        dim = math.prod(spec.sample_shape)
        self.net = perceptron(dim + (EMBEDDING_DIM if spec.condition else 0), spec.width, spec.depth, 1)
        self.second_order = spec.second_order
        if spec.second_order:
            start_at_zero(self.net[-1])
            of_size = {"shift": dim, "mean": dim, "source_mean": dim, "running_mean": 2 * dim}
            matrices = ("whitening", "covariance", "source_moment", "running_moment")
            for (vector, size), matrix in zip(of_size.items(), matrices, strict=True):
                self.register_buffer(vector, torch.zeros(size))
                self.register_buffer(matrix, torch.eye(size))
            self.register_buffer("num_batches", torch.zeros(()))
        self.embedding = embedding_of(spec.condition, EMBEDDING_DIM)

    def start_from(self, source: Float[Tensor, "m *shape"], target: Float[Tensor, "m *shape"]) -> None:
        """Take the moments of both measures; T is the identity, so the source is what is transported."""
        flat = target.flatten(1).double()
        covariance = torch.atleast_2d(torch.cov(flat.T))
        self.shift.copy_(flat.mean(0))
        self.whitening.copy_(torch.linalg.inv(torch.linalg.cholesky(with_ridge(covariance))))
        mean, moment = self.moments(source, source)
        dim = len(self.source_mean)
        self.running_mean.copy_(mean)
        self.running_moment.copy_(moment)
        self.source_mean.copy_(mean[dim:])
        self.source_moment.copy_(moment[dim:, dim:])
        self.correct()

    def track(self, source: Sequence[Tensor], transported: Sequence[Tensor], reduce: Callable[[Sequence[Tensor]], None]) -> None:
        """Move the running moments towards those of a batch, given in parts, averaged over the workers by `reduce`."""
        mean, moment = moments = self.moments(torch.cat(list(source)), torch.cat(list(transported)))
        reduce(moments)
        self.running_mean.lerp_(mean, TRACKING_RATE)
        self.running_moment.lerp_(moment, TRACKING_RATE)
        self.num_batches.add_(1)
        weight, dim = 1 / (self.num_batches + BATCHES_AT_START), len(self.source_mean)
        self.source_mean.lerp_(mean[dim:], weight)
        self.source_moment.lerp_(moment[dim:, dim:], weight)
        self.correct()

    def moments(self, source: Float[Tensor, "n *shape"], transported: Float[Tensor, "n *shape"]) -> list[Tensor]:
        """Measure the mean and the second moment of (w, x): transported samples, whitened, beside those of the source."""
        both = torch.cat([self.white(transported), source.flatten(1)], 1)
        return [both.mean(0), both.T @ both / len(both)]

    def correct(self) -> None:
        """Take from the running moments of w what the batches of x have in them by chance.

        With w = slope x + a rest, the slope from the same running moments, mean and covariance of x are replaced by those of all
        samples of the source so far. What is left of the noise is that of the rest alone, and none of a map that is affine. A
        smaller weight of each batch would lessen the noise as well, and lag behind the map.
        """
        dim = len(self.source_mean)
        covariance = self.running_moment - torch.outer(self.running_mean, self.running_mean)
        of_w, of_x, of_both = covariance[:dim, :dim], covariance[dim:, dim:], covariance[dim:, :dim]
        slope = torch.linalg.solve(with_ridge(of_x), of_both).T
        of_source = self.source_moment - torch.outer(self.source_mean, self.source_mean)
        self.mean.copy_(self.running_mean[:dim] + slope @ (self.source_mean - self.running_mean[dim:]))
        self.covariance.copy_(of_w + slope @ (of_source - of_x) @ slope.T)

    def white(self, x: Float[Tensor, "n *shape"]) -> Float[Tensor, "n d"]:
        return (x.flatten(1) - self.shift) @ self.whitening.T

    def log_ratio(self, white: Float[Tensor, "n d"]) -> Float[Tensor, " n"]:
        """Compute log N(w; 0, I) - log N(w; mean, covariance) at whitened samples w."""
        covariance = with_ridge(self.covariance)
        factor, _ = torch.linalg.cholesky_ex(covariance)  # what is not finite shows in the loss, which names the step
        residual = torch.linalg.solve_triangular(factor, (white - self.mean).T, upper=False)
        return (residual.square().sum(0) - white.square().sum(1)) / 2 + factor.diagonal().log().sum()

    def forward(self, x: Float[Tensor, "n *shape"], condition: Given | None = None) -> Float[Tensor, " n"]:
        if not self.second_order:
            return self.net(beside(x.flatten(1), self.embedding, condition)).squeeze(1)
        white = self.white(x)
        return self.log_ratio(white) + self.net(white).squeeze(1)
