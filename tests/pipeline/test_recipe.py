"""The recipe as the only schema: YAML and flags through one parser, one clear line for every mistake."""

from dataclasses import asdict, fields
from pathlib import Path
from typing import get_args

import pytest
import yaml

from components.divergences import DIVERGENCES
from components.measures import PLANAR
from components.semidual import RELATIVISTIC
from pipeline import cli, recipe
from pipeline.data import DATASET_READERS
from pipeline.originals import READERS
from pipeline.phase import phases_of
from pipeline.recipe import Recipe

SHIPPED = sorted(path.stem for path in cli.RECIPES.glob("*.yaml"))


def parsed(*arguments: str) -> Recipe:
    command = cli.parse(["run", *arguments])
    assert isinstance(command, cli.Run)
    return Recipe(command.data, command.network, command.jko, command.training, command.seed)


@pytest.mark.parametrize("name", SHIPPED)
def test_every_shipped_recipe_parses_and_is_valid(name: str) -> None:
    recipe.validate(parsed(name))


def test_choices_of_the_recipe_are_the_tables_of_the_components() -> None:
    assert set(get_args(recipe.DivergenceName)) == {*DIVERGENCES, RELATIVISTIC}
    assert set(get_args(recipe.SourceDivergenceName)) < set(DIVERGENCES)
    assert set(recipe.PLANAR) == set(PLANAR)
    assert set(recipe.BUILT_IN) == set(DATASET_READERS)
    assert set(recipe.DATASETS) == {"digits", *READERS}
    assert set(get_args(recipe.SourceName)) == {"normal", "gaussian", *PLANAR, *recipe.IMAGE_SOURCES}
    assert set(get_args(recipe.TargetName)) == {"gaussian", *PLANAR, *recipe.DATASETS}


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
    path.write_text(yaml.safe_dump(asdict(Recipe())))
    assert parsed(str(path)) == Recipe()
    assert sum(len(fields(type(getattr(Recipe(), group)))) for group in ("data", "network", "jko", "training")) <= 40


MISTAKES = {
    "--jko.h 0": ("jko.h", "above 0", "0.0"),
    "--jko.h -1": ("jko.h", "above 0", "-1.0"),
    "--jko.h nan": ("jko.h", "above 0", "nan"),
    "--jko.h big": ("jko.h", "float", "big"),
    "--jko.num-phases 0": ("jko.num_phases", "at least 1", "0"),
    "--jko.num-phases 1.5": ("jko.num-phases", "int", "1.5"),
    "--jko.divergence hellinger": ("jko.divergence", "kl", "hellinger"),
    "--jko.step 3": ("jko.step", "Unrecognized", "3"),
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
    "--network.kind residual": ("network.num_frequencies", "0 when network.kind is residual", "32"),
    "--network.kind residual --network.num-frequencies 0 --network.second-order": ("network.second_order", "false", "True"),
    "--network.second-order --training.bfloat16": ("training.bfloat16", "false when network.second_order is true", "True"),
    "--jko.num-phases 99999999999999999999": ("jko.num_phases", "at most 10000", "99999999999999999999"),
    "--jko.parametrization composed --network.z-dim 2": ("network.z_dim", "0 when", "2"),
    "--cluster.tracking-uri foo://bar": ("cluster.tracking_uri", "start with", "foo://bar"),
    "--cluster.tracking-uri sqlite:////tmp": ("cluster.tracking_uri", "sqlite:///FILE", "sqlite:////tmp"),
    "--cluster.tracking-uri sqlite:///": ("cluster.tracking_uri", "sqlite:///FILE"),
    f"--json {'x' * 300}": ("File name too long",),
    "--cluster.storage foo://bar/x": ("cluster.storage", "fsspec", "foo://bar/x"),
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


@pytest.mark.parametrize(
    ("content", "parts"),
    [
        (None, ("RECIPE", "existing file", "my.yaml")),
        ("jko: [1, 2]", ("jko", "group of fields", "[1, 2]")),
        ("jko: {h: [1, 2]}", ("jko.h", "one value")),
        ("jko:", ("jko", "group of fields", "None")),
        ("seed: {a: 1}", ("seed", "a number")),
        ("a: &a {b: *a}", ("not part of a recipe",)),
        ("jko: &a {h: *a}", ("contains itself",)),
        ("cluster.num_workers: 3", ("cluster.num_workers", "not part of a recipe")),
        ("dry_run: true", ("dry_run", "not part of a recipe")),
        ("help: x", ("help", "not part of a recipe")),
        ("jko: {'h.x': 3}", ("jko.h.x", "a field's name")),
        ("just words", ("my.yaml", "mapping")),
        ("jko: {h: ", ("my.yaml", "cannot be read as YAML")),
        ("jko: {hh: 3}", ("jko.hh",)),
        ("cluster: {num_workers: 2}", ("cluster", "not part of a recipe")),
        ("training: {num_steps: many}", ("training.num-steps", "many")),
    ],
)
def test_a_bad_recipe_file_is_one_line(
    content: str | None, parts: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "my.yaml"
    if content is not None:
        path.write_text(content)
    assert cli.main(["run", str(path)]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    for part in parts:
        assert part in error


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
