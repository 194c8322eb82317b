"""The components that a recipe names, and where each is: `module:name` of a class that is called with the part's options.

One line adds one, and none a part from outside this repository, which a recipe names by its own `module:name`
(`components.parts`). A component is imported when somebody asks for it, so checking a name takes milliseconds.
"""

from typing import TYPE_CHECKING

from components.parts.loading import load
from components.parts.naming import PartError

if TYPE_CHECKING:
    from components.costs import Cost
    from components.divergences.base import Divergence
    from components.networks.pair import NetworkPair

DIVERGENCES = {
    "kl": "components.divergences.kl:KL",
    "jsd": "components.divergences.jsd:JSD",
    "twice_jsd": "components.divergences.twice_jsd:TwiceJSD",
    "chi2": "components.divergences.chi2:Chi2",
    "softplus": "components.divergences.softplus:Softplus",
    "linear": "components.divergences.linear:Linear",
    "forward_kl": "components.divergences.forward_kl:ForwardKL",
    "relativistic": "components.divergences.relativistic:Relativistic",
}
"""What a JKO step lowers; those with a finite conjugate may also stand on the source side."""
NETWORK_PAIRS = {
    "perceptron": "components.networks.pairs:Perceptron",
    "residual": "components.networks.pairs:Residual",
    "light": "components.networks.pairs:Light",
    "light_filtered": "components.networks.pairs:LightFiltered",
    "small": "components.networks.pairs:Small",
    "large": "components.networks.pairs:Large",
    "large_256": "components.networks.pairs:Large256",
}
"""Transport maps and the potentials that suit them."""
COSTS = {
    "squared": "components.costs:Squared",
    "mean_squared": "components.costs:MeanSquared",
}
"""Costs of transport in units of 2 h."""


def divergence(name: str) -> "Divergence":
    """Load a divergence by its name in `DIVERGENCES`, or by the name of an own part.

    Example:
        >>> divergence("jsd").curvature
        0.5
    """
    from components.divergences.base import Divergence

    return load(name, DIVERGENCES, Divergence)  # type: ignore[type-abstract]  # python/mypy#4717: a type[T] may be abstract


def network_pair(kind: str) -> "NetworkPair":
    """Load a pair of networks by its name in `NETWORK_PAIRS`, or by the name of an own part.

    Example:
        >>> network_pair("large_256").sides
        (256,)
    """
    from components.networks.pair import NetworkPair

    pair = load(kind, NETWORK_PAIRS, NetworkPair)
    if wrong := pair.wrong():
        raise PartError(f"{kind}: {wrong}")
    return pair


def cost(name: str) -> "Cost":
    """Load a cost by its name in `COSTS`, or by the name of an own part.

    Example:
        >>> type(cost("mean_squared")).__name__
        'MeanSquared'
    """
    from components.costs import Cost

    return load(name, COSTS, Cost)  # type: ignore[type-abstract]  # python/mypy#4717
