"""The recipe as the only schema: YAML and flags through one parser, one clear line for every mistake."""

from dataclasses import fields
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline import recipe
from pipeline.command import cli
from pipeline.phase import phases_of
from pipeline.recipe import Data, Jko, Network, Recipe, Training
from pipeline.recipes.reading import RECIPES, as_yaml, read
from pipeline.recipes.rules import validate

SHIPPED = sorted(path.stem for path in RECIPES.glob("*.yaml"))


def parsed(*arguments: str) -> Recipe:
    command = cli.PROGRAM.read(["run", *arguments])
    assert isinstance(command, cli.Run)
    return Recipe(command.data, command.network, command.jko, command.training, command.seed)


@pytest.mark.parametrize("name", SHIPPED)
def test_every_shipped_recipe_parses_and_is_valid(name: str) -> None:
    validate(parsed(name))


def test_flags_override_the_yaml_and_the_yaml_overrides_the_defaults(tmp_path: Path) -> None:
    path = tmp_path / "my.yaml"
    path.write_text("jko: {h: 1e-1, num_phases: 3}\ndata: {standardise: false}\nseed: 4\n")
    found = parsed(str(path), "--jko.h", "inf", "--jko.first-h", "0.5")
    assert (found.jko.h, found.jko.first_h, found.jko.num_phases) == (float("inf"), 0.5, 3)
    assert (found.data.standardise, found.seed) == (False, 4)
    assert parsed(str(path)).jko.h == 0.1
    assert found.training == Recipe().training


def test_every_field_can_be_set_by_a_flag_and_by_yaml(tmp_path: Path) -> None:
    path = tmp_path / "my.yaml"
    path.write_text(as_yaml(Recipe()))
    assert parsed(str(path)) == Recipe()
    assert sum(len(fields(type(getattr(Recipe(), group)))) for group in ("data", "network", "jko", "training")) <= 50


MISTAKES = {
    "--jko.h 0": ("jko.h", "above 0", "0.0"),
    "--jko.h -1": ("jko.h", "above 0", "-1.0"),
    "--jko.h nan": ("jko.h", "a number such as", "nan"),
    "--jko.h big": ("jko.h", "a number such as", "big"),
    "--jko.num-phases 0": ("jko.num_phases", "at least 1", "0"),
    "--jko.num-phases 1.5": ("jko.num_phases", "a whole number", "1.5"),
    "--jko.divergence hellinger": ("jko.divergence", "kl", "hellinger"),
    "--jko.step 3": ("--jko.step", "not a flag of python -m pipeline run"),
    "--jko.hh 3": ("--jko.hh", "did you mean --jko.h?"),
    "--h 3": ("--h", "did you mean --jko.h?"),
    "--training.num-phases 3": ("--training.num-phases", "did you mean --jko.num-phases?"),
    "--training.batch-size 0": ("training.batch_size", "at least 1", "0"),
    "--training.beta2 1": ("training.beta2", "below 1", "1.0"),
    "--training.map-lr inf": ("training.map_lr", "finite", "inf"),
    "--training.r1 -0.1": ("training.r1", "at least 0", "-0.1"),
    "--network.z-dim -1": ("network.z_dim", "at least 0", "-1"),
    "--data.target digits --data.source moons": ("data.source", "normal", "moons"),
    "--data.target gaussian --data.source moons --data.dim 3": ("data.dim", "2", "3"),
    "--jko.divergence relativistic --jko.source-divergence kl": ("jko.source_divergence", "linear", "kl"),
    "--jko.fit logistic": ("jko.fit", "conjugate unless jko.divergence is kl", "logistic"),
    "--jko.divergence kl --jko.source-divergence kl --jko.fit logistic": ("jko.fit", "conjugate unless", "logistic"),
    "--jko.divergence kl --jko.source-divergence twice_jsd": (
        "jko.source_divergence must be one of kl, jsd, chi2, softplus, linear, not twice_jsd",
    ),
    "--jko.divergence jsd --jko.source-divergence kl": (
        "jko.source_divergence must be linear when jko.divergence is jsd, not kl",
    ),
    "--jko.divergence jsd --jko.fit logistic": (
        "jko.fit must be conjugate unless jko.divergence is kl or forward_kl, not logistic",
    ),
    "--network.kind residual --network.num-frequencies 32": ("network.num_frequencies", "0 when network.kind is residual", "32"),
    "--network.kind residual --network.second-order": ("network.second_order", "false", "true"),
    "--network.second-order --training.bfloat16": ("training.bfloat16", "false when network.second_order is true", "true"),
    "--network.kind residual --jko.parametrization composed": ("not 2, the default of network.kind residual",),
    "--network.kind light": ("data.target must be one of", "when network.kind is light", "not two_circles"),
    "--jko.h 1 --jko.h 2": ("jko.h is given twice: --jko.h 1 and --jko.h",),
    "--jko.first-h=1 --jko.first_h 1": ("jko.first_h is given twice",),
    "--data.standardise --data.no-standardise": ("data.standardise is given twice",),
    "--json a.json --json b.json": ("--json is given twice",),
    "--data.standardise 0": ("data.standardise must be true or false or one of axes, whitened, not 0",),
    "--data.standardise whiten": (
        "data.standardise must be true or false or one of axes, whitened, not whiten; did you mean whitened?",
    ),
    "--data.target digits --data.standardise axes": ("data.standardise must be true or false for data.target digits", "not axes"),
    "--data.standardise=yes": ("data.standardise must be true or false or one of axes, whitened, not yes",),
    "--datano-.standardise": ("--datano-.standardise is not a flag of python -m pipeline run; did you mean --data.standardise?",),
    "--no-data.standardise": ("--no-data.standardise is not a flag of python -m pipeline run; did you mean --data.standardise?",),
    "--data.no-standardise=true": ("--data.no-standardise takes no value",),
    "--cluster.use-gpu maybe": ("cluster.use_gpu must be true or false, not maybe",),
    "--jko.divergence KL": ("not KL; did you mean kl?",),
    "--seed 010": ("seed must be a whole number", "not 010"),
    "--seed 1_0": ("seed must be a whole number", "not 1_0"),
    "--seed 0x10": ("seed must be a whole number", "not 0x10"),
    "--seed \u0663": ("seed must be a whole number", "not \u0663"),
    "--seed 1.0": ("seed must be a whole number", "not 1.0"),
    "--seed 9223372036854775808": ("seed", "below 2^63", "9223372036854775808"),
    f"--seed {'9' * 5000}": ("seed must be a whole number", "9..."),
    "--jko.h 1_0": ("jko.h must be a number", "not 1_0"),
    "--jko.h 1e999": ("jko.h must be a number that 64 bits can hold, not 1e999",),
    "--jko.h 1e-999": ("jko.h must be a number that 64 bits can hold, not 1e-999",),
    "--jko.h 1e-320": ("jko.h must be from 1e-12 to 1e+12, or inf, not 1e-320",),
    "--jko.h": ("jko.h must be a number", "nothing follows --jko.h"),
    "--jko.h --seed 3": ("jko.h must be a number", "nothing follows --jko.h"),
    "--training.map-lr 1e308": ("training.map_lr must be from 1e-12 to 1000, not 1e+308",),
    "--training.batch-size 1e3": ("training.batch_size must be a whole number", "not 1e3"),
    "--network.width 100000": ("network.width must be at most 9459 for network.depth 3, not 100000",),
    "--data.target gaussian --data.dim 10000 --training.batch-size 200000": ("training.batch_size must be at most 107374",),
    "--cluster.num-workers 1_0": ("cluster.num_workers must be a whole number", "not 1_0"),
    "--cluster.max-cached-gb nan": ("cluster.max_cached_gb must be a number", "not nan"),
    "spiral": ("spiral is one word too many",),
    "--jko.num-phases 99999999999999999999": ("jko.num_phases", "at most 10000", "99999999999999999999"),
    "--jko.parametrization composed --network.z-dim 2": ("network.z_dim", "0 when", "2"),
    "--store.tracking-uri foo://bar": ("store.tracking_uri", "start with", "foo://bar"),
    "--store.tracking-uri sqlite:////tmp": ("store.tracking_uri", "sqlite:///FILE", "sqlite:////tmp"),
    "--store.tracking-uri sqlite:///": ("store.tracking_uri", "sqlite:///FILE"),
    f"--json {'x' * 300}": ("File name too long",),
    "--store.checkpoints foo://bar/x": ("store.checkpoints", "fsspec", "foo://bar/x"),
    "--json /": ("--json", "can be written", "/"),
    "--json /dev/null/x.json": ("--json", "can be written", "/dev/null/x.json"),
    "--seed -1": ("seed", "at least 0", "-1"),
    "--cluster.num-workers -1": ("cluster.num_workers", "at least 0", "-1"),
    "--cluster.phases-per-job 0": ("cluster.phases_per_job", "at least 1", "0"),
}


@pytest.mark.parametrize("flags", MISTAKES)
def test_a_mistake_is_one_line_with_the_field_the_rule_and_the_value(
    flags: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SJKO_HOME", str(tmp_path / "home"))
    assert cli.main(["run", "two_circles", *flags.split()]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert error.startswith("error: ")
    for part in MISTAKES[flags]:
        assert part in error
    assert not (tmp_path / "home").exists()


IN_FILES = {
    "": ("my.yaml is empty",),
    "# nothing": ("my.yaml is empty",),
    "just words": ("my.yaml, line 1: a recipe is a mapping of the groups",),
    "[1, 2]": ("my.yaml, line 1: a recipe is a mapping of the groups",),
    "jko: {h: ": ("my.yaml, line 1, cannot be read as YAML",),
    "jko:\n\th: 1": ("my.yaml, line 2, cannot be read as YAML",),
    "jko: {h: 1\0}": ("my.yaml, line 1, cannot be read as YAML: character 0x0",),
    "[" * 60_000: ("my.yaml, line 1: a recipe is a mapping of the groups",),  # to its end, it takes the parser minutes
    "#" * (1 << 17): ("my.yaml is larger than 64 KiB",),
    "jko: {h: 1}\n\njko: {num_phases: 3}": ("my.yaml, lines 1 and 3: jko is given twice",),
    "jko:\n  h: 1\n  num_phases: 2\n  h: 1": ("my.yaml, lines 2 and 4: jko.h is given twice",),
    "jko: {h: 1, h: 2}": ("my.yaml, line 1: jko.h is given twice",),
    "seed: 1\nseed: 1": ("my.yaml, lines 1 and 2: seed is given twice",),
    "seed: 010": ("my.yaml, line 1: seed must be a whole number", "not 010"),
    "seed: 1:30": ("seed must be a whole number", "not 1:30"),
    "seed: 1_0": ("seed must be a whole number", "not 1_0"),
    "seed: 0x10": ("seed must be a whole number", "not 0x10"),
    "seed: 0o10": ("seed must be a whole number", "not 0o10"),
    "seed: 1e3": ("seed must be a whole number", "not 1e3"),
    "seed: 1.0": ("seed must be a whole number", "not 1.0"),
    "seed: \u0663": ("seed must be a whole number", "not \u0663"),
    "seed: true": ("seed must be a whole number", "not true"),
    "seed: '3'": ("seed must be a whole number", "not 3 in quotes"),
    "seed: 2026-01-01": ("seed must be a whole number", "not 2026-01-01"),
    "seed: {a: 1}": ("my.yaml, line 1: seed must be a whole number such as 12, not a group of fields",),
    f"seed: {'9' * 5000}": ("seed must be a whole number",),
    "jko: [1, 2]": ("my.yaml, line 1: jko must be a group of fields, not a list",),
    "jko: 3": ("my.yaml, line 1: jko must be a group of fields, not 3",),
    "jko:": ("my.yaml, line 1: jko must be a group of fields, not empty",),
    "jko:\n  h: [1, 2]": ("my.yaml, line 2: jko.h must be a number", "not a list"),
    "jko:\n  h: {a: 1}": ("my.yaml, line 2: jko.h must be a number", "not a group of fields"),
    "jko:\n  h: yes": ("my.yaml, line 2: jko.h must be a number", "not yes"),
    "jko:\n  h: '3'": ("my.yaml, line 2: jko.h must be a number", "not 3 in quotes"),
    "jko:\n  h: |\n    3": ("my.yaml, line 2: jko.h must be a number", "in quotes"),
    "jko:\n  h: null": ("my.yaml, line 2: jko.h must be a number", "not null"),
    "jko:\n  h:": ("my.yaml, line 2: jko.h must be a number", "not empty"),
    "jko:\n  h: .nan": ("my.yaml, line 2: jko.h must be a number", "not .nan"),
    "jko:\n  h: -.inf": ("my.yaml, line 2: jko.h must be above 0", "not -inf"),
    "jko:\n  h: 1e999": ("my.yaml, line 2: jko.h must be a number that 64 bits can hold",),
    "jko: {num_phases: 3}\n\ntraining:\n  map_lr: 1e308": ("my.yaml, line 4: training.map_lr must be", "1e+308"),
    "jko: {num_phases: 2.5}": ("jko.num_phases must be a whole number", "not 2.5"),
    "jko: {divergence: KL}": ("jko.divergence must be one of", "not KL; did you mean kl?"),
    "jko: {first_h: None}": ("jko.first_h must be a number", "or null, not None"),
    "training: {batch_size: true}": ("training.batch_size must be a whole number", "not true"),
    "training:\n  map_lr: 0,001": ("my.yaml, line 2: training.map_lr must be a number", "not 0,001"),
    "training: {map_lr: 0,001}": ("training.001 is not a field", "a comma separates fields"),
    "data: {standardise: yes}": ("data.standardise must be true or false or one of axes, whitened, not yes",),
    "data: {standardise: 0}": ("data.standardise must be true or false or one of axes, whitened, not 0",),
    "data: {standardise: 'false'}": ("data.standardise must be true or false or one of axes, whitened, not false in quotes",),
    "data: {no_standardise: true}": ("data.no_standardise is not a field of a recipe; write standardise: false",),
    "jko: {hh: 3}": ("jko.hh is not a field of a recipe; did you mean jko.h?",),
    "jko: {'h.x': 3}": ("jko.h.x is not a field of a recipe",),
    "training: {h: 3}": ("training.h is not a field of a recipe; did you mean jko.h?",),
    "training: {batch-size: 3}": ("did you mean training.batch_size?",),
    "h: 3": ("h is not a field of a recipe; did you mean jko.h?",),
    "jko.h: 3": ("jko.h is the field h of the group jko",),
    "network: {width: 64}\nnetwrk: {depth: 3}": ("my.yaml, line 2: netwrk is not part of a recipe", "did you mean network?"),
    "cluster: {num_workers: 2}": ("cluster is not part of a recipe",),
    "dry_run: true": ("dry_run is not part of a recipe",),
    "? [a]\n: 1": ("a field's name must be one word",),
    "jko: &a {h: *a}": ("my.yaml, line 1: anchors (&) and aliases (*) are not read",),
    "seed: &a 1": ("anchors (&) and aliases (*) are not read",),
    "jko:\n  h: *a": ("my.yaml, line 2: anchors (&) and aliases (*) are not read",),
    "jko: {<<: {h: 1}}": ("merge keys (<<) are not read",),
    "jko: {h: !!float 3}": ("tags (tag:yaml.org,2002:float) are not read",),
    "jko: !!python/object:os.system {h: 3}": ("tags (", "are not read"),
    "jko: {h: 1}\n---\njko: {h: 2}": ("my.yaml, line 2: a recipe is one document",),
    "network: {kind: light, num_frequencies: 8}": ("my.yaml, line 1: network.num_frequencies must be 0", "not 8"),
}


@pytest.mark.parametrize("content", IN_FILES, ids=range(len(IN_FILES)))
def test_a_mistake_in_a_file_is_one_line_with_the_line_the_field_the_rule_and_the_value(
    content: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "my.yaml"
    path.write_text(content)
    assert cli.main(["run", str(path)]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    for part in (str(path), *IN_FILES[content]):
        assert part in error


def test_a_file_that_is_not_there_or_not_text_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "my.yaml"
    assert cli.main(["run", str(path)]) == 2
    path.write_bytes(b"seed: 1\n# \xff\n")
    assert cli.main(["run", str(path)]) == 2
    assert cli.main(["run", "two_circle"]) == 2
    absent, no_text, close = capsys.readouterr().err.splitlines()
    assert "RECIPE must be an existing file" in absent
    assert no_text == f"error: {path}, line 2, cannot be read: it is not UTF-8"
    assert close.endswith("not two_circle; did you mean two_circles?")


@pytest.mark.parametrize("text", ["3", "3.", ".5", "0.5", "+2", "2e-4", "1E3", "12.5e+2", "inf", ".inf", ".INF", "0.1"])
def test_a_number_is_the_same_in_a_file_and_as_a_flag(text: str, tmp_path: Path) -> None:
    path = tmp_path / "my.yaml"
    path.write_text(f"jko: {{h: {text}}}")
    assert parsed(str(path)).jko.h == float(text.lower().replace(".inf", "inf"))
    assert parsed(str(path)) == parsed("two_circles", "--jko.h", text) == parsed("two_circles", f"--jko.h={text}")


def test_a_byte_order_mark_and_line_ends_of_windows_are_read(tmp_path: Path) -> None:
    path = tmp_path / "my.yaml"
    path.write_bytes("\ufeff---\r\njko:\r\n  h: 0.5\r\n...\r\n".encode())
    assert parsed(str(path)).jko.h == 0.5


def test_negative_zero_is_zero(tmp_path: Path) -> None:
    path = tmp_path / "my.yaml"
    path.write_text("training: {r1: -0.0}")
    plain = [phase.fingerprint for phase in phases_of(parsed("two_circles", "--training.r1", "0"))]
    assert [phase.fingerprint for phase in phases_of(parsed(str(path)))] == plain
    in_python = Recipe(data=Data(target="two_circles"), training=Training(r1=-0.0))
    assert [phase.fingerprint for phase in phases_of(in_python)] == plain


@pytest.mark.parametrize("flag", ["--data.no-standardise", "--data.standardise=false", "--data.standardise false"])
def test_true_and_false_can_be_said_with_a_word_and_without(flag: str) -> None:
    assert not parsed("two_circles", *flag.split()).data.standardise
    assert parsed("two_circles", *flag.replace("no-", "").replace("false", "true").split()).data.standardise is True


@pytest.mark.parametrize("flag", ["--data.standardise whitened --seed 3", "--data.standardise=whitened --seed 3"])
def test_a_choice_beside_true_and_false_is_given_by_its_word(flag: str) -> None:
    recipe = parsed("two_circles", *flag.split())
    assert (recipe.data.standardise, recipe.seed) == ("whitened", 3)
    assert parsed("two_circles", "--data.standardise", "--seed", "3").data.standardise is True


KINDS = {
    "residual": (Network(kind="residual", width=128, num_frequencies=0, z_dim=2), Data()),
    "light": (Network(kind="light", width=32, num_frequencies=0), Data(target="fashion_mnist", standardise=False)),
    "light_filtered": (
        Network(kind="light_filtered", width=32, num_frequencies=0),
        Data(target="fashion_mnist", standardise=False),
    ),
    "small": (Network(kind="small", width=64, num_frequencies=0), Data(target="cifar10", standardise=False)),
    "large": (Network(kind="large", width=128, num_frequencies=0, z_dim=100), Data(target="cifar10", standardise=False)),
    "large_256": (
        Network(kind="large_256", width=64, num_frequencies=0, z_dim=100),
        Data(target="celeba_hq", size=256, standardise=False),
    ),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_of_network_alone_is_a_recipe_with_defaults_of_its_own(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "my.yaml"
    path.write_text(f"network: {{kind: {kind}}}")
    found = parsed(str(path))
    assert (found.network, found.data) == KINDS[kind]
    path.write_text("seed: 0")
    assert parsed(str(path), "--network.kind", kind) == found


def test_a_kind_by_flag_replaces_the_network_of_the_file_and_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "my.yaml"
    path.write_text("data: {target: digits}\nnetwork: {width: 96, num_frequencies: 16}\n")
    found = parsed(str(path), "--network.kind", "light", "--network.width", "16")
    assert found.network == Network(kind="light", width=16, num_frequencies=0)
    assert not found.data.standardise
    said = f"note: network.kind light has its own num_frequencies 0: num_frequencies 16 of {path} belong to perceptron\n"
    assert capsys.readouterr().err == said
    assert parsed(str(path), "--network.kind", "perceptron") == parsed(str(path))
    assert capsys.readouterr().err == ""


ANY_NUMBER = st.floats(1e-12, 1e12)


@settings(deadline=None)
@given(
    st.builds(
        Recipe,
        jko=st.builds(Jko, h=ANY_NUMBER | st.just(float("inf")), first_h=ANY_NUMBER | st.none(), num_phases=st.integers(1, 99)),
        data=st.builds(
            Data,
            target=st.just("cifar10"),
            digest=st.none() | st.text("0123456789", min_size=64, max_size=64) | st.just("1" * 31 + "e" + "2" * 32),
        ),
        training=st.builds(Training, map_lr=st.floats(1e-12, 1e3), r1=st.just(0.0) | ANY_NUMBER, bfloat16=st.booleans()),
        seed=st.integers(0, 2**63 - 1),
    )
)
def test_a_recipe_that_is_written_is_read_back_exactly(tmp_path_factory: pytest.TempPathFactory, written: Recipe) -> None:
    path = tmp_path_factory.mktemp("recipe") / "best.yaml"
    path.write_text(as_yaml(written))
    assert parsed(str(path)) == written
    assert len(read(path).values) == sum(len(fields(kind)) for kind in recipe.GROUPS.values()) + 1


@pytest.mark.parametrize("arguments", ["run --dry-run moons", "run --jko.h 1 moons", "run -- moons", "run"])
def test_the_recipe_comes_before_all_flags_or_is_refused(arguments: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(arguments.split()) == 2
    assert capsys.readouterr().err == "error: RECIPE must come right after `run`, before all flags\n"


@pytest.mark.parametrize("name", ["../two_circles", "/etc/passwd", "no_such_recipe", "Two Circles"])
def test_a_recipe_name_is_a_name_or_a_yaml_file(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["run", name]) == 2
    assert "RECIPE" in capsys.readouterr().err


def test_help_is_asked_for_with_exit_code_0(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        cli.main(["run", "--help"])
    assert stopped.value.code == 0
    assert "--jko.h" in capsys.readouterr().out


def test_a_dry_run_of_a_fresh_home_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SJKO_HOME", str(tmp_path / "home"))
    assert cli.main(["run", "two_circles", "--dry-run"]) == 0
    printed = capsys.readouterr().out
    assert all(phase.fingerprint in printed for phase in phases_of(parsed("two_circles")))
    assert not (tmp_path / "home").exists()
