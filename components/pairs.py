"""The pairs of transport map and potential by name."""

from torch import nn

from components.image_potentials import LargePotential
from components.light_networks import LightMap, LightPotential
from components.ncsnpp import LargeMap
from components.networks import PerceptronMap, PerceptronPotential, ResidualMap, ResidualPotential
from components.small_networks import SmallMap, SmallPotential

MAPS: dict[str, type[nn.Module]] = {
    "perceptron": PerceptronMap,
    "residual": ResidualMap,
    "light": LightMap,
    "small": SmallMap,
    "large": LargeMap,
    "large_256": LargeMap,
}
POTENTIALS: dict[str, type[nn.Module]] = {
    "perceptron": PerceptronPotential,
    "residual": ResidualPotential,
    "light": LightPotential,
    "small": SmallPotential,
    "large": LargePotential,
    "large_256": LargePotential,
}
