"""What is tried of a pair of networks, on random samples of a shape that it takes."""

import copy
import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from components.gradients import push_through
from components.networks.pair import NetworkPair, NetworkSpec
from components.streams import seeded
from pipeline.parts.checks.check import Check, Failed, finite, gradients, require, tensor_like, tried

WILD = 10.0
"""How many times its own size a map that has learned nothing may move a sample. The networks of the paper do not start at the
identity, so there is no rule for small distances. But Adam's steps are as long as its rate: from ten times the size of the
samples on, a phase would do nothing but come back. The cost there is a hundred times that of any map that a phase looks for."""
CLOSE = 1e-4
"""Relative difference of float32 numbers that were added up in another order."""
Build = Callable[[NetworkSpec], nn.Module]


def first_checks(pair: NetworkPair, spec: NetworkSpec) -> list[Check]:
    """Try what a step of training relies on: outputs and gradients of both networks; nothing that takes many evaluations."""
    tries = _Tries(pair, spec)
    of_map, of_potential = ("T(x, z, c)", "D(x, c)") if spec.condition else ("T(x, z)", "D(x)")
    return [
        tried("build_map", "give a module of float32 weights, equal for equal seeds of torch", tries.map_is_built),
        tried("build_potential", "give a module of float32 weights, equal for equal seeds of torch", tries.potential_is_built),
        tried(of_map, f"be finite, of the shape and type of x, {tries.of}", tries.map_output),
        tried(of_map, f"move no x by over {WILD:g} times its size at the start", tries.start),
        tried(of_map, "have finite gradients by all weights", tries.map_gradients),
        tried(of_potential, f"be one finite number per sample, {tries.of}", tries.potential_output),
        tried(of_potential, "have finite gradients by x and all weights", tries.potential_gradients),
        tried(of_potential, "be differentiable twice, for gradient penalties", tries.penalty_gradients),
    ]


def further_checks(pair: NetworkPair, spec: NetworkSpec) -> list[Check]:
    """Try what keeping, averaging and sharing a pair rely on: each sample for itself, states, copies."""
    tries = _Tries(pair, spec)
    alone = "not depend on the samples beside x"
    among = f"not depend on other groups of {pair.group_size} samples" if pair.group_size > 1 else alone
    checks = [tried("T(x, z)", f"{alone} when samples are drawn", lambda: tries.map_alone(training=False))]
    if not pair.shares_batch_statistics:
        must = f"{alone} in training, unless shares_batch_statistics"
        checks.append(tried("T(x, z)", must, lambda: tries.map_alone(training=True)))
    return [
        *checks,
        tried("D(x)", among, tries.potential_alone),
        tried("state_dict", "hold all that T(x, z) depends on", tries.map_state),
        tried("state_dict", "hold all that D(x) depends on", tries.potential_state),
        tried("deepcopy", "give a map with weights of its own", tries.copied),
    ]


class _Tries:
    """A pair, built when it is first needed, and samples for it."""

    def __init__(self, pair: NetworkPair, spec: NetworkSpec) -> None:
        self.pair, self.spec = pair, spec
        self.of = f"for samples {spec.sample_shape}" + (f" and z of {spec.z_dim} numbers" if spec.z_dim else "")
        self.of += f", given one of {spec.condition.num_classes} classes" if spec.condition and spec.condition.classes else ""
        random = torch.Generator().manual_seed(1)
        self.n = max(4, 2 * pair.group_size)
        self.x = torch.randn(self.n, *spec.sample_shape, generator=random, dtype=torch.float32)
        self.z = torch.randn(self.n, spec.z_dim, generator=random, dtype=torch.float32) if spec.z_dim else None
        condition = spec.condition
        some = None if condition is None else torch.from_numpy(condition.empty(self.n))
        if some is not None and condition is not None and condition.classes:
            some = torch.arange(self.n) % condition.num_classes
        self.given = () if some is None else (some,)
        """What both networks get beside: the condition of each sample, where there is one."""
        self.built: dict[tuple[str, int], nn.Module] = {}

    def network(self, method: str, seed: int = 0) -> nn.Module:
        """Build one of the two networks, once for each seed."""
        if (method, seed) not in self.built:
            self.built[method, seed] = self.fresh(getattr(self.pair, method), seed)
        return self.built[method, seed]

    def fresh(self, build: Build, seed: int) -> nn.Module:
        with seeded(seed):
            module = build(self.spec)
        require(isinstance(module, nn.Module), f"it gives a {type(module).__name__}, and no torch.nn.Module")
        return module

    def transported(self, transport_map: nn.Module, x: Tensor, z: Tensor | None) -> Tensor:
        return self.seeded(lambda: transport_map(x, z, *self.given))

    @staticmethod
    def seeded(evaluate: Callable[[], Tensor]) -> Tensor:
        """Evaluate a network with the same random numbers each time: one with dropout draws some."""
        with seeded(2):
            return evaluate()

    def is_built(self, method: str) -> str:
        module = self.network(method)
        weights = dict(module.named_parameters())
        require(bool(weights), "it has no weights")
        for name, weight in {**weights, **dict(module.named_buffers())}.items():
            floating = weight.is_floating_point() or weight.is_complex()
            require(not floating or weight.dtype == torch.float32, f"{name} is {str(weight.dtype).removeprefix('torch.')}")
        for name, weight in weights.items():
            require(weight.requires_grad, f"{name} does not take part in training: register_buffer is for what stays fixed")
            finite(weight, name)
        again = self.fresh(getattr(self.pair, method), 0).state_dict()
        for name, tensor in module.state_dict().items():
            same = name in again and torch.equal(tensor, again[name])
            require(same, f"{name} differs between two builds after torch.manual_seed(0)")
        return f"{sum(weight.numel() for weight in weights.values()):,} weights"

    def map_is_built(self) -> str:
        return self.is_built("build_map")

    def potential_is_built(self) -> str:
        return self.is_built("build_potential")

    def map_output(self) -> str:
        given = tensor_like(self.transported(self.network("build_map"), self.x, self.z), self.x)
        return f"{tuple(finite(given).shape)} in float32"

    def start(self) -> str:
        with torch.no_grad():
            anchor = push_through(self.pair.first_anchor(self.spec), self.x, self.z, *self.given)
            moved = self.transported(self.network("build_map"), self.x, self.z) - anchor
        distance = (moved.square().mean() / anchor.square().mean()).sqrt().item()
        require(distance <= WILD, f"it moves them by {distance:.3g} times their size: let it end in a layer of zeros, added to x")
        return "it is the identity" if distance == 0 else f"by {distance:.2g} times their size"

    def map_gradients(self) -> str:
        network = self.network("build_map")
        output = self.transported(network, self.x, self.z)
        return _gradients_by_weights((output * torch.linspace(0.5, 1.5, output.numel()).view_as(output)).sum(), network)

    def potential_output(self) -> str:
        given = self.seeded(lambda: self.network("build_potential")(self.x, *self.given))
        finite(tensor_like(given, self.x.new_zeros(self.n)))
        return f"({self.n},) in float32"

    def potential_by_x(self) -> tuple[Tensor, Tensor]:
        """Evaluate the potential, and differentiate it by x."""
        network, x = self.network("build_potential"), self.x.clone().requires_grad_()
        output = self.seeded(lambda: network(x, *self.given))
        (by_x,) = gradients(output.sum(), [x], "it", keep=True)
        if by_x is None:
            raise Failed("it does not depend on x")
        return output, by_x

    def potential_gradients(self) -> str:
        output, by_x = self.potential_by_x()
        finite(by_x, "its gradient by x")
        weighted = (output * torch.linspace(0.5, 1.5, self.n)).sum()
        return _gradients_by_weights(weighted, self.network("build_potential"))

    def penalty_gradients(self) -> str:
        _, by_x = self.potential_by_x()
        require(not _once(by_x), "an operation in it can be differentiated once only, and would be taken for a constant")
        penalty = by_x.flatten(1).square().sum(1).mean()
        if penalty.requires_grad:  # not that of a linear network
            weights = dict(self.network("build_potential").named_parameters())
            for name, gradient in zip(weights, gradients(penalty, list(weights.values()), "it"), strict=True):
                finite(penalty if gradient is None else gradient, f"the gradient of |grad D|^2 by {name}")
        return f"|grad D|^2 is {finite(penalty, '|grad D|^2').item():.3g}"

    def map_alone(self, *, training: bool) -> str:
        network = self.network("build_map").train(training)
        others = self.x.flip(0).clone()
        others[0] = self.x[0]
        z = None if self.z is None else torch.cat([self.z[:1], self.z.flip(0)[1:]])
        with torch.no_grad():
            first, again = (self.transported(network, x, each)[0] for x, each in ((self.x, self.z), (others, z)))
        network.train()
        return _require_close(first, again, "T(x, z)")

    def potential_alone(self) -> str:
        network, group = self.network("build_potential"), self.pair.group_size
        others = self.x.flip(0).clone()
        others[:group] = self.x[:group]
        with torch.no_grad():
            first = self.seeded(lambda: network(self.x, *self.given))
            again = self.seeded(lambda: network(others, *self.given))
        return _require_close(first[:group], again[:group], "D(x)")

    def restored(self, method: str, evaluate: Callable[[nn.Module], Tensor]) -> str:
        module, other = self.network(method), self.fresh(getattr(self.pair, method), 1)
        other.load_state_dict(module.state_dict())
        with torch.no_grad():
            ours, theirs = self.seeded(lambda: evaluate(module.eval())), self.seeded(lambda: evaluate(other.eval()))
        module.train()
        require(torch.equal(ours, theirs), "another network that has read it gives something else: use register_buffer")
        return f"{len(module.state_dict())} tensors, and equal outputs"

    def map_state(self) -> str:
        return self.restored("build_map", lambda network: network(self.x, self.z, *self.given))

    def potential_state(self) -> str:
        return self.restored("build_potential", lambda network: network(self.x, *self.given))

    def copied(self) -> str:
        module = self.network("build_map")
        other = copy.deepcopy(module)
        shared = {weight.data_ptr() for weight in module.parameters()} & {weight.data_ptr() for weight in other.parameters()}
        require(not shared, "the copy shares weights with it")
        with torch.no_grad():
            outputs = [self.transported(network.eval(), self.x, self.z) for network in (module, other)]
        module.train()
        require(torch.equal(*outputs), "the copy gives something else")
        return "equal outputs"


def _once(gradient: Tensor | None) -> bool:
    """Say whether an operation with one derivative had a part in a gradient: torch puts a node there that raises where reached.

    Of the gradients by weights it is reached for none, and they are wrong without a word.
    """
    seen, pending = set(), [gradient.grad_fn if gradient is not None else None]
    while pending:
        node = pending.pop()
        if node is not None and node not in seen:
            seen.add(node)
            pending += [each for each, _ in node.next_functions]
    return any(node.name().endswith("::Error") for node in seen)


def _gradients_by_weights(of: Tensor, network: nn.Module) -> str:
    names = dict(network.named_parameters())
    squared = 0.0
    for name, gradient in zip(names, gradients(of, list(names.values()), "it"), strict=True):
        if gradient is None:
            raise Failed(f"{name} has no influence on it; leave it out")
        squared += finite(gradient, f"its gradient by {name}").square().sum().item()
    return f"norm {math.sqrt(squared):.3g}"


def _require_close(a: Tensor, b: Tensor, what: str) -> str:
    difference = ((a - b).abs().max() / a.abs().max().clamp(min=1e-6)).item()
    require(difference <= CLOSE, f"{what} changes by {difference:.2g} of its size when other samples do")
    return f"largest change {difference:.1g}"
