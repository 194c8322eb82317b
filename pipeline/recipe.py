"""The recipe of a flow: everything that decides *what* is computed, and nothing about where or how it runs.

Importing this file costs milliseconds: choices are spelled here as literals, and a test holds them equal to the tables of
`components`.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from pipeline.recipes.values import Refused

PLANAR = ("gauss8", "gauss25", "two_circles", "moons", "checkerboard", "spiral", "swiss_roll", "pinwheel")
DATASETS: dict[str, tuple[int, int | None]] = {
    "digits": (1, 8),
    "fashion_mnist": (1, 28),
    "mnist": (1, 28),
    "emnist_letters": (1, 28),
    "cifar10": (3, 32),
    "celeba_hq": (3, None),
    "image_folder": (3, None),
}
"""Sets of square images: channels, and the side in pixels that they come with; folders come with any."""
BUILT_IN = ("digits", "fashion_mnist")
"""Sets that need no `python -m pipeline prepare`, in the size that they come with."""
IMAGE_SOURCES = ("emnist_letters", "mnist", "fashion_mnist")
SIDES: dict[str, Sequence[int]] = {
    "light": range(8, 1025, 4),
    "small": (8, 16, 32, 64, 128, 256, 512, 1024),
    "large": (16, 32, 64, 128),
    "large_256": (256,),
}
"""Networks for images, and the sides in pixels that they make."""
LOG_RATIO = ("kl", "forward_kl")
"""Divergences whose network output is a log density ratio; `jsd` is one as well, and its semi-dual loss is logistic already."""
SourceName = Literal[
    "normal",
    "gaussian",
    "gauss8",
    "gauss25",
    "two_circles",
    "moons",
    "checkerboard",
    "spiral",
    "swiss_roll",
    "pinwheel",
    "emnist_letters",
    "mnist",
    "fashion_mnist",
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
    "mnist",
    "emnist_letters",
    "cifar10",
    "celeba_hq",
    "image_folder",
]
DivergenceName = Literal["kl", "jsd", "chi2", "softplus", "linear", "forward_kl", "relativistic"]
FitName = Literal["conjugate", "logistic"]
SourceDivergenceName = Literal["linear", "kl", "chi2", "softplus"]


@dataclass(frozen=True)
class Data:
    """The two ends of the flow."""

    source: SourceName = "normal"
    """mu, where the flow starts; `normal` is N(0, I) in the space the flow lives in; images need a target of their shape"""
    target: TargetName = "two_circles"
    """nu, the data. Default for `light` fashion_mnist, for `small` and `large` cifar10, for `large_256` celeba_hq"""
    dim: int = 2
    """dimension d, for `gaussian` targets; the others have their own"""
    standardise: bool = True
    """shift and scale (one scalar) the target to mean 0 and variance 1 per dimension; metrics stay in the data's units. Default
    with a network for images: false"""
    size: int | None = None
    """side of the images in pixels; None: what the set comes with. `celeba_hq` and `image_folder` need one"""
    flip: bool = False
    """mirror each training image of the target left to right with probability 1/2"""
    digest: str | None = None
    """which prepared images the target is (`prepare` prints it); None: those that are found, whose digest then stands here"""
    source_digest: str | None = None
    """the same of a source that is a set of images"""
    streamed: bool = False
    """batches from epochs over shuffled Parquet shards, not drawn independently; set by itself where a set is too large for
    cluster.max_cached_gb"""


@dataclass(frozen=True)
class Network:
    """Transport map T(x, z) and potential v."""

    width: int = 96
    """units of a hidden layer, or channels of a network for images; each kind has its own default: 128 for `residual`, 32 for
    `light`, 64 for `small`, 128 for `large`, 64 for `large_256`"""
    depth: int = 3
    """number of hidden layers; `perceptron` and `residual` only"""
    num_frequencies: int = 32
    """random Fourier features of x that the map sees beside x; 0 for none. Only `perceptron` has any"""
    z_dim: int = 0
    """size of the latent z of a stochastic map; 0 makes T deterministic. `residual` has 2, `large` and `large_256` have 100"""
    kind: Literal["perceptron", "residual", "light", "small", "large", "large_256"] = "perceptron"
    """`perceptron` is ours; `residual` the reference code's toy networks: `depth` blocks of three SiLU layers, no features. For
    images in [-1, 1]: `light` for CPU cores, the paper's `small` and `large` (NCSN++) pairs, and the latter for 256 pixels. As a
    flag, another kind than the recipe's replaces the recipe's network as a whole"""
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
    """decay per step of the averaged map, the one that is evaluated and served; less at the n-th step of the flow, at most
    (n - 1) / (n + 8), so that the initial weights have no share"""
    target_noise: float = 0.0
    """standard deviation of Gaussian noise on target samples before the potential sees them, in the space the flow lives in:
    target_noise / (k + 1) in phase k"""
    bfloat16: bool = False
    """networks run in bfloat16 where that is safe (autocast); weights, losses and penalties stay in float32"""


@dataclass(frozen=True)
class Recipe:
    """A flow. The seed and these groups are its identity."""

    data: Data = field(default_factory=Data)
    network: Network = field(default_factory=Network)
    jko: Jko = field(default_factory=Jko)
    training: Training = field(default_factory=Training)
    seed: int = 0
    """seed of every random number"""


GROUPS: dict[str, type[Any]] = {"data": Data, "network": Network, "jko": Jko, "training": Training}
"""The groups of a recipe by name."""
SMALLEST, LARGEST = 1e-12, 1e12
"""Bounds of numbers above 0: their squares and inverses are numbers of float32."""
MOST_RATE = 1e3
"""Of learning rates: Adam's steps are as long as its rate, and weights are of order 1."""
MOST_IN_A_BATCH, MOST_IN_LAYERS = 1 << 30, 1 << 28
"""Numbers of one batch of samples, and weights of all hidden layers: 4 GiB, and 1 GiB, in float32."""


def _require(holds: bool, field_name: str, rule: str, value: object) -> None:
    if not holds:
        raise Refused(field_name, rule, value)


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
        within = number is None or math.isinf(number) or SMALLEST <= number <= LARGEST
        _require(within, name, f"from {SMALLEST:g} to {LARGEST:g}, or inf", number)
    for name in ("map_lr", "potential_lr"):
        rate = getattr(training, name)
        _require(0 < rate < math.inf, f"training.{name}", "above 0 and finite", rate)
        _require(SMALLEST <= rate <= MOST_RATE, f"training.{name}", f"from {SMALLEST:g} to {MOST_RATE:g}", rate)
    for name in ("r1", "r2", "target_noise"):
        weight = getattr(training, name)
        _require(0 <= weight < math.inf, f"training.{name}", "at least 0 and finite", weight)
        _require(
            weight == 0 or SMALLEST <= weight <= LARGEST, f"training.{name}", f"0, or from {SMALLEST:g} to {LARGEST:g}", weight
        )
    for name in ("beta1", "beta2", "ema_decay"):
        _require(0 <= getattr(training, name) < 1, f"training.{name}", "at least 0 and below 1", getattr(training, name))
    for name in ("z_dim", "num_frequencies"):
        _require(
            0 <= getattr(network, name) <= 100_000, f"network.{name}", "at least 0 and at most 100000", getattr(network, name)
        )
    _require_consistent(recipe)


def built_in(name: str, size: int | None, digest: str | None) -> bool:
    """Whether this is a set that needs no preparation."""
    return name in BUILT_IN and size in (None, DATASETS[name][1]) and digest is None


def _require_measure(data: Data) -> None:
    """Rules of a target that is an analytic measure."""
    _require(data.source not in DATASETS, "data.source", f"no set of images for data.target {data.target}", data.source)
    for name in ("size", "flip", "digest", "source_digest", "streamed"):
        value = getattr(data, name)
        _require(value == getattr(Data, name), f"data.{name}", f"left out for data.target {data.target}", value)


def _require_images(data: Data) -> None:
    """Rules of a target that is a set of images."""
    channels, side = DATASETS[data.target]
    sources = ["normal", *(name for name in IMAGE_SOURCES if DATASETS[name][0] == channels)]
    _require(data.source in sources, "data.source", f"{' or '.join(sources)} for data.target {data.target}", data.source)
    _require(data.size is None or 8 <= data.size <= 1024, "data.size", "from 8 to 1024", data.size)
    _require(data.size is not None or side is not None, "data.size", f"given for data.target {data.target}", data.size)
    _require(data.target != "digits" or data.size in (None, side), "data.size", f"{side} for data.target digits", data.size)
    _require(data.target != "digits" or data.digest is None, "data.digest", "left out for data.target digits", data.digest)
    source_side = DATASETS[data.source][1] if data.source in DATASETS else None
    one_size = data.size is not None or source_side in (None, side)
    _require(one_size, "data.size", f"given where {data.source} has side {source_side} and {data.target} {side}", data.size)
    no_digest = data.source in DATASETS or data.source_digest is None
    _require(no_digest, "data.source_digest", "left out for data.source normal", data.source_digest)
    for name in ("digest", "source_digest"):
        value = getattr(data, name)
        _require(value is None or re.fullmatch("[0-9a-f]{64}", value) is not None, f"data.{name}", "64 hexadecimal digits", value)
    prepared = not built_in(data.target, data.size, data.digest)
    _require(prepared or not data.streamed, "data.streamed", f"false for data.target {data.target}, which fits", data.streamed)


def _require_consistent(recipe: Recipe) -> None:
    """Rules between fields."""
    data, jko = recipe.data, recipe.jko
    _require_images(data) if data.target in DATASETS else _require_measure(data)
    _require_room(recipe)
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
    exact = not (network.second_order and recipe.training.bfloat16)  # moments of 16 bits are none
    _require(exact, "training.bfloat16", "false when network.second_order is true", recipe.training.bfloat16)
    if network.kind != "perceptron":
        kind = f"when network.kind is {network.kind}"
        _require(not network.num_frequencies, "network.num_frequencies", f"0 {kind}", network.num_frequencies)
        _require(not network.second_order, "network.second_order", f"false {kind}", network.second_order)
    if network.kind in SIDES:
        _require_image_network(recipe)


def _require_room(recipe: Recipe) -> None:
    """Rules of sizes that no machine has memory for."""
    data, network, batch_size = recipe.data, recipe.network, recipe.training.batch_size
    channels, side = DATASETS.get(data.target, (data.dim if data.target == "gaussian" else 2, 1))
    dim = channels * (data.size or side or 1) ** 2
    most = MOST_IN_A_BATCH // dim
    _require(batch_size <= most, "training.batch_size", f"at most {most} for samples of {dim} numbers", batch_size)
    most = math.isqrt(MOST_IN_LAYERS // network.depth)
    _require(network.width <= most, "network.width", f"at most {most} for network.depth {network.depth}", network.width)
    for name in ("num_frequencies", "z_dim"):
        most = MOST_IN_LAYERS // network.width
        _require(
            getattr(network, name) <= most,
            f"network.{name}",
            f"at most {most} for network.width {network.width}",
            getattr(network, name),
        )


def _require_image_network(recipe: Recipe) -> None:
    """Rules of the convolutional networks, whose maps end in tanh."""
    data, network = recipe.data, recipe.network
    kind, side = f"when network.kind is {network.kind}", data.size or DATASETS.get(data.target, (0, None))[1]
    images = [name for name, (_, own) in DATASETS.items() if own is None or own in SIDES[network.kind]]
    _require(data.target in DATASETS, "data.target", f"one of {', '.join(images)} {kind}", data.target)
    _require(side in SIDES[network.kind], "data.size", f"{spoken(SIDES[network.kind])} {kind}", side)
    _require(not data.standardise, "data.standardise", f"false {kind}, whose images are in [-1, 1]", data.standardise)
    latent = network.kind.startswith("large")
    by_four = network.width % 4 == 0 and (not latent or network.width <= 32 or network.width % 32 == 0)
    _require(by_four, "network.width", f"a multiple of {'32, or of 4 up to 32' if latent else '4'} {kind}", network.width)
    grouped = recipe.training.batch_size % 4 == 0 or not latent
    _require(grouped, "training.batch_size", f"a multiple of 4 {kind}", recipe.training.batch_size)
    _require(latent or network.kind == "light" or network.z_dim == 0, "network.z_dim", f"0 {kind}", network.z_dim)
    _require(not latent or network.z_dim > 0, "network.z_dim", f"at least 1 {kind}", network.z_dim)
    if network.kind == "small":
        _require(data.source == "normal", "data.source", f"normal {kind}, which sees 8 x 8 sums of the noise", data.source)
        _require(recipe.jko.parametrization == "direct", "jko.parametrization", f"direct {kind}", recipe.jko.parametrization)


def spoken(sides: Sequence[int]) -> str:
    """Sides in pixels for an error message."""
    return str(sides[0]) if len(sides) == 1 else f"one of {', '.join(map(str, sides[:6]))}{', ...' if len(sides) > 6 else ''}"
