"""What changes while a flow is trained, and its form as named tensors."""

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from components.adam import Moments
from components.networks.pair import NetworkPair, NetworkSpec
from components.streams import seeded, stream

Tensors = dict[str, Tensor]
FILES = ("map", "averaged_map", "potential", "map_optimizer", "potential_optimizer")


@dataclass
class State:
    """The networks and optimizers of a flow while it is trained: all that a phase hands to the next.

    Example:
        >>> from components.networks.pair import NetworkSpec
        >>> from components.networks.pairs import Perceptron
        >>> spec, cpu = NetworkSpec((2,), width=8, depth=1, pair=Perceptron()), torch.device("cpu")
        >>> list(new_state(spec, seed=0, betas=(0.0, 0.99), device=cpu).modules())
        ['map', 'averaged_map', 'potential']

    Attributes:
        transport_map: T_k, live weights.
        averaged_map: their exponential moving average, the one that is evaluated and served.
        potential: the network D of v.
        map_optimizer, potential_optimizer: what Adam keeps of each.
        step: optimizer steps done in this phase.
        pair: what the two networks are, for what a step does with them beside training.
    """

    transport_map: nn.Module
    averaged_map: nn.Module
    potential: nn.Module
    map_optimizer: Moments
    potential_optimizer: Moments
    step: int = 0
    pair: NetworkPair = field(default_factory=NetworkPair)

    def modules(self) -> dict[str, nn.Module]:
        """Give the networks by the name of the file that each is kept in."""
        return {"map": self.transport_map, "averaged_map": self.averaged_map, "potential": self.potential}


def build_map(spec: NetworkSpec, seed: int = 0) -> nn.Module:
    """Build T with initial weights drawn for `seed`."""
    return _initialised(spec.pair.build_map, spec, seed, "initial_map")


def build_potential(spec: NetworkSpec, seed: int = 0) -> nn.Module:
    """Build the potential with initial weights drawn for `seed`."""
    return _initialised(spec.pair.build_potential, spec, seed, "initial_potential")


def _initialised(build: Callable[[NetworkSpec], nn.Module], spec: NetworkSpec, seed: int, purpose: str) -> nn.Module:
    """Build a network from random numbers of its own, without touching the global generator, which threads share."""
    with seeded(int(stream(seed, purpose).integers(2**31))):
        return build(spec)


def new_state(spec: NetworkSpec, *, seed: int, betas: tuple[float, float], device: torch.device) -> State:
    """Make the state before the first step of phase 0. Learning rates are set by `components.jko` at every step."""
    transport_map, potential = build_map(spec, seed).to(device), build_potential(spec, seed).to(device)
    averaged_map = copy.deepcopy(transport_map).requires_grad_(False)
    return State(
        transport_map,
        averaged_map,
        potential,
        Moments(list(transport_map.parameters()), betas),
        Moments(list(potential.parameters()), betas),
        pair=spec.pair,
    )


def channels_last(state: State) -> None:
    """Keep the channels of a pixel together in memory: networks, and Adam's moments with them."""
    for module in state.modules().values():
        module.to(memory_format=torch.channels_last)
    for optimizer in (state.map_optimizer, state.potential_optimizer):
        for parameter, entry in optimizer.of.items():
            optimizer.of[parameter] = {key: _like(parameter, value) for key, value in entry.items()}


def fresh_map(state: State, spec: NetworkSpec, *, seed: int) -> None:
    """Replace the map, its average and its optimizer by new ones: an increment starts as the identity, where T_{k-1} stands.

    The potential goes on, since what it compares is nearly what it was.
    """
    device = next(state.transport_map.parameters()).device
    betas = state.map_optimizer.betas
    new = new_state(spec, seed=seed, betas=betas, device=device)
    state.transport_map, state.averaged_map, state.map_optimizer = new.transport_map, new.averaged_map, new.map_optimizer


def _optimizer_tensors(optimizer: Moments, network: nn.Module) -> Tensors:
    return {
        f"{name}/{key}": value.detach().cpu().contiguous()
        for name, parameter in network.named_parameters()
        for key, value in optimizer.of[parameter].items()
    }


def _load_optimizer(optimizer: Moments, network: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    optimizer.of.clear()
    for name, parameter in network.named_parameters():
        entry = {key.rpartition("/")[2]: value for key, value in tensors.items() if key.rpartition("/")[0] == name}
        if entry:  # beside their parameters, Adam's step counters too, and in the same layout: fused Adam reads memory in order
            optimizer.of[parameter] = {key: _like(parameter, value) for key, value in entry.items()}


def _like(parameter: Tensor, value: Tensor) -> Tensor:
    if value.shape != parameter.shape:
        return value.to(parameter.device, copy=True)
    return torch.empty_like(parameter, requires_grad=False).copy_(value)


def to_tensors(state: State) -> dict[str, Tensors]:
    """Name the state's tensors, by file: the three networks and the two optimizers. The step is not among them."""
    files = {
        name: {key: value.detach().cpu().contiguous() for key, value in module.state_dict().items()}
        for name, module in state.modules().items()
    }
    files["map_optimizer"] = _optimizer_tensors(state.map_optimizer, state.transport_map)
    files["potential_optimizer"] = _optimizer_tensors(state.potential_optimizer, state.potential)
    return files


def load_tensors(state: State, files: Mapping[str, Mapping[str, Tensor]], *, step: int) -> None:
    """Put the tensors that `to_tensors` gave back into a state, bit for bit."""
    for name, module in state.modules().items():
        module.load_state_dict(files[name])
    _load_optimizer(state.map_optimizer, state.transport_map, files["map_optimizer"])
    _load_optimizer(state.potential_optimizer, state.potential, files["potential_optimizer"])
    state.step = step
