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
"""Weight of a batch in the running moments of the transported samples."""

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

    The gate, one number per coordinate, closes where the data are thinner than the source: with a fixed skip the network would
    have to cancel x itself, which it cannot where it is narrower than d. With `second_order` a learned affine map takes its
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
    are taken once, those of the transported samples are running averages (`track`). All are in coordinates w in which the
    target is N(0, I).
    """

    shift: Tensor
    whitening: Tensor
    mean: Tensor
    second_moment: Tensor

    def __init__(self, spec: NetworkSpec) -> None:
        super().__init__()
        dim = math.prod(spec.sample_shape)
        self.net = perceptron(dim + (EMBEDDING_DIM if spec.condition else 0), spec.width, spec.depth, 1)
        self.second_order = spec.second_order
        if spec.second_order:
            start_at_zero(self.net[-1])
            for vector, matrix in (("shift", "whitening"), ("mean", "second_moment")):
                self.register_buffer(vector, torch.zeros(dim))
                self.register_buffer(matrix, torch.eye(dim))
        self.embedding = embedding_of(spec.condition, EMBEDDING_DIM)

    def start_from(self, source: Float[Tensor, "m *shape"], target: Float[Tensor, "m *shape"]) -> None:
        """Take the moments of both measures; T is the identity, so the source is what is transported."""
        flat = target.flatten(1).double()
        covariance = torch.atleast_2d(torch.cov(flat.T))
        covariance.diagonal().add_(RIDGE * covariance.trace() / len(covariance))
        self.shift.copy_(flat.mean(0))
        self.whitening.copy_(torch.linalg.inv(torch.linalg.cholesky(covariance)))
        white = self.white(source)
        self.mean.copy_(white.mean(0))
        self.second_moment.copy_(white.T @ white / len(white))

    def track(self, transported: Sequence[Tensor], reduce: Callable[[Sequence[Tensor]], None]) -> None:
        """Move the running moments towards those of a batch, given in parts, averaged over the workers by `reduce`."""
        white = self.white(torch.cat(list(transported)))
        moments = [white.mean(0), white.T @ white / len(white)]
        reduce(moments)
        self.mean.lerp_(moments[0], TRACKING_RATE)
        self.second_moment.lerp_(moments[1], TRACKING_RATE)

    def white(self, x: Float[Tensor, "n *shape"]) -> Float[Tensor, "n d"]:
        return (x.flatten(1) - self.shift) @ self.whitening.T

    def log_ratio(self, white: Float[Tensor, "n d"]) -> Float[Tensor, " n"]:
        """Compute log N(w; 0, I) - log N(w; mean, covariance) at whitened samples w."""
        covariance = self.second_moment - torch.outer(self.mean, self.mean)
        covariance.diagonal().add_(RIDGE * covariance.trace() / len(covariance))
        factor, _ = torch.linalg.cholesky_ex(covariance)  # what is not finite shows in the loss, which names the step
        residual = torch.linalg.solve_triangular(factor, (white - self.mean).T, upper=False)
        return (residual.square().sum(0) - white.square().sum(1)) / 2 + factor.diagonal().log().sum()

    def forward(self, x: Float[Tensor, "n *shape"], condition: Given | None = None) -> Float[Tensor, " n"]:
        if not self.second_order:
            return self.net(beside(x.flatten(1), self.embedding, condition)).squeeze(1)
        white = self.white(x)
        return self.log_ratio(white) + self.net(white).squeeze(1)
