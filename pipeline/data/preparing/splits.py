"""Which folders of a set hold training images and which held-out ones.

They are known by their usual names, in any case, wherever they stand side by side: `Train/` and `Test/`, `data/training/` and
`data/val/`. What could be read in two ways is refused, and a user may say it.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.data.preparing.image_walk import named
from pipeline.data.preparing.originals import Layout
from pipeline.errors import Unusable

WORDS = {
    "train": "train|training",
    "test": "test|testing",
    "validation": "val|valid|validation|dev|eval|evaluation|holdout|held[-_ ]?out",
}
_THING = r"set|data|dataset|images?|imgs?|pictures|photos|split|\d{4}"
USUAL_NAMES = {
    split: re.compile(rf"(({_THING})[-_ ]?)?({words})([-_ ]?({_THING}))?", re.IGNORECASE) for split, words in WORDS.items()
}
ANYWHERE = re.compile(
    "|".join(f"(?P<{split}>{'|'.join(sorted(words.split('|'), key=len, reverse=True))})" for split, words in WORDS.items()),
    re.IGNORECASE,
)
"""The words inside of longer names, which are names of splits only where another name differs in nothing else."""
SAY = (
    "say with --train and --test which folders are meant, such as --train a/train --test a/test; with --train . all are training "
    "images but for a tenth, and folders of any name are classes"
)
Parts = tuple[str, ...]


@dataclass(frozen=True)
class Division:
    """The division of a folder into training and held-out images; paths are given as their parts, from that folder on.

    Attributes:
        train, test: the folders of each split; None for the test split where a part of the training images is held out.
        left_out: folders inside of `train` that belong to neither.
    """

    train: Parts
    test: Parts | None = None
    left_out: tuple[Parts, ...] = ()

    def split_of(self, folder: Parts) -> str | None:
        """Say whether the images in a folder are for `train` or `test`; None where they are for neither."""
        if self.test is not None and inside(folder, self.test):
            return "test"
        return "train" if inside(folder, self.train) and not any(inside(folder, each) for each in self.left_out) else None


def divide(root: Path, names: Sequence[str], layout: Layout) -> Division:
    """Find which folders hold training and which held-out images, as they are called or as the user says.

    Args:
        names: of all images, relative to the root.

    Raises:
        Unusable: that can be understood in two ways, or there are no such images.
    """
    folders = [tuple(name.split("/")[:-1]) for name in names]
    if layout.train is not None or layout.test is not None:
        return _as_told(root, folders, layout)
    marked = {folder[: i + 1] for folder in folders for i, part in enumerate(folder) if _kind(part)}
    if not marked:
        _refuse_pairs(names)
        return Division(())
    (parent, *others) = sorted({each[:-1] for each in marked})
    if others or not all(inside(folder, parent) for folder in folders):
        first, last = min(marked, key=lambda each: (len(each), each)), max(marked, key=lambda each: (len(each), each))
        other = shown(last) if others else f"images outside of {shown(parent)}"
        raise Unusable(f"--from has {shown(first)} and {other}, which do not stand side by side: {SAY}")
    beside = {folder[len(parent)] for folder in folders if len(folder) > len(parent)}
    kinds = {kind: sorted(part for part in beside if _kind(part) == kind) for kind in USUAL_NAMES}
    for kind, several in kinds.items():
        if len(several) > 1:
            raise Unusable(f"--from has {named([f'{name}/' for name in several])}, each of which could be {kind} images: {SAY}")
    plain = sorted(part for part in beside if not _kind(part))
    held_out = [*kinds["test"], *kinds["validation"]]
    if kinds["train"] and plain:
        raise Unusable(
            f"--from has {kinds['train'][0]}/ and beside it {named([f'{name}/' for name in plain])}, which may be classes: {SAY}"
        )
    if kinds["train"] and not held_out:
        only = shown((*parent, kinds["train"][0]))
        raise Unusable(f"--from has {only} but no folder of held-out images such as test/: give {root / only}, or {SAY}")
    if not kinds["train"] and not plain and all(len(folder) > len(parent) for folder in folders):
        only = named([f"{name}/" for name in held_out])
        raise Unusable(f"--from has only {only} and no training images: give that folder as --from, or {SAY}")
    train = (*parent, *kinds["train"])
    return Division(train, (*parent, held_out[0]), tuple((*parent, name) for name in held_out[1:]))


def _refuse_pairs(names: Sequence[str]) -> None:
    """Refuse what lies side by side and differs only in the word of a split: trainA and testA, cat_train and cat_val."""
    training: dict[tuple[str, str], str] = {}
    held_out: dict[tuple[str, str], str] = {}
    lying = {tuple(parts[:i]) for parts in (name.split("/") for name in names) for i in range(1, len(parts) + 1)}
    for name in map("/".join, sorted(lying)):
        folder, _, last = name.rpartition("/")
        for word in ANYWHERE.finditer(last):
            rest = re.sub(r"[0-9]+", "0", f"{last[: word.start()]}*{last[word.end() :]}".casefold())
            (training if word.lastgroup == "train" else held_out).setdefault((folder, rest), name)
    for both in sorted(training.keys() & held_out.keys()):
        raise Unusable(f"--from has {training[both]} and {held_out[both]}, which may be training and held-out images: {SAY}")


def _as_told(root: Path, folders: Sequence[Parts], layout: Layout) -> Division:
    train = _parts("--train", layout.train or ".")
    test = None if layout.test is None else _parts("--test", layout.test)
    for flag, parts in (("--train", train), ("--test", test)):
        if parts is not None and not any(inside(folder, parts) for folder in folders):
            raise Unusable(f"{flag} must be a folder of images below {root}, not {shown(parts)}")
    if test is not None and inside(train, test):
        raise Unusable(f"--test must not hold the training images: {shown(train)} lies in {shown(test)}")
    return Division(train, test)


def _parts(flag: str, text: str) -> Parts:
    parts = Path(text).parts
    if Path(text).is_absolute() or ".." in parts:
        raise Unusable(f"{flag} must be a folder below --from, relative to it, not {text}")
    return parts


def _kind(part: str) -> str | None:
    return next((kind for kind, pattern in USUAL_NAMES.items() if pattern.fullmatch(part)), None)


def inside(folder: Parts, base: Parts) -> bool:
    """Say whether a folder is another one, or lies below it."""
    return folder[: len(base)] == base


def common_folder(folders: Iterable[Parts]) -> Parts:
    """Find the lowest folder that holds all images, or the one above where it holds no folders: then it is the only class."""
    first, *others = sorted(set(folders)) or [()]
    common = tuple(part for i, part in enumerate(first) if all(inside(other, first[: i + 1]) for other in others))
    return common if others or len(common) < len(first) else common[:-1]


def shown(parts: Parts) -> str:
    """Write a folder, given as its parts, as it is printed: `train/cats/`."""
    return f"{'/'.join(parts)}/" if parts else "./"
