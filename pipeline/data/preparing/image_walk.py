"""What lies in a folder of images: every file is either taken or counted, and links are followed."""

import os
import stat
import tarfile
import zipfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.errors import Unusable

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".bmp", ".gif", ".tif", ".tiff")
LEFT_BY_SYSTEMS = ("__MACOSX", "Thumbs.db", "ehthumbs.db", "desktop.ini", "@eaDir")
NUM_NAMED = 3


@dataclass
class Contents:
    """All that lies below a folder of images, by what is done with it.

    Attributes:
        images: by their names, at their paths, those that cannot be read included.
        other: files that are no images by their names, counted by suffix.
        hidden: files and folders that are hidden, or that systems leave behind.
        broken: links that lead nowhere and have no image's name: perhaps to a folder that is not mounted.
        loops: links to a folder that they lie in.
    """

    images: dict[str, Path] = field(default_factory=dict)
    other: Counter[str] = field(default_factory=Counter)
    hidden: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
    loops: list[str] = field(default_factory=list)

    def notes(self) -> list[str]:
        """Note what is left out of the set, a line for each kind."""
        suffixes = ", ".join(f"{suffix or 'without suffix'} {count}" for suffix, count in self.other.most_common())
        kinds = [
            (self.hidden, "hidden files or folders are left out"),
            (self.broken, "links lead nowhere and are left out"),
            (self.loops, "links lead back to a folder that they lie in and are not followed"),
        ]
        notes = [f"{self.other.total()} other files are no images by their names ({suffixes})"] if self.other else []
        return notes + [f"{len(names)} {what}: {named(names)}" for names, what in kinds if names]


def walk(root: Path) -> Contents:
    """Find all that lies below a folder; links are followed, but not in circles.

    Raises:
        Unusable: it is no folder, a folder below cannot be read, or one is reached twice.
    """
    if not root.is_dir():
        packed = root.is_file() and (zipfile.is_zipfile(root) or tarfile.is_tarfile(root))
        raise Unusable(f"--from must be a folder of images, not {root}{': unpack it first' if packed else ''}")
    contents, reached = Contents(), dict[tuple[int, int], str]()
    waiting: list[tuple[Path, str, frozenset[tuple[int, int]]]] = [(root, "", frozenset())]
    while waiting:
        path, name, above = waiting.pop()
        try:
            status = path.stat()
            entries = sorted(os.scandir(path), key=lambda entry: entry.name)
        except OSError as error:
            raise Unusable(f"--from: the folder {path} cannot be read: {error.strerror}") from error
        here = (status.st_dev, status.st_ino)
        if here in above:
            contents.loops.append(name)
            continue
        if here in reached:
            raise Unusable(
                f"--from reaches the folder {path.resolve()} twice, as {reached[here]}/ and as {name}/: remove a link, or its "
                "images would count twice"
            )
        reached[here] = name or "."
        for entry in entries:
            inner = f"{name}/{entry.name}" if name else entry.name
            if _placed(entry, inner, contents):
                waiting.append((Path(entry.path), inner, above | {here}))
    return contents


def _placed(entry: os.DirEntry[str], name: str, contents: Contents) -> bool:
    """Put one entry of a folder among what was found; True for a folder, to be looked into."""
    is_image = entry.name.lower().endswith(IMAGE_SUFFIXES)
    if entry.name.startswith(".") or entry.name in LEFT_BY_SYSTEMS:
        contents.hidden.append(name)
        return False
    try:
        is_folder = stat.S_ISDIR(entry.stat().st_mode)
    except OSError as error:
        if not entry.is_symlink():
            raise Unusable(f"--from: {entry.path} cannot be read: {error.strerror}") from error
        if not is_image:
            contents.broken.append(name)
            return False
        is_folder = False  # and will be listed as a bad image
    if is_folder:
        return True
    if is_image:
        contents.images[name] = Path(entry.path)
    else:
        contents.other[os.path.splitext(entry.name)[1].lower()] += 1
    return False


def named(names: Sequence[str]) -> str:
    """Name the first few of many names, and count the others."""
    more = [f"and {len(names) - NUM_NAMED:,} more"] if len(names) > NUM_NAMED else []
    return ", ".join([*names[:NUM_NAMED], *more])
