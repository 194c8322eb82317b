"""`python -m pipeline prepare`: its flags, the mistakes that can be made in them, and what it prints."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from pipeline import places
from pipeline.command.flags import Command
from pipeline.data import table
from pipeline.places import Place
from pipeline.provenance import redacted
from pipeline.words import command_line

NUM_SHOWN = 20
"""Most bad images that are printed; all are in bad_images.json."""
OF_IMAGES = "images"
"""The recipe of images that have none of their own."""
LEARNED_WELL = 32
"""The largest side whose images ten minutes of a core come near to: at 64 pixels shoes and bags are smears after 100 seconds."""
OF_FOLDERS = "image_folder"
"""The set that this recipe is for where nobody says another."""
if TYPE_CHECKING:
    from pipeline.data.preparing.plan import Plan
    from pipeline.data.preparing.write import Written

    SetName = str
else:
    SetName = Literal[tuple(table.IMAGE_SETS)]


@dataclass(frozen=True)
class Prepare(Command):
    """Write a set of images as Parquet shards that training reads from any disk or object store; started again, it goes on.

    Example: `prepare image_folder --from photos --to s3://bucket/data`. Its last line is the command that trains on them.
    """

    name: tyro.conf.Positional[SetName]
    """the set: `image_folder` is any folder of images; what lies in a folder called test, or validation, is held out, or else a
    tenth; other folders are classes"""
    from_: Annotated[Path | None, tyro.conf.arg(name="from")] = None
    """the originals: a folder of gzipped idx files (fashion_mnist, mnist, emnist_letters), cifar-10-binary.tar.gz or its folder,
    or a folder of images; None: those that come built in (digits, fashion_mnist)"""
    to: Place | None = None
    """folder or URL of prepared sets, what `run` takes as --store.data; None: $SJKO_HOME/data. It gets a folder NAME-SIZE"""
    train: str | None = None
    """the folder of training images below --from, where its name does not say so; `.` is all of --from, classes of any name"""
    test: str | None = None
    """the folder of held-out images below --from; None with --train: a tenth of the training images"""
    size: int | None = None
    """side in pixels: the centre square is resized to it; None: what the set comes with, or of a folder what its
    images have, at most 64"""
    channels: int | None = None
    """of a folder: 1 makes all images grey, 3 keeps colours; None: 1 where every image is grey, else 3"""
    encoding: Literal["raw", "encoded"] | None = None
    """`raw` pixels, quicker to read, or PNG and JPEG, smaller; None: `encoded` for folders, else `raw`"""


def require_usable(command: Prepare) -> None:
    """Refuse what cannot work before anything is loaded.

    Raises:
        ValueError: what is wrong, in one line.
    """
    from pipeline.data.images.image_set import CHANNELS, image_sets  # imports numpy, which --help need not wait for

    images = image_sets()[command.name]
    side = images.side
    if command.size is not None and not 8 <= command.size <= 1024:
        raise ValueError(f"--size must be from 8 to 1024, not {command.size}")
    if command.from_ is None and images.built_in is None:
        raise ValueError(f"--from must be given for {command.name}: the folder of its files")
    if command.from_ is not None and images.originals is None:
        raise ValueError(f"--from must be left out for {command.name}, whose images are built in")
    if command.from_ is not None and not command.from_.exists():
        raise ValueError(f"--from must be an existing folder or file, not {command.from_}")
    if side is not None and (command.train, command.test) != (None, None):
        raise ValueError(f"--train and --test must be left out for {command.name}, whose files say which images are held out")
    if side is not None and command.channels is not None:
        raise ValueError(f"--channels must be left out for {command.name}, whose images have {images.channels}")
    if command.channels not in (None, *CHANNELS):
        raise ValueError(f"--channels must be 1 or 3, not {command.channels}")
    places.home()


def prepare_set(command: Prepare) -> Mapping[str, Any]:
    """Carry out `prepare`: write the set of images that a command asks for, and print what was done.

    Raises:
        Unusable: the originals are not what they should be, or --to cannot be written.
    """
    from pipeline.command import report
    from pipeline.data.preparing.write import write_set

    plan = chosen_plan(command)
    with report.progress(f"{command.name}, {plan.size} x {plan.size}") as show:
        done = write_set(plan, show)
    tell(done, plan)
    report.line(f"next: {next_command(command, plan.size)}")
    return {
        "name": command.name,
        "uri": plan.uri,
        "channels": plan.channels,
        "digest": done.manifest["digest"],
        "rows": done.rows,
        "bad": done.bad,
        "remarks": [{"path": path, "remark": remark} for path, remark in done.remarks],
        "notes": plan.originals.notes,
        "bytes": done.num_bytes,
        "images_per_second": done.num_new / done.seconds,
    }


def chosen_plan(command: Prepare) -> "Plan":
    """Read the originals, and choose what the command leaves to them: size, channels, encoding.

    Raises:
        Unusable: the originals are not what they should be.
    """
    from pipeline.command import report
    from pipeline.data.images.image_set import image_sets
    from pipeline.data.images.prepared import uri_of
    from pipeline.data.preparing.originals import Layout
    from pipeline.data.preparing.plan import plan_of
    from pipeline.data.preparing.suiting import coloured, side_of

    images = image_sets()[command.name]
    with report.progress(f"reading {command.name}") as show:
        originals = images.originals_of(command.from_, Layout(command.train, command.test), show)
    for note in originals.notes:
        report.line(note)
    size, channels = command.size or images.side, command.channels or images.channels
    if size is None:
        size = side_of(originals)
        report.line(f"{size} x {size} pixels, chosen by the sides of the images; --size is for another")
        if size > LEARNED_WELL:
            report.line(f"ten minutes of one core learn more of {LEARNED_WELL} x {LEARNED_WELL}: --size {LEARNED_WELL}")
    if images.side is None and command.channels is None:
        with report.progress("looking for colours") as show:
            in_colour = coloured(originals, show)
        channels = 1 if in_colour is None else 3
        grey = "1 channel, since every image is grey; --channels 3 is for three"
        report.line(grey if in_colour is None else f"3 channels, since {in_colour} is in colour; --channels 1 is for grey")
    encoding = command.encoding or ("raw" if images.side else "encoded")
    uri = uri_of(command.name, size, command.to)
    return plan_of(command.name, originals, uri, size=size, channels=channels, encoding=encoding)


def tell(done: "Written", plan: "Plan") -> None:
    """Print what was written: bad images, what of others was not kept, how many there are, where they are."""
    from pipeline.command import report
    from pipeline.data.images.prepared import BAD_IMAGES

    uri = redacted(plan.uri)
    for image in done.bad[:NUM_SHOWN]:
        report.line(f"bad: {image['path']}: {image['reason']}")
    if len(done.bad) > NUM_SHOWN:
        report.line(f"... and {len(done.bad) - NUM_SHOWN} more in {uri}/{BAD_IMAGES}")
    for remark, names in grouped(done.remarks)[:NUM_SHOWN]:
        report.line(f"{len(names):,} x {remark}: {names[0]}{', ...' if names[1:] else ''}")
    speed = f", {done.num_new / done.seconds:,.0f} images/s" if done.num_new else ""
    earlier = f", {done.num_kept_shards} shards were there already" if done.num_kept_shards else ""
    shape = f"{plan.channels} x {plan.size} x {plan.size}"
    report.line(f"{done.rows['train']:,} training and {done.rows['test']:,} test images of {shape}; {len(done.bad):,} bad")
    report.line(f"{done.num_bytes:,} bytes{speed}{earlier}")
    report.line(f"digest {done.manifest['digest']}")
    report.line(f"in {uri}")


def grouped(remarks: Sequence[tuple[str, str]]) -> list[tuple[str, list[str]]]:
    """Group (image, remark) pairs by remark, with the names of its images; the most frequent remark comes first.

    >>> grouped([("a.png", "grey"), ("b.png", "rotated"), ("c.png", "grey")])
    [('grey', ['a.png', 'c.png']), ('rotated', ['b.png'])]
    """
    groups: dict[str, list[str]] = {}
    for name, remark in remarks:
        groups.setdefault(remark, []).append(name)
    return sorted(groups.items(), key=lambda group: -len(group[1]))


def next_command(command: Prepare, size: int) -> str:
    """Write a command that trains on a prepared set: with a shipped recipe for it, else with that of any images."""
    from pipeline.data.images.image_set import image_sets
    from pipeline.recipes.reading import RECIPES, read

    side = image_sets()[command.name].side
    fitting = []
    for path in sorted(RECIPES.glob("*.yaml")):
        recipe = read(path).values
        if recipe.get("data.target") == command.name and recipe.get("data.size", side) == size and "data.source" not in recipe:
            fitting.append(path.stem)
    target = [] if command.name == OF_FOLDERS else ["--data.target", command.name]
    words = [min(fitting, key=len)] if fitting else [OF_IMAGES, *target, "--data.size", str(size)]
    if command.to is not None:
        words += ["--store.data", redacted(command.to)]
    return command_line("python", "-m", "pipeline", "run", *words)
