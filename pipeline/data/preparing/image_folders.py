"""A folder of images as a set: its splits, its classes, the hash of what it is."""

import hashlib
import os
from collections.abc import Callable, Sequence
from pathlib import Path

from pipeline import files as places
from pipeline.data.preparing.image_walk import Contents, named, walk
from pipeline.data.preparing.originals import Layout, Original, Originals
from pipeline.data.preparing.splits import Division, Parts, common_folder, divide, inside, shown
from pipeline.errors import Unusable


def read_folder(root: Path, layout: Layout, show: Callable[[int, int], None]) -> Originals:
    """Read which images lie below a folder, in an order as good as random and fixed: that of the hashes of their relative
    paths.

    The class is the first folder below that of the split, or below the one that holds all images; images that lie in none have
    label -1. Where nothing is split, the last tenth is held out.

    Args:
        show: told (images hashed, images in all) as it goes on.

    Raises:
        Unusable: it is no folder, cannot be read, has too few images, or can be understood in two ways.
    """
    contents = walk(root)
    names = sorted(contents.images, key=lambda name: hashlib.sha256(os.fsencode(name)).digest())
    folders = {name: tuple(name.split("/")[:-1]) for name in names}
    division = divide(root, names, layout)
    splits: dict[str, list[str]] = {"train": [], "test": []}
    for name in names:
        if (split := division.split_of(folders[name])) is not None:
            splits[split].append(name)
    bases = {"train": division.train, "test": division.test}
    if division.test is None:
        count = max(1, len(splits["train"]) // 10)
        splits = {"train": splits["train"][:-count], "test": splits["train"][-count:]}
        bases["train"] = bases["test"] = common_folder(folders[name] for name in names if inside(folders[name], division.train))
    if not splits["train"] or not splits["test"]:
        raise Unusable(f"--from must be a folder with at least one training and one test image ({len(names)} found), not {root}")
    below = {name: folders[name][len(bases[split] or ()) :] for split in splits for name in splits[split]}
    classes = tuple(sorted({parts[0] for parts in below.values() if parts}))
    numbers = {name: number for number, name in enumerate(classes)}
    hashes = _hashes(contents, [*splits["train"], *splits["test"]], show)
    originals = {
        split: [Original(name, numbers[below[name][0]] if below[name] else -1, contents.images[name]) for name in splits[split]]
        for split in splits
    }
    lines = [f"{split} {hashes[each.name]} {each.label} {each.name}\0" for split in splits for each in originals[split]]
    identity = hashlib.sha256("".join(lines).encode(errors="surrogateescape")).hexdigest()
    notes = [_division_note(division, splits), *_split_notes(names, splits, below, hashes), *contents.notes()]
    return Originals(originals, identity, classes, tuple(notes))


def _hashes(contents: Contents, names: Sequence[str], show: Callable[[int, int], None]) -> dict[str, str]:
    """Compute the sha256 of each image's content, so that a copy with other times is the same; `-` where it cannot be read."""

    def content(name: str) -> str:
        path = contents.images[name]
        try:
            if path.is_file() and path.stat().st_size:  # a pipe would be waited for
                with path.open("rb") as file:
                    return hashlib.file_digest(file, "sha256").hexdigest()
        except OSError:
            pass
        return "-"

    hashes = {}
    for done, (name, value) in enumerate(zip(names, places.in_order(content, names), strict=True), 1):
        hashes[name] = value
        show(done, len(names))
    return hashes


def _division_note(division: Division, splits: dict[str, list[str]]) -> str:
    counts = {split: f"{len(names):,}" for split, names in splits.items()}
    if division.test is None:
        return f"{counts['train']} training images, and {counts['test']} held out by the hashes of their names"
    place = "elsewhere" if inside(division.test, division.train) else f"in {shown(division.train)}"
    return f"{counts['train']} training images {place}, {counts['test']} held out in {shown(division.test)}"


def _split_notes(
    names: Sequence[str], splits: dict[str, list[str]], below: dict[str, Parts], hashes: dict[str, str]
) -> list[str]:
    """Note what may surprise in the splits: images of neither, images of no class, images of both."""
    neither = [name for name in names if name not in below]
    classless = [name for name, parts in below.items() if not parts]
    trained = {hashes[name]: name for name in splits["train"] if hashes[name] != "-"}
    both = [f"{name} = {trained[hashes[name]]}" for name in splits["test"] if hashes[name] in trained]
    notes = [f"{len(neither):,} images are neither for training nor held out: {named(neither)}"] if neither else []
    if classless and len(classless) < len(below):
        notes.append(f"{len(classless):,} images lie in no class's folder: {named(classless)}")
    if both:
        notes.append(f"{len(both):,} held-out images are training images as well, so figures will flatter: {named(both)}")
    return notes
