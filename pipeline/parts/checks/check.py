"""One thing that is tried of a part, and what came of it."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from components.parts.loading import describe_error

Look = Callable[[], str]


class Failed(Exception):
    """A part does not do what it must: the message says what it does."""


@dataclass(frozen=True)
class Check:
    """A rule that a part of some kind must keep, and what was found.

    Example:
        >>> str(Check("conjugate", "be 0 at 0", "it is 0.5", passed=False))
        'conjugate must be 0 at 0: it is 0.5'

    Attributes:
        what: the method or attribute that was tried.
        must: what it must do or be, as it stands after "must".
        found: what it does, with the numbers.
    """

    what: str
    must: str
    found: str
    passed: bool

    def __str__(self) -> str:
        return f"{self.what} must {self.must}: {self.found}"


def tried(what: str, must: str, look: Look) -> Check:
    """Try one thing: `look` says what it finds, or raises `Failed`; what else a part raises is found as well."""
    try:
        return Check(what, must, look(), True)
    except Failed as failed:
        return Check(what, must, str(failed), False)
    except (Exception, SystemExit) as error:
        return Check(what, must, f"it raises {describe_error(error)}"[:400], False)


def require(holds: bool, otherwise: str) -> None:
    """Let a check fail unless something holds.

    Raises:
        Failed: it does not; says what was found instead.
    """
    if not holds:
        raise Failed(otherwise)


def tensor_like(given: object, expected: Tensor, what: str = "it") -> Tensor:
    """Take what a part gave for a finite tensor of the shape and type of another.

    Raises:
        Failed: it is none.
    """
    if not isinstance(given, Tensor):
        raise Failed(f"{what} gives a {type(given).__name__} in place of a tensor")
    require(given.shape == expected.shape, f"{what} gives the shape {tuple(given.shape)} in place of {tuple(expected.shape)}")
    require(given.dtype == expected.dtype, f"{what} gives {words(given.dtype)} for {words(expected.dtype)}")
    return given


def finite(given: Tensor, what: str = "it") -> Tensor:
    """Take a tensor for one of finite numbers.

    Raises:
        Failed: it holds others; says how many.
    """
    number = int((~given.isfinite()).sum())
    require(number == 0, f"{what} gives {number} of {given.numel()} numbers that are not finite")
    return given


def words(kind: torch.dtype) -> str:
    """Name a tensor's type without its module.

    >>> words(torch.float32)
    'float32'
    """
    return str(kind).removeprefix("torch.")


def gradients(of: Tensor, by: list[Tensor], what: str, *, keep: bool = False) -> list[Tensor | None]:
    """Differentiate a number, where it has a graph; None by what has no influence.

    Args:
        keep: the gradients have a graph too.

    Raises:
        Failed: it has none; it was computed outside of torch, or detached.
    """
    require(of.requires_grad, f"{what} has no gradient: it is computed outside of torch, or detached")
    return list(torch.autograd.grad(of, by, allow_unused=True, create_graph=keep))
