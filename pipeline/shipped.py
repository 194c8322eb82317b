"""What of this repository travels to a cluster as Ray's working directory: code, recipes and what they need, nothing else.

Ray itself would send every file that git does not ignore: a forgotten `.env`, a key, a folder of pictures.
"""

import re
from pathlib import Path

KINDS = frozenset({".py", ".typed", ".yaml", ".yml", ".html", ".css", ".js"})
WHOLE = ("pipeline/evaluation/networks/assets", "pipeline/data/sets")
"""Folders of the weights that metrics use, and of the tables that recipes do."""
LEFT_BEHIND = frozenset({"docs", "tests", "__pycache__"})


def excludes(root: Path) -> list[str]:
    """List what Ray must leave out of a working directory, as .gitignore has it: all of a folder but what is named after that."""
    return [*of_folder(root, root), "!/."]  # Ray asks for the root itself by this name


def of_folder(folder: Path, root: Path) -> list[str]:
    """List the patterns of one folder for Ray's `excludes`; none where neither it nor anything in it travels."""
    patterns: list[str] = []
    for path in sorted(folder.iterdir()):
        inner = of_folder(path, root) if may_hold_code(path) else []
        if inner or travels(path, root):
            patterns += ["!" + pattern_of(path, root), *inner]
    return [pattern_of(folder, root).rstrip("/") + "/*", *patterns] if patterns else []


def pattern_of(path: Path, root: Path) -> str:
    """Write the pattern of .gitignore for one path, from the root of the repository, whatever characters it has."""
    return "/" + re.sub(r"([\\*?\[\]!# ])", r"\\\1", path.relative_to(root).as_posix()).removeprefix(".")


def may_hold_code(path: Path) -> bool:
    """Say whether to look into a path: a visible folder, no link, no virtual environment."""
    passed = path.name.startswith(".") or path.name in LEFT_BEHIND
    return not passed and path.is_dir() and not path.is_symlink() and not (path / "pyvenv.cfg").exists()


def travels(path: Path, root: Path) -> bool:
    """Say whether a file is sent to a cluster: code, a recipe, or weights that they use."""
    whole = any(path.parent == root / folder for folder in WHOLE)
    return path.is_file() and not path.name.startswith(".") and (whole or path.suffix in KINDS)
