"""One word means one thing: one flag per setting in all programs, old spellings refused, and each noun in the glossary."""

import inspect
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

import pytest

from deploy import cli as deploy
from pipeline import places
from pipeline.command import cli
from pipeline.command.parsing import RENAMED, Field, fields_of
from pipeline.command.program import Later
from pipeline.recipes.reading import KINDS
from tune import cli as tune

GLOSSARY = (Path(__file__).resolve().parents[1] / "docs" / "glossary.md").read_text()
PROGRAMS = {"pipeline": cli.PROGRAM, "tune": tune.PROGRAM, "deploy": deploy.PROGRAM}
MLFLOW = ("--cluster.tracking-uri", "--store.tracking-uri")
IMAGES = ("--cluster.data", "--store.data")
CHECKPOINTS = ("--cluster.storage", "--store.checkpoints")
JSON = ("--store.json", "--json")
OLD = {
    "pipeline run moons": [MLFLOW, IMAGES, CHECKPOINTS],
    "pipeline list": [MLFLOW],
    "pipeline show abcdefgh": [MLFLOW],
    "pipeline evaluate abcdefgh": [MLFLOW, IMAGES],
    "pipeline submit moons": [MLFLOW, IMAGES, CHECKPOINTS, ("--address", "--dashboard")],
    "pipeline status": [("--address", "--dashboard")],
    "pipeline stop moons-1": [("--address", "--dashboard")],
    "tune run moons": [MLFLOW, IMAGES, CHECKPOINTS, ("--storage", "--store.optuna")],
    "tune resume moons": [("--where.tracking-uri", "--store.tracking-uri"), ("--where.storage", "--store.optuna")],
    "tune show moons": [("--where.tracking-uri", "--store.tracking-uri")],
    "tune best moons --to x.yaml": [("--where.tracking-uri", "--store.tracking-uri")],
    "deploy register abcdefgh --name moons": [JSON],
    "deploy promote moons": [JSON],
    "deploy rollback moons": [JSON],
    "deploy serve moons@champion": [JSON, ("--address", "--cluster.address")],
    "deploy generate moons@1 --num-samples 5 --to x": [
        JSON,
        ("--address", "--cluster.address"),
        ("--workers", "--cluster.num-workers"),
    ],
    "deploy transport moons@1 --from x.npy --to x": [
        JSON,
        ("--address", "--cluster.address"),
        ("--workers", "--cluster.num-workers"),
    ],
    "deploy export moons@1 --to x.onnx": [JSON],
}


def every_flag() -> Iterator[tuple[str, str, Field]]:
    for name, program in PROGRAMS.items():
        for command, action in program.actions.items():
            for field in fields_of(action.flags):
                yield name, command, field


@pytest.mark.parametrize(("words", "old", "new"), [(words, *pair) for words, pairs in OLD.items() for pair in pairs])
@pytest.mark.parametrize("form", ["{} x", "{}=x"])
def test_an_old_spelling_is_refused_and_the_new_one_is_named(
    words: str, old: str, new: str, form: str, capsys: pytest.CaptureFixture[str]
) -> None:
    program, *arguments = words.split()
    assert PROGRAMS[program].main([*arguments, *form.format(old).split()]) == 2
    assert capsys.readouterr().err == f"error: {old} is called {new} now\n"
    assert new in {field.flag for name, command, field in every_flag() if (name, command) == (program, arguments[0])}


def test_every_old_spelling_is_tested_and_none_is_a_flag() -> None:
    assert {old for pairs in OLD.values() for old, _ in pairs} == RENAMED.keys()
    assert not RENAMED.keys() & {field.flag for *_, field in every_flag()}


def test_a_flag_that_a_command_has_no_use_for_any_more_is_to_be_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    assert tune.main(["show", "moons", "--where.storage", "sqlite:///x"]) == 2
    assert capsys.readouterr().err == "error: python -m tune show does not use --where.storage any more; leave it out\n"


def test_an_old_variable_is_refused_and_the_new_one_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SJKO_STORAGE", "s3://bucket/runs")
    assert cli.main(["list"]) == 2
    assert capsys.readouterr().err == "error: $SJKO_STORAGE is called $SJKO_CHECKPOINTS now\n"


@pytest.mark.parametrize(
    ("kind", "flag"),
    [(places.tracking, "--store.tracking-uri"), (places.database, "--store.optuna"), (places.ray_address, "--cluster.address")],
)
def test_a_setting_has_one_flag_in_all_programs(kind: Callable[[str, str], str], flag: str) -> None:
    assert {field.flag for *_, field in every_flag() if places._reader(field.kind) is kind} == {flag}


def test_every_command_has_json() -> None:
    commands = {(name, command) for name, program in PROGRAMS.items() for command in program.actions}
    assert {(name, command) for name, command, field in every_flag() if field.flag == "--json"} == commands


def test_the_glossary_has_every_noun_of_the_command_lines_and_no_other_flag() -> None:
    code = {word for span in re.findall(r"`([^`]+)`", GLOSSARY) for word in (span, *span.split())}
    for name, command, field in every_flag():
        assert f"{name} {command}" in code
        word = field.name if field.name in KINDS else field.flag
        assert word in code if not field.positional else re.search(rf"\b{word}\b", GLOSSARY), (name, command, word)
    flags = {field.flag for *_, field in every_flag()} | {"--help", "--space.FIELD"}
    assert {word for word in code if word.startswith("--")} <= flags
    groups = tuple(f"{kind.partition('.')[0]}." for kind in KINDS if "." in kind)
    assert {word for word in code if word.startswith(groups)} <= KINDS.keys()


def test_no_help_shows_an_example_in_python(capsys: pytest.CaptureFixture[str]) -> None:
    """A docstring's `Example:` is for who reads the code; one without that heading stands in the help."""
    for program in PROGRAMS.values():
        for command in program.actions:
            with pytest.raises(SystemExit) as ended:
                program.main([command, "--help"])
            assert ended.value.code == 0
            shown = capsys.readouterr().out
            assert "--json" in shown
            assert ">>>" not in shown, command


@pytest.mark.parametrize("name", PROGRAMS)
def test_every_command_has_a_function_that_takes_its_flags(name: str) -> None:
    for command, action in PROGRAMS[name].actions.items():
        function: Any = action.run
        if isinstance(function, Later):
            function = resolve_name(function.function)
        (parameter,) = inspect.signature(function).parameters.values()
        assert parameter.annotation is action.flags, command
