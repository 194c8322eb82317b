"""Exact solutions that the tests compare with: plain numpy and scipy, nothing of the code under test.

Every Gaussian is a pair (mean of shape (d,), covariance of shape (d, d)).
"""

from collections.abc import Callable

import numpy as np
from scipy import integrate, optimize, stats
from scipy.linalg import expm

Gaussian = tuple[np.ndarray, np.ndarray]


def _power(matrix: np.ndarray, exponent: float) -> np.ndarray:
    """Power of a symmetric positive definite matrix, through its eigenvalues."""
    values, vectors = np.linalg.eigh(matrix)
    return (vectors * values**exponent) @ vectors.T


def gaussian_jko_step(current: Gaussian, target: Gaussian, h: float) -> Gaussian:
    """argmin_rho W2^2(current, rho) / (2 h) + KL(rho | target), general covariances.

    Derivation. rho is Gaussian and the current measure is the image of rho under y -> y + h grad log(d rho / d target)(y) (first
    variation, Jordan, Kinderlehrer & Otto 1998). With P = S*^-1 and M = I + h P this map is y -> (M - h S+^-1) y + const.
    Means: m = M m+ - h P m*. Covariances: S = (M - h S+^-1) S+ (M - h S+^-1) = M S+ M - 2 h M + h^2 S+^-1. Multiplied by
    M^-1/2 on both sides, with Y = M^1/2 S+ M^1/2: C = M^-1/2 S M^-1/2 = Y - 2 h I + h^2 Y^-1, so Y and C commute and every
    eigenvalue solves y^2 - (c + 2 h) y + h^2 = 0; the larger root keeps the map increasing (y > h).
    """
    (mean, covariance), (target_mean, target_covariance) = current, target
    precision = np.linalg.inv(target_covariance)
    m = np.eye(len(mean)) + h * precision
    root = _power(m, -0.5)
    c, vectors = np.linalg.eigh(root @ covariance @ root)
    y = (c + 2 * h + np.sqrt(c**2 + 4 * h * c)) / 2
    return np.linalg.solve(m, mean + h * precision @ target_mean), root @ (vectors * y) @ vectors.T @ root


def scalar_jko_step(a: float, s: float, m: float, sigma: float, h: float) -> tuple[float, float]:
    """Mean and standard deviation after a KL step from N(a, s^2) to N(m, sigma^2).

    Derivation: in one dimension W2^2 = (a - a')^2 + (s - s')^2; setting the two derivatives of the sum to zero gives a linear
    equation for a' and a quadratic one for s'.
    """
    big_a = 1 / h + 1 / sigma**2
    return (sigma**2 * a + h * m) / (sigma**2 + h), (s / h + np.sqrt(s**2 / h**2 + 4 * big_a)) / (2 * big_a)


def exact_step(
    generator: Callable[[np.ndarray], np.ndarray],
    slope: Callable[[np.ndarray], np.ndarray],
    current: tuple[float, float],
    target: tuple[float, float],
    h: float,
    *,
    num_cells: int = 100,
) -> tuple[np.ndarray, np.ndarray]:
    """Quantiles x of N(current) and where the JKO step of any D_f takes them, for normal laws given as (mean, std).

    In one dimension the step's map is increasing, so cells of equal mass 1 / n between quantiles stay such cells. With q the
    mass of nu in a cell between two images y, D_f of the measures on the cells is sum q f(1 / (n q)), and W2^2 the mean of
    (y - x)^2; both are functions of the y alone, and their sum is minimised. d/dq [q f(p / q)] = f(t) - t f'(t) at t = p / q.
    Cells cost accuracy of the order 1 / n: means agree with `scalar_jko_step` to 2e-3 at n = 100.
    """
    nu = stats.norm(*target)
    x = stats.norm(*current).ppf(np.arange(1, num_cells) / num_cells)

    def functional(y: np.ndarray) -> tuple[float, np.ndarray]:
        if (np.diff(y) <= 0).any():
            return np.inf, np.zeros_like(y)
        edges = np.concatenate([[-np.inf], y, [np.inf]])
        above = edges[:-1] > nu.mean()  # masses in a tail are differences of its own small numbers
        q = np.where(above, nu.sf(edges[:-1]) - nu.sf(edges[1:]), nu.cdf(edges[1:]) - nu.cdf(edges[:-1]))
        q = np.maximum(q, 1e-300)
        t = 1 / (num_cells * q)
        by_mass = generator(t) - t * slope(t)
        gradient = (y - x) / h / len(y) + nu.pdf(y) * (by_mass[:-1] - by_mass[1:])
        return float(np.mean((y - x) ** 2) / (2 * h) + q @ generator(t)), gradient

    found = optimize.minimize(functional, x, jac=True, method="BFGS", options={"maxiter": 1000, "gtol": 1e-7})
    assert np.abs(functional(found.x)[1]).max() < 1e-5
    return x, found.x


def ornstein_uhlenbeck(start: Gaussian, target: Gaussian, t: float) -> Gaussian:
    """Marginal at time t of the gradient flow of KL(. | N(m*, S*)), the limit of JKO steps as h -> 0.

    It is the law of dX = -P (X - m*) dt + sqrt(2) dW with P = S*^-1, whose moments solve dm/dt = -P (m - m*) and
    dS/dt = -P S - S P + 2 I: m_t = m* + E (m_0 - m*) and
    S_t = S* + E (S_0 - S*) E with E = exp(-t P).
    """
    (mean, covariance), (target_mean, target_covariance) = start, target
    e = expm(-t * np.linalg.inv(target_covariance))
    return target_mean + e @ (mean - target_mean), target_covariance + e @ (covariance - target_covariance) @ e


def bures_wasserstein(p: Gaussian, q: Gaussian) -> float:
    """W2 between Gaussians: sqrt(|m1 - m2|^2 + tr(S1 + S2 - 2 (S1^1/2 S2 S1^1/2)^1/2)) (Dowson & Landau 1982)."""
    root = _power(p[1], 0.5)
    cross = np.sqrt(np.clip(np.linalg.eigvalsh(root @ q[1] @ root), 0, None)).sum()
    return float(np.sqrt(max(0.0, np.sum((p[0] - q[0]) ** 2) + np.trace(p[1] + q[1]) - 2 * cross)))


def bures_uvp(p: Gaussian, exact: Gaussian) -> float:
    """Unexplained variance of p in per cent, 100 W2^2(p, exact) / tr S_exact (Korotin et al. 2021, there with halved squares)."""
    return 100 * bures_wasserstein(p, exact) ** 2 / float(np.trace(exact[1]))


def gaussian_kl(p: Gaussian, q: Gaussian) -> float:
    """KL(p | q) in nats: E_p of log(dp / dq), which is a quadratic.

    It is (tr(S_q^-1 S_p) - d + (m_q - m_p)^T S_q^-1 (m_q - m_p) + log det S_q - log det S_p) / 2.
    """
    precision = np.linalg.inv(q[1])
    shift = q[0] - p[0]
    logdet = np.linalg.slogdet(q[1])[1] - np.linalg.slogdet(p[1])[1]
    return float(np.trace(precision @ p[1]) - len(shift) + shift @ precision @ shift + logdet) / 2


def optimal_map(p: Gaussian, q: Gaussian) -> tuple[np.ndarray, np.ndarray]:
    """(A, b) of the optimal map x -> A x + b of p to q: A = S1^-1/2 (S1^1/2 S2 S1^1/2)^1/2 S1^-1/2 (Gelbrich 1990)."""
    root, inverse = _power(p[1], 0.5), _power(p[1], -0.5)
    a = inverse @ _power(root @ q[1] @ root, 0.5) @ inverse
    return a, q[0] - a @ p[0]


def optimal_potential(after: Gaussian, target: Gaussian) -> tuple[np.ndarray, np.ndarray, float]:
    """(Q, q, c) of the optimal potential v(y) = y^T Q y + q^T y + c of a KL step: v = -log(d mu_{k+1} / d nu).

    From Eq. 19 of arXiv 2402.05443, d mu_{k+1} / d nu = (f*)'(-v) = exp(-v), and the two Gaussian densities.
    """
    (m, s), (target_mean, target_s) = after, target
    p, target_p = np.linalg.inv(s), np.linalg.inv(target_s)
    logdet = np.linalg.slogdet(s)[1] - np.linalg.slogdet(target_s)[1]
    c = float(m @ p @ m - target_mean @ target_p @ target_mean + logdet) / 2
    return (p - target_p) / 2, target_p @ target_mean - p @ m, c


def gaussian_divergence(generator: Callable[[float], float], rho: tuple[float, float], nu: tuple[float, float]) -> float:
    """D_f(rho | nu) = integral of f(d rho / d nu) d nu by adaptive quadrature, for N(mean, std^2) given as (mean, std)."""
    p, q = stats.norm(*rho), stats.norm(*nu)
    reach = 12 * max(rho[1], nu[1])
    value, _ = integrate.quad(
        lambda x: generator(float(np.exp(p.logpdf(x) - q.logpdf(x)))) * q.pdf(x), nu[0] - reach, nu[0] + reach, limit=500
    )
    return value
