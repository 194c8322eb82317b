"""The recipe of a flow: everything that decides *what* is computed, and nothing about where or how it runs.

Importing this file costs milliseconds: names of sources, divergences and networks stand in tables that import nothing. Where a
recipe names a part, `package.module:name` is one from outside this repository, with `(option=value)` where it has options.
"""

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from components.parts.naming import PartName
from components.table import COSTS, DIVERGENCES, NETWORK_PAIRS, cost, divergence, network_pair
from pipeline.data import table
from pipeline.data.tables.naming import Location

if TYPE_CHECKING:
    from components.costs import Cost
    from components.divergences.base import Divergence
    from components.networks.pair import NetworkPair

    DivergenceName = str
    PairName = str
    SourceName = str
    CostName = str
else:
    DivergenceName = Literal[tuple(DIVERGENCES)] | PartName
    PairName = Literal[tuple(NETWORK_PAIRS)] | PartName
    SourceName = Literal[table.names()] | PartName | Location
    CostName = Literal[tuple(COSTS)] | PartName
FitName = Literal["conjugate", "logistic"]
Scaling = bool | Literal["axes", "whitened"]


@dataclass(frozen=True)
class Data:
    """The two ends of the flow.

    Example:
        >>> Data(target="moons").source
        'normal'
    """

    source: SourceName = "normal"
    """mu, where the flow starts; `normal` is N(0, I) in the space the flow lives in; images need a target of their shape"""
    target: SourceName = "two_circles"
    """nu, the data: one of these, or a table by its path or URL, as cells.parquet. Default for both light pairs fashion_mnist,
    for `small` and `large` cifar10, for `large_256` celeba_hq"""
    dim: int = 2
    """dimension d, for targets that exist in each, such as `gaussian`; the others have their own"""
    standardise: Scaling = True
    """true: shift and scale (one scalar) the target to mean 0 and variance 1 per dimension; `axes`: each coordinate by its own
    deviation; `whitened`: and uncorrelate them, for vectors of up to 1,024 numbers; h is in these units, metrics stay in the
    data's. Default with a network for images: false"""
    size: int | None = None
    """side of the images in pixels; None: what the set comes with. `celeba_hq` and `image_folder` need one"""
    channels: int | None = None
    """of the images of a folder: 1 of grey ones, 3 in colour; None: as they were prepared, and a 1 then stands here"""
    flip: bool = False
    """mirror each training image of the target left to right with probability 1/2"""
    digest: str | None = None
    """which prepared images the target is (`prepare` prints it); None: those that are found, whose digest then stands here"""
    source_digest: str | None = None
    """the same of a source that is a set of images"""
    streamed: bool = False
    """batches from epochs over shuffled Parquet shards, not drawn independently; set by itself where a set is too large for
    cluster.max_cached_gb"""
    columns: str | None = None
    """columns of a table that are used, with commas between them; None: all"""
    weights: str | None = None
    """the column of a table that holds the weight of each row"""
    split: str | None = None
    """the column of a table that says train or test of each row; None: one row in five is held out, by a hash of each"""
    schema: str | None = None
    """path or URL of what `python -m pipeline schema` wrote of a table, corrected by you; None: it is inferred"""
    condition: str | None = None
    """what T(x, z, c) and v(y, c) are given beside the samples: `label` of sets of images that have classes, `mode` of measures
    with modes, columns of a table, or what an own source offers. Each JKO step is taken for each c by itself; None: nothing"""

    @property
    def has_one_scale(self) -> bool:
        """Say whether all coordinates share one scale, so that distances in the flow's space are the data's own."""
        return isinstance(self.standardise, bool)


@dataclass(frozen=True)
class Network:
    """The transport map T(x, z) and the potential v.

    Example:
        >>> Network(kind="residual", width=128, z_dim=2).depth
        3
    """

    width: int = 96
    """units of a hidden layer, or channels of a network for images; each kind has its own default: 128 for `residual`, 32 for
    the light pairs, 64 for `small`, 128 for `large`, 64 for `large_256`"""
    depth: int = 3
    """number of hidden layers; `perceptron` and `residual` only"""
    num_frequencies: int = 32
    """random Fourier features of x that the map sees beside x; 0 for none. Only `perceptron` has any"""
    z_dim: int = 0
    """size of the latent z of a stochastic map; 0 makes T deterministic. `residual` has 2, `large` and `large_256` have 100"""
    kind: PairName = "perceptron"
    """`perceptron` is ours; `residual` the reference code's toy networks: `depth` blocks of three SiLU layers, no features. For
    images in [-1, 1]: `light` for CPU cores, `light_filtered` the same without a pattern of pixels, the paper's `small` and
    `large` (NCSN++) pairs, and the latter for 256 pixels. As a flag, another kind than the recipe's replaces the recipe's network
    as a whole"""
    second_order: bool = False
    """an affine part in T and the log ratio of two Gaussians in v: exact between Gaussians under kl; v's part is so under
    forward_kl, jsd and twice_jsd too"""

    @property
    def pair(self) -> "NetworkPair":
        """Load the pair of networks that `kind` names, once in a process."""
        return network_pair(self.kind)


@dataclass(frozen=True)
class Jko:
    """The minimising-movement scheme: steps of mu_{k+1} = argmin F(rho) + W2(mu_k, rho)^2 / 2h.

    Example:
        >>> Jko(divergence="kl", h=0.1, num_phases=4).source_divergence
        'linear'
    """

    num_phases: int = 6
    """K, the number of JKO steps"""
    h: float = 3.0
    """JKO step size, in squared units of the standardised space; `inf` drops the cost (a plain f-GAN)"""
    first_h: float | None = None
    """h of phase 0, where the anchor is the identity; None: the same as h"""
    growth: float = 1.0
    """factor by which h grows from phase to phase: h * growth^k in phase k. With small first steps no mode is lost, and the last
    step decides how nearly the masses of far modes can be right"""
    max_h: float = math.inf
    """most that h grows to"""
    divergence: DivergenceName = "jsd"
    """F of the JKO step, the divergence of model from data. `jsd` is KL - 2 JSD, what a GAN's non-saturating loss lowers (the
    paper's choice); `twice_jsd` is 2 JSD itself, whose steps hardly move from far away"""
    source_divergence: DivergenceName = "linear"
    """divergence on the source side; `linear` keeps that marginal fixed (S-JKO), `kl` is UOTM; `chi2`, `softplus` and
    `jsd` too"""
    fit: FitName = "conjugate"
    """how v is learned for a given T: by the semi-dual loss with f*, or by logistic regression (`kl`, `forward_kl`): the same
    solution without the heavy tail of exp(-v)"""
    cost: CostName = "squared"
    """`squared`: the true step |x - y|^2 / 2h; `mean_squared`: divided by the dimension, as the reference code does"""
    point_phases: int = 0
    """so many first phases need no adversary: v lives on points of the target, where the step's dual is solved exactly. The map
    is then fitted to the points that its samples go to. Such a phase finds all masses; networks sharpen what follows"""
    num_points: int = 2000
    """points of the target, and as many transported samples, between which the dual of such a phase is solved"""
    regression: Literal["l1", "l2"] = "l1"
    """what the map of such a phase lowers: the distance to its point, or the squared one, which blurs more"""
    parametrization: Literal["direct", "composed"] = "direct"
    """`direct`: T_k maps the source to mu_{k+1}, O(K); `composed`: one increment per phase, O(K^2), for comparison"""
    z: Literal["independent", "shared"] = "independent"
    """draws of z for T_{k-1} and T_k, where z_dim > 0"""

    @property
    def functional(self) -> "Divergence":
        """Load F, the divergence that `divergence` names, once in a process."""
        return divergence(self.divergence)

    @property
    def source_functional(self) -> "Divergence":
        """Load the divergence that `source_divergence` names, once in a process."""
        return divergence(self.source_divergence)

    @property
    def transport_cost(self) -> "Cost":
        """Load the cost that `cost` names, once in a process."""
        return cost(self.cost)


@dataclass(frozen=True)
class Training:
    """The solution of each phase: steps, batches, learning rates, penalties.

    Example:
        >>> Training(num_steps=500).batch_size
        256
    """

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
    lr_schedule: Literal["inverse", "cosine"] = "inverse"
    """how both rates fall. `inverse`: as 1 / (1 + step / lr_decay_steps), steps counted over the whole flow; `cosine`: in each
    phase anew, along half a cosine to 0 at its end"""
    lr_decay_steps: float = 700.0
    """of the schedule `inverse`: steps after which rates are half; `inf` keeps them constant"""
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
    """decay per step of the averaged map, the one that is evaluated and served. At the n-th step of the flow it is at most
    (n - 1) / (n + 8), so that the initial weights have no share"""
    target_noise: float = 0.0
    """standard deviation of Gaussian noise on target samples before the potential sees them, in the space the flow lives in:
    target_noise / (k + 1) in phase k"""
    bfloat16: bool = False
    """networks run in bfloat16 where that is safe (autocast); weights, losses and penalties stay in float32"""


@dataclass(frozen=True)
class Recipe:
    """The recipe of a flow: its seed and these groups are its identity.

    Example:
        >>> Recipe(data=Data(target="moons"), jko=Jko(num_phases=4), seed=3).jko.num_phases
        4
    """

    data: Data = field(default_factory=Data)
    network: Network = field(default_factory=Network)
    jko: Jko = field(default_factory=Jko)
    training: Training = field(default_factory=Training)
    seed: int = 0
    """seed of every random number"""


PARTS = ("data.source", "data.target", "network.kind", "jko.divergence", "jko.source_divergence", "jko.cost")
"""The fields that name a part."""
GROUPS: dict[str, type[Any]] = {"data": Data, "network": Network, "jko": Jko, "training": Training}
"""The groups of a recipe by name."""
