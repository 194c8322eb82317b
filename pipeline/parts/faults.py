"""An own part that fails while a flow is under way, as one sentence: which part, in which field, where in the flow, and why."""

import sys
import sysconfig
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import FrameType
from typing import Any, Self

import numpy as np
import torch
from torch import nn

from components.costs import Cost
from components.divergences.base import Divergence
from components.networks.pair import NetworkPair
from components.parts.code import OURS
from components.parts.loading import IN_MEMORY, code_meant, describe_error
from components.parts.naming import Part, PartError, is_own, shown
from pipeline.data import rows
from pipeline.errors import FlowError, PartFailed
from pipeline.parts.pinning import own_parts, parts_in_memory
from pipeline.phase import Phase

KINDS: Mapping[type, tuple[str, ...]] = {
    Divergence: ("jko.divergence", "jko.source_divergence"),
    Cost: ("jko.cost",),
    NetworkPair: ("network.kind",),
    nn.Module: ("network.kind",),
}
"""The fields whose parts the objects of a class belong to; other objects are of data or metrics."""
MISTAKES = (ValueError, TypeError, AttributeError, LookupError, ArithmeticError)
"""Errors without own code in them that what a part gave may be the reason of; of one process alone, those of torch as well."""
MADE = ("<frozen", "<eval_with_key", "torchinductor_")
"""Marks of code that Python or torch's compiler has made."""
Fields = Mapping[str, str]
"""Names of own parts by the dotted field of each."""
NONE: Fields = {}


@dataclass(frozen=True)
class OwnParts:
    """The own parts of a phase, which may fail while it is trained or measured: by field, rows in memory left out, which run
    no code.

    Example:
        >>> from pipeline.phase import phases_of
        >>> from pipeline.recipe import Recipe
        >>> OwnParts.of(phases_of(Recipe())[0])
        OwnParts(by_field={})
    """

    by_field: Fields

    @classmethod
    def of(cls, phase: Phase, further: Fields = NONE) -> Self:
        """Find the own parts of a phase.

        Args:
            further: parts beside those of the phase, such as own metrics.
        """
        of_phase = {**own_parts(phase), **parts_in_memory(phase)}
        return cls({**{field: name for field, name in of_phase.items() if not rows.are_rows(name)}, **further})

    @contextmanager
    def told(self, where: str, *, alone: bool = True) -> Iterator[None]:
        """Make an error in the code of an own part a sentence, its cause chained; other errors pass as they are.

        Args:
            where: in the flow this is, as the end of a sentence: `in step 7 of phase 0`.
            alone: no other process takes part, whose end would be an error here.

        Raises:
            PartFailed: names the field, the part, the place and the error.
        """
        try:
            yield
        except FlowError:
            raise
        except (Exception, SystemExit) as error:
            failed = failure(error, self.by_field, where, alone=alone) if self.by_field else None
            if failed is None:
                raise
            raise failed from error

    @property
    def draw_in_steps(self) -> bool:
        """Say whether one of them may draw random numbers of its own in a step; what is built in draws none there, and sources
        do so by the numbers of a batch.
        """
        return bool(self.by_field.keys() - {"data.source", "data.target"})

    def suspected(self) -> str:
        """Say which there are, as the end of a sentence on numbers that are not finite; empty where there are none."""
        if not self.by_field:
            return ""
        parts = listed(self.by_field).replace(" or ", ", ")
        return f" Own parts at work: {parts}; `python -m pipeline check-part` tries one."


def failure(error: BaseException, fields: Fields, where: str, *, alone: bool = True) -> PartFailed | None:
    """Make the error of an own part of one that came up while it was used; None where no part is to blame."""
    frames = _own_frames(error, fields)
    reason = describe_error(error.__cause__ if isinstance(error.__cause__, StopIteration) else error)
    if frames:
        field = _field_of(frames[0], fields)
        last = frames[-1]
        at = f"{Path(last.f_code.co_filename).name}, line {_line(error, last)}, in {last.f_code.co_name}"
        return PartFailed(f"{field}: {shown(fields[field])} failed {where}: {reason} ({at})")
    of_torch = alone and isinstance(error, RuntimeError) and not isinstance(error, torch.OutOfMemoryError)
    if not (of_torch or isinstance(error, MISTAKES)):
        return None
    return PartFailed(f"{listed(fields)}: what an own part gave cannot be worked with {where}: {reason}")


def require_batches(phase: Phase, step: int, source: np.ndarray, target: np.ndarray, shape: tuple[int, ...]) -> None:
    """Refuse batches of own sources whose shape changes, or that hold what is no number.

    Raises:
        PartFailed: names the field, the part, the step and what is wrong.
    """
    for field, samples in (("data.source", source), ("data.target", target)):
        name = getattr(phase.data, field.removeprefix("data."))
        if not is_own(name) or rows.are_rows(name):
            continue
        wrong = f"of the shape {samples.shape} and not {shape}" if samples.shape != shape else ""
        if not wrong and not np.isfinite(samples).all():
            wrong = "with numbers that are not finite"
        if wrong:
            raise PartFailed(f"{field}: {shown(name)} failed in step {step} of phase {phase.k}: it gives samples {wrong}")


def listed(fields: Fields) -> str:
    """Name parts with their fields, side by side."""
    return " or ".join(f"{field} {shown(name)}" for field, name in fields.items())


def _own_frames(error: BaseException, fields: Fields) -> list[FrameType]:
    """List the frames of code that is neither ours nor installed, or is that of an installed part, the outermost first."""
    chain = [error, *([error.__cause__] if isinstance(error.__cause__, StopIteration) else [])]
    frames = [frame for each in chain for frame, _ in traceback.walk_tb(each.__traceback__)]
    places = [place for name in fields.values() for place in _places(name)]
    return [frame for frame in frames if _is_foreign(frame.f_code.co_filename, places)]


def _is_foreign(name: str, places: list[str]) -> bool:
    return any(name.startswith(place) for place in places) or not (
        name.startswith(_known()) or any(each in name for each in MADE)
    )


@cache
def _known() -> tuple[str, ...]:
    """Name the folders of Python, of what is installed, and of our own packages."""
    installed = {sysconfig.get_path(key) for key in ("stdlib", "platstdlib", "purelib", "platlib")}
    here = Path(__file__).parents[2]
    return (*sorted(installed), *(f"{here / name}{'/'}" for name in sorted(OURS)))


def _places(name: str) -> list[str]:
    """Name the files, or the beginnings of their paths, that the code of a part is in."""
    part = Part.read(name)
    if part.is_in_memory:
        made = IN_MEMORY.get(part.use)
        code = (getattr(each, "__code__", None) for kind in type(made).__mro__[:-1] for each in vars(kind).values())
        return [each.co_filename for each in code if each is not None and not each.co_filename.startswith(_known())]
    try:
        code_found = code_meant(part)
    except PartError:
        return []
    if code_found.folder is not None:
        return [str(code_found.folder / path) for path in code_found.files]
    top = sys.modules.get(part.module.partition(".")[0])
    return [str(Path(file).parent) for file in [getattr(top, "__file__", None)] if file and Path(file).name == "__init__.py"]


def _field_of(frame: FrameType, fields: Fields) -> str:
    """Find the field whose part is at work in a frame: by the object that it is a method of, else by the file that it is in."""
    owner = frame.f_locals.get("self")
    of_kind = [field for kind, places in KINDS.items() if isinstance(owner, kind) for field in places if field in fields]
    if len(of_kind) > 1:
        return next((field for field in of_kind if _options(owner) == Part.read(fields[field]).options), of_kind[0])
    in_file = [field for field, name in fields.items() if frame.f_code.co_filename in _places(name)]
    no_kind = [field for field in in_file if not any(field in places for places in KINDS.values())]
    return next(iter([*of_kind, *no_kind[-1:], *in_file, *fields]))


def _options(owner: Any) -> dict[str, Any]:
    return {name: value for name, value in vars(owner).items() if isinstance(value, str | int | float | bool)}


def _line(error: BaseException, frame: FrameType) -> int:
    """Find the line that a frame was at when the error passed it."""
    chain = [error, *([error.__cause__] if error.__cause__ is not None else [])]
    lines = [line for each in chain for at, line in traceback.walk_tb(each.__traceback__) if at is frame]
    return lines[-1] if lines else frame.f_lineno
