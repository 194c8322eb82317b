"""The recipe of a flow: everything that decides *what* is computed, and nothing about where or how it runs.

Importing this file costs milliseconds: choices are spelled here as literals, and a test holds them equal to the tables of
`components`.
"""

import math
from dataclasses import dataclass, field
from typing import Literal

PLANAR = ("gauss8", "gauss25", "two_circles", "moons", "checkerboard", "spiral", "swiss_roll", "pinwheel")
DATASETS = ("digits", "fashion_mnist")
LOG_RATIO = ("kl", "forward_kl")
"""Divergences whose network output is a log density ratio; `jsd` is one as well, and its semi-dual loss is logistic already."""
SourceName = Literal[
    "normal", "gaussian", "gauss8", "gauss25", "two_circles", "moons", "checkerboard", "spiral", "swiss_roll", "pinwheel"
]
TargetName = Literal[
    "gaussian",
    "gauss8",
    "gauss25",
    "two_circles",
    "moons",
    "checkerboard",
    "spiral",
    "swiss_roll",
    "pinwheel",
    "digits",
    "fashion_mnist",
]
DivergenceName = Literal["kl", "jsd", "chi2", "softplus", "linear", "forward_kl", "relativistic"]
FitName = Literal["conjugate", "logistic"]
SourceDivergenceName = Literal["linear", "kl", "chi2", "softplus"]


@dataclass(frozen=True)
class Data:
    """The two ends of the flow."""

    source: SourceName = "normal"
    """mu, where the flow starts; `normal` is N(0, I) in the space the flow lives in"""
    target: TargetName = "two_circles"
    """nu, the data"""
    dim: int = 2
    """dimension d, for `gaussian` targets; the others have their own"""
    standardise: bool = True
    """shift and scale (one scalar) the target to mean 0 and variance 1 per dimension; metrics stay in the data's units"""


@dataclass(frozen=True)
class Network:
    """Transport map T(x, z) and potential v."""

    width: int = 96
    """units of a hidden layer"""
    depth: int = 3
    """number of hidden layers"""
    num_frequencies: int = 32
    """random Fourier features of x that the map sees beside x; 0 for none"""
    z_dim: int = 0
    """size of the latent z of a stochastic map; 0 makes T deterministic"""
    kind: Literal["perceptron", "residual"] = "perceptron"
    """`perceptron` is ours; `residual` the reference code's toy networks: `depth` blocks of three SiLU layers, no features"""
    second_order: bool = False
    """an affine part in T and the log ratio of two Gaussians in v: exact between Gaussians under kl, forward_kl and jsd"""


@dataclass(frozen=True)
class Jko:
    """The minimising-movement scheme."""

    num_phases: int = 6
    """K, the number of JKO steps"""
    h: float = 3.0
    """JKO step size, in squared units of the standardised space; `inf` drops the cost (a plain f-GAN)"""
    first_h: float | None = None
    """h of phase 0, where the anchor is the identity; None: the same as h"""
    divergence: DivergenceName = "jsd"
    """F of the JKO step, the divergence of model from data"""
    source_divergence: SourceDivergenceName = "linear"
    """divergence on the source side; `linear` keeps that marginal fixed (S-JKO), `kl` is UOTM"""
    fit: FitName = "conjugate"
    """how v is learned for a given T: by the semi-dual loss with f*, or by logistic regression (`kl`, `forward_kl`): the same
    solution without the heavy tail of exp(-v)"""
    cost: Literal["squared", "mean_squared"] = "squared"
    """`squared`: the true step |x - y|^2 / 2h; `mean_squared`: divided by the dimension, as the reference code does"""
    parametrization: Literal["direct", "composed"] = "direct"
    """`direct`: T_k maps the source to mu_{k+1}, O(K); `composed`: one increment per phase, O(K^2), for comparison"""
    z: Literal["independent", "shared"] = "independent"
    """draws of z for T_{k-1} and T_k, where z_dim > 0"""


@dataclass(frozen=True)
class Training:
    """How each phase is solved."""

    num_steps: int = 1000
    """optimizer steps of the map per phase"""
    first_num_steps: int | None = None
    """steps of phase 0; None: the same as num_steps"""
    batch_size: int = 256
    """samples of the source, and of the target, per step, over all workers"""
    map_lr: float = 2e-3
    """Adam's learning rate of the map"""
    potential_lr: float = 2e-3
    """Adam's learning rate of the potential"""
    lr_decay_steps: float = 700.0
    """both rates fall as 1 / (1 + step / lr_decay_steps), steps counted over the whole flow; `inf` keeps them constant"""
    beta1: float = 0.0
    """Adam's first-moment decay, both networks"""
    beta2: float = 0.99
    """Adam's second-moment decay, both networks"""
    r1: float = 0.03
    """weight of the gradient penalty on target samples"""
    r2: float = 0.03
    """weight of the gradient penalty on transported samples"""
    penalty_every: int = 4
    """steps between gradient penalties, each with its weight times this number"""
    ema_decay: float = 0.995
    """decay per step of the averaged map, the one that is evaluated and served"""


@dataclass(frozen=True)
class Recipe:
    """A flow. The seed and these groups are its identity."""

    data: Data = field(default_factory=Data)
    network: Network = field(default_factory=Network)
    jko: Jko = field(default_factory=Jko)
    training: Training = field(default_factory=Training)
    seed: int = 0
    """seed of every random number"""


def _require(holds: bool, field_name: str, rule: str, value: object) -> None:
    if not holds:
        raise ValueError(f"{field_name} must be {rule}, not {value}")


def validate(recipe: Recipe) -> None:
    """Rules that types cannot say.

    Raises:
        ValueError: the first broken rule, with the dotted field, the rule and the value.
    """
    data, network, jko, training = recipe.data, recipe.network, recipe.jko, recipe.training
    _require(0 <= recipe.seed < 2**63, "seed", "at least 0 and below 2^63", recipe.seed)
    counts: dict[str, tuple[int | None, int]] = {
        "data.dim": (data.dim, 10_000),
        "network.width": (network.width, 100_000),
        "network.depth": (network.depth, 1_000),
        "jko.num_phases": (jko.num_phases, 10_000),
        "training.num_steps": (training.num_steps, 10**9),
        "training.first_num_steps": (training.first_num_steps, 10**9),
        "training.batch_size": (training.batch_size, 10**7),
        "training.penalty_every": (training.penalty_every, 10**9),
    }
    for name, (count, most) in counts.items():
        _require(count is None or count >= 1, name, "at least 1", count)
        _require(count is None or count <= most, name, f"at most {most}", count)
    positive = {"jko.h": jko.h, "jko.first_h": jko.first_h, "training.lr_decay_steps": training.lr_decay_steps}
    for name, number in positive.items():
        _require(number is None or number > 0, name, "above 0 (inf is allowed)", number)
    for name in ("map_lr", "potential_lr"):
        rate = getattr(training, name)
        _require(0 < rate < math.inf, f"training.{name}", "above 0 and finite", rate)
    for name in ("r1", "r2"):
        _require(0 <= getattr(training, name) < math.inf, f"training.{name}", "at least 0 and finite", getattr(training, name))
    for name in ("beta1", "beta2", "ema_decay"):
        _require(0 <= getattr(training, name) < 1, f"training.{name}", "at least 0 and below 1", getattr(training, name))
    for name in ("z_dim", "num_frequencies"):
        _require(
            0 <= getattr(network, name) <= 100_000, f"network.{name}", "at least 0 and at most 100000", getattr(network, name)
        )
    _require_consistent(recipe)


def _require_consistent(recipe: Recipe) -> None:
    """Rules between fields."""
    data, jko = recipe.data, recipe.jko
    image = data.target in DATASETS
    _require(not image or data.source == "normal", "data.source", f"normal for data.target {data.target}", data.source)
    planar_source = data.source in PLANAR and data.target == "gaussian"
    _require(not planar_source or data.dim == 2, "data.dim", f"2 for data.source {data.source}", data.dim)
    composed_z = jko.parametrization == "composed" and recipe.network.z_dim > 0
    _require(not composed_z, "network.z_dim", "0 when jko.parametrization is composed", recipe.network.z_dim)
    paired = jko.divergence == "relativistic" and jko.source_divergence != "linear"
    _require(not paired, "jko.source_divergence", "linear when jko.divergence is relativistic", jko.source_divergence)
    if jko.fit == "logistic":
        _require(jko.divergence in LOG_RATIO, "jko.fit", f"conjugate unless jko.divergence is {' or '.join(LOG_RATIO)}", jko.fit)
        _require(jko.source_divergence == "linear", "jko.fit", "conjugate unless jko.source_divergence is linear", jko.fit)
    network = recipe.network
    if network.kind == "residual":
        _require(
            not network.num_frequencies, "network.num_frequencies", "0 when network.kind is residual", network.num_frequencies
        )
        _require(not network.second_order, "network.second_order", "false when network.kind is residual", network.second_order)
