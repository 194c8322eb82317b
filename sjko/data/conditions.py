"""What a person gives as conditions of rows: classes or values, one for each row, read as the networks take them."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from components.conditions import Condition, Conditions
from pipeline.errors import Unusable
from sjko.data.opening import is_of, shape_of

NAME = "condition"
"""What a recipe calls conditions that came without a name."""
WORDS = frozenset(("none", "null", "true", "false"))
"""Names that a recipe's file would not read as text."""
MOST_CLASSES = 1000
LEAST = 1e-14
"""Values whose deviation is a smaller share of their mean are equal, but for rounding."""
FEW_VALUES = 20
"""So few different whole numbers, written as floats, may be meant as classes."""
RULE = "takes classes (whole numbers, words, true and false) or values (numbers with a fraction, or rows of numbers)"


def name_of(label: Any) -> str:
    """Make the name that a recipe has for a condition of the label of a column.

    Example:
        >>> name_of("kind"), name_of("body mass [g]"), name_of(3)
        ('kind', 'body_mass_g', 'condition_3')
    """
    words = "_".join("".join(each if each.isalnum() or each == "_" else " " for each in str(label)).split())
    return words if words.isidentifier() and words.lower() not in WORDS else f"{NAME}_{words}".rstrip("_")


def read(given: Any, n: int, name: str = NAME) -> np.ndarray:
    """Read conditions of n rows in whatever form they are: names of classes, or values.

    Example:
        >>> read([2, 0, 2], 3).tolist(), read(["a", "b"], 2).tolist(), read([0.5, 1], 2).tolist()
        (['2', '0', '2'], ['a', 'b'], [[0.5], [1.0]])

    Args:
        name: how messages call them.

    Returns:
        Text of shape (n,), or float64 of shape (n, number of values).

    Raises:
        Unusable: they are not one for each row, one is missing, or they are neither classes nor values.
    """
    array = _array(given, name)
    if array.ndim not in (1, 2) or len(array) != n:
        raise Unusable(f"{name} must be one for each of {n} rows, not of the shape {array.shape}")
    if array.ndim == 2 and array.dtype.kind in "fiub" and array.shape[1]:
        return _finite(array, name)
    if array.ndim == 1 and array.dtype.kind == "f":
        return _finite(array[:, None], name)
    if array.ndim == 1 and array.dtype.kind in "iubU":
        return array.astype(str)
    raise Unusable(f"{name} {RULE}, not {array.dtype} of shape {array.shape}")


def _array(given: Any, name: str) -> np.ndarray:
    """Make an array of conditions, the names of whose classes are text."""
    is_some: bool = isinstance(given, Iterable) and not isinstance(given, str | bytes | Mapping)
    if not is_some:
        raise Unusable(f"{name} must be one for each row, or the name of a column of x, not {given!r}"[:300])
    if is_of(given, "torch", "Tensor"):
        given = given.detach().cpu()
        given = (given.float() if given.is_floating_point() else given).numpy()
    if is_of(given, "pandas", "DataFrame"):
        given = given.to_numpy()
    is_category = str(getattr(given, "dtype", "")) == "category"
    for to_list in ("to_pylist", "to_list", "tolist"):  # of pyarrow, polars, and pandas and numpy
        if hasattr(given, to_list) and not (isinstance(given, np.ndarray) and given.dtype.kind in "fiubU"):
            given = getattr(given, to_list)()
            break
    if isinstance(given, np.ndarray):
        return given
    cells = list(given)
    _require_some(cells, name)
    if is_category:
        return np.asarray([str(cell) for cell in cells])
    kinds = {type(cell) for cell in cells}
    if len({issubclass(kind, str) for kind in kinds}) > 1 or (bool in kinds and len(kinds) > 1):
        types = " and ".join(sorted(kind.__name__ for kind in kinds))
        raise Unusable(f"{name} must be all classes of one type, or all values, not {types}")
    try:
        return np.asarray(cells)
    except ValueError:
        raise Unusable(f"{name} must be of one length in every row") from None


def _require_some(cells: Sequence[Any], name: str) -> None:
    """Refuse cells with nothing in them."""
    for row, cell in enumerate(cells):
        if cell is None or type(cell).__name__ in ("NAType", "NaTType") or (isinstance(cell, float) and math.isnan(cell)):
            raise Unusable(f"{name}: row {row} is missing; leave such rows out, or fill them")


def _finite(values: np.ndarray, name: str) -> np.ndarray:
    wide: np.ndarray = np.ascontiguousarray(values, dtype=np.float64)
    bad = np.flatnonzero(~np.isfinite(wide).all(1))
    if len(bad):
        raise Unusable(f"{name}: row {bad[0]} is missing or infinite; leave such rows out, or fill them")
    return wide


def condition_of(train: np.ndarray, name: str, shown: str = NAME) -> Condition:
    """Say what kind of condition those of the rows to train on are; networks take values of mean 0 and deviation 1.

    Args:
        train: as `read` gives them.
        name: that recipes have for it.
        shown: how messages call it.

    Raises:
        Unusable: they are more classes than rows can tell apart.
    """
    if train.dtype.kind == "f":
        shift, scale = train.mean(axis=0), train.std(axis=0)
        units = shift.tolist(), np.where(scale > LEAST * np.abs(shift), scale, 1.0).tolist()
        return Condition(name, (), train.shape[1], *map(tuple, units))
    names = np.unique(train).tolist()
    if len(names) > max(1, min(MOST_CLASSES, len(train) // 2)):
        raise Unusable(
            f"{shown}: {len(names)} different classes in {len(train)} rows to train on are too many; where they are values, "
            "write .astype(float)"
        )
    try:
        return Condition(name, arranged(names))
    except ValueError as error:
        raise Unusable(f"{shown}: {error}") from None


def arranged(names: Sequence[str]) -> tuple[str, ...]:
    """Order classes so that each one whose name is the number of a class is that class, the others as the alphabet has them.

    Example:
        >>> arranged(["-1", "0", "1"]), arranged(["cat", "dog"])
        (('0', '1', '-1'), ('cat', 'dog'))
    """
    numbered = {int(name): name for name in names if name.isdecimal() and str(int(name)) == name and int(name) < len(names)}
    others = iter(sorted(set(names) - set(numbered.values())))
    return tuple(numbered[number] if number in numbered else next(others) for number in range(len(names)))


def numbers_of(condition: Condition, each: np.ndarray, name: str = NAME) -> Conditions:
    """Bring conditions, as `read` gives them, to what networks take: classes to their numbers.

    Raises:
        Unusable: a class, or the number of values, is not one that was trained on; names the row.
    """
    is_class = each.dtype.kind != "f"
    if is_class != bool(condition.classes) or (not is_class and each.shape[1] != condition.num_values):
        kind = "classes" if condition.classes else f"rows of {condition.num_values} values"
        raise Unusable(f"{name} must be {kind}, as {condition.name} of the data to train on is")
    if not is_class:
        return condition.from_units(each)
    classes, places = np.unique(each, return_inverse=True)
    strange = sorted(set(classes.tolist()) - set(condition.classes))
    if strange:
        row = int(np.flatnonzero(each == strange[0])[0])
        raise Unusable(f"{name}: row {row} is {strange[0]!r}, a class that no row to train on has")
    return np.asarray([condition.classes.index(one) for one in classes.tolist()], dtype=np.int64)[places]


def warnings_of(train: np.ndarray, name: str = NAME) -> tuple[str, ...]:
    """Say what of conditions to train on may be meant otherwise, a sentence each.

    Args:
        train: as `read` gives them.
    """
    if train.dtype.kind != "f":
        return ()
    different = np.unique(train)
    if train.shape[1] == 1 and len(different) <= FEW_VALUES and (different == np.rint(different)).all():
        return (f"{name} is taken for values, of which only {len(different)} differ; for classes write .ravel().astype(int)",)
    return ()


def each_of(condition: Condition | None, asked: Any, n: int, name: str = NAME) -> Conditions | None:
    """Read what a person asks of n samples where it is one condition for each; None where it is one for all, or nothing.

    Example:
        >>> each_of(Condition("label", ("cat", "dog")), ["dog", "cat"], 2).tolist()
        [1, 0]
        >>> each_of(Condition("label", ("cat", "dog")), "dog", 2) is None
        True

    Raises:
        ValueError: there is no such condition, or there are not n of them.
    """
    if condition is None or asked is None or isinstance(asked, str | bytes) or not isinstance(asked, Iterable):
        return None
    if not condition.classes and shape_of(asked) == (condition.num_values,):
        return None
    each = read(asked, n, name)
    if each.dtype.kind == "f":
        return numbers_of(condition, each, name)
    if not condition.classes:  # whole numbers are values too
        return numbers_of(condition, _finite(each.astype(np.float64)[:, None], name), name)
    classes, places = np.unique(each, return_inverse=True)
    return np.asarray([condition.read(one) for one in classes.tolist()], dtype=np.int64)[places]
