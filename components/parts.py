"""The parts that a recipe names, and where each is: `module:name` of a class that is called without arguments.

One line adds a part. Nothing is imported before a part is asked for, so that names can be checked in milliseconds.
"""

from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from components.networks.pair import NetworkPair

NETWORK_PAIRS = {
    "perceptron": "components.networks.pairs:Perceptron",
    "residual": "components.networks.pairs:Residual",
    "light": "components.networks.pairs:Light",
    "small": "components.networks.pairs:Small",
    "large": "components.networks.pairs:Large",
    "large_256": "components.networks.pairs:Large256",
}
"""Transport maps and the potentials that suit them."""


def network_pair(kind: str) -> "NetworkPair":
    """Load a pair of networks by its name in `NETWORK_PAIRS`.

    Example:
        >>> network_pair("large_256").sides
        (256,)
    """
    pair: NetworkPair = _made(NETWORK_PAIRS[kind])
    return pair


@cache
def _made(where: str) -> Any:
    """Import a part and make it, once in a process."""
    module, _, name = where.partition(":")
    return getattr(import_module(module), name)()
