"""`check-part`: every part that is built in passes, and each fault of an own one is found by the check that is for it."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from own_parts import written
from torch import Tensor, nn

from components.divergences.kl import KL
from components.networks.pair import NetworkPair, NetworkSpec
from components.networks.pairs import Large, Large256, Perceptron
from components.table import COSTS, DIVERGENCES, NETWORK_PAIRS, network_pair
from pipeline.command import cli
from pipeline.evaluation.built_in import W2
from pipeline.parts.checks import costs, divergences, elsewhere, metrics, networks, sources
from pipeline.parts.checks.check import Check

SMALL = NetworkSpec((2,), width=8, depth=1, pair=Perceptron(), z_dim=2)


def failures(checks: list[Check]) -> list[str]:
    return [str(check) for check in checks if not check.passed]


@pytest.mark.parametrize("name", [*DIVERGENCES, *COSTS, "perceptron", "residual", "light", "moons", "normal", "digits", "w2"])
def test_what_is_built_in_passes(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    to = tmp_path / "checks.json"
    assert cli.main(["check-part", name, "--json", str(to)]) == 0
    told = json.loads(to.read_text())
    assert told["part"] == name
    assert told["passed"]
    shown = capsys.readouterr().out
    assert f"all {len(told['checks'])} checks have passed" in shown
    assert all(check["found"] in shown for check in told["checks"])


@pytest.mark.parametrize("kind", NETWORK_PAIRS)
def test_every_pair_passes_in_a_small_size(kind: str) -> None:
    pair = network_pair(kind)
    spec = NetworkSpec((1, 32, 32) if pair.sides else (3,), width=8, depth=1, z_dim=3 * ("z_dim" in pair.takes), pair=pair)
    if kind == "large_256":  # seconds at its own side
        return
    assert failures([*networks.first_checks(pair, spec), *networks.further_checks(pair, spec)]) == []


@pytest.mark.thorough
@pytest.mark.parametrize("name", ["small", "large"])
def test_large_pairs_pass_in_their_own_size(name: str) -> None:
    assert cli.main(["check-part", name]) == 0


@pytest.mark.thorough
def test_the_largest_pair_passes_in_a_small_width() -> None:
    pair = network_pair("large_256")
    spec = NetworkSpec((3, 256, 256), width=4, depth=1, z_dim=4, pair=Large256())
    assert failures(networks.first_checks(pair, spec)) == []


class Scaled(KL):
    """KL whose parts can be put wrong one at a time."""

    curvature = 1.0


def wrong(**methods: object) -> list[str]:
    return failures(divergences.checks_of(type("Wrong", (Scaled,), methods)()))


def test_a_right_divergence_has_no_failure() -> None:
    assert wrong() == []


DIVERGENCE_FAULTS = {
    "generator must be 0 at 1: f(1) = 0: it is 1": {"generator": lambda self, t: torch.xlogy(t, t) - t + 2},
    "generator must be 0 at 1: f(1) = 0: it gives float32 for float64": {"generator": lambda self, t: (t - 1).float()},
    "conjugate must equal sup_t [s t - f(t)]: conjugate(-5) is -0.993262, and the supremum is -1.42857": {
        "generator": lambda self, t: 2 * (t.sqrt() - 1) ** 2
    },
    "conjugate must be 0 at 0: f*(0) = 0: it is 1": {"conjugate": lambda self, s: s.exp()},
    "conjugate_gradient must be 1 at 0: (f*)'(0) = 1: it is 2": {"conjugate_gradient": lambda self, s: 2 * s.exp()},
    "conjugate_gradient must be the derivative of conjugate: conjugate_gradient(-5) is -4": {
        "conjugate_gradient": lambda self, s: 1 + s
    },
    "conjugate must be convex: its derivative falls by": {"conjugate": lambda self, s: s.sin()},
    "curvature must be f''(1) = 1 / (f*)''(0): curvature is 2, and f''(1) is 1": {"curvature": 2.0},
    "curvature must be a number above 0: it is 'one'": {"curvature": "one"},
    "target_term must equal conjugate(-potential(D)), and stay finite: target_term(4) is 53.5982, and f*(-v) is -0.981684": {
        "target_term": lambda self, output: torch.expm1(output)
    },
    "target_term must equal conjugate(-potential(D)), and stay finite: in float32, for D = -30 and 30, it gives 2 of 2": {
        "target_term": lambda self, output: torch.expm1(-output) + 0 * torch.exp(3 * output.abs())
    },
    "potential must grow with D, in the shape and type of D: a larger D gives no larger v": {
        "potential": lambda self, output: -output
    },
    "conjugate must be finite everywhere, as finite_conjugate says: in float32": {
        "conjugate": lambda self, s: torch.expm1(s) + 0 * torch.exp(4 * s.abs())
    },
    "map_loss must give one finite number that depends on D(T(x)) and the cost: it does not depend on the cost": {
        "map_loss": lambda self, on_target, on_transported, cost: -on_transported.mean()
    },
    "potential_loss must give one finite number that depends on D(y) and D(T(x)): it gives the shape (16,) in place of ()": {
        "potential_loss": lambda self, on_target, on_transported, cost, source: on_target - on_transported
    },
    "conjugate must be 0 at 0: f*(0) = 0: it gives a ndarray in place of a tensor": {
        "conjugate": lambda self, s: s.detach().numpy()
    },
    "conjugate must be 0 at 0: f*(0) = 0: it raises SystemExit: 3": {"conjugate": lambda self, s: sys.exit(3)},
    "conjugate must equal sup_t [s t - f(t)]: two calls give different numbers": {
        "conjugate": lambda self, s: torch.expm1(s) * (1 + 1e-3 * torch.rand_like(s))
    },
}


@pytest.mark.parametrize("told", DIVERGENCE_FAULTS)
def test_each_fault_of_a_divergence_is_found(told: str) -> None:
    found = wrong(**DIVERGENCE_FAULTS[told])
    assert any(failure.startswith(told) for failure in found), found


def test_a_conjugate_that_is_infinite_where_training_asks_for_it_is_found() -> None:
    class Hellinger(KL):
        curvature = 0.5

        def generator(self, t: Tensor) -> Tensor:
            return (t.sqrt() - 1).square()

        def conjugate(self, s: Tensor) -> Tensor:
            return s / (1 - s)

        def conjugate_gradient(self, s: Tensor) -> Tensor:
            return (1 - s) ** -2

    assert any(
        "and s t - f(t) has no upper bound there: let potential keep -v where f* is finite" in each
        for each in failures(divergences.checks_of(Hellinger()))
    )
    Hellinger.potential = lambda self, output: torch.expm1(output)  # type: ignore[method-assign]
    Hellinger.finite_conjugate = False
    (found,) = failures(divergences.checks_of(Hellinger()))
    assert "in float32, for D = -30 and 30, it gives 1 of 2 numbers that are not finite" in found
    Hellinger.target_term = lambda self, output: torch.expm1(-output)  # type: ignore[method-assign]
    assert failures(divergences.checks_of(Hellinger())) == []


class Root(costs.Cost):
    def between(self, x: Tensor, y: Tensor) -> Tensor:
        return (x - y).flatten(1).square().sum(1).sqrt()


class Whole(costs.Cost):
    def between(self, x: Tensor, y: Tensor) -> Tensor:
        return (x - y).square().mean().expand(len(x))


class Negative(costs.Cost):
    def between(self, x: Tensor, y: Tensor) -> Tensor:
        return (x - y).flatten(1).sum(1)


def test_each_fault_of_a_cost_is_found() -> None:
    (root,) = failures(costs.checks_of(Root(), ((3,),)))
    assert "also where nothing is moved, for samples (3,): its gradient where y = x gives 24 of 24 numbers" in root
    assert any(
        "a sample's cost changes with the samples beside it" in each for each in failures(costs.checks_of(Whole(), ((3,),)))
    )
    assert any(each.startswith("between must be at least 0") for each in failures(costs.checks_of(Negative(), ((3,),))))


class Shifted(nn.Module):
    """A map with a fault that a function makes."""

    def __init__(self, spec: NetworkSpec, fault: str) -> None:
        super().__init__()
        self.inner, self.fault = Perceptron().build_map(spec), fault
        if fault == "unused":
            self.spare = nn.Linear(2, 2)
        if fault == "double":
            self.double()
        if fault == "numpy":
            self.register_buffer("shift", torch.tensor(time_of_day()))
        if fault == "hidden":
            self.hidden = torch.randn(())
        if fault == "batch":
            self.norm = nn.BatchNorm1d(2)

    def forward(self, x: Tensor, z: Tensor | None) -> Tensor:
        moved: Tensor = self.inner(x, z)
        faults = {
            "nan": lambda: moved / 0 * 0,
            "shape": lambda: moved[:, :1],
            "half": moved.half,
            "wild": lambda: moved * 100,
            "detached": moved.detach,
            "mean": lambda: moved + 0.1 * x.mean(0),
            "hidden": lambda: moved + self.hidden,
            "batch": lambda: self.norm(moved),
            "tuple": lambda: (moved,),
        }
        return faults.get(self.fault, lambda: moved)()


_calls = iter(range(100))


def time_of_day() -> float:
    return float(next(_calls))


class Faulty(Perceptron):
    def __init__(self, fault: str) -> None:
        self.fault = fault

    def build_map(self, spec: NetworkSpec) -> nn.Module:
        return Shifted(spec, self.fault)


MAP_FAULTS = {
    "nan": "it gives 8 of 8 numbers that are not finite",
    "shape": "it gives the shape (4, 1) in place of (4, 2)",
    "half": "it gives float16 for float32",
    "wild": "it moves them by 99 times their size",
    "detached": "it has no gradient: it is computed outside of torch, or detached",
    "mean": "T(x, z) changes by",
    "hidden": "another network that has read it gives something else",
    "batch": "in training, unless shares_batch_statistics: T(x, z) changes by",
    "tuple": "it gives a tuple in place of a tensor",
    "unused": "spare.weight has no influence on it; leave it out",
    "double": "is float64",
    "numpy": "shift differs between two builds after torch.manual_seed(0)",
}


@pytest.mark.parametrize("fault", MAP_FAULTS)
def test_each_fault_of_a_map_is_found(fault: str) -> None:
    pair = Faulty(fault)
    found = failures([*networks.first_checks(pair, SMALL), *networks.further_checks(pair, SMALL)])
    assert any(MAP_FAULTS[fault] in failure for failure in found), found


class OneDerivative(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):  # type: ignore[no-untyped-def]
        ctx.save_for_backward(x)
        return x.tanh()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, gradient):  # type: ignore[no-untyped-def]
        return gradient * (1 - ctx.saved_tensors[0].tanh() ** 2)


class Once(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(2, 8), nn.Linear(8, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.b(OneDerivative.apply(self.a(x))).squeeze(1)


def test_a_potential_without_a_second_derivative_is_found() -> None:
    pair = Perceptron()
    pair.build_potential = lambda spec: Once()  # type: ignore[method-assign]
    (found,) = failures(networks.first_checks(pair, SMALL))
    assert found.endswith("an operation in it can be differentiated once only, and would be taken for a constant")


def test_a_pair_without_a_method_says_which() -> None:
    found = failures(networks.first_checks(NetworkPair(), SMALL))
    assert found[0].endswith("equal for equal seeds of torch: it raises NotImplementedError:")


@pytest.mark.slow
def test_samples_of_a_group_may_depend_on_each_other() -> None:
    pair, spec = Large(), NetworkSpec((1, 16, 16), width=4, depth=1, z_dim=2, pair=Large())
    assert failures(networks.further_checks(pair, spec)) == []
    pair.group_size = 1
    assert any("not depend on the samples beside x" in each for each in failures(networks.further_checks(pair, spec)))


def test_a_metric_that_is_no_number_or_another_each_time_is_found() -> None:
    (found,) = failures(metrics.checks_of(replace(W2, measure=lambda pair: pair.x)))
    assert found.endswith("it gives a ndarray")
    (found,) = failures(metrics.checks_of(replace(W2, measure=lambda pair: time_of_day())))
    assert found.endswith("draw with a seed")
    (found,) = failures(metrics.checks_of(replace(W2, brief="W2 {valu:.3g}")))
    assert "has {valu}; there are num_samples, num_pairs, value, percent, floor, network" in found
    (found,) = failures(metrics.checks_of(replace(W2, brief="W2 {value:.3q}")))
    assert "it raises ValueError" in found


def test_own_parts_are_tried_by_their_kind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    written(tmp_path, monkeypatch, "parts_to_try")
    kinds = {"Alpha": "divergence", "Huber": "cost", "windows": "source", "Plain": "network"}
    for name, kind in kinds.items():
        assert cli.main(["check-part", f"parts_to_try:{name}"]) == 0
        assert f"parts_to_try:{name}@" in (shown := capsys.readouterr().out)
        assert shown.startswith(f"{kind} parts_to_try:")
    assert cli.main(["check-part", "parts_to_try:Alpha(alpha=3)", "--as", "cost"]) == 2
    assert capsys.readouterr().err == (
        "error: parts_to_try:Alpha(alpha=3) must make a components.costs.Cost, and makes a Alpha\n"
    )
    assert cli.main(["check-part", "parts_to_try:Plain", "--shape", "1", "4", "4"]) == 2
    assert "error: parts_to_try:Plain: T(x, z) must be finite, of the shape" in capsys.readouterr().err
    to = tmp_path / "failed.json"
    assert cli.main(["check-part", "parts_to_try:Alpha(alpha=0.5)", "--json", str(to)]) == 2
    told = capsys.readouterr()
    assert "FAILED" in told.out
    assert told.err.startswith(
        "error: parts_to_try:Alpha(alpha=0.5): conjugate must equal sup_t [s t - f(t)]: conjugate(2) is inf"
    )
    assert not json.loads(to.read_text())["passed"]


def test_an_unknown_part_and_an_odd_shape_are_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    for words, told in {
        ("hellinger",): "hellinger is not known; a part of your own is written package.module:name",
        (
            "no where",
        ): "no where is no name of a part: write a name, or package.module:name, then (option=value) where it has any",
        ("nowhere:x",): "nowhere:x: there is no module nowhere in ",
        ("jsd", "--shape", "1", "2"): "--shape must be D, or CHANNELS SIDE SIDE, not 1 2",
        ("jsd", "--as", "cost"): "jsd is the name of a divergence, and of no cost\n",
        ("celeba_hq",): "data.size must be ",
        ("jsd", "--shape"): "--shape must be a whole number such as 12, one or several, and nothing follows --shape",
        ("jsd", "--as", "map"): "--as must be one of divergence, network, cost, source, metric, extractor or null, not map",
    }.items():
        assert cli.main(["check-part", *words]) == 2
        assert capsys.readouterr().err.startswith(f"error: {told}")


def test_a_source_that_is_not_a_function_of_its_place_is_found() -> None:
    from pipeline.data.own import as_source

    rng = np.random.default_rng(0)
    points = as_source(rng.normal(size=(60, 2)), "points")

    class Wrong(type(points)):  # type: ignore[misc]
        def batch(self, at: object) -> np.ndarray:
            return rng.normal(size=(at.n, 2))[at.rows].astype(np.float32)  # type: ignore[attr-defined]

        def held_out(self, n: int, rng: np.random.Generator) -> np.ndarray:
            return self.test[rng.integers(len(self.test), size=min(n, len(self.test)))]

    found = failures(sources.checks_of(Wrong(points.train, points.test), lambda: points))
    assert any(each.endswith("two calls give different samples") for each in found)
    assert any(each.startswith("held_out must") and "some come twice" in each for each in found)
    assert any(each.startswith("batch must give rows") for each in found)


READS = """
from pathlib import Path

import numpy as np


def rows():
    return np.load(Path(__file__).with_name("points.npy"))
"""


def test_a_module_whose_data_file_would_stay_behind_is_told_to_be_a_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    module, points = tmp_path / "reads_points.py", tmp_path / "points.npy"
    module.write_text(READS)
    np.save(points, np.random.default_rng(0).normal(size=(300, 2)))
    assert cli.main(["check-part", "reads_points:rows"]) == 2
    sentence = capsys.readouterr().err
    assert sentence.startswith(
        "error: reads_points:rows: its files must be all that it needs in workers and versions: it could not be made: File"
    )
    assert sentence.endswith("make reads_points.py the __init__.py of a folder reads_points that has them\n")
    (tmp_path / "reads_points").mkdir()
    for path, name in ((module, "__init__.py"), (points, "points.npy")):
        path.rename(tmp_path / "reads_points" / name)
    assert cli.main(["check-part", "reads_points:rows"]) == 0
    assert "reads_points/__init__.py, reads_points/points.npy" in capsys.readouterr().out


def test_a_pair_whose_networks_read_a_file_is_built_where_only_its_own_files_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written(tmp_path, monkeypatch, "pair_that_reads")
    module = tmp_path / "pair_that_reads.py"
    assert failures(elsewhere.checks_of("pair_that_reads:Plain", lambda pair: pair.build_map(SMALL))) == []
    module.write_text(module.read_text().replace("return Shift(spec)", "return open(__file__ + '.txt') and Shift(spec)"))
    (tmp_path / "pair_that_reads.py.txt").write_text("here")
    (failure,) = failures(elsewhere.checks_of("pair_that_reads:Plain", lambda pair: pair.build_map(SMALL)))
    assert failure.startswith("its files must be all that it needs in workers and versions: it fails: FileNotFoundError")
    assert failure.endswith("make pair_that_reads.py the __init__.py of a folder pair_that_reads that has them")
