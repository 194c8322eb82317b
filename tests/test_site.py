"""The guide as a site: its links hold, its pages are made from the code, and nothing of it comes from a network."""

import json
import re
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import pytest
from notebooks import executed

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the site, which is refused where a link leads nowhere or a page is in no menu."""
    config = pytest.importorskip("mkdocs.config", reason="pip install -e '.[dev]' brings MkDocs")
    from mkdocs.commands.build import build

    to = tmp_path_factory.mktemp("site")
    build(config.load_config(str(ROOT / "mkdocs.yml"), site_dir=str(to)))
    return to


@pytest.mark.slow
def test_every_page_asks_for_files_of_the_site_alone(site: Path) -> None:
    pages = list(site.rglob("*.html"))
    assert len(pages) > 30
    for page in pages:
        asked = re.findall(r"<(?:script|img|link|source)[^>]*?(?:src|href)=\"?(https?:[^\" >]*)", page.read_text())
        assert not asked, (page.name, asked)
    assert not re.search(r"fonts\.g|url\(\"?https?:", "".join(path.read_text() for path in site.rglob("*.css")))


@pytest.mark.slow
def test_the_page_of_the_recipe_has_every_field_with_its_text(site: Path) -> None:
    from pipeline.recipes.reading import KINDS

    text = (site / "reference" / "recipe.html").read_text()
    rows = dict(re.findall(r"<td><code>([a-z0-9_.]+)</code></td>\s*<td>.*?</td>\s*<td>(.*?)</td>", text, re.DOTALL))
    assert rows.keys() >= KINDS.keys()
    assert all(rows.values())


@pytest.mark.slow
def test_the_pages_of_commands_and_of_http_have_all_of_them(site: Path) -> None:
    commands = (site / "reference" / "commands.html").read_text()
    for name in ("pipeline run", "tune run", "deploy transport"):
        assert f"usage: python -m {name}" in commands
    http = (site / "reference" / "http.html").read_text()
    for words in ("GET /readyz", "POST /v1/samples", "POST /v1/transport", "num_samples", "503"):
        assert words in http


@pytest.mark.thorough
def test_the_notebook_about_the_method_runs_and_shows_what_is_in_the_file() -> None:
    """Its own cells assert that the dual gap vanishes and that steps of constant size stop at gap^2 / 2h."""
    path = ROOT / "docs" / "notebooks" / "method.ipynb"
    kept, shown = json.loads(path.read_text()), executed(path, {})
    assert printed(kept) == printed(shown)
    pictures = [each for cell in shown["cells"] for each in cell.get("outputs", []) if "image/png" in each.get("data", ())]
    assert len(pictures) == 3


def printed(notebook: dict[str, Any]) -> list[str]:
    """List the lines that end in a bound which is exact; digits of the solvers are the machine's."""
    outputs = (each for cell in notebook["cells"] for each in cell.get("outputs", []))
    text = "".join(each["text"] for each in outputs if each["output_type"] == "stream")
    return [line for line in text.splitlines() if line.startswith(("h =", "growing", "nearest"))]


def test_the_language_of_the_guide_has_limits() -> None:
    pytest.importorskip("proselint", reason="pip install -e '.[dev]' brings proselint")
    spec = spec_from_file_location("prose", ROOT / "docs" / "made" / "prose.py")
    assert spec is not None
    assert spec.loader is not None
    prose = module_from_spec(spec)
    spec.loader.exec_module(prose)
    text = f"Short.\n\n- {'word ' * 31}\n\n```\n{'code ' * 40}\n```\n\nIt is kept, then it is read, then it is given away."
    assert [(line, said.split(":")[0]) for line, said in prose.complaints(text)] == [(3, "31 words"), (9, "3 passive verbs")]
