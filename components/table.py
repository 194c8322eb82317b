"""The components that a recipe names, and where each is: `module:name` of a class that is called without arguments.

One line adds one. Nothing is imported before a component is asked for, so that names can be checked in milliseconds.
"""

from functools import cache
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from components.divergences.base import Divergence
    from components.networks.pair import NetworkPair

DIVERGENCES = {
    "kl": "components.divergences.kl:KL",
    "jsd": "components.divergences.jsd:JSD",
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
    "small": "components.networks.pairs:Small",
    "large": "components.networks.pairs:Large",
    "large_256": "components.networks.pairs:Large256",
}
"""Transport maps and the potentials that suit them."""


def divergence(name: str) -> "Divergence":
    """Load a divergence by its name in `DIVERGENCES`.

    Example:
        >>> divergence("jsd").curvature
        0.5
    """
    loaded: Divergence = _made(DIVERGENCES[name])
    return loaded


def network_pair(kind: str) -> "NetworkPair":
    """Load a pair of networks by its name in `NETWORK_PAIRS`.

    Example:
        >>> network_pair("large_256").sides
        (256,)
    """
    pair: NetworkPair = _made(NETWORK_PAIRS[kind])
    return pair


@cache
def _made(location: str) -> Any:
    """Import a component and make it, once in a process."""
    return resolve_name(location)()
