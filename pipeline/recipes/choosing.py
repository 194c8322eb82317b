"""What a recipe leaves to a folder of images: size, channels, mirror images, network, and steps for ten minutes."""

from collections.abc import Mapping
from typing import Any

from pipeline.data.images.image_set import image_sets
from pipeline.errors import FlowError
from pipeline.recipes.values import Value
from pipeline.words import counted

SIZE = 32
"""Where nothing is prepared: the side that a recipe may still be read with, for images that are given in Python."""
FEW = 1000
"""Training images, of fewer of which mirror images are taken too, where they look alike."""
BLACK_AND_WHITE = 0.25
"""Share of values at the ends of the scale from which on tanh hides a pattern of pixels, and a filter costs sharp edges."""
STEPS = {28: 1500, 32: 1200, 48: 600, 64: 300}
"""Of a phase, up to each side, on one slow core; larger ones have those of the last."""


def of_folder(in_file: Mapping[str, Value], given: Mapping[str, Value], data_uri: str | None) -> tuple[dict[str, Value], str]:
    """Choose what a recipe leaves to the folder of images that it is for; nothing where its file says a size or the steps.

    Args:
        in_file: fields that the recipe's file gives, by dotted name.
        given: fields that replace them.
        data_uri: folder or URL of prepared sets; None: $SJKO_HOME/data.

    Returns:
        Fields that neither gives, and a sentence on them; empty where nothing is prepared.

    Raises:
        ValueError: several sizes are prepared.
    """
    name, own = str(given.get("data.target", in_file.get("data.target"))), str(in_file.get("data.target"))
    sets = image_sets()
    of_folders = all(each in sets and sets[each].side is None for each in (name, own))
    if not of_folders or {"data.size", "training.num_steps"} & in_file.keys():
        return {}, ""
    manifest = _prepared(name, given.get("data.size"), data_uri)
    size = int(str(given.get("data.size") or (manifest or {}).get("size", SIZE)))
    rows = manifest["splits"]["train"]["rows"] if manifest else 0
    suited: dict[str, Value] = {"data.size": size}
    if manifest is not None:
        suited |= {"data.channels": manifest["channels"], "data.flip": bool(manifest.get("mirrored")) and rows < FEW}
    plain = manifest is not None and (manifest.get("extremes") or 0) >= BLACK_AND_WHITE
    suited |= {"network.kind": "light" if plain else "light_filtered", "training.batch_size": 32 if plain else 16}
    suited["training.num_steps"] = steps_of(size)
    chosen = {field: value for field, value in suited.items() if field not in {**in_file, **given}}
    told = ", ".join(f"{field} {str(value).lower()}" for field, value in chosen.items())
    return chosen, f"{name}-{size} has {counted(rows, 'training image')}: {told}" if rows and told else ""


def steps_of(size: int) -> int:
    """Choose the steps of a phase for images of a side.

    >>> steps_of(28) >= steps_of(48) > steps_of(100) == steps_of(64)
    True
    """
    return next((steps for side, steps in STEPS.items() if size <= side), STEPS[max(STEPS)])


def _prepared(name: str, size: Value, data_uri: str | None) -> Mapping[str, Any] | None:
    """Read the manifest of the only prepared set of a name, or of that of a size; None where there is none that can be read.

    A set that is damaged or cannot be reached is told where its images are needed.
    """
    from pipeline.data.images.prepared import read_manifest, sizes_of, uri_of  # imports pyarrow and Pillow

    try:
        sizes = sizes_of(name, data_uri) if size is None else [int(str(size))]
        if len(sizes) > 1:
            raise ValueError(f"data.size must be given, since {name} is prepared in several: {', '.join(map(str, sizes))}")
        return read_manifest(uri_of(name, sizes[0], data_uri)) if sizes else None
    except FlowError:
        return None
