"""The known maps of `benchmarks.maps`."""

import numpy as np
import pytest

from benchmarks.maps import affine, known_map, uvp_percent


@pytest.mark.parametrize("dim", [2, 16])
def test_a_known_map_is_the_gradient_of_a_convex_function(dim: int) -> None:
    exact, rng = known_map(dim, seed=0), np.random.default_rng(1)
    x = rng.standard_normal((20, dim))
    step = 1e-3
    moved = x[:, None] + step * np.eye(dim)
    jacobians = (exact(moved.reshape(-1, dim)).astype(float).reshape(20, dim, dim) - exact(x)[:, None]) / step
    symmetric = (jacobians + jacobians.transpose(0, 2, 1)) / 2
    assert np.abs(jacobians - symmetric).max() < 0.02 * np.abs(jacobians).max()
    assert np.linalg.eigvalsh(symmetric).min() > 0.2


def test_the_affine_map_is_exact_between_gaussians() -> None:
    rng = np.random.default_rng(0)
    root = np.array([[2.0, 0.5], [0.5, 1.0]])  # symmetric and positive: the optimal map of N(0, I)
    x = rng.standard_normal((50_000, 2))
    assert uvp_percent(affine(x, x, x @ root + 3), x @ root + 3) < 0.01
