"""Which code is run where there are several: after an edit, and of several versions beside each other."""

import importlib
import os
import pickle
import sys
from pathlib import Path
from types import ModuleType

import pytest

from components.parts.code import UNPACKED, code_of
from components.parts.loading import factory_of, load, pinned
from components.parts.naming import Part, PartError


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def value(name: str) -> object:
    """What the part makes of itself."""
    return load(name, {}, object)


def test_an_edited_module_is_imported_anew_and_what_was_pinned_before_stays(folder: Path) -> None:
    path = folder / "edited.py"
    path.write_text("def number():\n    return 1\n")
    stat = path.stat()
    before = pinned("edited:number")
    assert value(before) == value("edited:number") == 1
    path.write_text("def number():\n    return 2\n")
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))  # Python's own cache would take it for unchanged
    assert value(before) == 1
    assert value("edited:number") == value(pinned("edited:number")) == 2
    with pytest.raises(PartError, match=r"^edited:other has changed: its code is \w{12} here, and \w{12} is meant$"):
        value(before.replace("number", "other"))


def test_a_helper_that_was_edited_is_imported_anew_too(folder: Path) -> None:
    (folder / "edited_b.py").write_text("from edited_b_helper import NUMBER\n\n\ndef number():\n    return NUMBER\n")
    helper = folder / "edited_b_helper.py"
    helper.write_text("NUMBER = 1\n")
    assert value(pinned("edited_b:number")) == 1
    helper.write_text("NUMBER = 2\n")
    assert value(pinned("edited_b:number")) == 2


@pytest.mark.parametrize("edited", [False, True])
def test_a_module_that_was_imported_before_is_the_same_one_and_shows_an_edit(
    folder: Path, edited: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    path = folder / f"imported_{edited}.py"
    path.write_text("NUMBER = 1\n")
    module = importlib.import_module(f"imported_{edited}")
    if edited:
        path.write_text("NUMBER = 20\n")
    assert (factory_of(Part(f"imported_{edited}:NUMBER")) == 20) == (module.NUMBER == 20) == edited
    assert sys.modules[f"imported_{edited}"] is module
    assert (type(module) is ModuleType) != edited


CALLS = "NUMBER = {}\n\n\nclass It:\n    def number(self):\n        return NUMBER\n"


def test_what_was_imported_before_an_edit_can_be_reloaded_and_its_objects_stay(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In whatever order a person edits, reloads and uses a module."""
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    path = folder / "reloaded.py"
    path.write_text(CALLS.format(1))
    module = importlib.import_module("reloaded")
    objects = [module.It()]
    for number, reloads in ((20, "after"), (300, "after"), (4000, "before"), (50000, "never"), (600000, "after")):
        path.write_text(CALLS.format(number))
        if reloads == "before":
            importlib.reload(module)
        made = value(pinned("reloaded:It"))
        assert (made.number(), module.NUMBER) == (number, number)  # type: ignore[attr-defined]
        assert pickle.loads(pickle.dumps(made)).number() == number
        if reloads == "after":
            assert importlib.reload(module) is module is sys.modules["reloaded"]
            assert pinned("reloaded:It") == pinned("reloaded:It")
            assert module.It().number() == number
        objects.append(module.It())
    module.NUMBER = 7  # as a person may try something
    assert module.It().number() == 7
    assert objects[0].number() == 1


def test_the_modules_of_a_package_can_be_reloaded_after_an_edit_and_stay_where_it_does_not_run(folder: Path) -> None:
    package = folder / "reloaded_package"
    package.mkdir()
    (package / "__init__.py").write_text("from . import inner\nfrom .inner import NUMBER\n")
    (package / "inner.py").write_text("NUMBER = 1\n")
    outer = importlib.import_module("reloaded_package")
    inner = outer.inner
    (package / "inner.py").write_text("NUMBER = 20\n")
    assert value("reloaded_package:NUMBER") == outer.NUMBER == inner.NUMBER == 20
    assert importlib.reload(inner) is outer.inner is inner
    (package / "inner.py").write_text("1 / 0\n")
    with pytest.raises(PartError, match="ZeroDivisionError"):
        factory_of(Part("reloaded_package:NUMBER"))
    assert outer.NUMBER == inner.NUMBER == 20
    (package / "inner.py").write_text("NUMBER = 300\n")
    assert importlib.reload(inner).NUMBER == 300


LAZY = """
from . import settings
import beside_helper


def number():
    from beside_helper import NUMBER
    from .inner import inner

    return NUMBER + inner() + settings.OFFSET
"""


def test_versions_of_a_package_live_beside_each_other_also_when_they_import_later(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    digests = []
    for number in (1, 2, 3):
        place = folder if number == 3 else folder / f"version_{number}"
        package = place / "beside_package"
        package.mkdir(parents=True)
        (package / "__init__.py").write_text("from .numbers import number\n")
        (package / "numbers.py").write_text(LAZY)
        (package / "settings.py").write_text(f"OFFSET = {1000 * number}\n")
        (package / "inner.py").write_text(
            f"def inner():\n    import beside_package.settings as s\n\n    return s.OFFSET + {number}\n"
        )
        (place / "beside_helper.py").write_text(f"NUMBER = {number}00000\n")
        digests.append(code_of("beside_package", place).digest)
        if number < 3:
            monkeypatch.setitem(UNPACKED, digests[-1], place)
    factories = [factory_of(Part("beside_package:number", digest=digest)) for digest in digests]
    assert "beside_helper" in sys.modules  # that of this machine
    assert [factory() for factory in factories] == [102001, 204002, 306003]
    assert [factory() for factory in reversed(factories)] == [306003, 204002, 102001]
    assert sys.modules["beside_helper"].NUMBER == 300000


def test_a_package_over_several_folders_is_refused_and_one_without_init_is_taken(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("one", "two"):
        (folder / name / "spread").mkdir(parents=True)
        (folder / name / "spread" / f"{name}.py").write_text("X = 1\n")
    monkeypatch.syspath_prepend(folder / "one")
    assert list(code_of("spread.one").files) == ["spread/one.py"]
    monkeypatch.syspath_prepend(folder / "two")
    with pytest.raises(PartError, match=r"^spread.one: the package spread is spread over .*/two/spread and .*/one/spread"):
        code_of("spread.one")


def test_a_helper_package_without_init_belongs_to_the_code_and_hidden_files_do_not(folder: Path) -> None:
    (folder / "bare_helper").mkdir()
    (folder / "bare_helper" / "it.py").write_text("X = 1\n")
    (folder / "bare_helper" / ".ipynb_checkpoints").mkdir()
    (folder / "bare_helper" / ".ipynb_checkpoints" / "it-checkpoint.py").write_text("X = 0\n")
    (folder / "numpy").mkdir()
    (folder / "bare_user.py").write_text("import numpy\nfrom bare_helper.it import X\n")
    assert list(code_of("bare_user").files) == ["bare_helper/it.py", "bare_user.py"]
