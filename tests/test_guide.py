"""The guide: its commands exist, its links lead somewhere, and README fits a sitting."""

import json
import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from deploy import cli as deploy
from deploy.web.bodies import SampleRequest
from pipeline.command import cli
from tune import cli as tune

ROOT = Path(__file__).resolve().parents[1]
PROGRAMS = {"pipeline": cli.PROGRAM, "tune": tune.PROGRAM, "deploy": deploy.PROGRAM}
GUIDE = (
    ROOT / "README.md",
    *sorted((ROOT / "docs" / "how_to").glob("*.md")),
    *sorted((ROOT / "docs" / "concepts").glob("*.md")),
    *(ROOT / "docs" / name for name in ("image_sets.md", "operations.md", "tables.md", "parts.md")),
)
PAGES = (ROOT / "README.md", *(path for path in (ROOT / "docs").rglob("*.md")))
MOST_LINES = {"README.md": 150, "how_to": 75}
CELLS = "colour,size\n" + "".join(f"{['red', 'blue'][n % 2]},{n / 8}\n" for n in range(40))
FILES = {
    "photos.yaml": "data: {target: image_folder, size: 32, flip: true}\nnetwork: {kind: small}",
    "mine.yaml": "data: {target: gauss25}",
    "best.yaml": "data: {target: gauss25}",
    "cells.csv": CELLS,
    "before.csv": CELLS,
    "after.csv": CELLS,
    "token": "a-token-of-many-characters",
    "cifar-10-binary.tar.gz": "",
    "photos/a.png": "",
}
"""What stands in the folder of who follows a page: recipes that it writes, data of their own."""


def commands(path: Path) -> Iterator[list[str]]:
    """List the commands of a page: the lines of its blocks that are no Python, YAML or output."""
    text = path.read_text().replace("\\\n", " ")
    for block in re.findall(r"^```(?:sh)?\n(.*?)^```", text, re.DOTALL | re.MULTILINE):
        for line in block.splitlines():
            for command in re.sub(r"(^| )#( .*|$)", "", line).split(" && "):
                if re.match(r"python -m |mlflow |ray |make ", command):
                    yield shlex.split(command.split(" | ")[0].replace("…", "").removesuffix(" &"))


def all_commands() -> list[object]:
    """List each command of the guide once, named by its words."""
    found = {tuple(words): f"{path.stem}: {' '.join(words)}" for path in GUIDE for words in commands(path)}
    return [pytest.param(list(words), id=name) for words, name in found.items()]


@pytest.mark.parametrize("words", all_commands())
def test_every_command_of_the_guide_is_one(words: list[str], tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o600)
    if "--data.schema" in words:
        assert cli.main(["schema", "cells.csv", "--to", words[words.index("--data.schema") + 1]]) == 0
    if words[:2] == ["python", "-m"]:
        package, *arguments = words[2:]
        if package.startswith("benchmarks."):
            assert (ROOT / f"{package.replace('.', '/')}.py").is_file()
        else:
            assert PROGRAMS[package].read(arguments)
    elif words[0] == "make":
        assert re.search(rf"^{words[1]}:", (ROOT / "Makefile").read_text(), re.MULTILINE)
    else:
        check_of_another(words)


def check_of_another(words: list[str]) -> None:
    """Check that a program of MLflow or Ray has such a command with such flags."""
    if words[0] == "mlflow":
        from mlflow.cli import cli as group
    else:
        from ray.scripts.scripts import cli as group
    command, rest = group, words[1:]
    while hasattr(command, "commands") and rest[0] in command.commands:
        command, rest = command.commands[rest[0]], rest[1:]
    assert command is not group, words
    flags = {flag for parameter in command.params for flag in (*parameter.opts, *parameter.secondary_opts)}
    assert {each.partition("=")[0] for each in rest if each.startswith("-")} <= flags


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_leads_somewhere(path: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", re.sub(r"```.*?```", "", path.read_text(), flags=re.DOTALL)):
        if re.match(r"[a-z]+:", link):
            continue
        place, _, anchor = link.partition("#")
        to = (path.parent / place).resolve() if place else path
        assert to.exists(), link
        if anchor:
            assert anchor in anchors(to.read_text()), link


def anchors(text: str) -> set[str]:
    """List the anchors of a page's headings, as GitHub and MkDocs write them."""
    heads = re.findall(r"^#+ (.*)", text, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", head.lower()).strip().replace(" ", "-") for head in heads}


def test_requests_of_the_guide_are_json_and_go_to_paths_of_the_service() -> None:
    fields = {*SampleRequest.model_fields, "rows", "columns"}
    text = "".join(path.read_text() for path in GUIDE)
    sent = re.findall(r"curl -s '?localhost:8000(/[\w/]*)[^\n]*? -d '([^']*)'", text)
    assert sent
    for path, body in sent:
        assert path in ("/v1/samples", "/v1/transport")
        assert json.loads(body).keys() <= fields, body


def test_readme_and_how_to_are_short() -> None:
    for path in GUIDE:
        most = MOST_LINES.get(path.name) or MOST_LINES.get(path.parent.name)
        assert most is None or len(path.read_text().splitlines()) <= most, path


def test_one_version_stands_everywhere() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert yaml.safe_load((ROOT / "CITATION.cff").read_text())["version"] == version
    assert re.findall(r"^## \[(\d[\d.]*)\]", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)[0] == version
    images = [path for path in (*(ROOT / "deploy" / "kubernetes").iterdir(), *GUIDE) if path.is_file()]
    tags = {tag for path in images for tag in re.findall(r"/sjko:([\d.]*\d)", path.read_text())}
    assert tags == {version}


@pytest.mark.parametrize("name", ["decisions.md", "experiments.md"])
def test_notes_are_newest_first(name: str) -> None:
    dates = re.findall(r"^(?:## |\*\*)(\d{4}-\d\d-\d\d) ", (ROOT / "docs" / name).read_text(), re.MULTILINE)
    assert len(dates) > 20
    assert dates == sorted(dates, reverse=True)
