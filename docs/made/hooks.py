"""What MkDocs runs while it builds the site: pages made from the code, and files of the root beside those of docs/.

Nothing is written into docs/: made pages exist in the site alone. `mkdocs.yml` names this file.
"""

import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(Path(__file__).parent)]

import commands_page  # noqa: E402
import http_page  # noqa: E402
import notebook_page  # noqa: E402
import recipe_page  # noqa: E402

FROM_ROOT = {"README.md": "index.md", **{name: name for name in ("CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md")}}
"""Files at the root of the repository that are pages of the site, by their path there."""
MADE: dict[str, Callable[[], str]] = {
    "reference/recipe.md": recipe_page.page,
    "reference/commands.md": commands_page.page,
    "reference/http.md": http_page.page,
}


def pages() -> Iterator[tuple[str, str]]:
    """List the pages that are not in docs/: the path of each in the site, and its text."""
    for name, path in FROM_ROOT.items():
        yield path, within_docs((ROOT / name).read_text())
    for path, page in MADE.items():
        yield path, page()
    for notebook in (ROOT / "docs").rglob("*.ipynb"):
        yield str(notebook.relative_to(ROOT / "docs").with_suffix(".md")), notebook_page.page(notebook)


def within_docs(text: str) -> str:
    """Rewrite the links of a page at the root for a reader of the site, where docs/ is the root.

    >>> within_docs("[a](docs/tables.md) [b](examples/) ![c](docs/x.png)")
    '[a](tables.md) `b` ![c](x.png)'
    """
    text = re.sub(r"\[([^\]]*)\]\((?:examples/|LICENSE)\)", r"`\1`", text)
    return text.replace("](docs/", "](")


def on_files(files: Files, config: Any) -> Files:
    """Add the made pages to those of docs/."""
    for path, text in pages():
        files.append(File.generated(config, path, content=text))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Rewrite links that are right in the repository and not in the site: to the root's files, and to notebooks."""
    names = "|".join(map(re.escape, FROM_ROOT))
    markdown = re.sub(rf"\]\(\.\./((?:\.\./)*)({names})", lambda found: f"]({found[1]}{FROM_ROOT[found[2]]}", markdown)
    return re.sub(r"\]\(([^):]*)\.ipynb\)", r"](\1.md)", markdown)
