"""Own parts that cannot work: one sentence with field, name, method and what was expected, exit code 2, nothing written."""

import json
from pathlib import Path

import pytest
from own_parts import MODULE

from pipeline.command import cli
from tune import cli as tune

HEAD = MODULE.replace(
    "from of_mine import power", "import torch\n\n\ndef power(base, exponent):\n    return base.clamp(min=0) ** exponent"
)
PARTS = """

class Nan(Alpha):
    def conjugate(self, s):
        return super().conjugate(s) * float("nan")


class Single(Alpha):
    def conjugate(self, s):
        return super().conjugate(s).float()


class Random(Alpha):
    def generator(self, t):
        return super().generator(t) * (1 + torch.rand_like(t))


class Raising(Alpha):
    def potential(self, output):
        raise KeyError("no potential today")


class WithoutGenerator(FDivergence):
    curvature = 1.0

    def conjugate(self, s):
        return s

    conjugate_gradient = conjugate


class Required(Alpha):
    def __init__(self, beta):
        self.alpha = beta


class Wide(Plain):
    def build_map(self, spec):
        class Wider(Shift):
            def forward(self, x, z):
                return torch.cat([super().forward(x, z)] * 2, 1)

        return Wider(spec)


class Double(Plain):
    def build_potential(self, spec):
        return Score(spec).double()


class Pixels(Plain):
    def build_potential(self, spec):
        return nn.Linear(spec.sample_shape[0], 1)


class Half(NetworkPair):
    def build_map(self, spec):
        return Shift(spec)


class Two(Huber):
    def between(self, x, y):
        return super().between(x, y).mean()


class Root(Huber):
    def between(self, x, y):
        return (x - y).flatten(1).square().sum(1).sqrt()


class Taking(Plain):
    takes = None


class Sided(Plain):
    sides = 8


class Grouped(Plain):
    group_size = 0


class Defaulting(Plain):
    defaults = {"network.wdth": 3}


class Defaulted(Plain):
    defaults = {"network.width": "many"}


class Ruled(Plain):
    def rules(self, fields):
        raise RuntimeError("no rules today")


def noise(n=200):
    return np.random.default_rng().normal(size=(n, 2))


def listed():
    return [[0.0, 1.0]] * 50


def words():
    return np.array([["a", "b"]] * 50)


def generated():
    yield np.zeros((5, 2))


def with_nan():
    made = np.random.default_rng(0).normal(size=(200, 2))
    made[3, 0] = np.nan
    return made


class NoSource:
    shape = (2,)


class Shapeless:
    @property
    def shape(self):
        raise RuntimeError("no shape yet")


class Array(list):
    pass


Anonymous = lambda: 3
"""
DIVERGENCE, COST, PAIR, TARGET = "jko.divergence", "jko.cost", "network.kind", "data.target"
FAULTS = {
    (DIVERGENCE, "Nan"): "conjugate must be 0 at 0: f*(0) = 0: it is nan",
    (DIVERGENCE, "Single"): "conjugate must be 0 at 0: f*(0) = 0: it gives float32 for float64",
    (DIVERGENCE, "Random"): "conjugate must equal sup_t [s t - f(t)]: two calls give different numbers",
    (DIVERGENCE, "Raising"): "potential must grow with D, in the shape and type of D: it raises KeyError: 'no potential today'",
    (DIVERGENCE, "WithoutGenerator"): "lacks what its kind of part must have: generator",
    (DIVERGENCE, "Required"): "could not be made: TypeError: Required.__init__() missing 1 required positional argument: 'beta'",
    (DIVERGENCE, "Huber"): "must make a components.divergences.base.Divergence, and makes a Huber",
    (DIVERGENCE, "Anonymous"): "must make a components.divergences.base.Divergence, and makes a int",
    (DIVERGENCE, "Missing"): "has no Missing; it has Alpha, ",
    (PAIR, "Wide"): "T(x, z) must be finite, of the shape and type of x, for samples (2,): it gives the shape (4, 4)",
    (
        PAIR,
        "Double",
    ): "build_potential must give a module of float32 weights, equal for equal seeds of torch: net.0.weight is float64",
    (PAIR, "Pixels"): "D(x) must be one finite number per sample, for samples (2,): it gives the shape (4, 1) in place of (4,)",
    (
        PAIR,
        "Half",
    ): "build_potential must give a module of float32 weights, equal for equal seeds of torch: it raises NotImplementedError",
    (PAIR, "Taking"): "takes must be a set of names",
    (PAIR, "Sided"): "sides must be a sequence of numbers of pixels",
    (PAIR, "Grouped"): "sides and group_size must be whole numbers above 0",
    (PAIR, "Defaulting"): "its defaults cannot be: network.wdth is no field of a recipe",
    (PAIR, "Defaulted"): "its defaults cannot be: network.width must be a whole number such as 12, not many",
    (PAIR, "Ruled"): "its rules raise RuntimeError: no rules today",
    (
        COST,
        "Two",
    ): "between must give one number per sample in their type, for samples (2,): it gives the shape () in place of (8,)",
    (COST, "Root"): "its gradient where y = x gives",
    (TARGET, "noise"): "made a second time it has other samples: draw them with a seed",
    (
        TARGET,
        "listed",
    ): "must make an array (n, ...) of samples, a pair of them, or a pipeline.data.source.Source; a list has no shape, ",
    (TARGET, "generated"): "a generator has no shape, units, ",
    (TARGET, "words"): "samples must be numbers of shape (n, d) or (n, channels, side, side), not <U1 (50, 2)",
    (TARGET, "with_nan"): "sample 3 holds a number that is not finite in float32",
    (TARGET, "NoSource"): "a NoSource has no units, picture, ",
    (TARGET, "Shapeless"): "cannot be used as a source: RuntimeError: no shape yet",
}
GIVEN = """
from components.conditions import Condition
from pipeline.data.joint import Conditioned


class Embedding(Shift):
    def __init__(self, spec):
        super().__init__(spec)
        self.given = nn.Embedding(spec.condition.num_classes - 1, spec.sample_shape[0])

    def forward(self, x, z, c):
        return super().forward(x, z) + self.given(c)


class Given(Plain):
    takes = frozenset({"width", "condition"})

    def build_map(self, spec):
        return Embedding(spec)


def Ringed():
    x, c = np.random.default_rng(0).normal(size=(40, 2)).astype(np.float32), np.arange(40) % 2
    return Conditioned(x[8:], x[:8], given={"mode": (Condition("mode", ("in", "out")), c[8:], c[:8])})
"""


def recipe_of(folder: Path, module: str, field: str, name: str) -> Path:
    """The path of a recipe that names one part of a module beside it, which is nowhere on Python's path."""
    (folder / f"{module}.py").write_text(HEAD + PARTS)
    group, _, key = field.partition(".")
    path = folder / "mine.yaml"
    path.write_text(f"{group}: {{{key}: '{module}:{name}'}}\n")
    return path


@pytest.mark.parametrize(("field", "name"), FAULTS, ids=lambda word: word)
def test_what_cannot_work_is_refused_before_anything_is_written(
    field: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SJKO_HOME", str(tmp_path / "home"))
    module = f"bad_{name}_{field.replace('.', '_')}"
    path = recipe_of(tmp_path, module, field, name)
    before = sorted(tmp_path.rglob("*.yaml"))
    for words in (["run", str(path)], ["run", str(path), "--dry-run"], ["submit", str(path)]):
        assert cli.PROGRAM.main(words) == 2
        told = capsys.readouterr().err
        assert FAULTS[field, name] in told
        assert told.count("\n") == 1
        assert field in told
        assert f"{module}:{name}" in told
    assert tune.PROGRAM.main(["run", str(path)]) == 2
    assert FAULTS[field, name] in capsys.readouterr().err
    assert not (tmp_path / "home").exists()
    assert sorted(tmp_path.rglob("*.yaml")) == before


def test_choices_of_a_search_are_tried_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SJKO_HOME", str(tmp_path / "home"))
    recipe_of(tmp_path, "bad_choice", DIVERGENCE, "Nan")
    monkeypatch.syspath_prepend(tmp_path)
    assert tune.PROGRAM.main(["run", "moons", "--space.divergence", "kl", "bad_choice:Nan"]) == 2
    assert capsys.readouterr().err == ("error: jko.divergence: bad_choice:Nan: conjugate must be 0 at 0: f*(0) = 0: it is nan\n")
    assert not (tmp_path / "home").exists()


@pytest.mark.parametrize("code", ["raise SystemExit(0)", "import nowhere_at_all", "def f(:", "x = 1 / 0"])
def test_a_module_that_cannot_be_imported_says_why(
    code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    module = f"broken_{abs(hash(code))}"
    (tmp_path / f"{module}.py").write_text(code + "\n")
    for words in (["run", "moons", "--jko.divergence", f"{module}:x"], ["check-part", f"{module}:x"]):
        assert cli.PROGRAM.main(words) == 2
        assert f"{module}:x: the module {module} cannot be imported: " in capsys.readouterr().err


def test_parts_beside_the_recipe_are_found_from_any_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SJKO_HOME", str(tmp_path / "home"))
    path = recipe_of(tmp_path, "good_beside", DIVERGENCE, "Alpha")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    to = tmp_path / "planned.json"
    assert cli.PROGRAM.main(["run", str(path), "--dry-run", "--json", str(to)]) == 0
    assert json.loads(to.read_text())["recipe"]["jko"]["divergence"].startswith("good_beside:Alpha@")
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("target", ["two_circles", "bad_given:Ringed"])
def test_a_pair_is_tried_with_the_condition_of_the_data(
    target: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SJKO_HOME", str(tmp_path / "home"))
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "bad_given.py").write_text(HEAD + GIVEN)
    words = [f"--data.target={target}", "--data.condition=mode", "--network.kind=bad_given:Given"]
    assert cli.PROGRAM.main(["run", "two_circles", *words]) == 2
    told = "T(x, z, c) must be finite, of the shape and type of x, for samples (2,), given one of 2 classes: it raises IndexError"
    assert told in capsys.readouterr().err
    assert not (tmp_path / "home").exists()
